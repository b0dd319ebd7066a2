"""Parts of the pipeline on a real database, with faults where a test asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.model import Change, Counted
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.store import Database
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from tests.sql.plain import assert_counted
from tests.support import Workflow, make_project, make_workflow


class FaultyStore(CountingStore):
    """The real store, except that `fault` may raise before a count reaches the database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.calls: list[list[UUID]] = []
        self.fault: Callable[[list[UUID]], Awaitable[None]] | None = None

    async def count_runs(self, run_ids: Sequence[UUID]) -> Counted:
        self.calls.append(list(run_ids))
        if self.fault is not None:
            await self.fault(list(run_ids))
        return await super().count_runs(run_ids)


@dataclass
class Published:
    """What the counter gave the publisher."""

    changes: list[Change] = field(default_factory=list)
    committed: list[float | None] = field(default_factory=list)

    def __call__(
        self, changes: Sequence[Change], *, counted: float, committed: float | None
    ) -> None:
        assert counted > 0
        self.changes += changes
        self.committed.append(committed)


@pytest.fixture
async def faulty(worker_dsn: str) -> AsyncIterator[FaultyStore]:
    pool = await asyncpg.create_pool(worker_dsn, min_size=0, max_size=5)
    yield FaultyStore(Database(pool))
    pool.terminate()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(1000)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def counter(
    faulty: FaultyStore, inbox: Inbox, published: Published, telemetry: Telemetry
) -> Counter:
    return Counter(faulty, inbox, published, telemetry, batch=100, retry_base=0.01, retry_cap=0.02)


@pytest.fixture
async def workflow(owner: asyncpg.Connection) -> Workflow:
    return await make_workflow(owner, await make_project(owner))


@asynccontextmanager
async def working(*services: Service) -> AsyncIterator[None]:
    """Run services, and stop them in the reverse order. A service that fails fails the test."""
    tasks = []
    for service in services:
        tasks.append(asyncio.create_task(service.run()))
        await asyncio.wait(
            {tasks[-1], asyncio.create_task(service.started.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
    yield
    for service, task in zip(reversed(services), reversed(tasks), strict=True):
        service.stop()
        await asyncio.wait_for(task, 10)


async def all_counted(owner: asyncpg.Connection) -> bool:
    """For `eventually`: counters and buckets equal a plain group by."""
    await assert_counted(owner)
    return True
