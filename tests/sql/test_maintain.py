"""The chores: pruning by grain, and ledger rows whose run is gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.sql.plain import assert_counted, counted_buckets, counted_counters
from tests.support import Workflow, insert_run, make_project, make_workflow


@pytest.fixture
async def workflow(owner: asyncpg.Connection) -> Workflow:
    return await make_workflow(owner, await make_project(owner))


async def runs_of_ages(
    owner: asyncpg.Connection, workflow: Workflow, *ages: timedelta
) -> list[UUID]:
    now = datetime.now(UTC)
    return [await insert_run(owner, workflow, "failed", finished_at=now - age) for age in ages]


async def grains(owner: asyncpg.Connection) -> list[str]:
    return sorted(key[1] for key in await counted_buckets(owner))


async def test_minutes_are_kept_two_days_quarters_400_days_and_days_for_good(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    await store.count_runs(await runs_of_ages(owner, workflow, timedelta(minutes=1)))
    assert await grains(owner) == ["day", "minute", "quarter"]
    now = datetime.now(UTC)
    assert (await store.maintain(now + timedelta(hours=47), 10)).pruned_buckets == 0
    assert (await store.maintain(now + timedelta(hours=49), 10)).pruned_buckets == 1
    assert await grains(owner) == ["day", "quarter"]
    assert (await store.maintain(now + timedelta(days=402), 10)).pruned_buckets == 1
    assert await grains(owner) == ["day"]
    assert (await store.maintain(now + timedelta(days=40_000), 10)).pruned_buckets == 0
    assert await audits.audit() == ()


async def test_a_run_that_changes_after_its_buckets_were_pruned_is_corrected_in_the_rest(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    (run,) = await runs_of_ages(owner, workflow, timedelta(minutes=1))
    await store.count_runs([run])
    await store.maintain(datetime.now(UTC) + timedelta(hours=49), 10)
    await owner.execute("update public.workflow_runs set status = 'succeeded' where id = $1", run)
    await store.count_runs([run])
    await assert_counted(owner)
    assert await audits.audit() == ()


async def test_going_back_in_time_brings_no_pruned_bucket_back(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    await store.maintain(datetime.now(UTC) + timedelta(hours=49), 10)
    await store.maintain(datetime.now(UTC) - timedelta(days=1), 10)
    await store.count_runs(await runs_of_ages(owner, workflow, timedelta(minutes=1)))
    assert await grains(owner) == ["day", "quarter"]
    await assert_counted(owner)


async def test_ledger_rows_whose_run_is_gone_are_retired_and_audits_stay_exact(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    runs = await runs_of_ages(owner, workflow, *[timedelta(hours=h) for h in range(0, 100, 5)])
    await store.count_runs(runs)
    before = (await counted_counters(owner), await counted_buckets(owner))
    await owner.execute("delete from public.workflow_runs where id = any ($1)", runs[:13])

    retired = slices = 0
    wrapped = False
    while not wrapped:
        done = await store.maintain(None, 6)
        retired, slices, wrapped = retired + done.retired_runs, slices + 1, done.wrapped

    assert (retired, slices) == (13, 4)
    assert await owner.fetchval("select count(*) from meshmetrics.counted_runs") == 7
    assert (await counted_counters(owner), await counted_buckets(owner)) == before
    assert await audits.audit() == ()
    # The next round begins at the start again.
    await owner.execute("delete from public.workflow_runs where id = any ($1)", runs[13:])
    assert (await store.maintain(None, 100)).retired_runs == 7
    assert await audits.audit() == ()


async def test_ledger_rows_of_a_deleted_workflow_just_go(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    await store.count_runs(await runs_of_ages(owner, workflow, timedelta(0), timedelta(0)))
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    assert (await store.maintain(None, 100)).retired_runs == 2
    assert await owner.fetchval("select count(*) from meshmetrics.counted_runs") == 0
    assert await audits.audit() == ()


async def test_the_chores_do_not_wait_for_a_workflow_that_is_being_deleted(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    (run,) = await runs_of_ages(owner, workflow, timedelta(minutes=1))
    await store.count_runs([run])
    await owner.execute("delete from public.workflow_runs where id = $1", run)
    deletion = owner.transaction()
    await deletion.start()
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    async with asyncio.timeout(10):
        done = await store.maintain(datetime.now(UTC) + timedelta(hours=49), 10)
    assert (done.retired_runs, done.pruned_buckets) == (0, 0)
    await deletion.rollback()
    done = await store.maintain(datetime.now(UTC) + timedelta(hours=49), 10)
    assert (done.retired_runs, done.pruned_buckets) == (1, 1)
    assert await audits.audit() == ()


async def test_pruning_reads_what_is_old_and_not_what_is_kept(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    """Counting waits meanwhile. As Postgres itself counts, whatever the plan looks like."""
    project = await make_project(owner)
    flows = [await make_workflow(owner, project) for _ in range(3)]
    for flow in flows:
        ages = [timedelta(minutes=15 * n + 1) for n in range(150)]
        await store.count_runs(await runs_of_ages(owner, flow, *ages))
    await owner.execute("analyze")
    read = (
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint"
        " from pg_stat_xact_user_tables where relname like '%buckets'"
    )
    for later in (timedelta(0), timedelta(hours=47)):  # nothing is old, and then nearly all minutes
        async with owner.transaction():
            before = await owner.fetchval(read)
            pruned = await owner.fetchval(
                "select pruned_buckets from meshmetrics.maintain($1, 10)",
                datetime.now(UTC) + later,
            )
            rows = await owner.fetchval(read) - before
        assert (pruned > 400) == bool(later)
        # Those of the workflows are looked up to be locked, and to go; the project's to go.
        assert rows <= 2 * pruned + 10
