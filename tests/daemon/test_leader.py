"""The leader: one works, the others stand by, and take over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.daemon.leader import Leader
from meshmetrics.daemon.lease import Lease, LeaseStore
from meshmetrics.database.store import Database
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry
from tests.support import eventually
from tests.support.databases import EVERY_VERSION

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: the lease and its sessions are the database's."""
    version: int = request.param
    return version


class Work(Service):
    name = "work"

    def __init__(self, story: list[str], label: str) -> None:
        super().__init__()
        self.story = story
        self.label = label

    async def run(self) -> None:
        self.story.append(f"{self.label} works")
        self.started.set()
        await self.stopping.wait()
        self.story.append(f"{self.label} drained")


class CutOff(LeaseStore):
    """The real store, whose lease calls fail while `away`."""

    away = False

    async def take_lease(self, *arguments: Any) -> Lease:
        if self.away:
            raise ConnectionRefusedError
        return await super().take_lease(*arguments)


@pytest.fixture
async def cut_off(worker_dsn: str) -> AsyncIterator[CutOff]:
    pool = await asyncpg.create_pool(worker_dsn, min_size=0, max_size=2)
    yield CutOff(Database(pool))
    pool.terminate()


def leader(store: LeaseStore, story: list[str], label: str = "a", ttl: float = 60.0) -> Leader:
    def build(lease: Lease) -> Sequence[Service]:
        assert lease.held
        return [Work(story, label)]

    async def prepare(_: Service) -> None:
        pass

    return Leader(store, build, Telemetry(), prepare=prepare, ttl=ttl, drain_seconds=2.0)


@asynccontextmanager
async def leading(leader: Leader) -> AsyncIterator[None]:
    task = asyncio.create_task(leader.run())
    yield
    leader.stop()
    await asyncio.wait_for(task, 10)


async def test_only_one_of_two_works_and_the_other_takes_over_when_it_stops(
    leases: LeaseStore,
) -> None:
    story: list[str] = []
    first, second = leader(leases, story, "first"), leader(leases, story, "second")
    async with leading(first):
        await eventually(lambda: story == ["first works"])
        task = asyncio.create_task(second.run())
        await eventually(lambda: second.lease)
        assert second.lease is not None
        assert not second.lease.held
        assert story == ["first works"]
    await eventually(lambda: story == ["first works", "first drained", "second works"])
    second.stop()
    await task


async def test_a_holder_that_died_without_a_word_is_replaced_when_its_lease_runs_out(
    leases: LeaseStore,
) -> None:
    await leases.take_lease(uuid4(), "dead", timedelta(seconds=1))
    story: list[str] = []
    async with leading(leader(leases, story, ttl=1.0)):
        await eventually(lambda: story == ["a works"])


async def test_a_lease_is_kept_over_many_times_its_length(
    leases: LeaseStore, owner: asyncpg.Connection
) -> None:
    story: list[str] = []
    async with leading(leader(leases, story, ttl=0.4)):
        await eventually(lambda: story)
        taken = await owner.fetchval("select taken_at from meshmetrics.lease")
        until = time.monotonic() + 1.5
        await eventually(lambda: time.monotonic() > until)
        assert await owner.fetchval("select taken_at from meshmetrics.lease") == taken
    assert story == ["a works", "a drained"]


async def test_a_holder_that_cannot_renew_stops_working_and_begins_again_when_it_can(
    cut_off: CutOff,
) -> None:
    story: list[str] = []
    with capture_logs() as logged:
        async with leading(leader(cut_off, story, ttl=0.5)):
            await eventually(lambda: story == ["a works"])
            cut_off.away = True
            await eventually(lambda: story == ["a works", "a drained"])
            cut_off.away = False
            await eventually(lambda: story == ["a works", "a drained", "a works"])
    assert "lease.lost" in [line["event"] for line in logged]


async def test_a_short_outage_does_not_cost_the_lease(cut_off: CutOff) -> None:
    story: list[str] = []
    with capture_logs() as logged:
        async with leading(leader(cut_off, story, ttl=2.0)):
            await eventually(lambda: story)
            await asyncio.sleep(2.2)  # it is about the last renewal, not about the first
            cut_off.away = True
            await eventually(lambda: any(x["event"] == "lease.unreachable" for x in logged))
            cut_off.away = False
            events = [line["event"] for line in logged]
            await asyncio.sleep(0.1)
    assert "lease.lost" not in events
    assert story == ["a works", "a drained"]


async def test_a_lease_that_somebody_else_took_ends_the_work(
    leases: LeaseStore, owner: asyncpg.Connection
) -> None:
    story: list[str] = []
    async with leading(leader(leases, story, ttl=1.0)):
        await eventually(lambda: story == ["a works"])
        await owner.execute(
            "update meshmetrics.lease set holder = gen_random_uuid(), holder_name = 'thief',"
            " expires_at = now() + interval '1 minute'"
        )
        await eventually(lambda: story == ["a works", "a drained"])


async def test_stopping_gives_the_lease_back_after_the_work_has_drained(
    leases: LeaseStore, owner: asyncpg.Connection
) -> None:
    story: list[str] = []
    async with leading(leader(leases, story)):
        await eventually(lambda: story)
    free = await owner.fetchval("select expires_at < clock_timestamp() from meshmetrics.lease")
    assert free
    assert story == ["a works", "a drained"]
