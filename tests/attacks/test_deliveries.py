"""A's receivers never answer; B's notices arrive as ever."""

from __future__ import annotations

import pytest

from meshmetrics.alerts.notifier import HOST_SHARE
from tests.alerts.test_shares import queue_tests
from tests.attacks.notices import assert_unharmed, channel_to, silent, victim
from tests.daemon.conftest import World, realtime, world
from tests.support import eventually, make_project

__all__ = ["realtime", "world"]
pytestmark = pytest.mark.slow


async def test_30_channels_to_a_receiver_that_never_answers_and_4_tests_of_each(
    world: World,
) -> None:
    owner = world.owner
    a = await make_project(owner)
    async with silent() as receiver, victim(world, receiver) as (b, running):
        quiet = await b.figure()
        for _ in range(30):
            await channel_to(owner, a, receiver)
        await queue_tests(owner, a, 4)
        await eventually(lambda: receiver.got)
        attacked = await b.figure()
        assert running.value("lease_held") == 1
        waiting = await owner.fetchval(
            "select count(*) from public.workflow_alert_deliveries"
            " where project_id = $1 and status in ('pending', 'sending')",
            a.id,
        )
    assert_unharmed(quiet, attacked)
    assert waiting > 100  # and A sees them in its list


async def test_many_projects_with_a_channel_each_to_a_receiver_that_never_answers(
    world: World,
) -> None:
    owner = world.owner
    async with silent() as receiver, victim(world, receiver) as (b, _):
        quiet = await b.figure()
        for _ in range(40):
            a = await make_project(owner)
            await channel_to(owner, a, receiver)
            await queue_tests(owner, a, 1)
        await eventually(lambda: len(receiver.got) >= HOST_SHARE)
        attacked = await b.figure()
        assert len(receiver.got) <= 2 * HOST_SHARE
    assert_unharmed(quiet, attacked)
