"""The back-fill: once, from where it stopped, and behind it nothing is left."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import asyncpg
import pytest

from meshmetrics.counting.backfill import Backfill
from meshmetrics.counting.counter import Counter
from meshmetrics.runtime.telemetry import Telemetry
from tests.sql.plain import assert_counted
from tests.support import Workflow, eventually, insert_run
from tests.support.counting import FaultyStore, all_counted, working


@pytest.fixture
def backfill(faulty: FaultyStore, counter: Counter, telemetry: Telemetry) -> Backfill:
    return Backfill(faulty, counter, telemetry, batch=100, overlap=1.0, settle_pause=0.05)


@pytest.fixture
async def history(owner: asyncpg.Connection, workflow: Workflow) -> None:
    """1,234 runs of the last month, many of them updated at the same moment, and meshmetrics
    installed a minute ago."""
    await owner.execute(
        "insert into workflow_runs"
        " (project_id, workflow_id, status, started_at, finished_at, updated_at)"
        " select $1, $2, (array['succeeded', 'failed', 'canceled', 'running'])[1 + n % 4],"
        "  at, case when n % 4 < 3 then at end, at"
        " from (select n, now() - interval '1 hour' * (1 + n / 150) as at"
        "  from generate_series(1, 1234) n) s",
        workflow.project_id,
        workflow.id,
    )
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() - interval '1 minute'"
        " where name = 'sweep'"
    )


async def checkpoint(owner: asyncpg.Connection) -> asyncpg.Record:
    row = await owner.fetchrow("select * from meshmetrics.checkpoint where name = 'backfill'")
    assert row is not None
    return row


@pytest.mark.usefixtures("history")
async def test_everything_there_was_is_counted_in_steps_and_then_it_is_done(
    backfill: Backfill, faulty: FaultyStore, owner: asyncpg.Connection, telemetry: Telemetry
) -> None:
    await asyncio.wait_for(backfill.run(), 30)
    await assert_counted(owner)
    assert max(len(call) for call in faulty.calls) <= 100
    assert (await checkpoint(owner))["done"]
    assert telemetry.registry.get_sample_value("meshmetrics_backfill_done") == 1
    assert telemetry.registry.get_sample_value("meshmetrics_backfill_scanned_total") == 1234


@pytest.mark.usefixtures("history")
async def test_once_done_it_is_never_done_again(backfill: Backfill, faulty: FaultyStore) -> None:
    await asyncio.wait_for(backfill.run(), 30)
    faulty.calls.clear()
    await asyncio.wait_for(backfill.run(), 30)
    assert faulty.calls == []


@pytest.mark.usefixtures("history")
async def test_a_backfill_that_was_stopped_goes_on_where_it_was(
    backfill: Backfill,
    faulty: FaultyStore,
    counter: Counter,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
) -> None:
    async def stop_after_three(_: object) -> None:
        if len(faulty.calls) == 3:
            backfill.stop()

    faulty.fault = stop_after_three
    await asyncio.wait_for(backfill.run(), 30)
    assert not (await checkpoint(owner))["done"]
    first = len(faulty.calls)
    again = Backfill(faulty, counter, telemetry, batch=100, overlap=1.0, settle_pause=0.05)
    await asyncio.wait_for(again.run(), 30)
    await assert_counted(owner)
    ids = [run_id for call in faulty.calls for run_id in call]
    assert len(ids) == len(set(ids))
    assert first == 3


@pytest.mark.usefixtures("history")
async def test_it_is_not_done_while_an_old_transaction_may_still_add_a_run(
    backfill: Backfill, faulty: FaultyStore, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    settled, under_way = await owner.fetchrow(  # type: ignore[misc] # a row, always
        "select now() - interval '10 minutes', now() - interval '5 minutes'"
    )
    looks = 0

    async def settled_until(overlap: timedelta) -> datetime:
        nonlocal looks
        looks += 1
        return settled if looks < 5 else await FaultyStore.settled_until(faulty, overlap)

    faulty.settled_until = settled_until  # type: ignore[method-assign]
    async with working(backfill):
        await eventually(lambda: looks == 2)  # it came to the end of what is settled
        assert not (await checkpoint(owner))["done"]
        await insert_run(owner, workflow, "succeeded", updated_at=under_way, finished_at=under_way)
        await eventually(lambda: all_counted(owner))
    assert (await checkpoint(owner))["done"]
