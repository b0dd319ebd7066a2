"""Waits for the database, and migrates it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import asyncpg
import structlog

from meshmetrics.database import errors, reachability
from meshmetrics.database.migrate import migrate
from meshmetrics.database.packaged_sql import MigrationError
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import FatalError, Service, full_jitter
from meshmetrics.settings import connection_string

log = structlog.get_logger()

PASSING_ATTEMPTS = 4
"""An obstacle that may pass, such as the name of a container that is starting, ends the start
then."""


class Installed(Protocol):
    """The calls that check whether the database is migrated and matches the engine's tables."""

    async def read_checkpoint(self, name: str) -> Any: ...

    async def source_flaws(self) -> tuple[str, ...]: ...


class Preparation(Service):
    """Gets the database ready once, for a daemon without a pipeline."""

    name = "database"
    may_finish = True

    def __init__(self, prepare: Callable[[Service], Awaitable[None]]) -> None:
        """`prepare` returns when the database is ready, or when the service passed to it is
        stopping."""
        super().__init__()
        self._prepare = prepare
        self.done = False
        """Whether the database is ready."""

    async def run(self) -> None:
        """Prepare, then return."""
        self.started.set()
        await self._prepare(self)
        self.done = not self.stopping.is_set()


async def await_database(
    service: Service,
    store: Installed,
    dsn: str,
    *,
    migrating: bool,
    detect_pooler: bool = False,
) -> None:
    """Wait for the database, then migrate it, or check that it is migrated. Return early if
    `service` stops.

    `detect_pooler`: also check for a transaction pooler that the settings do not name.

    Raises FatalError, with the fix, if waiting does not help.
    """
    attempt = 0
    hosts = connection_string.read(dsn).hosts
    while not service.stopping.is_set():
        try:
            if migrating:
                for line in await migrate(dsn):
                    log.info("migrate.done", step=line)
            await store.read_checkpoint("sweep")
            flaws = await store.source_flaws()
            unnamed = detect_pooler and await reachability.is_transaction_pooler(dsn)
        except MigrationError as error:
            raise FatalError(f"the database cannot be migrated: {error}") from None
        except Exception as error:
            attempt += 1
            found = await reachability.obstacle(error, hosts)
            if found and (attempt >= PASSING_ATTEMPTS or not found.may_pass):
                raise FatalError(found.text) from None
            if fatal := _fatal(error):
                raise FatalError(fatal) from None
            if not (errors.is_transient(error) or isinstance(error, asyncpg.PostgresError)):
                raise
            wait = full_jitter(attempt, base=0.5, cap=5.0)
            log.warning("database.unreachable", attempt=attempt, error=describe(error))
            await service.pause(wait)
        else:
            if unnamed:
                raise FatalError(reachability.POOLER)
            if flaws:
                log.warning("source.changed", flaws=flaws, remedy="run `meshmetrics doctor`")
            log.info("database.ready")
            return


def _fatal(error: Exception) -> str | None:
    """The message for an error that waiting does not fix; None for any other."""
    text = describe(error)
    if errors.is_refused(error):
        return (
            f"the database refuses the login ({text}): check user, password and database name in"
            " DATABASE_URL"
        )
    if errors.is_unmigrated(error):
        return (
            "the database is not migrated: run `meshmetrics migrate`, or set"
            " MESHMETRICS_MIGRATE=true"
        )
    if errors.is_forbidden(error):
        return (
            f"DATABASE_URL's user lacks a privilege that the daemon needs ({text}): make it a"
            " member of meshmetrics_worker"
        )
    return None
