"""The database access that all stores share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

UNLIMITED = 7 * 24 * 3600.0
"""Seconds: replaces the pool's command timeout for calls that read every run."""

Connection = asyncpg.pool.PoolConnectionProxy | asyncpg.Connection


class Database:
    """Calls SQL functions through a pool; each store has one method per function.

    Every call is one transaction. Errors are asyncpg's own; `database.errors` classifies them.
    """

    def __init__(self, pool: asyncpg.Pool, *, transaction_pooler: bool = False) -> None:
        """`transaction_pooler`: the connections pass a pooler that may send each statement to
        another backend, so even a single call needs an explicit transaction in which to prepare
        and execute."""
        self.pool = pool
        self._transaction_pooler = transaction_pooler

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with self.pool.acquire() as connection:
            if self._transaction_pooler:
                async with connection.transaction():
                    yield connection
            else:
                yield connection

    async def row(self, sql: str, *arguments: object) -> asyncpg.Record:
        async with self.connection() as connection:
            row = await connection.fetchrow(sql, *arguments)
        assert row is not None  # noqa: S101 - a function called this way returns one row
        return row

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of a statement."""
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def long_row(self, sql: str, *arguments: object) -> asyncpg.Record:
        """As `row`, without a timeout, for calls that read every run."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = 0")
            row = await connection.fetchrow(sql, *arguments, timeout=UNLIMITED)
        assert row is not None  # noqa: S101 - as in row
        return row

    async def long_rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """As `rows`, without a timeout."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = 0")
            return await connection.fetch(sql, *arguments, timeout=UNLIMITED)

    async def now(self) -> datetime:
        """The database's clock."""
        row = await self.row("select now() as at")
        at: datetime = row["at"]
        return at
