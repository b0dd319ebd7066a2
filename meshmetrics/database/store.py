"""The way to the database that every store is built on, and which of its errors pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

UNLIMITED = 7 * 24 * 3600.0
"""Seconds: in place of the pool's command timeout, for what reads every run there is."""

Connection = asyncpg.pool.PoolConnectionProxy | asyncpg.Connection


class Database:
    """Calls SQL functions through a pool; each store has a method for each of its functions.

    Every method is one transaction. Errors are asyncpg's own: `is_transient` tells those that
    the same call may survive later from those that it cannot.
    """

    def __init__(self, pool: asyncpg.Pool, *, transaction_pooler: bool = False) -> None:
        """`transaction_pooler`: the pool's connections pass a pooler that may hand each
        statement to another backend, so that even a single call needs an explicit transaction
        to prepare and execute on the same one."""
        self._pool = pool
        self._transaction_pooler = transaction_pooler

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire() as connection:
            if self._transaction_pooler:
                async with connection.transaction():
                    yield connection
            else:
                yield connection

    async def _row(self, sql: str, *arguments: object) -> asyncpg.Record:
        async with self._connection() as connection:
            row = await connection.fetchrow(sql, *arguments)
        assert row is not None  # noqa: S101 - a function called this way returns one row
        return row

    async def _long_row(self, sql: str, *arguments: object) -> asyncpg.Record:
        """As `_row`, for what reads so many runs that no timeout fits."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = 0")
            row = await connection.fetchrow(sql, *arguments, timeout=UNLIMITED)
        assert row is not None  # noqa: S101 - as in _row
        return row


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later without anything being mended in the data:
    connection and resource trouble, cancellation, conflicts, shutdowns."""
    if isinstance(error, asyncpg.PostgresError):
        # Classes of SQLSTATE: 08 connection, 25006 read-only (a failover), 40 rollback,
        # 53 resources, 55 state (locks), 57 operator intervention, 58 system error.
        # A cached plan is invalid after the engine altered a table; asyncpg has dropped it by then.
        state = error.sqlstate or ""
        return (
            state[:2] in {"08", "40", "53", "55", "57", "58"}
            or state == "25006"
            or isinstance(error, asyncpg.InvalidCachedStatementError)
        )
    # InternalClientError: a connection that was cut in the middle of something.
    return isinstance(
        error, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    )


def is_schema_error(error: BaseException) -> bool:
    """Whether a table, column, type or function is not as our SQL takes it to be: class 42 but for
    rights, which are no matter of the schema."""
    return (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(error, asyncpg.InsufficientPrivilegeError)
        and (error.sqlstate or "")[:2] == "42"
    )


def remedy(error: BaseException) -> str | None:
    """What the operator can do about an error that is no bug of ours and that waiting does not
    cure; None for any other."""
    if is_schema_error(error):
        return "run `meshmetrics doctor`: it names what changed in the database"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return "make DATABASE_URL's user a member of meshmetrics_worker"
    return None
