"""The counter: load makes the batches, outages are waited for, one bad run harms no other."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID, uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.counting.counter import Counter, Source
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Arrival, Inbox
from meshmetrics.stream.run_rate import RunRate
from tests.sql.plain import assert_counted
from tests.support import Workflow, eventually, insert_run, make_project, make_workflow
from tests.support.counting import FaultyStore, Published, working


def hint(inbox: Inbox, *runs: UUID, committed: float | None = None) -> None:
    for run in runs:
        inbox.put(run, Arrival(time.monotonic(), committed))


async def insert_runs(owner: asyncpg.Connection, workflow: Workflow, count: int) -> list[UUID]:
    return [await insert_run(owner, workflow, "succeeded") for _ in range(count)]


async def test_a_hinted_run_is_counted_and_its_change_handed_on(
    counter: Counter,
    inbox: Inbox,
    published: Published,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    run = await insert_run(owner, workflow, "failed")
    async with working(counter):
        hint(inbox, run, committed=123.5)
        await eventually(lambda: published.changes)
    assert published.changes[0].failure_count == 1
    assert published.committed == [123.5]
    await assert_counted(owner)


async def test_while_a_count_is_under_way_the_next_batch_grows(
    counter: Counter,
    inbox: Inbox,
    faulty: FaultyStore,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    go_on = asyncio.Event()

    async def held_up(_: list[UUID]) -> None:
        await go_on.wait()

    runs = await insert_runs(owner, workflow, 21)
    faulty.fault = held_up
    async with working(counter):
        hint(inbox, runs[0])
        await eventually(lambda: len(faulty.calls) == 1)
        hint(inbox, *runs[1:])
        go_on.set()
        await eventually(lambda: len(faulty.calls) == 2)
    assert [len(call) for call in faulty.calls] == [1, 20]
    await assert_counted(owner)


async def test_a_batch_has_a_bound(
    counter: Counter, inbox: Inbox, faulty: FaultyStore, owner: asyncpg.Connection
) -> None:
    hint(inbox, *(uuid4() for _ in range(250)))
    async with working(counter):
        await eventually(lambda: len(faulty.calls) == 3)
    assert [len(call) for call in faulty.calls] == [100, 100, 50]


async def test_stopping_counts_first_what_the_inbox_holds(
    counter: Counter, inbox: Inbox, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    runs = await insert_runs(owner, workflow, 5)
    async with working(counter):
        hint(inbox, *runs)
    await assert_counted(owner)
    assert len(inbox) == 0


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
        asyncpg.TooManyConnectionsError("too many"),
        asyncpg.SerializationError("conflict"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12"),
        ConnectionRefusedError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_passing_trouble_is_waited_out_without_losing_a_run(
    counter: Counter,
    inbox: Inbox,
    faulty: FaultyStore,
    owner: asyncpg.Connection,
    workflow: Workflow,
    error: Exception,
) -> None:
    async def fail_thrice(_: list[UUID]) -> None:
        if len(faulty.calls) <= 3:
            raise error

    faulty.fault = fail_thrice
    runs = await insert_runs(owner, workflow, 3)
    with capture_logs() as logged:
        async with working(counter):
            hint(inbox, *runs)
            await eventually(lambda: len(faulty.calls) == 4)
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == [
        "count.retry"
    ] * 3
    await assert_counted(owner)


async def test_stopping_does_not_wait_for_a_database_that_is_away(
    counter: Counter, inbox: Inbox, faulty: FaultyStore
) -> None:
    async def away(_: list[UUID]) -> None:
        raise ConnectionRefusedError

    faulty.fault = away
    hint(inbox, uuid4())
    task = asyncio.create_task(counter.run())
    await eventually(lambda: len(faulty.calls) >= 2)
    counter.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("bad", [0, 7, 63, 99])
async def test_a_run_the_database_cannot_digest_is_set_aside_and_all_others_are_counted(
    counter: Counter,
    inbox: Inbox,
    faulty: FaultyStore,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    bad: int,
) -> None:
    runs = await insert_runs(owner, workflow, 100)

    async def choke(run_ids: list[UUID]) -> None:
        if runs[bad] in run_ids:
            raise asyncpg.NumericValueOutOfRangeError("integer out of range\nDETAIL:  a row")

    faulty.fault = choke
    with capture_logs() as logged:
        async with working(counter):
            hint(inbox, *runs)
            await eventually(lambda: len(faulty.calls) >= 8)
    assert await owner.fetchval("select success_count from workflow_run_metrics") == 99
    [row] = await owner.fetch("select run_id, reason from meshmetrics.set_aside_runs")
    assert tuple(row) == (runs[bad], "NumericValueOutOfRangeError: integer out of range")
    [line] = [line for line in logged if line["event"] == "run.set_aside"]
    assert line["run_id"] == str(runs[bad])
    assert telemetry.registry.get_sample_value("meshmetrics_runs_set_aside_total") == 1


async def test_a_flaw_the_database_knows_is_logged_and_counted_and_the_rest_goes_on(
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    other = await make_workflow(owner, await make_project(owner))
    run = await insert_run(owner, workflow, "succeeded")
    flawed = await insert_run(owner, workflow, "succeeded", project_id=other.project_id)
    with capture_logs() as logged:
        async with working(counter):
            hint(inbox, flawed, run)
    assert [line["run_id"] for line in logged if line["event"] == "run.set_aside"] == [str(flawed)]
    assert telemetry.registry.get_sample_value("meshmetrics_runs_set_aside_total") == 1
    assert await owner.fetchval("select success_count from workflow_run_metrics") == 1


@pytest.mark.parametrize("source", ["event", "sweep"])
async def test_runs_that_cannot_be_counted_keep_quick_sweeps_going_as_others_do(
    store: CountingStore,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    source: Source,
) -> None:
    other = await make_workflow(owner, await make_project(owner))
    flawed = await insert_run(owner, workflow, "succeeded", project_id=other.project_id)
    rate = RunRate(1)
    counter = Counter(store, inbox, Published(), telemetry, run_rate=rate)
    assert await counter.count([flawed], source=source) == 0
    assert counter.counted.is_set()
    assert rate.rate() > 0


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InsufficientPrivilegeError("permission denied for function count_runs"),
        asyncpg.UndefinedColumnError("column r.finished_at does not exist"),
        asyncpg.ProgramLimitExceededError("index row size exceeds"),  # class 54
        asyncpg.InternalServerError("cache lookup failed"),  # class XX
        asyncpg.RaiseError("no"),  # class P0
    ],
    ids=lambda error: str(error.sqlstate),
)
async def test_what_is_no_runs_fault_sets_none_aside_and_is_not_swallowed(
    counter: Counter,
    inbox: Inbox,
    faulty: FaultyStore,
    owner: asyncpg.Connection,
    workflow: Workflow,
    error: asyncpg.PostgresError,
) -> None:
    runs = await insert_runs(owner, workflow, 10)

    async def fail(_: list[UUID]) -> None:
        raise error

    faulty.fault = fail
    hint(inbox, *runs)
    with pytest.raises(type(error)):
        await counter.run()
    assert len(faulty.calls) == 1
    assert await owner.fetchval("select count(*) from meshmetrics.set_aside_runs") == 0
    assert len(inbox) == 10  # for when it runs again
    faulty.fault = None
    async with working(counter):
        pass
    await assert_counted(owner)


async def test_how_long_counting_took_is_measured_for_every_hint(
    counter: Counter, inbox: Inbox, telemetry: Telemetry
) -> None:
    async with working(counter):
        hint(inbox, *(uuid4() for _ in range(7)))
    name = "meshmetrics_received_to_counted_seconds_count"
    assert telemetry.registry.get_sample_value(name) == 7


@pytest.mark.parametrize(
    "error", [TimeoutError(), asyncpg.QueryCanceledError("statement timeout")], ids=str
)
async def test_a_batch_that_takes_too_long_is_halved_until_it_fits(
    counter: Counter,
    inbox: Inbox,
    faulty: FaultyStore,
    owner: asyncpg.Connection,
    workflow: Workflow,
    error: Exception,
) -> None:
    async def too_long(run_ids: list[UUID]) -> None:
        if len(run_ids) > 30:
            raise error

    faulty.fault = too_long
    runs = await insert_runs(owner, workflow, 100)
    async with working(counter):
        hint(inbox, *runs)
        await eventually(lambda: len(faulty.calls) == 7)
    assert [len(call) for call in faulty.calls] == [100, 50, 25, 25, 50, 25, 25]
    await assert_counted(owner)
    assert await owner.fetchval("select count(*) from meshmetrics.set_aside_runs") == 0
