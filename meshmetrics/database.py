"""The pool of connections, and a database that may not be there yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import structlog

from meshmetrics.logs import describe
from meshmetrics.migrate import migrate
from meshmetrics.schema import MigrationError
from meshmetrics.service import FatalError, Service, full_jitter
from meshmetrics.store import Store, is_transient

log = structlog.get_logger()

COMMAND_TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
CLOSE_SECONDS = 0.3

_HOPELESS = (
    asyncpg.InvalidAuthorizationSpecificationError,  # 28: wrong password, unknown user
    asyncpg.InvalidCatalogNameError,  # 3D: no such database
)


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


async def await_database(service: Service, store: Store, dsn: str, *, migrating: bool) -> None:
    """Wait for the database, then migrate it or make sure that it is; or until `service` stops.

    Raises FatalError where waiting would not help, with what would.
    """
    attempt = 0
    while not service.stopping.is_set():
        try:
            if migrating:
                for line in await migrate(dsn):
                    log.info("migrate.done", step=line)
            await store.read_checkpoint("sweep")
            flaws = await store.source_flaws()
        except MigrationError as error:
            raise FatalError(f"the database cannot be migrated: {error}") from None
        except _HOPELESS as error:
            raise FatalError(
                f"the database refuses us ({describe(error)}): DATABASE_URL needs the right user,"
                " password and database"
            ) from None
        except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
            raise FatalError(
                "the database is not migrated: run `meshmetrics migrate`, or leave"
                " MESHMETRICS_MIGRATE at true"
            ) from None
        except asyncpg.InsufficientPrivilegeError as error:
            raise FatalError(
                f"DATABASE_URL's user may not do the daemon's work ({describe(error)}): make it a"
                " member of meshmetrics_worker"
            ) from None
        except Exception as error:
            if not (is_transient(error) or isinstance(error, asyncpg.PostgresError)):
                raise
            attempt += 1
            wait = full_jitter(attempt, base=0.5, cap=5.0)
            log.warning("database.unreachable", attempt=attempt, error=describe(error))
            await service.pause(wait)
        else:
            if flaws:
                log.warning("source.changed", flaws=flaws, remedy="run `meshmetrics doctor`")
            log.info("database.ready")
            return
