"""The channel of a project: only its members receive, with whatever token the others come."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

from meshmetrics.devstack.realtime import mint
from tests.daemon.conftest import JWT_SECRET, World
from tests.daemon.test_broadcasts import end_runs, project, watching
from tests.support import Project, eventually, make_project
from tests.support.databases import EVERY_VERSION


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: row-level security decides."""
    version: int = request.param
    return version


__all__ = ["project"]

OTHER_SECRET = "another-secret-of-at-least-thirty-two-chars"


class Outsider:
    """Somebody who tries to listen."""

    def __init__(self) -> None:
        self.states: list[RealtimeSubscribeStates] = []
        self.messages: list[Any] = []


@asynccontextmanager
async def trying(
    world: World, topic: str, token: str, *, private: bool = True
) -> AsyncIterator[Outsider]:
    """Connect with `token`, if the server lets us, and join `topic`; stay there as long as it
    lasts."""
    client = AsyncRealtimeClient(
        f"{world.realtime.url}/realtime/v1", token, auto_reconnect=False, max_retries=1
    )
    channel = client.channel(
        topic, {"config": {"private": private, "broadcast": None, "presence": None}}
    )
    outsider = Outsider()
    channel.on_broadcast("rates", outsider.messages.append)
    with contextlib.suppress(Exception):  # a bad token is refused before there is a socket
        await client.connect()
        await channel.subscribe(lambda state, _: outsider.states.append(state))
    try:
        yield outsider
    finally:
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
        await client.close()


def refused(outsider: Outsider) -> bool:
    return RealtimeSubscribeStates.SUBSCRIBED not in outsider.states


async def test_no_other_token_receives_what_a_member_receives(
    world: World, project: Project
) -> None:
    stranger = await make_project(world.owner)
    tokens = {
        "foreign": mint(JWT_SECRET, role="authenticated", sub=str(stranger.owner)),
        "of nobody's": mint(JWT_SECRET, role="authenticated", sub=str(uuid4())),
        "without a user": mint(JWT_SECRET, role="authenticated"),
        "anon": mint(JWT_SECRET, role="anon"),
        "expired": mint(JWT_SECRET, role="authenticated", sub=str(project.owner), expires_in=-60),
        "forged": mint(OTHER_SECRET, role="authenticated", sub=str(project.owner)),
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(world.running())
        member = await stack.enter_async_context(watching(world, project))
        outsiders = {
            name: await stack.enter_async_context(trying(world, f"metrics:{project.id}", token))
            for name, token in tokens.items()
        }
        await end_runs(world, world.workflow, 3)
        await eventually(lambda: member.success.get(str(world.workflow.id)) == 3)
        assert {name for name, one in outsiders.items() if not refused(one)} == set()
        assert {name for name, one in outsiders.items() if one.messages} == set()


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_a_public_channel_of_the_same_name_hears_nothing(
    world: World, project: Project, role: str
) -> None:
    token = mint(JWT_SECRET, role=role)
    async with (
        world.running(),
        watching(world, project) as member,
        trying(world, f"metrics:{project.id}", token, private=False) as outsider,
    ):
        await eventually(lambda: not refused(outsider))
        await end_runs(world, world.workflow, 3)
        await eventually(lambda: member.success.get(str(world.workflow.id)) == 3)
        assert outsider.messages == []


async def test_a_member_cannot_send_on_its_channel(world: World, project: Project) -> None:
    token = mint(JWT_SECRET, role="authenticated", sub=str(project.owner))
    topic = f"metrics:{project.id}"
    async with (
        world.running(),
        watching(world, project) as other_member,
    ):
        client = AsyncRealtimeClient(
            f"{world.realtime.url}/realtime/v1", token, auto_reconnect=False
        )
        channel = client.channel(
            topic, {"config": {"private": True, "broadcast": None, "presence": None}}
        )
        await client.connect()
        await channel.subscribe()
        await channel.send_broadcast("rates", {"workflows": [], "forged": True})
        await end_runs(world, world.workflow, 3)
        await eventually(lambda: other_member.success.get(str(world.workflow.id)) == 3)
        await client.close()
        channel.join_push.destroy()
    assert not any("forged" in message for message in other_member.messages)
