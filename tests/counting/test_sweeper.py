"""Sweeps: they find what no event announced, judge the stream by it, and lose nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.sweeper import Sweeper, SweepTimes
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Arrival, Inbox
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream
from tests.sql.plain import assert_counted
from tests.support import (
    Workflow,
    eventually,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
)
from tests.support.counting import FaultyStore, all_counted, working

TIMES = SweepTimes(shortest=0.02, longest=60.0, overlap=5.0, missed_after=0.1, silent_after=0.05)


class Bench:
    """A sweeper and all that it needs."""

    def __init__(
        self, store: FaultyStore, counter: Counter, inbox: Inbox, telemetry: Telemetry
    ) -> None:
        self.store = store
        self.counter = counter
        self.inbox = inbox
        self.telemetry = telemetry
        self.stream = Stream()
        self.run_rate = RunRate(0)
        self.wanted = asyncio.Event()

    def value(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(f"meshmetrics_{name}", labels) or 0.0

    def sweeps(self) -> float:
        return self.value("sweeps_total", kind="regular")

    @asynccontextmanager
    async def sweeping(self, **times: Any) -> AsyncIterator[None]:
        """A sweeper that has caught up."""
        sweeper = Sweeper(
            self.store,
            self.counter,
            self.inbox,
            self.stream,
            self.run_rate,
            self.wanted,
            self.telemetry,
            times=replace(TIMES, **times),
            batch=100,
        )
        async with working(sweeper):
            await eventually(lambda: self.sweeps() >= 1)
            yield

    def stream_up(self, since: float = 60.0) -> None:
        """The stream says that it works, for so long."""
        self.stream.up_since = time.monotonic() - since


@pytest.fixture
def b(faulty: FaultyStore, counter: Counter, inbox: Inbox, telemetry: Telemetry) -> Bench:
    return Bench(faulty, counter, inbox, telemetry)


async def test_without_any_event_everything_is_counted(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    early = await insert_run(owner, workflow, "failed")
    async with b.sweeping():
        await assert_counted(owner)
        for status in ("succeeded", "failed", "canceled"):
            await finish_run(owner, await insert_run(owner, workflow), status)
        await finish_run(owner, early, "succeeded")
        await eventually(lambda: all_counted(owner))


async def test_a_backlog_larger_than_a_step_is_walked_to_its_end(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await owner.execute(
        "insert into workflow_runs (project_id, workflow_id, status, finished_at)"
        " select $1, $2, 'succeeded', now() from generate_series(1, 1234)",
        workflow.project_id,
        workflow.id,
    )
    async with b.sweeping():
        pass
    await assert_counted(owner)


async def test_runs_that_ended_while_no_daemon_worked_are_not_missed_by_the_stream(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await insert_run(owner, workflow, "succeeded")
    b.stream_up()
    with capture_logs() as logged:
        async with b.sweeping():
            await asyncio.sleep(0.2)
    assert b.value("sweep_found_missed_total") == 0
    assert not b.stream.replacing.is_set()
    [line] = [line for line in logged if line["event"] == "sweep.caught_up"]
    assert line["runs"] == 1


async def test_a_run_that_no_event_announced_is_missed_and_a_silent_stream_replaced(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    b.stream_up()
    with capture_logs() as logged:
        async with b.sweeping():
            await insert_run(owner, workflow, "succeeded")
            b.wanted.set()
            await eventually(b.stream.replacing.is_set)
            await assert_counted(owner)
    assert b.value("sweep_found_missed_total") == 1
    [line] = [line for line in logged if line["event"] == "sweep.found_missed"]
    assert (line["runs"], line["stream_up"]) == (1, True)


async def test_a_stream_that_still_brings_events_is_not_replaced_for_those_it_drops(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    b.stream_up()
    async with b.sweeping(silent_after=5.0):
        b.stream.last_event = time.monotonic()
        await insert_run(owner, workflow, "succeeded")
        b.wanted.set()
        await eventually(lambda: b.value("sweep_found_missed_total") == 1)
    assert not b.stream.replacing.is_set()


async def test_a_run_whose_event_is_under_way_is_counted_at_once_and_not_missed(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    b.stream_up()
    async with b.sweeping(missed_after=0.3):
        run = await insert_run(owner, workflow, "succeeded")
        b.wanted.set()
        await eventually(lambda: all_counted(owner))
        b.inbox.put(run, Arrival(time.monotonic(), None))
        b.inbox.take(10)
        await asyncio.sleep(0.4)
    assert b.value("sweep_found_missed_total") == 0


async def test_a_run_whose_event_comes_while_the_sweep_counts_it_is_not_missed(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    async def event_first(run_ids: list[UUID]) -> None:
        for run in run_ids:
            b.inbox.put(run, Arrival(time.monotonic(), None))

    b.stream_up()
    async with b.sweeping():
        b.store.fault = event_first
        await insert_run(owner, workflow, "succeeded")
        b.wanted.set()
        await eventually(lambda: all_counted(owner))
        await asyncio.sleep(0.2)
    assert b.value("sweep_found_missed_total") == 0


async def test_a_run_that_cannot_be_counted_is_not_missed(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    other = await make_workflow(owner, await make_project(owner))
    b.stream_up()
    async with b.sweeping():
        await insert_run(owner, workflow, "succeeded", project_id=other.project_id)
        b.wanted.set()
        await eventually(lambda: b.value("runs_set_aside_total") == 1)
        await asyncio.sleep(0.2)
    assert b.value("sweep_found_missed_total") == 0


async def test_the_pause_grows_while_the_stream_is_whole_and_shrinks_at_the_first_miss(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    b.stream_up()
    async with b.sweeping(shortest=0.3):
        await eventually(lambda: b.value("sweep_pause_seconds") >= 1.2)
        await insert_run(owner, workflow, "succeeded")
        b.wanted.set()
        await eventually(lambda: b.value("sweep_found_missed_total") == 1)
        assert b.value("sweep_pause_seconds") == 0.3


async def test_while_the_stream_is_down_sweeps_stay_frequent(b: Bench) -> None:
    async with b.sweeping():
        await eventually(lambda: b.sweeps() >= 8)
        assert b.value("sweep_pause_seconds") == TIMES.shortest


async def test_while_the_stream_is_left_sweeps_are_less_frequent_but_not_rare(
    b: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.counting.sweeper.UNSUBSCRIBED_PAUSE", 0.3)
    b.stream.unsubscribed = True
    async with b.sweeping():
        await eventually(lambda: b.value("sweep_pause_seconds") == 0.3)
        before = b.sweeps()
        await eventually(lambda: b.sweeps() > before + 1)
        assert b.value("sweep_pause_seconds") == 0.3


async def test_a_sweep_starts_when_it_is_requested(b: Bench) -> None:
    b.stream_up()
    async with b.sweeping(shortest=0.5):
        before = b.sweeps()
        b.wanted.set()
        await eventually(lambda: b.sweeps() > before)


async def test_a_database_that_is_away_is_waited_for(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await insert_run(owner, workflow, "succeeded")
    settled_until, failures = b.store.settled_until, 0

    async def away(overlap: timedelta) -> Any:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise ConnectionRefusedError
        return await settled_until(overlap)

    b.store.settled_until = away  # type: ignore[method-assign]
    with capture_logs() as logged:
        async with b.sweeping():
            await assert_counted(owner)
    assert [line["event"] for line in logged][:2] == ["sweep.failed", "sweep.failed"]


async def test_a_row_that_appears_behind_the_walk_is_found(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow, owner_dsn: str
) -> None:
    """updated_at is the start of a transaction: one that is long under way writes into the past."""
    slow = await asyncpg.connect(owner_dsn)
    try:
        transaction = slow.transaction()
        await transaction.start()
        run = await insert_run(slow, workflow, "succeeded")
        async with b.sweeping():
            other = await insert_run(owner, workflow, "succeeded")
            await eventually(lambda: all_counted(owner))
            before = b.sweeps()
            await eventually(lambda: b.sweeps() > before + 3)
            await transaction.commit()
            await eventually(lambda: all_counted(owner))
        counted = await owner.fetch("select run_id from meshmetrics.counted_runs")
        assert {row["run_id"] for row in counted} == {run, other}
    finally:
        await slow.close()


async def test_the_checkpoint_moves_on(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() - interval '1 day'"
        " where name = 'sweep'"
    )
    async with b.sweeping():
        pass
    behind = await owner.fetchval(
        "select now() - updated_at from meshmetrics.checkpoint where name = 'sweep'"
    )
    assert behind < timedelta(minutes=1)


async def test_a_late_row_behind_the_checkpoint_is_found_though_the_stream_is_down(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer set `updated_at` to a time before the checkpoint."""
    monkeypatch.setattr("meshmetrics.counting.sweeper.LATE_EVERY", 0.1)
    async with b.sweeping():
        at = datetime.now(UTC) - timedelta(seconds=70)
        await owner.execute("alter table public.workflow_runs disable trigger user")
        run = await insert_run(owner, workflow, "succeeded")
        await owner.execute("update workflow_runs set updated_at = $1 where id = $2", at, run)
        await eventually(lambda: all_counted(owner))


