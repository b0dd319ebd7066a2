"""Alerts in the whole daemon: from a run's end to the receiver and to the screen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from realtime import AsyncRealtimeClient

from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.sealing import Seal
from meshmetrics.devstack.realtime import mint
from tests.alerts.conftest import make_channel, make_rule
from tests.alerts.receiver import Receiver, receiving
from tests.daemon.conftest import JWT_SECRET, World, realtime, world
from tests.daemon.process import environment, process
from tests.support import Project, eventually, finish_run, insert_run

pytestmark = pytest.mark.slow

__all__ = ["realtime", "world"]

KEY = Fernet.generate_key().decode()


async def prepared(world: World, receiver: Receiver) -> tuple[Project, dict[str, Any]]:
    """A rule and a channel, and the settings that let the receiver be reached."""
    owner = await world.owner.fetchval(
        "select owner from public.projects where id = $1", world.workflow.project_id
    )
    project = Project(world.workflow.project_id, owner)
    receiver.url = receiver.url.replace("hooks.test", "127.0.0.1")
    seal = Seal(KEY)
    await make_channel(
        world.owner,
        project,
        sealed_target=seal.seal(receiver.url),
        sealed_secret=seal.seal(new_secret()),
    )
    await make_rule(world.owner, project)
    return project, {
        "alert_keys": KEY,
        "alert_http": True,
        "alert_ports": receiver.url.split(":")[2].split("/")[0],
        "alert_networks": "127.0.0.0/8",
        "alert_interval": 0.5,
    }


async def fail_thrice(world: World) -> None:
    for _ in range(3):
        await finish_run(world.owner, await insert_run(world.owner, world.workflow), "failed")


@asynccontextmanager
async def listening(world: World, project: Project) -> AsyncIterator[list[Any]]:
    """What the project's owner is told on the channel, as it comes."""
    token = mint(JWT_SECRET, role="authenticated", sub=str(project.owner))
    client = AsyncRealtimeClient(f"{world.realtime.url}/realtime/v1", token, auto_reconnect=False)
    shown: list[Any] = []
    channel = client.channel(
        f"metrics:{project.id}",
        {"config": {"private": True, "broadcast": None, "presence": None}},
    )
    channel.on_broadcast("alert", shown.append)
    await client.connect()
    await channel.subscribe()
    try:
        yield shown
    finally:
        await client.close()


async def test_three_failures_reach_the_receiver_and_the_screen(world: World) -> None:
    async with receiving() as receiver:
        project, settings = await prepared(world, receiver)
        async with listening(world, project) as shown, world.running(**settings) as running:
            await fail_thrice(world)
            await asyncio.wait_for(receiver.came.wait(), 20)
            await eventually(lambda: shown)
            sent = {"channel": "webhook", "result": "sent"}
            await eventually(lambda: running.value("alert_deliveries_total", **sent))
    (notice,) = json.loads(receiver.got[0][1])["data"]["notices"]
    payload = shown[0]["payload"]
    assert (payload["kind"], payload["incident_id"]) == ("opened", notice["incident_id"])
    assert payload["project_id"] == str(project.id)
    assert len(receiver.got) == 1


async def test_what_is_acknowledged_elsewhere_reaches_the_screen_between_two_rounds(
    world: World,
) -> None:
    async with receiving() as receiver:
        project, settings = await prepared(world, receiver)
        settings |= {"alert_interval": 3600}
        async with listening(world, project) as shown, world.running(**settings):
            await fail_thrice(world)
            await eventually(lambda: shown)
            # As any API writes it, whichever daemon serves it.
            await world.owner.execute(
                "update public.workflow_alert_incidents"
                " set acknowledged_at = now(), acknowledged_by = $1",
                project.owner,
            )
            await eventually(lambda: len(shown) > 1, what="the acknowledgement")
        kinds = await world.owner.fetch("select kind from public.workflow_alert_deliveries")
    payload = shown[1]["payload"]
    assert (payload["kind"], payload["project_id"]) == ("acknowledged", str(project.id))
    assert payload["incident_id"] == shown[0]["payload"]["incident_id"]
    # A screen's business: no channel is told.
    assert [row["kind"] for row in kinds] == ["opened"]


async def test_a_daemon_killed_while_it_delivers_is_followed_by_one_that_does(
    world: World, tmp_path: Path
) -> None:
    root = str(Path(__file__).parents[2])
    async with receiving() as receiver:

        async def never(request: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        receiver.answers = [never]
        _, settings = await prepared(world, receiver)
        env = environment(world.settings(**settings), PYTHONPATH=root)
        async with process(tmp_path, env, "run") as first:
            await first.has_logged("stream.session_started")
            await fail_thrice(world)
            await asyncio.wait_for(receiver.came.wait(), 20)
            first.process.kill()
            await first.ended()
        # The lease of what it was sending runs out.
        await world.owner.execute(
            "update public.workflow_alert_deliveries set next_attempt_at = now()"
        )
        async with process(tmp_path, env, "run") as second:
            await second.has_logged("alert.delivered")
        assert second.logged("alert.noticed") == []
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert receiver.got[0][1] == receiver.got[1][1]
    assert await incidents(world.owner) == 1


async def incidents(owner: asyncpg.Connection) -> int:
    found: int = await owner.fetchval("select count(*) from public.workflow_alert_incidents")
    return found
