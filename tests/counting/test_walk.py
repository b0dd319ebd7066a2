"""Walks: how far they go where a tenant's runs say that they were updated in the future."""

from __future__ import annotations

import asyncio

import asyncpg

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.deep_sweeper import DeepSweeper
from meshmetrics.counting.sweeper import Sweeper, SweepTimes
from meshmetrics.counting.walk import BEGINNING, FAR_FUTURE, walk
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream
from tests.support import Workflow, eventually, insert_run
from tests.support.counting import FaultyStore, all_counted, working

BATCH = 10


async def insert_many(
    owner: asyncpg.Connection, workflow: Workflow, runs: int, when: str, step: str
) -> None:
    """Ended runs, updated at `when` and each `step` later than the one before."""
    await owner.execute(
        "insert into workflow_runs (project_id, workflow_id, status, finished_at, updated_at)"
        f" select $1, $2, 'succeeded', now(), now() + interval '{when}' + n * interval '{step}'"
        " from generate_series(1, $3) n",
        workflow.project_id,
        workflow.id,
        runs,
    )


async def counted(owner: asyncpg.Connection) -> tuple[int, int]:
    """How many runs updated in the past are counted, and how many in the future."""
    row = await owner.fetchrow(
        "select count(*) filter (where r.updated_at <= now()),"
        " count(*) filter (where r.updated_at > now())"
        " from meshmetrics.counted_runs c join workflow_runs r on r.id = c.run_id"
    )
    assert row is not None
    return row[0], row[1]


async def test_a_walk_counts_the_past_and_no_more_of_the_future_than_a_step_holds(
    faulty: FaultyStore, counter: Counter, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await insert_many(owner, workflow, 25, "-1 hour", "1 second")
    await insert_many(owner, workflow, 40, "1 hour", "1 day")
    steps = [s async for s in walk(faulty, counter, BEGINNING, FAR_FUTURE, BATCH, "sweep")]
    assert await counted(owner) == (25, 5)
    assert [step.last for step in steps] == [False, False, True]
    # Again and again: the cost of a sweep does not grow with what lies ahead.
    for _ in range(2):
        steps = [s async for s in walk(faulty, counter, BEGINNING, FAR_FUTURE, BATCH, "sweep")]
        assert sum(step.scanned for step in steps) == 3 * BATCH
    assert await counted(owner) == (25, 5)


async def test_a_whole_walk_counts_the_future_too(
    faulty: FaultyStore, counter: Counter, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await insert_many(owner, workflow, 25, "-1 hour", "1 second")
    await insert_many(owner, workflow, 40, "1 hour", "1 day")
    async for _ in walk(faulty, counter, BEGINNING, FAR_FUTURE, BATCH, "sweep", whole=True):
        pass
    assert await counted(owner) == (25, 40)


async def test_runs_whose_time_has_come_are_walked_as_any_others(
    faulty: FaultyStore, counter: Counter, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    await insert_many(owner, workflow, 40, "1 hour", "1 day")
    await owner.execute("alter table workflow_runs disable trigger user")
    await owner.execute("update workflow_runs set updated_at = updated_at - interval '50 days'")
    async for _ in walk(faulty, counter, BEGINNING, FAR_FUTURE, BATCH, "sweep"):
        pass
    assert await counted(owner) == (40, 0)


async def test_sweeps_and_deep_sweeps_together_leave_nothing_out(
    faulty: FaultyStore,
    counter: Counter,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    await insert_many(owner, workflow, 40, "1 hour", "1 day")
    sweeper = Sweeper(
        faulty, counter, inbox, Stream(), RunRate(0), asyncio.Event(), telemetry,
        times=SweepTimes(shortest=0.02, overlap=5.0), batch=BATCH,
    )  # fmt: skip
    deep = DeepSweeper(faulty, counter, telemetry, interval=0.05, batch=BATCH)
    async with working(sweeper):
        live = await insert_run(owner, workflow, "succeeded")
        await eventually(lambda: is_counted(owner, live))
        async with working(deep):
            await eventually(lambda: all_counted(owner))
    assert await counted(owner) == (1, 40)


async def is_counted(owner: asyncpg.Connection, run: object) -> bool:
    sql = "select exists (select from meshmetrics.counted_runs where run_id = $1)"
    found: bool = await owner.fetchval(sql, run)
    return found
