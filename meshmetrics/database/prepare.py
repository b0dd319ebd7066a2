"""Waits for a database that may not be there yet, and gets it ready."""

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
    """What is asked of a database to see that it can be worked with."""

    async def read_checkpoint(self, name: str) -> Any: ...

    async def source_flaws(self) -> tuple[str, ...]: ...


class Preparation(Service):
    """Gets the database ready, once; for a daemon that has nothing to do with it afterwards."""

    name = "database"
    may_finish = True

    def __init__(self, prepare: Callable[[Service], Awaitable[None]]) -> None:
        """`prepare` returns once there is a database to work with, or once the service it is
        given is stopping."""
        super().__init__()
        self._prepare = prepare
        self.done = False
        """Whether there is a database to work with."""

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
    looking_for_pooler: bool = False,
) -> None:
    """Wait for the database, then migrate it or make sure that it is; or until `service` stops.

    `looking_for_pooler`: end where a transaction pooler is found that nobody has named.

    Raises FatalError where waiting would not help, with what would.
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
            unnamed = looking_for_pooler and await reachability.is_transaction_pooler(dsn)
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
    """What to do about an error that waiting does not cure; None for any other."""
    text = describe(error)
    if errors.is_refused(error):
        return (
            f"the database refuses us ({text}): DATABASE_URL needs the right user, password and"
            " database"
        )
    if errors.is_unmigrated(error):
        return (
            "the database is not migrated: run `meshmetrics migrate`, or leave MESHMETRICS_MIGRATE"
            " at true"
        )
    if errors.is_forbidden(error):
        return (
            f"DATABASE_URL's user may not do the daemon's work ({text}): make it a member of"
            " meshmetrics_worker"
        )
    return None
