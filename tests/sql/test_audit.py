"""The audit: every kind of drift is found, and what is merely pending is told apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.auditing.model import Difference
from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.support import Workflow, insert_run, make_project, make_workflow, resume_run


@pytest.fixture
async def workflow(owner: asyncpg.Connection, store: CountingStore, audits: AuditStore) -> Workflow:
    """A workflow with one failure counted an hour ago and one three days ago."""
    workflow = await make_workflow(owner, await make_project(owner))
    now = datetime.now(UTC)
    await store.count_runs(
        [
            await insert_run(owner, workflow, "failed", finished_at=now - timedelta(hours=1)),
            await insert_run(owner, workflow, "failed", finished_at=now - timedelta(days=3)),
        ]
    )
    assert await audits.audit() == ()
    return workflow


async def only(audits: AuditStore) -> Difference:
    (difference,) = await audits.audit()
    return difference


async def test_a_run_not_counted_yet_is_pending(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "succeeded", finished_at=datetime.now(UTC))
    found = await only(audits)
    assert (found.kind, found.pending, found.run_id) == ("run", True, run)
    assert found.expected.startswith("success at ")
    assert found.found == "nothing"


async def test_a_run_that_the_sweeps_passed_by_is_wrong(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await insert_run(owner, workflow, "succeeded", finished_at=datetime.now(UTC))
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() + interval '1 minute', done = true"
    )
    assert (await only(audits)).pending is False


async def test_a_run_that_the_back_fill_has_yet_to_reach_is_pending(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await insert_run(
        owner,
        workflow,
        "succeeded",
        finished_at=datetime.now(UTC),
        updated_at=datetime.now(UTC) - timedelta(days=9),
    )
    assert (await only(audits)).pending is True


async def test_a_run_that_was_resumed_and_is_still_counted_is_found(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    run = await owner.fetchval("select id from public.workflow_runs limit 1")
    await resume_run(owner, run)
    found = await only(audits)
    assert found.expected == "nothing"
    assert found.found.startswith("failure at ")


@pytest.mark.parametrize("grain", ["minute", "quarter", "day"])
@pytest.mark.parametrize(
    "tampering",
    ["set failure_count = failure_count + 1", "set canceled_count = 7", "delete"],
)
async def test_a_wrong_bucket_of_any_grain_is_found(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow, grain: str, tampering: str
) -> None:
    verb = "delete from" if tampering == "delete" else "update"
    change = "" if tampering == "delete" else tampering
    await owner.execute(
        f"{verb} public.workflow_run_buckets {change}"
        " where (grain, bucket_start) = (select grain, max(bucket_start)"
        f"   from public.workflow_run_buckets where grain = '{grain}' group by grain)"
    )
    found = [d for d in await audits.audit() if d.kind == "bucket" and d.workflow_id]
    assert [(d.grain, d.pending, d.workflow_id) for d in found] == [(grain, False, workflow.id)]
    assert found[0].expected == "0 success, 1 failure, 0 canceled"


async def test_a_wrong_counter_is_found(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await owner.execute("update public.workflow_run_metrics set success_count = 3")
    found = await only(audits)
    assert (found.kind, found.pending) == ("counter", False)
    assert found.expected == "0 success, 2 failure, 0 canceled"
    assert found.found == "3 success, 2 failure, 0 canceled"


async def test_an_audit_of_some_days_looks_at_those_only(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    await owner.execute(
        "update public.workflow_run_buckets set failure_count = 5 where grain = 'day'"
    )
    now = datetime.now(UTC)
    # Each day once for the workflow and once for its project, whose sum it is.
    assert len(await audits.audit(now - timedelta(days=10), now + timedelta(days=1))) == 4
    assert len(await audits.audit(now - timedelta(days=4), now - timedelta(days=2))) == 2
    assert await audits.audit(now - timedelta(days=20), now - timedelta(days=10)) == ()


async def test_what_is_wrong_comes_before_what_is_pending(
    owner: asyncpg.Connection, audits: AuditStore, workflow: Workflow
) -> None:
    for _ in range(3):
        await insert_run(owner, workflow, "succeeded", finished_at=datetime.now(UTC))
    await owner.execute("update public.workflow_run_metrics set success_count = 3")
    found = await audits.audit(limit=2)
    assert [(d.kind, d.pending, d.alike) for d in found] == [
        ("counter", False, 1),
        ("run", True, 3),
        ("run", True, 3),
    ]
