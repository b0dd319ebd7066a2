"""One project's alerts cannot stop another's: each fails, is backed off and recovers alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from meshmetrics.alerts import evaluator as evaluating
from meshmetrics.alerts.evaluator import BATCH_PAIRS, Evaluator, batches
from meshmetrics.alerts.model import AlertProject
from meshmetrics.alerts.notice import Notice
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from tests.alerts.conftest import Evaluate, finish, make_channel, make_rule, states
from tests.support import Project, Workflow, eventually, make_project, make_workflow

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
REFUSE = """
create function refuse() returns trigger language plpgsql as $$
begin
  if new.project_id = %L then
    raise exception 'index row size exceeds' using errcode = 'program_limit_exceeded';
  end if;
  return new;
end $$;
create trigger refuse before insert on public.workflow_alert_incidents
for each row execute function refuse()
"""


async def refuse(owner: asyncpg.Connection, project: Project, sql: str = REFUSE) -> None:
    """Let every round fail that opens an incident of this project."""
    await owner.execute(await owner.fetchval("select format($1, $2::text)", sql, str(project.id)))


@asynccontextmanager
async def evaluating_rounds(
    alerts: AlertStore, **options: Any
) -> AsyncIterator[tuple[Evaluator, list[Notice], Telemetry]]:
    notices: list[Notice] = []
    telemetry = Telemetry()
    options = {"interval": 0.1, **options}
    evaluator = Evaluator(alerts, notices.append, lambda: None, telemetry, **options)
    task = asyncio.create_task(evaluator.run())
    try:
        yield evaluator, notices, telemetry
    finally:
        evaluator.stop()
        await asyncio.wait_for(task, 10)


@pytest.fixture
async def others(owner: asyncpg.Connection, store: CountingStore) -> list[Project]:
    """Projects with a rule, a channel and three failures, the sixth of seven in no way special."""
    found = []
    for number in range(7):
        project = await make_project(owner)
        workflow = await make_workflow(owner, project, f"flow-{number}")
        await make_rule(owner, project)
        await make_channel(owner, project)
        await finish(owner, store, workflow, NOW, *["failed"] * 3)
        found.append(project)
    return found


async def test_a_project_that_fails_is_backed_off_alone_and_said_to_its_members_and_the_operator(
    owner: asyncpg.Connection, alerts: AlertStore, others: list[Project]
) -> None:
    guilty = others[5]
    await refuse(owner, guilty)
    # In the very first round.
    async with evaluating_rounds(alerts, interval=3600) as (evaluator, notices, telemetry):
        await eventually(lambda: len(notices) == 6)
        await eventually(lambda: evaluator.failing == 1)
        value = telemetry.registry.get_sample_value("meshmetrics_alert_projects_failing")
    assert value == 1
    assert {n.project_id for n in notices} == {p.id for p in others} - {guilty.id}
    (row,) = await owner.fetch("select * from public.workflow_alert_failures")
    assert (row["project_id"], row["failures"]) == (guilty.id, 1)
    assert "index row size exceeds" in row["reason"]
    assert timedelta(seconds=29) < row["retry_at"] - row["failed_at"] < timedelta(seconds=31)


async def test_it_is_tried_again_alone_and_recovers_with_all_that_it_missed(
    owner: asyncpg.Connection, alerts: AlertStore, others: list[Project]
) -> None:
    guilty = others[2]
    await refuse(owner, guilty)
    async with evaluating_rounds(alerts) as (evaluator, notices, _):
        await eventually(lambda: evaluator.failing == 1)
        await owner.execute("drop trigger refuse on public.workflow_alert_incidents")
        await owner.execute("update public.workflow_alert_failures set retry_at = now()")
        await eventually(lambda: guilty.id in {n.project_id for n in notices})
        await eventually(lambda: evaluator.failing == 0)
    assert await owner.fetchval("select count(*) from public.workflow_alert_failures") == 0


async def test_pauses_grow_up_to_ten_minutes_and_a_change_of_rules_shortens_them(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    await make_rule(owner, project)
    pauses = [(await alerts.record_alert_failure(project.id, "why")) for _ in range(7)]
    assert [failures for failures, _ in pauses] == [1, 2, 3, 4, 5, 6, 7]
    assert [round(p.total_seconds()) for _, p in pauses] == [30, 60, 120, 240, 480, 600, 600]
    assert await alerts.alert_projects(None) == ()
    await owner.execute("update public.workflow_alert_rules set name = 'another'")
    row = await owner.fetchrow("select * from public.workflow_alert_failures")
    assert row is not None
    assert row["retry_at"] - row["failed_at"] == timedelta(seconds=30)
    await owner.execute("update public.workflow_alert_failures set retry_at = now()")
    (due,) = await alerts.alert_projects(None)
    assert (due.project_id, due.failures) == (project.id, 7)


async def test_a_project_that_takes_too_long_holds_up_no_other(
    owner: asyncpg.Connection,
    alerts: AlertStore,
    others: list[Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluating, "BATCH_SECONDS", 0.5)
    monkeypatch.setattr(evaluating, "ALONE_SECONDS", 1.5)
    slow = REFUSE.replace("raise exception 'index row size exceeds'", "perform pg_sleep(30);")
    slow = slow.replace(" using errcode = 'program_limit_exceeded';", "")
    await refuse(owner, others[0], slow)
    async with evaluating_rounds(alerts, interval=3600) as (evaluator, notices, _):
        await eventually(lambda: len(notices) == 6)
        await eventually(lambda: evaluator.failing == 1)
    row = await owner.fetchrow("select * from public.workflow_alert_failures")
    assert row is not None
    assert row["reason"] == "evaluating them takes longer than 2 seconds"


async def test_a_slug_as_long_as_the_engine_takes_and_a_name_of_5_mb_are_alerted_like_others(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, project: Project
) -> None:
    slug = "".join(str(uuid4()) for _ in range(72))[:2600]
    workflow = await make_workflow(owner, project, slug, name="N" * 5_000_000)
    await make_rule(owner, project)
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    (notice,) = await evaluate()
    assert notice["workflow"] == {"slug": slug[:200], "name": "N" * 200}
    assert await states(owner) == ["firing"]
    assert await evaluate() == []
    await finish(owner, store, workflow, NOW + timedelta(minutes=5), *["succeeded"] * 10)
    assert [n["kind"] for n in await evaluate()] == ["resolved"]
    await finish(owner, store, workflow, NOW + timedelta(minutes=9), *["failed"] * 3)
    assert [n["kind"] for n in await evaluate()] == ["reopened"]


async def test_more_pairs_than_a_round_can_evaluate_are_refused_in_clear_words(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    await owner.execute(
        "insert into public.workflow_definitions"
        " (project_id, slug, version, name, definition, status)"
        " select $1, 'w' || i, 1, 'w', '{}', 'published' from generate_series(1, 20000) i",
        project.id,
    )
    for _ in range(2):
        await make_rule(owner, project)
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="3 rules on each of 20000"):
        await make_rule(owner, project)
    named = await make_rule(owner, project, workflow_slug="w1")
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="a project may have 50000 pairs"):
        await owner.execute(
            "update public.workflow_alert_rules set workflow_slug = null where id = $1", named
        )
    # The engine may add workflows later.
    await owner.execute(
        "insert into public.workflow_definitions"
        " (project_id, slug, version, name, definition, status)"
        " select $1, 'x' || i, 1, 'w', '{}', 'published' from generate_series(1, 20000) i",
        project.id,
    )
    (found,) = await alerts.alert_projects(None)
    assert found.excess is not None
    assert "2 rules on each of 40000 workflows are more" in found.excess
    async with evaluating_rounds(alerts) as (evaluator, _, _):
        await eventually(lambda: evaluator.failing == 1)
    reason = await owner.fetchval("select reason from public.workflow_alert_failures")
    assert reason == found.excess


async def test_a_project_has_so_many_transitions_a_call_and_the_next_makes_the_rest(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, project: Project
) -> None:
    for number in range(5):
        workflow = await make_workflow(owner, project, f"flow-{number}")
        await finish(owner, store, workflow, NOW, *["failed"] * 3)
        for _ in range(5):
            await make_rule(owner, project, workflow_slug=workflow.slug)
    source = await owner.fetchval(
        "select pg_get_functiondef(p.oid) from pg_proc p where p.proname = 'evaluate_alerts'"
    )
    await owner.execute(source.replace(":= 2000;", ":= 20;"))
    assert len(await evaluate()) == 20
    assert len(await evaluate()) == 5
    assert len(await evaluate()) == 0


async def test_runs_that_finished_in_the_future_are_in_no_window(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    future = datetime.now(UTC) + timedelta(days=300)
    await make_rule(owner, project, metric="consecutive_failures")
    await make_rule(owner, project, window_min_runs=0)
    await make_rule(owner, project, window_min_runs=20)
    await make_rule(owner, project, metric="no_runs", no_data_after_seconds=600)
    await finish(owner, store, workflow, future, *["succeeded"] * 30)
    await finish(owner, store, workflow, future, "canceled")
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    notices = await evaluate()
    assert sorted(n["cause"] for n in notices) == [
        "consecutive",
        "consecutive",
        "consecutive",
        "no_data",
    ]
    assert {(n["measured"]["success_count"], n["measured"]["failure_count"]) for n in notices} == {
        (0, 3),
        (0, 0),
    }
    for n in notices:
        assert n["measured"]["last_finished_at"] < datetime.now(UTC).isoformat()
    # They do not close it either, nor do failures to come keep it open.
    assert await evaluate() == []
    await finish(owner, store, workflow, future, *["failed"] * 3)
    just_now = datetime.now(UTC) - timedelta(minutes=2)  # later than NOW, which is of the import
    await finish(owner, store, workflow, just_now, *["succeeded"] * 10)
    assert sorted(n["kind"] for n in await evaluate()) == ["resolved"] * 4


def test_batches_hold_what_one_transaction_takes() -> None:
    def project(pairs: int) -> AlertProject:
        return AlertProject(uuid4(), pairs, None, 0, None)

    half = BATCH_PAIRS // 2
    sizes = [
        [p.pairs for p in batch] for batch in batches(map(project, [half, half, 1, half, half]))
    ]
    assert sizes == [[half, half], [1, half], [half]]
    assert [len(b) for b in batches(project(0) for _ in range(450))] == [200, 200, 50]
