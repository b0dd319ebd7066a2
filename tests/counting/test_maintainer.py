"""The maintainer: what it watches beside its chores."""

from __future__ import annotations

import asyncpg
from structlog.testing import capture_logs

from meshmetrics.counting.counter import Counter, quiet_counter
from meshmetrics.counting.maintainer import Maintainer
from meshmetrics.counting.model import Change
from meshmetrics.counting.source import SourceWatch
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from tests.support import Workflow, eventually, insert_run, make_project, make_workflow
from tests.support.counting import working


async def test_runs_of_unknown_statuses_are_a_metric_of_bounded_size(
    owner: asyncpg.Connection, store: CountingStore, telemetry: Telemetry, workflow: Workflow
) -> None:
    await owner.execute("alter table workflow_runs drop constraint workflow_runs_status_check")
    for n in range(25):
        await insert_run(owner, workflow, f"odd{n:02}")
    await insert_run(owner, workflow, "odd07")

    def value(status: str) -> float | None:
        return telemetry.registry.get_sample_value(
            "meshmetrics_unknown_status_runs", {"status": status}
        )

    maintainer = Maintainer(
        store, quiet_counter(store, 10), SourceWatch(store), telemetry, interval=0.05, batch=10
    )
    with capture_logs() as logged:
        async with working(maintainer):
            await eventually(lambda: value("odd07") == 2)
            assert (value("odd00"), value("odd24"), value("other")) == (1, None, 5)
            await owner.execute("delete from workflow_runs")
            await eventually(lambda: value("odd07") is None)
            assert value("other") is None
    assert [line["event"] for line in logged].count("status.unknown") == 1


async def test_a_table_made_anew_is_noticed_while_the_daemon_works(
    owner: asyncpg.Connection, store: CountingStore, telemetry: Telemetry
) -> None:
    maintainer = Maintainer(
        store, quiet_counter(store, 10), SourceWatch(store), telemetry, interval=0.05, batch=10
    )
    with capture_logs() as logged:
        async with working(maintainer):
            await owner.execute(
                "begin; create table runs_anew"
                " (like workflow_runs including defaults including indexes);"
                "drop table workflow_runs cascade;"
                "alter table runs_anew rename to workflow_runs;"
                "alter table workflow_runs enable row level security; commit"
            )
            await eventually(lambda: [line for line in logged if line["event"] == "source.changed"])
    [line] = [line for line in logged if line["event"] == "source.changed"]
    assert len(line["flaws"]) == 2
    assert "meshmetrics migrate" in line["remedy"]


async def test_runs_set_aside_are_tried_again_with_growing_pauses(
    owner: asyncpg.Connection, store: CountingStore, telemetry: Telemetry, workflow: Workflow
) -> None:
    """Also when their own row does not change: what kept them from being counted may be gone."""
    other = await make_workflow(owner, await make_project(owner))
    flawed = await insert_run(owner, workflow, "failed", project_id=other.project_id)
    refused = await insert_run(owner, workflow, "succeeded")
    await store.count_runs([flawed])
    await store.set_aside_run(refused, "the database refused it")
    rows = "select run_id, attempts, retry_at > now() as waits from meshmetrics.set_aside_runs"
    assert {tuple(row) for row in await owner.fetch(rows)} == {
        (flawed, 1, True),
        (refused, 1, True),
    }
    counter = quiet_counter(store, 10)
    maintainer = Maintainer(store, counter, SourceWatch(store), telemetry, interval=0.05, batch=10)
    async with working(maintainer):
        await owner.execute("update meshmetrics.set_aside_runs set retry_at = now()")
        await eventually(
            lambda: owner.fetchval("select count(*) = 1 from meshmetrics.set_aside_runs")
        )
        await eventually(
            lambda: owner.fetchval("select attempts = 2 from meshmetrics.set_aside_runs")
        )
    [row] = await owner.fetch(
        "select run_id, retry_at - now() > interval '100 seconds' from meshmetrics.set_aside_runs"
    )
    assert tuple(row) == (flawed, True)
    assert await owner.fetchval("select success_count from workflow_run_metrics") == 1


async def test_a_workflow_that_moved_is_followed_without_a_run(
    owner: asyncpg.Connection, store: CountingStore, telemetry: Telemetry, workflow: Workflow
) -> None:
    await store.count_runs([await insert_run(owner, workflow, "succeeded")])
    target = await make_project(owner)
    published: list[Change] = []
    counter = Counter(store, Inbox(1), lambda changes, **_: published.extend(changes), telemetry)
    maintainer = Maintainer(store, counter, SourceWatch(store), telemetry, interval=0.05, batch=10)
    async with working(maintainer):
        await owner.execute("update public.workflow_definitions set project_id = $1", target.id)
        await eventually(lambda: published)
    [change] = published
    assert (change.project_id, change.moved_from) == (target.id, workflow.project_id)
