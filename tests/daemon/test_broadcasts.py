"""What subscribers get: every change of their project, in revisions without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

from meshmetrics.devstack.realtime import mint
from tests.daemon.conftest import BY_EVENTS, JWT_SECRET, World
from tests.support import Project, Workflow, eventually, finish_run, insert_run, make_project
from tests.support import make_workflow as new_workflow

pytestmark = pytest.mark.slow


class Dashboard:
    """A subscriber of one project that follows the contract of the channel."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.revision: dict[str, int] = {}
        self.success: dict[str, int] = {}
        self.by_minute: dict[str, int] = {}
        self.gaps = 0
        self.removed: list[dict[str, Any]] = []

    def receive(self, broadcast: Any) -> None:
        message = broadcast["payload"]
        self.messages.append(message)
        for workflow in message["workflows"]:
            name = workflow["workflow_id"]
            mine = self.revision.get(name, 0)
            if workflow["revision"] <= mine:
                continue
            if workflow["base_revision"] > mine:
                self.gaps += 1
            self.revision[name] = workflow["revision"]
            self.success[name] = workflow["success_count"]
            for delta in workflow["deltas"]:
                total = self.by_minute.get(name, 0) + delta["success"]
                self.by_minute[name] = total


@asynccontextmanager
async def watching(world: World, project: Project) -> AsyncIterator[Dashboard]:
    """A member's dashboard, joined."""
    token = mint(JWT_SECRET, role="authenticated", sub=str(project.owner))
    client = AsyncRealtimeClient(f"{world.realtime.url}/realtime/v1", token, auto_reconnect=False)
    dashboard = Dashboard()
    channel = client.channel(
        f"metrics:{project.id}",
        {"config": {"private": True, "broadcast": None, "presence": None}},
    )
    channel.on_broadcast("rates", dashboard.receive)
    channel.on_broadcast("removed", lambda one: dashboard.removed.append(one["payload"]))
    states: list[RealtimeSubscribeStates] = []
    await client.connect()
    await channel.subscribe(lambda state, _: states.append(state))
    assert states == [RealtimeSubscribeStates.SUBSCRIBED]
    try:
        yield dashboard
    finally:
        await client.close()
        channel.join_push.destroy()


@pytest.fixture
async def project(world: World) -> Project:
    owner: UUID = await world.owner.fetchval("select owner from public.projects")
    return Project(world.workflow.project_id, owner)


async def end_runs(world: World, workflow: Workflow, count: int) -> None:
    for _ in range(count):
        await finish_run(world.owner, await insert_run(world.owner, workflow))


async def test_a_member_sees_every_run_in_counters_and_in_minutes(
    world: World, project: Project
) -> None:
    workflow = str(world.workflow.id)
    async with (
        world.running(**BY_EVENTS) as running,
        watching(world, project) as dashboard,
    ):
        await end_runs(world, world.workflow, 30)
        await eventually(lambda: dashboard.success.get(workflow) == 30)
        assert dashboard.by_minute == {workflow: 30}
        assert dashboard.gaps == 0
        assert {m["project_id"] for m in dashboard.messages} == {str(project.id)}
        assert len(dashboard.messages) < 30  # merged: no more than four a second
        await eventually(
            lambda: sum(len(sent.changes) for sent in running.sent) == len(dashboard.messages)
        )
        assert all(sent.since_committed is not None for sent in running.sent)


async def test_a_project_hears_nothing_of_another(world: World, project: Project) -> None:
    other = await make_project(world.owner)
    others = await new_workflow(world.owner, other)
    async with (
        world.running(),
        watching(world, project) as mine,
        watching(world, other) as theirs,
    ):
        await end_runs(world, others, 5)
        await end_runs(world, world.workflow, 5)
        await eventually(lambda: theirs.success.get(str(others.id)) == 5)
        await eventually(lambda: mine.success.get(str(world.workflow.id)) == 5)
    assert set(mine.success) == {str(world.workflow.id)}
    assert set(theirs.success) == {str(others.id)}


async def test_what_was_counted_but_not_sent_before_a_crash_is_sent_by_the_next_daemon(
    world: World, project: Project
) -> None:
    world.realtime.faults.http = 500
    async with world.running():
        await end_runs(world, world.workflow, 3)
        await eventually(world.counted)
    world.realtime.faults.http = None
    # Realtime may have refused for a while before.
    await world.owner.execute(
        "update public.workflow_run_metrics set last_updated = last_updated - interval '4 minutes'"
    )
    async with watching(world, project) as dashboard, world.running():
        await eventually(lambda: dashboard.success.get(str(world.workflow.id)) == 3)


async def test_a_realtime_that_takes_no_broadcasts_holds_up_no_counting_and_is_told_later(
    world: World, project: Project
) -> None:
    async with world.running() as running, watching(world, project) as dashboard:
        world.realtime.faults.http = 429
        for _ in range(3):
            await end_runs(world, world.workflow, 3)
            await eventually(world.counted)
        await eventually(lambda: running.value("broadcast_requests_total", result="429") >= 1)
        assert dashboard.messages == []
        world.realtime.faults.http = None
        await eventually(lambda: dashboard.success.get(str(world.workflow.id)) == 9)
        assert dashboard.gaps == 0
        assert dashboard.by_minute == {str(world.workflow.id): 9}


async def test_a_project_hears_that_a_workflow_moved_out_of_it_and_no_counts(
    world: World, project: Project
) -> None:
    other = await make_project(world.owner)
    workflow = world.workflow
    async with (
        world.running(),
        watching(world, project) as old,
        watching(world, other) as new,
    ):
        await end_runs(world, workflow, 3)
        await eventually(lambda: old.success.get(str(workflow.id)) == 3)
        await world.owner.execute(
            "update public.workflow_definitions set project_id = $1 where id = $2",
            other.id,
            workflow.id,
        )
        moved = replace(workflow, project_id=other.id)
        await end_runs(world, moved, 2)
        await eventually(lambda: new.success.get(str(workflow.id)) == 5)
        await eventually(lambda: old.removed)
    assert old.removed == [
        {"v": 1, "project_id": str(project.id), "workflow_ids": [str(workflow.id)]}
    ]
    assert old.success == {str(workflow.id): 3}
    assert new.removed == []
