"""Connects a command to the database, or explains why that is impossible and how to fix it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from meshmetrics.database import errors, reachability
from meshmetrics.database.pool import open_pool
from meshmetrics.database.store import Database
from meshmetrics.runtime.logs import describe
from meshmetrics.settings.fields import DatabaseSettings, Settings

CONNECTIONS = 3
RESTORE = (
    "run `meshmetrics migrate` to restore index and publication; give a column its old name and"
    " type again, or install a meshmetrics that supports the new ones"
)


class CommandError(Exception):
    """The command is impossible: what is wrong, and how to fix it. For the operator."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}: {fix}")
        self.what = what
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Connected:
    """The stores that commands use."""

    database: Database
    counting: CountingStore
    audits: AuditStore


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connected]:
    """The stores, after the database has answered.

    Raises CommandError, also if the connection is lost while it is in use.
    """
    dsn = settings.dsn
    pooler = settings.transaction_pooler
    try:
        async with open_pool(dsn, size=CONNECTIONS, transaction_pooler=pooler) as pool:
            database = Database(pool, transaction_pooler=pooler)
            stores = Connected(database, CountingStore(database), AuditStore(database))
            try:
                await stores.audits.condition()
                yield stores
            except asyncpg.PostgresError as error:
                if flaws := await _flaws(stores.counting, error):
                    raise CommandError(
                        f"the engine's tables differ from what meshmetrics expects: {flaws}",
                        RESTORE,
                    ) from error
                raise
    except Exception as error:
        explained = await explain(error, settings)
        if explained is None:
            raise
        raise explained from error


async def _flaws(store: CountingStore, error: asyncpg.PostgresError) -> str:
    """The changes of the engine's tables, if they may be the cause of the error."""
    if not errors.is_schema_error(error):
        return ""
    try:
        return "; ".join(await store.source_flaws())
    except asyncpg.PostgresError:
        return ""  # no such function: our own schema is missing or older


async def explain(error: Exception, settings: DatabaseSettings) -> CommandError | None:
    """The operator's message for a database error; None if a traceback is more helpful."""
    text = describe(error)
    if obstacle := await reachability.obstacle(error, settings.connection.hosts):
        what, _, fix = obstacle.text.rpartition(": ")
        return CommandError(what, fix)
    if errors.is_unmigrated(error):
        return CommandError(
            "the database is not migrated to this version", "run `meshmetrics migrate`"
        )
    if errors.is_forbidden(error):
        return CommandError(
            f"DATABASE_URL's user lacks a privilege ({text})",
            "make it a member of meshmetrics_worker",
        )
    if errors.is_schema_error(error):
        return CommandError(
            f"our tables or functions differ from the migrated ones ({text})",
            "run `meshmetrics migrate`",
        )
    if errors.is_transient(error) or errors.is_refused(error):
        return CommandError(f"the database cannot be reached ({text})", "check DATABASE_URL")
    return None
