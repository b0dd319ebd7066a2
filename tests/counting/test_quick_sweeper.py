"""Quick sweeps: runs are counted before their events come, and nothing is looked at for nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import asyncpg
import pytest

from meshmetrics.counting import quick_sweeper
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.quick_sweeper import QuickSweeper, rest_after
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Arrival, Inbox
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream
from tests.conftest import Connect
from tests.support import Workflow, eventually, finish_run, insert_run
from tests.support.counting import FaultyStore, all_counted, working


def looks(telemetry: Telemetry) -> float:
    return telemetry.registry.get_sample_value("meshmetrics_sweeps_total", {"kind": "quick"}) or 0.0


@asynccontextmanager
async def flowing(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> AsyncIterator[None]:
    """Quick sweeps under way, because one run's event came."""
    quick = QuickSweeper(
        faulty,
        counter,
        inbox,
        RunRate(0),
        Stream(),
        telemetry,
        interval=0.02,
        missed_after=0.1,
        batch=100,
    )
    async with working(counter, quick):
        first = await insert_run(owner, workflow, "succeeded")
        inbox.put(first, Arrival(time.monotonic(), None))
        await eventually(lambda: looks(telemetry) >= 1)
        yield


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_sweeper, "ACTIVE_SECONDS", 1.0)


async def test_while_runs_flow_the_next_ones_are_counted_without_their_events(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    async with flowing(faulty, counter, inbox, telemetry, owner, workflow):
        for status in ("failed", "canceled", "succeeded"):
            await finish_run(owner, await insert_run(owner, workflow), status)
            await eventually(lambda: all_counted(owner), within=5)


async def test_when_nothing_flows_any_more_nothing_is_looked_at(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    async with flowing(faulty, counter, inbox, telemetry, owner, workflow):
        await eventually(lambda: not counter.counted.is_set())

        async def settled() -> bool:
            before = looks(telemetry)
            await asyncio.sleep(0.3)
            return looks(telemetry) == before

        await eventually(settled, within=10)
        # And it begins again with the next event.
        before = looks(telemetry)
        again = await insert_run(owner, workflow, "failed")
        inbox.put(again, Arrival(time.monotonic(), None))
        await eventually(lambda: looks(telemetry) > before)


async def test_what_it_counted_is_missed_if_no_event_tells_of_it(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    async with flowing(faulty, counter, inbox, telemetry, owner, workflow):
        told, _ = [await insert_run(owner, workflow, "failed") for _ in range(2)]
        await eventually(lambda: all_counted(owner))
        inbox.put(told, Arrival(time.monotonic(), None))
        await eventually(lambda: inbox.next_deadline and time.monotonic() > inbox.next_deadline)
        assert inbox.missed(time.monotonic()) == 1


async def test_a_clock_that_was_set_does_not_leave_it_looking_at_the_past(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quick_sweeper, "ACTIVE_SECONDS", 60.0)
    unsettled_since = faulty.unsettled_since
    ahead = timedelta(hours=1)

    async def wrong(overlap: timedelta) -> datetime:
        return await unsettled_since(overlap) + ahead

    monkeypatch.setattr(faulty, "unsettled_since", wrong)
    async with flowing(faulty, counter, inbox, telemetry, owner, workflow):
        ahead = timedelta(0)
        before = looks(telemetry)
        await eventually(lambda: looks(telemetry) > before + 1)  # it looks at the present again
        await insert_run(owner, workflow, "failed")
        await eventually(lambda: all_counted(owner))


async def test_a_look_reaches_back_to_the_oldest_transaction_under_way(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    connect: Connect,
    owner_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quick_sweeper, "ACTIVE_SECONDS", 60.0)
    monkeypatch.setattr(quick_sweeper, "OVERLAP", timedelta(minutes=1))
    async with flowing(faulty, counter, inbox, telemetry, owner, workflow):
        engine = await connect(owner_dsn)
        async with engine.transaction():
            await insert_run(engine, workflow, "failed")
            # Several looks go by, from long after this transaction's start as far as they know.
            before = looks(telemetry)
            await eventually(lambda: looks(telemetry) > before + 20)
        await eventually(lambda: all_counted(owner))


@pytest.mark.parametrize(("took", "rest"), [(0.01, 0.09), (0.1, 0.4), (0.7, 0.7), (60.0, 5.0)])
def test_it_rests_for_as_long_as_a_look_is_dear_and_never_for_long(
    took: float, rest: float
) -> None:
    assert rest_after(took) == pytest.approx(rest)


async def test_a_database_that_is_away_for_a_moment_is_waited_for(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    async with flowing(faulty, counter, inbox, telemetry, owner, workflow):
        await owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        run = await insert_run(owner, workflow, "failed")
        inbox.put(run, Arrival(time.monotonic(), None))
        await eventually(lambda: all_counted(owner))
        before = looks(telemetry)
        await eventually(lambda: looks(telemetry) > before)
