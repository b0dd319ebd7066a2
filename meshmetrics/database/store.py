"""The database access that all stores share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from meshmetrics.database import session
from meshmetrics.database.errors import is_data_error
from meshmetrics.runtime.logs import describe

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
    async def connection(
        self, *, unlimited: bool = False, seconds: float | None = None
    ) -> AsyncIterator[Connection]:
        """A connection for one call. `unlimited`: the call reads so many runs that no timeout of
        the database fits; the caller passes `timeout=UNLIMITED` to its statement. `seconds`: the
        database cancels the statement, and rolls it back, after so long."""
        connection = await self._connect()
        limit = 0 if unlimited else seconds
        try:
            if self._transaction_pooler or limit is not None:
                async with _transaction(connection, seconds=limit):
                    yield connection
            else:
                yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            # The server is no longer the primary: the next call must not get the same session.
            connection.terminate()
            raise
        finally:
            await self.pool.release(connection)

    async def _connect(self) -> asyncpg.pool.PoolConnectionProxy:
        """A connection of the pool.

        Raises ConnectionError where connecting takes too long, or fails for a reason that, in a
        call, would be the fault of its values.
        """
        try:
            return await self.pool.acquire()
        except (TimeoutError, asyncpg.PostgresError) as error:
            if isinstance(error, TimeoutError) or is_data_error(error):
                raise ConnectionError(f"cannot connect: {describe(error)}") from error
            raise

    async def row(self, sql: str, *arguments: object) -> asyncpg.Record:
        async with self.connection() as connection:
            row = await connection.fetchrow(sql, *arguments)
        assert row is not None  # noqa: S101 - a function called this way returns one row
        return row

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of a statement."""
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def row_within(self, seconds: float, sql: str, *arguments: object) -> asyncpg.Record:
        """As `row`, in at most so many seconds. Raises QueryCanceledError."""
        async with self.connection(seconds=seconds) as connection:
            row = await connection.fetchrow(sql, *arguments)
        assert row is not None  # noqa: S101 - a function called this way returns one row
        return row

    async def long_row(self, sql: str, *arguments: object) -> asyncpg.Record:
        """As `row`, without a timeout, for calls that read every run."""
        (row,) = await self.long_rows(sql, *arguments)
        return row

    async def long_rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """As `rows`, without a timeout."""
        async with self.connection(unlimited=True) as connection:
            return await connection.fetch(sql, *arguments, timeout=UNLIMITED)

    async def now(self) -> datetime:
        """The database's clock."""
        row = await self.row("select now() as at")
        at: datetime = row["at"]
        return at


@asynccontextmanager
async def _transaction(connection: Connection, *, seconds: float | None) -> AsyncIterator[None]:
    """A transaction with our own settings, begun in one round trip. `seconds`: of each statement;
    0: no limit."""
    begin = session.begin(connection.get_server_version().major)
    if seconds is not None:
        begin += f"; set local statement_timeout = {round(seconds * 1000)}"
    try:
        await connection.execute(begin)
        yield
    except BaseException:
        await _roll_back(connection)
        raise
    await connection.execute("commit")


async def _roll_back(connection: Connection) -> None:
    try:
        if not connection.is_closed():
            await connection.execute("rollback")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()  # the error that led here says more
