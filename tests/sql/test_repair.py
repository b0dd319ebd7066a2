"""Repairing a workflow, slicing its life, second looks, and what is on record of audits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.auditing.model import AuditRecord, Slice
from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore
from tests.sql.plain import assert_counted
from tests.support import Workflow, finish_run, insert_run, make_project, make_workflow

DAYS = 5


@pytest.fixture
async def workflow(owner: asyncpg.Connection, store: CountingStore, audits: AuditStore) -> Workflow:
    """A workflow with twelve runs of each outcome over five days, all counted."""
    workflow = await make_workflow(owner, await make_project(owner))
    now = datetime.now(UTC)
    runs = [
        await insert_run(owner, workflow, status, finished_at=now - n * timedelta(hours=10))
        for n in range(12)
        for status in ("succeeded", "failed", "canceled")
    ]
    await store.count_runs(runs)
    assert await audits.audit() == ()
    return workflow


def whole(workflow: Workflow) -> Slice:
    return Slice("workflow", workflow.id, None, None)


async def revision(owner: asyncpg.Connection) -> int:
    number: int = await owner.fetchval("select revision from public.workflow_run_metrics")
    return number


TAMPERINGS = {
    "minutes that are too high": "update public.workflow_run_buckets"
    " set success_count = success_count + 3 where grain = 'minute'",
    "quarters that are gone": "delete from public.workflow_run_buckets where grain = 'quarter'",
    "a day that is none": "insert into public.workflow_run_buckets"
    " select workflow_id, project_id, 'day', '2001-01-01Z', 1, 2, 3"
    " from public.workflow_run_metrics",
    "days that are gone": "delete from public.workflow_run_buckets where grain = 'day'",
    "counters that are too high": "update public.workflow_run_metrics set failure_count = 99",
    "a last success that never was": "update public.workflow_run_metrics"
    " set last_success_at = last_success_at + interval '1 minute'",
    "a last failure that was lost": "update public.workflow_run_metrics set last_failure_at = null",
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_what_is_wrong_is_found_and_set_right_and_screens_notice(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow, tampering: str
) -> None:
    before = await revision(owner)
    await owner.execute(tampering)
    found = await audits.audit_slice(whole(workflow))
    assert found
    assert {(d.kind, d.expected) for d in found} == {
        (d.kind, d.expected) for d in await audits.audit() if d.workflow_id is not None
    }
    done = await audits.repair_slice(whole(workflow))
    assert done.buckets == sum(d.kind == "bucket" for d in found)
    assert done.counters or "counters" not in tampering
    await assert_counted(owner)
    assert await audits.audit() == ()
    assert await revision(owner) == before + 1


@pytest.mark.parametrize(
    "tampering",
    [
        "update public.workflow_run_project_buckets set failure_count = 9 where grain = 'quarter'",
        "delete from public.workflow_run_project_buckets where grain = 'day'",
        "insert into public.workflow_run_project_buckets values"
        " ((select id from public.projects), 'minute', date_trunc('minute', now()),"
        "  gen_random_uuid(), -1, 0, -2)",
    ],
)
async def test_a_projects_buckets_are_found_wrong_and_set_right(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow, tampering: str
) -> None:
    await owner.execute(tampering)
    found = await audits.audit()
    assert {(d.kind, d.project_id, d.workflow_id) for d in found} == {
        ("bucket", workflow.project_id, None)
    }
    (part,) = [s for s in await audits.audit_slices(1_000_000) if s.kind == "project"]
    assert len(await audits.audit_slice(part)) == len(found)
    assert (await audits.repair_slice(part)).buckets == len(found)
    assert await audits.audit() == ()
    await assert_counted(owner)


async def test_a_workflow_that_was_deleted_leaves_its_project_right(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    """Also where the project is set right before what it takes back is folded in."""
    await owner.execute("update public.workflow_run_project_buckets set success_count = 77")
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    assert await audits.audit() != ()
    await audits.repair_slice(Slice("project", workflow.project_id, None, None))
    assert await audits.audit() == ()
    await store.maintain(None, 1000)
    assert await audits.audit() == ()
    await assert_counted(owner)


async def test_what_is_right_is_left_alone(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    before = await revision(owner)
    done = await audits.repair_slice(whole(workflow))
    assert (done.buckets, done.counters, done.passed_over) == (0, False, False)
    assert await revision(owner) == before


async def test_a_metrics_row_that_is_gone_comes_back(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await owner.execute("delete from public.workflow_run_metrics")
    assert {d.kind for d in await audits.audit()} == {"bucket", "counter"}
    await audits.repair_slice(whole(workflow))
    await audits.repair_slice(Slice("project", workflow.project_id, None, None))
    await assert_counted(owner)
    assert await audits.audit() == ()


async def test_the_share_of_deleted_runs_is_kept(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    """The last success among them: that it was the last stays so."""
    last = await owner.fetchval("select last_success_at from public.workflow_run_metrics")
    await owner.execute(
        "delete from public.workflow_runs where finished_at > now() - interval '15 hours'"
    )
    await store.maintain(None, 1000)
    assert await audits.audit() == ()
    await owner.execute("update public.workflow_run_buckets set success_count = 7")
    await audits.repair_slice(whole(workflow))
    assert await audits.audit() == ()
    row = await owner.fetchrow("select * from public.workflow_run_metrics")
    assert row is not None
    assert (row["success_count"], row["failure_count"], row["last_success_at"]) == (12, 12, last)


async def test_a_repair_of_some_days_leaves_the_others(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await owner.execute("update public.workflow_run_buckets set success_count = 50")
    middle = datetime.now(UTC) - timedelta(days=2)
    older, newer = (
        Slice("workflow", workflow.id, None, middle),
        Slice("workflow", workflow.id, middle, None),
    )
    before = len([d for d in await audits.audit() if d.kind == "bucket"])
    done = await audits.repair_slice(older)
    assert 0 < done.buckets < before
    assert {d.kind for d in await audits.audit_slice(older)} <= {"counter"}
    await audits.repair_slice(newer)
    assert await audits.audit() == ()
    await assert_counted(owner)


async def test_a_workflow_that_is_being_deleted_is_passed_over(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await owner.execute("update public.workflow_run_buckets set success_count = 50")
    deletion = owner.transaction()
    await deletion.start()
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    async with asyncio.timeout(10):
        assert (await audits.repair_slice(whole(workflow))).passed_over
    await deletion.rollback()
    assert not (await audits.repair_slice(whole(workflow))).passed_over
    await assert_counted(owner)


async def test_slices_leave_nothing_out_and_are_as_small_as_days_allow(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    empty = await make_workflow(owner, await make_project(owner))
    slices = await audits.audit_slices(7)
    assert [s for s in slices if s.id == empty.id] == [whole(empty)]
    for life in (workflow.id, workflow.project_id):
        mine = [s for s in slices if s.id == life]
        assert len(mine) >= 4
        assert mine[0].after is None
        assert mine[-1].before is None
        assert [s.before for s in mine[:-1]] == [s.after for s in mine[1:]]
    assert [s.kind for s in await audits.audit_slices(1_000_000)] == [
        "workflow",
        "workflow",
        "project",
        "project",
    ]


async def test_a_second_look_tells_what_is_still_uncounted_and_whether_it_is_pending(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    now = datetime.now(UTC)
    counted, missed, resumed = [
        await insert_run(owner, workflow, "failed", finished_at=now) for _ in range(3)
    ]
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() + interval '1 minute', done = true"
    )
    assert await audits.audit_runs([counted, missed, resumed]) == {
        counted: False,
        missed: False,
        resumed: False,
    }
    await store.count_runs([counted])
    await owner.execute("update meshmetrics.checkpoint set updated_at = now() where name = 'sweep'")
    await finish_run(owner, resumed, "succeeded")
    assert await audits.audit_runs([counted, missed, resumed, UUID(int=7)]) == {
        missed: False,
        resumed: True,
    }


async def test_runs_set_aside_are_looked_at_again(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await store.set_aside_run(run, "the database would not have it")
    beginning = Position(datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))
    later = datetime.now(UTC) + timedelta(days=1)
    assert (await store.uncounted_runs(beginning, later, 1000)).run_ids == ()
    assert await audits.retry_set_aside() == 1
    assert (await store.uncounted_runs(beginning, later, 1000)).run_ids == (run,)


async def test_what_an_audit_found_is_on_record(
    owner: asyncpg.Connection, audits: AuditStore
) -> None:
    assert await audits.last_audit("cycle") is None
    began = datetime.now(UTC)
    for drift in range(3):
        await audits.record_audit("cycle", AuditRecord(began, drift, 0, 0, 5))
    last = await audits.last_audit("cycle")
    assert last is not None
    assert (last.started_at, last.drift, last.runs_set_aside) == (began, 2, 5)
    assert await audits.last_audit("snapshot") is None


async def test_the_record_of_audits_does_not_grow_for_ever(
    owner: asyncpg.Connection, audits: AuditStore
) -> None:
    await owner.execute(
        "insert into meshmetrics.audits"
        " (kind, started_at, runs_wrong, buckets_wrong, counters_wrong, runs_set_aside)"
        " select 'cycle', now(), 0, 0, 0, 0 from generate_series(1, 1500)"
    )
    await audits.record_audit("cycle", AuditRecord(datetime.now(UTC), 0, 0, 0, 0))
    assert await owner.fetchval("select count(*) from meshmetrics.audits") <= 1001


async def test_the_estimate_of_what_is_left_is_near_and_at_once(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    await owner.execute(
        "insert into workflow_runs (project_id, workflow_id, status, finished_at, updated_at)"
        " select $1, $2, 'failed', at, at from"
        " (select now() - n * interval '1 minute' as at from generate_series(1, 20000) n) s",
        workflow.project_id,
        workflow.id,
    )
    await owner.execute("analyze public.workflow_runs")
    now = datetime.now(UTC)
    assert 18_000 < await store.estimate_runs(datetime(1, 1, 2, tzinfo=UTC), now) < 22_000
    assert 8_000 < await store.estimate_runs(now - timedelta(minutes=10_000), now) < 12_000


async def test_the_condition_of_a_migrated_database_is_told(audits: AuditStore) -> None:
    condition = await audits.condition()
    assert condition["index_valid"] is True
    assert condition["published"] is True
    assert condition["tenants_read"] is True
    assert condition["channel_policy"] is True
    assert condition["not_executable"] == []
    assert condition["without_row_security"] == []
    assert condition["backfill_done"] is False
    assert condition["lease"] is None
