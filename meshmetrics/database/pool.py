"""The connection pool."""

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
    """A pool that connects on first use, and waits only briefly when it closes."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=0,  # few, and needed immediately when a run ends
        statement_cache_size=0 if transaction_pooler else 100,
        command_timeout=COMMAND_TIMEOUT,
        timeout=CONNECT_TIMEOUT,
        init=None if transaction_pooler else configure,
        reset=_no_reset,
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


async def _no_reset(_: object) -> None:
    """Replaces asyncpg's RESET ALL, a round trip at every release: we set nothing that outlives a
    transaction."""
