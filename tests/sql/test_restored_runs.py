"""Runs that were deleted, retired, and put back under the same ids are counted once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.support import Workflow, insert_run, make_project, make_workflow


@pytest.fixture
async def workflow(owner: asyncpg.Connection, store: CountingStore) -> Workflow:
    """Six runs of the last days, counted."""
    workflow = await make_workflow(owner, await make_project(owner))
    at = datetime.now(UTC)
    runs = [
        await insert_run(owner, workflow, status, finished_at=at - timedelta(hours=20 * n))
        for n, status in enumerate(("succeeded", "failed", "canceled") * 2)
    ]
    await store.count_runs(runs)
    return workflow


async def archive_and_delete(owner: asyncpg.Connection, store: CountingStore) -> None:
    await owner.execute("create table archive as select * from public.workflow_runs")
    await owner.execute("delete from public.workflow_runs")
    assert (await store.maintain(None, 1000)).retired_runs == 6


async def restore(owner: asyncpg.Connection, store: CountingStore) -> int:
    rows = await owner.fetch("insert into public.workflow_runs select * from archive returning id")
    return (await store.count_runs([row["id"] for row in rows])).runs


async def test_restored_runs_are_counted_once(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    before = await owner.fetch("select * from public.workflow_run_buckets order by 1, 3, 4")
    await archive_and_delete(owner, store)
    assert await restore(owner, store) == 0
    assert await owner.fetch("select * from public.workflow_run_buckets order by 1, 3, 4") == before
    assert await audits.audit() == ()
    assert await owner.fetchval("select count(*) from meshmetrics.retired_runs") == 0
    assert await owner.fetchval("select sum(success_count) from meshmetrics.retired_buckets") == 0


async def test_a_run_restored_with_another_outcome_is_corrected(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    await archive_and_delete(owner, store)
    await owner.execute("update archive set status = 'failed'")
    assert await restore(owner, store) == 4
    row = await owner.fetchrow("select success_count, failure_count from workflow_run_metrics")
    assert row is not None
    assert tuple(row) == (0, 6)
    assert await audits.audit() == ()


async def test_a_workflow_deleted_and_restored_with_its_runs_is_counted_from_nothing(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    await archive_and_delete(owner, store)
    await owner.execute("create table old as select * from public.workflow_definitions")
    await owner.execute("delete from public.workflow_definitions")
    await owner.execute("insert into public.workflow_definitions select * from old")
    assert await restore(owner, store) == 6
    assert await audits.audit() == ()


async def test_ids_are_kept_for_400_days(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    await archive_and_delete(owner, store)
    count = "select count(*) from meshmetrics.retired_runs"
    await store.maintain(datetime.now(UTC) + timedelta(days=399), 1000)
    assert await owner.fetchval(count) == 6
    await store.maintain(datetime.now(UTC) + timedelta(days=401), 1000)
    assert await owner.fetchval(count) == 0
