"""A makes the evaluation of its own rules fail, or endless; B is alerted as ever."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from tests.alerts.conftest import make_rule
from tests.alerts.test_isolation import refuse
from tests.attacks.notices import assert_unharmed, victim
from tests.daemon.conftest import World, realtime, world
from tests.support import (
    Project,
    Workflow,
    eventually,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
)

__all__ = ["realtime", "world"]
pytestmark = pytest.mark.slow


async def fail(owner: asyncpg.Connection, workflow: Workflow, times: int = 3) -> None:
    for _ in range(times):
        await finish_run(owner, await insert_run(owner, workflow), "failed")


async def workflows(owner: asyncpg.Connection, project: Project, prefix: str, most: int) -> None:
    await owner.execute(
        "insert into public.workflow_definitions"
        " (project_id, slug, version, name, definition, status)"
        " select $1, $2 || i, 1, 'w', '{}', 'published' from generate_series(1, $3::integer) i",
        project.id,
        prefix,
        most,
    )


async def failure_of(owner: asyncpg.Connection, project: Project) -> str:
    reason: str | None = await owner.fetchval(
        "select reason from public.workflow_alert_failures where project_id = $1", project.id
    )
    assert reason is not None
    return reason


async def test_a_slug_as_long_as_an_index_of_the_engine_takes(world: World) -> None:
    a = await make_project(world.owner)
    slug = "".join(str(uuid4()) for _ in range(72))[:2600]
    async with victim(world) as (b, _):
        quiet = await b.figure()
        workflow = await make_workflow(world.owner, a, slug)
        await make_rule(world.owner, a)
        await fail(world.owner, workflow)
        attacked = await b.figure()
        notice = await eventually(
            lambda: world.owner.fetchval(
                "select notice -> 'workflow' ->> 'slug' from public.workflow_alert_incidents"
                " where project_id = $1",
                a.id,
            )
        )
    assert_unharmed(quiet, attacked)
    assert notice == slug[:200]


async def test_a_name_of_5_mb_and_60_rules(world: World) -> None:
    a = await make_project(world.owner)
    async with victim(world) as (b, running):
        quiet = await b.figure()
        workflow = await make_workflow(world.owner, a, "a", name="N" * 5_000_000)
        for _ in range(60):
            await make_rule(world.owner, a)
        await fail(world.owner, workflow)
        attacked = await b.figure()
        longest = await world.owner.fetchval(
            "select max(length(notice::text)) from public.workflow_alert_incidents"
        )
        assert running.value("alert_projects_failing") == 0
    assert_unharmed(quiet, attacked)
    assert longest < 5000


async def test_an_error_that_nobody_thought_of(world: World) -> None:
    a = await make_project(world.owner)
    async with victim(world) as (b, running):
        quiet = await b.figure()
        await refuse(world.owner, a)
        workflow = await make_workflow(world.owner, a, "a")
        await make_rule(world.owner, a)
        await fail(world.owner, workflow)
        attacked = await b.figure()
        reason = await eventually(lambda: failure_of(world.owner, a))
        await eventually(lambda: running.value("alert_projects_failing") == 1)
        ready = await running.get("/readyz")
    assert_unharmed(quiet, attacked)
    assert "index row size exceeds" in reason
    assert ready.status_code == 200
    assert "cannot be evaluated for 1 projects" in ready.text


async def test_500_rules_on_1200_workflows(world: World) -> None:
    a = await make_project(world.owner)
    async with victim(world) as (b, _):
        quiet = await b.figure()
        await workflows(world.owner, a, "w", 100)
        await world.owner.execute(
            "insert into public.workflow_alert_rules (project_id, name)"
            " select $1, 'r' from generate_series(1, 500)",
            a.id,
        )
        with pytest.raises(asyncpg.ProgramLimitExceededError, match="a project may have 500"):
            await make_rule(world.owner, a)
        await workflows(world.owner, a, "x", 1100)
        attacked = await b.figure()
        reason = await eventually(lambda: failure_of(world.owner, a))
    assert_unharmed(quiet, attacked)
    assert "500 rules on each of 1200 workflows are more" in reason


async def test_as_many_rules_and_workflows_as_are_allowed(world: World) -> None:
    a = await make_project(world.owner)
    async with victim(world) as (b, running):
        quiet = await b.figure()
        await workflows(world.owner, a, "w", 1200)
        await world.owner.execute(
            "insert into public.workflow_alert_rules (project_id, name)"
            " select $1, 'r' from generate_series(1, 40)",
            a.id,
        )
        attacked = await b.figure()
        await eventually(lambda: running.value("alert_evaluations_total") >= 48_000, within=30)
        assert running.value("service_failures_total", service="evaluator") == 0
    assert_unharmed(quiet, attacked)
