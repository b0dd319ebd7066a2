"""What rounds notice, by the rules that the state machine's model does not know."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, finish, make_channel, make_rule, states
from tests.conftest import Connect
from tests.support import (
    Project,
    Workflow,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
    resume_run,
)

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.mark.parametrize(
    ("good", "runs", "low", "high"),
    [(1, 1, 0.207, 1.0), (3, 20, 0.052, 0.360), (10, 100, 0.055, 0.174), (0, 20, 0.0, 0.161)],
)
async def test_the_interval_is_wilsons(
    owner: asyncpg.Connection, good: int, runs: int, low: float, high: float
) -> None:
    row = await owner.fetchrow(
        "select * from meshmetrics_parts.wilson_interval($1, $2)", good, runs
    )
    assert row is not None
    assert (round(row["low"], 3), round(row["high"], 3)) == (low, high)


async def test_a_run_created_before_the_last_look_that_failed_after_it_is_seen(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project)
    early = [await insert_run(owner, workflow) for _ in range(3)]
    assert await evaluate() == []
    for run in early:
        await finish_run(owner, run, "failed")
    await store.count_runs(early)
    assert [n["kind"] for n in await evaluate(None, [workflow.id])] == ["opened"]


async def test_an_outcome_corrected_later_closes_the_incident_as_corrected(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project)
    ids = await finish(owner, store, workflow, NOW, "failed", "failed", "failed")
    assert [n["kind"] for n in await evaluate()] == ["opened"]
    await resume_run(owner, ids[1])
    await store.count_runs([ids[1]])
    (notice,) = await evaluate()
    assert (notice["kind"], notice["close_reason"]) == ("resolved", "corrected")
    incident = await owner.fetchrow("select * from public.workflow_alert_incidents")
    assert incident is not None
    assert (incident["close_reason"], incident["closed_at"] is None) == ("corrected", False)
    # It was no trouble, so trouble now is no reopening.
    await finish(owner, store, workflow, NOW + timedelta(minutes=5), *["failed"] * 3)
    assert [n["kind"] for n in await evaluate()] == ["opened"]


async def test_screens_see_what_channels_are_not_told_of(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project, notify_resolved=False)
    await make_channel(owner, project)
    ids = await finish(owner, store, workflow, NOW, "failed", "failed", "failed")
    await evaluate()
    await resume_run(owner, ids[1])
    await store.count_runs([ids[1]])
    assert [n["kind"] for n in await evaluate()] == ["resolved"]
    kinds = await owner.fetch("select kind from public.workflow_alert_deliveries")
    assert [row["kind"] for row in kinds] == ["opened"]


async def test_silence_is_a_signal_and_ends_with_a_run_of_any_outcome(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project, metric="no_runs", no_data_after_seconds=3600)
    await finish(owner, store, workflow, NOW - timedelta(minutes=59), "succeeded")
    assert await evaluate(NOW) == []
    (notice,) = await evaluate(NOW + timedelta(minutes=2))
    assert notice["kind"] == "no_data"
    assert await states(owner) == ["no_data"]
    assert await evaluate(NOW + timedelta(minutes=3)) == []
    await finish(owner, store, workflow, NOW + timedelta(minutes=4), "canceled")
    assert [n["kind"] for n in await evaluate(NOW + timedelta(minutes=5))] == ["resolved"]


async def test_a_count_of_failures_opens_above_its_threshold_and_closes_at_half(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(
        owner, project, metric="failure_count", comparison="above", threshold=2, window_seconds=600
    )
    await finish(owner, store, workflow, NOW, "failed", "succeeded", "failed")
    assert await evaluate(NOW + timedelta(minutes=1)) == []
    await finish(owner, store, workflow, NOW + timedelta(minutes=4), "failed")
    (notice,) = await evaluate(NOW + timedelta(minutes=5))
    assert (notice["kind"], notice["cause"]) == ("opened", "count")
    assert await evaluate(NOW + timedelta(minutes=6)) == []
    assert [n["kind"] for n in await evaluate(NOW + timedelta(minutes=12))] == ["resolved"]


async def test_a_fix_can_be_told_of_too(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project, comparison="above", threshold=0.8, consecutive=0)
    await finish(owner, store, workflow, NOW, *["failed"] * 10)
    assert await evaluate(NOW + timedelta(minutes=1)) == []
    await finish(owner, store, workflow, NOW + timedelta(hours=25), *["succeeded"] * 20)
    (notice,) = await evaluate(NOW + timedelta(hours=26))
    assert (notice["kind"], notice["measured"]["success_count"]) == ("opened", 20)


async def test_all_workflows_of_a_project_can_be_looked_at_together(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, project: Project
) -> None:
    flows = [await make_workflow(owner, project, f"flow-{n}") for n in range(3)]
    together = await make_rule(owner, project, scope="project")
    for n, flow in enumerate(flows):
        await finish(owner, store, flow, NOW + timedelta(minutes=n), "failed")
    (notice,) = await evaluate(None, [flows[2].id])
    assert (notice["rule"]["id"], notice["workflow"]) == (str(together), None)
    assert notice["measured"]["failure_count"] == 3


async def test_all_versions_of_a_workflow_are_one_and_the_guilty_one_is_named(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    newer = await make_workflow(owner, project, workflow.slug, version=2)
    await make_rule(owner, project, workflow_slug=workflow.slug)
    await finish(owner, store, workflow, NOW - timedelta(minutes=9), *["succeeded"] * 5)
    await finish(owner, store, newer, NOW, *["failed"] * 3)
    (notice,) = await evaluate()
    assert notice["began_with"]["version"] == 2
    assert (notice["measured"]["success_count"], notice["measured"]["failure_count"]) == (5, 3)


async def test_while_silenced_incidents_go_on_and_notices_are_kept_back(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project, silenced_until=datetime.now(UTC) + timedelta(hours=1))
    await make_channel(owner, project)
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    assert [n["kind"] for n in await evaluate()] == ["opened"]
    rows = await owner.fetch("select status, kind from public.workflow_alert_deliveries")
    assert [tuple(row) for row in rows] == [("silenced", "opened")]


async def test_a_rule_switched_off_ends_its_incidents(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project)
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    await evaluate()
    await owner.execute("update public.workflow_alert_rules set enabled = false")
    await evaluate()
    incident = await owner.fetchrow("select * from public.workflow_alert_incidents")
    assert incident is not None
    assert incident["close_reason"] == "ended"
    assert await states(owner) == []


async def test_only_channels_of_the_rules_project_are_told_whatever_the_rule_names(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    stranger = await make_project(owner)
    foreign = await make_channel(owner, stranger)
    mine, _ = await make_channel(owner, project), await make_channel(owner, project)
    await make_rule(owner, project, channel_ids=[foreign, mine])
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    await evaluate()
    rows = await owner.fetch("select channel_id from public.workflow_alert_deliveries")
    assert [row["channel_id"] for row in rows] == [mine]


async def test_many_evaluators_at_once_make_one_transition(
    owner: asyncpg.Connection,
    store: CountingStore,
    connect: Connect,
    worker_dsn: str,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project)
    await make_channel(owner, project)
    others = [await connect(worker_dsn) for _ in range(6)]
    call = "select * from meshmetrics.evaluate_alerts(null, null)"
    for minute, wanted in ((0, ["failed"] * 3), (1, ["succeeded"] * 10)):
        await finish(owner, store, workflow, NOW + timedelta(minutes=minute), *wanted)
        await asyncio.gather(*(other.execute(call) for other in others))
    kinds = await owner.fetch(
        "select kind from public.workflow_alert_deliveries order by created_at"
    )
    assert [row["kind"] for row in kinds] == ["opened", "resolved"]
    assert await owner.fetchval("select count(*) from public.workflow_alert_incidents") == 1


async def test_a_round_makes_neither_engine_nor_counting_nor_a_deletion_wait(
    owner: asyncpg.Connection,
    store: CountingStore,
    connect: Connect,
    owner_dsn: str,
    worker: asyncpg.Connection,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project)
    await make_channel(owner, project)
    ids = await finish(owner, store, workflow, NOW, *["failed"] * 3)
    engine = await connect(owner_dsn)
    await engine.execute("set lock_timeout = '2s'")
    transaction = worker.transaction()
    await transaction.start()
    await worker.execute("select * from meshmetrics.evaluate_alerts(null, null)")
    await finish_run(engine, ids[0], "succeeded")
    async with asyncio.timeout(5):
        await store.count_runs(ids)
    await engine.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    await engine.execute("delete from public.projects where id = $1", project.id)
    await transaction.commit()
    await worker.execute("select * from meshmetrics.maintain_alerts(null)")
    for table in ("events", "deliveries", "incidents"):
        assert await owner.fetchval(f"select count(*) from public.workflow_alert_{table}") == 0


async def test_a_round_waits_for_no_deletion_and_no_counting(
    owner: asyncpg.Connection,
    store: CountingStore,
    connect: Connect,
    owner_dsn: str,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project)
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    engine = await connect(owner_dsn)
    transaction = engine.transaction()
    await transaction.start()
    await engine.execute("select meshmetrics.counting_lock()")
    await engine.execute("delete from public.projects where id = $1", project.id)
    async with asyncio.timeout(5):
        assert [n["kind"] for n in await evaluate()] == ["opened"]
    await transaction.rollback()


async def test_a_project_may_have_so_many_rules(
    owner: asyncpg.Connection, project: Project
) -> None:
    for _ in range(50):
        await make_channel(owner, project)
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="a project may have 50"):
        await make_channel(owner, project)
