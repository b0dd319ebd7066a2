"""Runs written with a clock that is ahead are counted, but are no last run before their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from meshmetrics.counting.store import CountingStore
from tests.support import acting_as, insert_run, make_project, make_workflow

NOW = datetime.now(UTC).replace(microsecond=0)


async def test_the_last_success_and_failure_are_the_last_until_now(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    workflow = await make_workflow(owner, project)
    stranger = await make_project(owner)
    runs = [
        await insert_run(owner, workflow, status, finished_at=NOW + timedelta(hours=hours))
        for status, hours in (("succeeded", -2), ("succeeded", 5), ("failed", -3), ("failed", 900))
    ]
    await store.count_runs(runs)
    past = (NOW - timedelta(hours=2), NOW - timedelta(hours=3))
    calls = {
        "workflow_metrics_summary(now() - interval '1 day', now())": past,
        f"workflow_metrics_workflow('{workflow.id}', now() - interval '1 day', now())": past,
    }
    async with acting_as(owner, project.owner):
        for call, expected in calls.items():
            row = await owner.fetchrow(f"select * from public.{call}")
            assert row is not None
            assert (row["last_success_at"], row["last_failure_at"]) == expected
        recent = await owner.fetch("select * from public.workflow_metrics_recent()")
        assert [row["finished_at"] for row in recent] == list(past)
        call = "select meshmetrics_parts.last_outcome($1, 'success')"
        assert await owner.fetchval(call, workflow.id) == past[0]
    async with acting_as(owner, stranger.owner):
        assert await owner.fetchval(call, workflow.id) is None