async def test_runs_are_found_after_the_databases_clock_was_set_back(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await owner.execute("update meshmetrics.checkpoint set updated_at = now() + interval '1 hour'")
    await insert_run(owner, workflow, "succeeded")
    async with b.sweeping():
        await eventually(lambda: all_counted(owner))
        checkpoint = "select updated_at <= now() from meshmetrics.checkpoint where name = 'sweep'"
        await eventually(lambda: owner.fetchval(checkpoint))


async def test_sweeps_go_on_fast_while_the_stream_is_up_but_behind(b: Bench) -> None:
    async with b.sweeping():
        b.stream_up()
        b.stream.heard(time.monotonic(), time.time(), time.time() - 90)
        before = b.sweeps()
        await eventually(lambda: b.sweeps() > before + 10)
        b.stream.heard(time.monotonic(), time.time(), time.time() - 0.3)
        assert not b.stream.behind(time.monotonic())
        await eventually(lambda: b.value("sweep_pause_seconds") > 1)


async def test_silence_above_realtimes_limit_is_not_a_dead_session(
    b: Bench, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    b.stream_up()
    async with b.sweeping():
        b.run_rate.add(6001)
        await insert_run(owner, workflow, "succeeded")
        b.wanted.set()
        await eventually(lambda: b.value("sweep_found_missed_total") == 1)
    assert not b.stream.replacing.is_set()
