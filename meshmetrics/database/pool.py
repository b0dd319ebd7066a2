"""The pool of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from meshmetrics.database.session import configure

COMMAND_TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
CLOSE_SECONDS = 0.3


@asynccontextmanager
async def open_pool(
    dsn: str, *, size: int, transaction_pooler: bool
) -> AsyncIterator[asyncpg.Pool]:
    """A pool that connects when it is first used, and is closed without waiting long."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=0,  # few, and wanted at once when a run ends
        statement_cache_size=0 if transaction_pooler else 100,
        command_timeout=COMMAND_TIMEOUT,
        timeout=CONNECT_TIMEOUT,
        init=None if transaction_pooler else configure,
        reset=_nothing,
        server_settings={"application_name": "meshmetrics"},
    )
    await pool
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except Exception:
            pool.terminate()


async def _nothing(_: object) -> None:
    """In place of asyncpg's RESET ALL, a round trip at every release: nothing of ours outlives
    its transaction."""
