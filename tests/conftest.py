"""The fixtures that every suite shares: a real Postgres, and a database of its own per test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from meshmetrics.daemon.lease import LeaseStore
from meshmetrics.database.store import Database
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from tests.support.databases import NEWEST, DatabaseClone, Servers, cloned, in_memory

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow modules first: the quick ones then fill what is left of each worker's time."""
    items.sort(key=lambda item: not _in_slow_module(item))


def _in_slow_module(item: pytest.Item) -> bool:
    module = item.getparent(pytest.Module)
    return module is not None and any(mark.name == "slow" for mark in module.own_markers)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The Postgres servers of this test run."""
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def postgres_version() -> int:
    """The newest; modules and suites that need every version override this."""
    return NEWEST


@pytest.fixture
def postgres(servers: Servers, postgres_version: int) -> EmbeddedPostgres:
    """The server, shared by all tests: who stops or reconfigures one takes `own_postgres`."""
    return servers.get(postgres_version)


@pytest.fixture
async def own_postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A server for this test alone (a second to start), without databases, to stop or crash."""
    async with EmbeddedPostgres(temporary_in=in_memory()) as server:
        yield server


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[DatabaseClone]:
    """A migrated database for this test alone."""
    async with cloned(postgres, "migrated") as database:
        yield database


@pytest.fixture
async def source_database(postgres: EmbeddedPostgres) -> AsyncIterator[DatabaseClone]:
    """MeshHook's database as it is before meshmetrics was ever there, for this test alone."""
    async with cloned(postgres, "source") as database:
        yield database


@pytest.fixture
def owner_dsn(database: DatabaseClone) -> str:
    """The test's database as the superuser who owns everything in it."""
    return database.owner_dsn


@pytest.fixture
def worker_dsn(database: DatabaseClone) -> str:
    """The test's database as a role that may only do what meshmetrics_worker may."""
    return database.worker_dsn


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens further connections by DSN; they are closed when the test ends."""
    opened: list[asyncpg.Connection] = []

    async def open_one(dsn: str) -> asyncpg.Connection:
        opened.append(await asyncpg.connect(dsn))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.terminate()


@pytest.fixture
async def owner(connect: Connect, owner_dsn: str) -> asyncpg.Connection:
    """A connection as the owner: it acts for the engine and looks at everything."""
    return await connect(owner_dsn)


@pytest.fixture
async def worker(connect: Connect, worker_dsn: str) -> asyncpg.Connection:
    """A connection as the daemon's role."""
    return await connect(worker_dsn)


@pytest.fixture
async def store(worker_dsn: str) -> AsyncIterator[CountingStore]:
    """The daemon's store on a pool of the daemon's role."""
    pool = await asyncpg.create_pool(worker_dsn, min_size=0, max_size=5)
    yield CountingStore(Database(pool))
    pool.terminate()


@pytest.fixture
def audits(store: CountingStore) -> AuditStore:
    """The audits' store on the same pool."""
    return AuditStore(store.database)


@pytest.fixture
def leases(store: CountingStore) -> LeaseStore:
    """The lease's store on the same pool."""
    return LeaseStore(store.database)
