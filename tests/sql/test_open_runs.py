"""Open, overdue and abandoned runs: what the evidence says, and that every run is accounted for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.sql.plain import assert_counted
from tests.support import (
    Project,
    Workflow,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
)

SILENT = timedelta(minutes=10)
LONG_AGO = timedelta(hours=1)


@pytest.fixture
async def project(owner: asyncpg.Connection) -> Project:
    return await make_project(owner)


@pytest.fixture
async def workflow(owner: asyncpg.Connection, project: Project) -> Workflow:
    return await make_workflow(owner, project)


async def old_run(owner: asyncpg.Connection, workflow: Workflow, status: str = "running") -> UUID:
    """A run that began two hours ago."""
    began = datetime.now(UTC) - timedelta(hours=2)
    return await insert_run(
        owner, workflow, status, started_at=began, created_at=began, updated_at=began
    )


async def event(
    owner: asyncpg.Connection, run_id: UUID, kind: str, ago: timedelta = LONG_AGO
) -> datetime:
    at: datetime = await owner.fetchval(
        "insert into public.workflow_events (run_id, ts, type, payload)"
        " values ($1, now() - $2::interval, $3, '{}') returning ts",
        run_id,
        ago,
        kind,
    )
    return at


async def settle(store: CountingStore, silent_for: timedelta = SILENT) -> int:
    """Find and settle, as the daemon does; how many runs changed their place."""
    found = await store.find_abandoned(silent_for, 1000)
    counted = (await store.settle_abandoned(found, silent_for)).runs
    assert await store.find_abandoned(silent_for, 1000) == ()
    return counted


async def failures(owner: asyncpg.Connection, workflow: Workflow) -> int:
    count: int | None = await owner.fetchval(
        "select failure_count from public.workflow_run_metrics where workflow_id = $1", workflow.id
    )
    return count or 0


async def counts(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> tuple[int, ...]:
    """open, overdue, abandoned, after a look."""
    await store.count_open_runs()
    row = await owner.fetchrow(
        "select open_count, overdue_count, abandoned_count from public.workflow_run_open_counts"
        " where workflow_id = $1",
        workflow.id,
    )
    return tuple(row or ())


async def test_a_run_whose_last_step_failed_and_that_is_silent_since_is_a_failure_of_that_time(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow)
    for attempt in range(5, 0, -1):
        at = await event(owner, run, "step_failed", LONG_AGO + timedelta(seconds=attempt))
    assert await settle(store) == 1
    row = await owner.fetchrow("select * from meshmetrics.counted_runs where run_id = $1", run)
    assert row is not None
    assert (row["outcome"], row["finished_at"]) == ("failure", at)
    evidence = await owner.fetchrow("select * from public.workflow_run_abandonments")
    assert evidence is not None
    assert (evidence["run_id"], evidence["abandoned_at"], evidence["evidence"]) == (
        run,
        at,
        "step_failed",
    )
    assert await counts(owner, store, workflow) == (0, 0, 1)


@pytest.mark.parametrize(
    ("kind", "ago"),
    [
        ("step_failed", timedelta(minutes=9)),  # it may still be tried again
        ("step_succeeded", LONG_AGO),
        ("step_started", LONG_AGO),
        ("run_created", LONG_AGO),
    ],
)
async def test_a_run_that_may_go_on_is_open(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow, kind: str, ago: timedelta
) -> None:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed", LONG_AGO + timedelta(minutes=1))
    await event(owner, run, kind, ago)
    assert await settle(store) == 0
    assert await counts(owner, store, workflow) == (1, 1, 0)


async def test_a_run_that_goes_on_after_all_is_taken_back(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed")
    await settle(store)
    assert await failures(owner, workflow) == 1
    await event(owner, run, "step_succeeded", timedelta(0))
    assert await settle(store) == 1
    assert await failures(owner, workflow) == 0
    assert await counts(owner, store, workflow) == (1, 1, 0)


async def test_a_run_that_fails_again_later_is_a_failure_of_the_later_time(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed")
    await settle(store)
    at = await event(owner, run, "step_failed", timedelta(minutes=20))
    assert await settle(store) == 1
    assert await failures(owner, workflow) == 1
    found = await owner.fetchval(
        "select finished_at from meshmetrics.counted_runs where run_id = $1", run
    )
    assert found == at


async def test_a_run_that_ends_after_all_has_the_outcome_it_ended_with(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed")
    await settle(store)
    await finish_run(owner, run, "succeeded")
    await store.count_runs([run])
    await assert_counted(owner)
    assert await failures(owner, workflow) == 0
    assert await settle(store) == 0  # what was noted of it is gone
    assert await owner.fetchval("select count(*) from public.workflow_run_abandonments") == 0


async def test_a_dead_letter_is_a_failure_at_once_and_a_job_after_it_takes_it_back(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_started")
    insert = (
        "insert into public.job_tracking (msg_id, run_id, queue_name, enqueued_at, moved_to_dlq_at)"
        " values ($1, $2, 'workflow_jobs', now() - $3::interval, now() - $4::interval)"
    )
    await owner.execute(insert, 1, run, timedelta(minutes=5), timedelta(minutes=1))
    assert await settle(store) == 1
    evidence = await owner.fetchval("select evidence from public.workflow_run_abandonments")
    assert evidence == "dead_letter"
    await owner.execute(insert, 2, run, timedelta(seconds=1), None)
    assert await settle(store) == 1
    assert await failures(owner, workflow) == 0


async def test_a_paused_run_waits_and_is_never_abandoned(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow, "paused")
    await event(owner, run, "step_failed")
    assert await settle(store) == 0
    assert await counts(owner, store, workflow) == (1, 1, 0)


async def test_switched_off_nothing_is_abandoned_and_what_was_is_taken_back(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed")
    await settle(store)
    assert await settle(store, timedelta(0)) == 1
    assert await failures(owner, workflow) == 0


async def test_a_database_without_events_and_jobs_gives_no_evidence(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    await old_run(owner, workflow)
    await owner.execute("drop table public.workflow_events, public.job_tracking")
    assert await settle(store) == 0
    assert await counts(owner, store, workflow) == (1, 1, 0)


async def test_a_run_of_another_project_is_no_open_run_of_the_workflow(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    stranger = await make_project(owner)
    run = await insert_run(owner, workflow, "running", project_id=stranger.id)
    await event(owner, run, "step_failed")
    await owner.execute("update public.workflow_runs set created_at = now() - interval '2 hours'")
    assert await settle(store) == 0
    assert await counts(owner, store, workflow) == ()


async def test_overdue_is_three_times_the_99th_percentile_and_a_quarter_of_an_hour_at_least(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    now = datetime.now(UTC)
    runs = [
        await insert_run(
            owner,
            workflow,
            "succeeded",
            started_at=now - timedelta(days=1),
            finished_at=now - timedelta(days=1) + timedelta(minutes=20),
        )
        for _ in range(20)
    ]
    await store.count_runs(runs)
    await insert_run(owner, workflow, "running", started_at=now - timedelta(minutes=59))
    await insert_run(owner, workflow, "running", started_at=now - timedelta(minutes=61))
    assert await counts(owner, store, workflow) == (2, 2, 0)  # more than 15 minutes
    assert await store.refresh_deadlines(10) == 1
    assert await store.refresh_deadlines(10) == 0  # not again within the hour
    assert await counts(owner, store, workflow) == (2, 1, 0)  # more than an hour
    await owner.execute(
        "insert into public.workflow_alert_rules"
        " (project_id, name, metric, comparison, threshold, deadline_seconds)"
        " values ($1, 'short', 'overdue_count', 'above', 0, 120)",
        workflow.project_id,
    )
    assert await counts(owner, store, workflow) == (2, 2, 0)


async def test_only_what_changed_is_returned_and_a_deleted_workflow_leaves_nothing(
    owner: asyncpg.Connection, store: CountingStore, project: Project, workflow: Workflow
) -> None:
    other = await make_workflow(owner, project)
    await insert_run(owner, workflow)
    await insert_run(owner, other)
    first = await store.count_open_runs()
    assert {c.workflow_id for c in first.changed} == {workflow.id, other.id}
    assert (first.open, first.overdue, first.abandoned) == (2, 0, 0)
    assert (await store.count_open_runs()).changed == ()
    run = await insert_run(owner, workflow)
    (change,) = (await store.count_open_runs()).changed
    assert (change.workflow_id, change.slug, change.open) == (workflow.id, workflow.slug, 2)
    await finish_run(owner, run)
    assert [c.open for c in (await store.count_open_runs()).changed] == [1]
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    await store.count_open_runs()
    assert await owner.fetchval("select count(*) from public.workflow_run_open_counts") == 1


async def test_every_run_is_accounted_for(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    now = datetime.now(UTC)
    ended = [
        await insert_run(owner, workflow, status, finished_at=now)
        for status in ("succeeded", "succeeded", "failed", "canceled")
    ]
    await store.count_runs(ended)
    await insert_run(owner, workflow, "running")
    await insert_run(owner, workflow, "paused")
    await event(owner, await old_run(owner, workflow), "step_failed")
    await settle(store)
    stranger = await make_project(owner)
    flawed = await insert_run(owner, workflow, "succeeded", finished_at=now, project_id=stranger.id)
    await store.count_runs([flawed])
    await insert_run(owner, workflow, "succeeded", finished_at=now)  # nobody counted it yet
    await owner.execute(
        "alter table public.workflow_runs drop constraint workflow_runs_status_check"
    )
    await insert_run(owner, workflow, "timed_out", finished_at=now)
    (a,) = await audits.account()
    assert (a.started, a.succeeded, a.failed, a.canceled) == (10, 2, 2, 1)
    assert (a.open, a.set_aside, a.unknown, a.pending, a.unaccounted) == (2, 1, 1, 1, 0)


async def test_a_counted_run_keeps_its_outcome_when_its_status_becomes_unknown(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await store.count_runs([run])
    await owner.execute(
        "alter table public.workflow_runs drop constraint workflow_runs_status_check"
    )
    await owner.execute("update public.workflow_runs set status = 'errored'")
    assert (await store.count_runs([run])).runs == 0
    assert await failures(owner, workflow) == 1
    assert [d for d in await audits.audit() if d.kind == "run"] == []
    unknown = await owner.fetch("select * from meshmetrics.unknown_statuses()")
    assert [tuple(row) for row in unknown] == [("errored", 1)]
