"""Rules on open runs, and abandoned runs as the failures that they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from meshmetrics.alerts.notice import Notice
from meshmetrics.alerts.wording import lines
from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, make_rule, states
from tests.sql.test_open_runs import event, settle
from tests.support import Project, Workflow, finish_run, insert_run, make_project, make_workflow

HOUR = timedelta(hours=1)


async def cause_and_end(owner: asyncpg.Connection) -> list[tuple[Any, ...]]:
    rows = await owner.fetch(
        "select cause, close_reason from public.workflow_alert_incidents order by opened_at"
    )
    return [tuple(row) for row in rows]


async def kinds(store: CountingStore, evaluate: Evaluate) -> list[str]:
    """What a round tells of after a look through the open runs."""
    await store.count_open_runs()
    return [notice["kind"] for notice in await evaluate()]


async def test_one_overdue_run_opens_a_rule_and_its_end_closes_it(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(
        owner, project, metric="overdue_count", comparison="above", threshold=0,
        deadline_seconds=3600,
    )  # fmt: skip
    now = datetime.now(UTC)
    await insert_run(owner, workflow, "running", started_at=now - timedelta(minutes=50))
    assert await kinds(store, evaluate) == []  # the rule's own deadline, not 15 minutes
    assert await states(owner) == ["ok"]
    run = await insert_run(owner, workflow, "running", started_at=now - timedelta(minutes=61))
    await store.count_open_runs()
    (notice,) = await evaluate()
    assert (notice["kind"], notice["cause"]) == ("opened", "overdue")
    assert (notice["open"]["open"], notice["open"]["overdue"]) == (2, 1)
    text = lines(Notice.model_validate(notice))
    assert text[0].startswith("2 open runs, 1 of them overdue; the oldest started at ")
    assert text[1] == "Rule: more than 0 overdue runs"
    assert await kinds(store, evaluate) == []
    await finish_run(owner, run, "succeeded")
    assert await kinds(store, evaluate) == ["resolved"]
    assert await cause_and_end(owner) == [("overdue", "recovered")]
    assert await states(owner) == ["ok"]


async def test_as_many_overdue_runs_as_are_allowed_open_nothing(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project, metric="overdue_count", comparison="above", threshold=2)
    for expected in ([], [], ["opened"]):
        await insert_run(owner, workflow, "paused", started_at=datetime.now(UTC) - HOUR)
        assert await kinds(store, evaluate) == expected


@pytest.mark.parametrize("scope", ["workflow", "project"])
async def test_the_age_of_the_oldest_open_run_opens_a_rule_and_closes_it(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    scope: str,
) -> None:
    # Never published and without a finished run: it has nothing but open runs.
    flow = await make_workflow(owner, project, "new")
    await owner.execute("update public.workflow_definitions set status = 'draft'")
    await make_rule(
        owner, project, metric="open_too_long", comparison="above", threshold=7200, scope=scope
    )
    now = datetime.now(UTC)
    run = await insert_run(owner, flow, "running", started_at=now - timedelta(minutes=119))
    await store.count_open_runs()
    assert await evaluate(now) == []
    (notice,) = await evaluate(now + timedelta(minutes=2))
    assert (notice["kind"], notice["cause"]) == ("opened", "open")
    assert lines(Notice.model_validate(notice))[1] == "Rule: a run open for longer than 2 h 0 min"
    await finish_run(owner, run, "canceled")
    await store.count_open_runs()
    (notice,) = await evaluate(now + timedelta(minutes=3))
    assert notice["kind"] == "resolved"
    assert await cause_and_end(owner) == [("open", "recovered")]


async def test_open_runs_of_another_tenant_break_no_rule(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    stranger = await make_workflow(owner, await make_project(owner), workflow.slug)
    for metric in ("overdue_count", "open_too_long"):
        await make_rule(owner, project, metric=metric, comparison="above", threshold=0)
    await insert_run(owner, stranger, "running", started_at=datetime.now(UTC) - 5 * HOUR)
    assert await kinds(store, evaluate) == []
    assert await states(owner) == ["ok", "ok"]


async def test_an_abandoned_run_opens_an_incident_that_is_corrected_when_it_goes_on_and_succeeds(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_rule(owner, project, metric="failure_count", comparison="above", threshold=0)
    began = datetime.now(UTC) - HOUR
    run = await insert_run(owner, workflow, "running", started_at=began, created_at=began)
    await event(owner, run, "step_failed", timedelta(minutes=20))
    assert await kinds(store, evaluate) == []
    assert await settle(store) == 1
    assert await kinds(store, evaluate) == ["opened"]
    await event(owner, run, "step_succeeded", timedelta(0))
    await finish_run(owner, run, "succeeded")
    await store.count_runs([run])
    assert await kinds(store, evaluate) == ["resolved"]
    assert await cause_and_end(owner) == [("count", "corrected")]
