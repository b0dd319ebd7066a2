"""A workflow's project may change: everything that shows the workflow changes with it."""

from __future__ import annotations

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.sql.plain import assert_counted
from tests.support import Project, Workflow, acting_as, insert_run, make_project, make_workflow


@pytest.fixture
async def workflow(owner: asyncpg.Connection, store: CountingStore) -> Workflow:
    """Two successes and a failure, counted, and an open run."""
    workflow = await make_workflow(owner, await make_project(owner))
    statuses = ("succeeded", "succeeded", "failed", "running")
    await store.count_runs([await insert_run(owner, workflow, status) for status in statuses])
    await store.count_open_runs()
    return workflow


@pytest.fixture
async def target(owner: asyncpg.Connection) -> Project:
    return await make_project(owner)


async def move(owner: asyncpg.Connection, workflow: Workflow, target: Project) -> None:
    await owner.execute(
        "update public.workflow_definitions set project_id = $2 where id = $1",
        workflow.id,
        target.id,
    )


async def seen_by(owner: asyncpg.Connection, project_owner: object) -> tuple[int, int, int]:
    """Successes in counters, in day buckets and in the sums of projects, as a tenant sees them."""
    async with acting_as(owner, project_owner):  # type: ignore[arg-type]
        row = await owner.fetchrow(
            "select"
            " (select coalesce(sum(success_count), 0) from public.workflow_run_metrics),"
            " (select coalesce(sum(success_count), 0) from public.workflow_run_buckets"
            "  where grain = 'day'),"
            " (select coalesce(sum(success_count), 0) from public.workflow_run_project_buckets"
            "  where grain = 'day')"
        )
    assert row is not None
    return tuple(int(value) for value in row)  # type: ignore[return-value]


async def test_everything_moves_and_the_old_project_sees_nothing(
    owner: asyncpg.Connection,
    store: CountingStore,
    audits: AuditStore,
    workflow: Workflow,
    target: Project,
) -> None:
    old_owner = await owner.fetchval(
        "select owner from public.projects where id = $1", workflow.project_id
    )
    assert await seen_by(owner, old_owner) == (2, 2, 2)
    await move(owner, workflow, target)
    [change] = await store.follow_workflows()
    assert (change.workflow_id, change.project_id) == (workflow.id, target.id)
    assert (change.moved_from, change.deltas) == (workflow.project_id, None)
    assert (change.success_count, change.failure_count) == (2, 1)
    assert await seen_by(owner, old_owner) == (0, 0, 0)
    assert await seen_by(owner, target.owner) == (2, 2, 2)
    assert await audits.audit() == ()
    assert await store.follow_workflows() == ()


async def test_a_run_that_ends_after_the_move_is_counted_in_the_new_project_at_once(
    owner: asyncpg.Connection,
    store: CountingStore,
    audits: AuditStore,
    workflow: Workflow,
    target: Project,
) -> None:
    await move(owner, workflow, target)
    run = await insert_run(owner, workflow, "succeeded", project_id=target.id)
    counted = await store.count_runs([run])
    assert counted.runs == 1
    assert {c.project_id for c in counted.changes} == {target.id}
    assert [c.moved_from for c in counted.changes] == [workflow.project_id, None]
    assert counted.changes[-1].success_count == 3
    assert await seen_by(owner, target.owner) == (3, 3, 3)
    assert await audits.audit() == ()


async def test_what_was_counted_before_the_move_stays_counted_as_it_was(
    owner: asyncpg.Connection,
    store: CountingStore,
    audits: AuditStore,
    workflow: Workflow,
    target: Project,
) -> None:
    """Its runs still name the old project, whose members may change them: they no longer count."""
    await move(owner, workflow, target)
    await store.follow_workflows()
    await owner.execute("update public.workflow_runs set status = 'failed', updated_at = now()")
    runs = [row["id"] for row in await owner.fetch("select id from public.workflow_runs")]
    await store.count_runs(runs)
    row = await owner.fetchrow("select success_count, failure_count from workflow_run_metrics")
    assert row is not None
    assert tuple(row) == (2, 1)
    assert [d.kind for d in await audits.audit()] == ["set_aside"]  # the one that was open


async def test_runs_of_many_workflows_are_counted_while_one_of_them_moves(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow, target: Project
) -> None:
    other = await make_workflow(owner, await make_project(owner))
    await move(owner, workflow, target)
    runs = [
        await insert_run(owner, other, "failed"),
        await insert_run(owner, workflow, "succeeded", project_id=target.id),
    ]
    counted = await store.count_runs(runs)
    assert counted.runs == 2
    await assert_counted(owner)
