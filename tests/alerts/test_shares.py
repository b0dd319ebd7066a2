"""Projects and hosts take turns at the slots of delivery."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import asyncpg
import pytest
from aiohttp import web

from meshmetrics.alerts import notifier as notifying_module
from meshmetrics.alerts.notifier import HOST_SHARE, PROJECT_SHARE
from meshmetrics.alerts.store import AlertStore
from tests.alerts.conftest import make_channel
from tests.alerts.receiver import Receiver
from tests.alerts.sending import hook, notifier_of, notifying
from tests.alerts.test_guard import local_guard
from tests.support import Project, eventually, make_project

LEASE, NO_WAIT = timedelta(seconds=60), timedelta(0)


async def queue_tests(owner: asyncpg.Connection, project: Project, each: int) -> None:
    """Queue this many tests of every channel of a project."""
    await owner.execute(
        "insert into public.workflow_alert_deliveries (project_id, channel_id, kind, created_at)"
        " select project_id, id, 'test', now() from public.workflow_alert_channels,"
        " generate_series(1, $2::integer) where project_id = $1",
        project.id,
        each,
    )


async def test_projects_take_turns_and_none_has_more_than_its_share_under_way(
    owner: asyncpg.Connection, alerts: AlertStore
) -> None:
    first, second, third = [await make_project(owner) for _ in range(3)]
    for project, channels, each in ((first, 30, 4), (second, 2, 1), (third, 1, 5)):
        for _ in range(channels):
            await make_channel(owner, project)
        await queue_tests(owner, project, each)

    async def claim(most: int, *under_way: Project) -> Counter[str]:
        found = await alerts.claim_alert_messages(
            LEASE, NO_WAIT, 100, most, per_project=4, under_way=[p.id for p in under_way]
        )
        names = {first.id: "first", second.id: "second", third.id: "third"}
        return Counter(names[m.project_id] for m in found)

    assert await claim(3) == {"first": 1, "second": 1, "third": 1}
    assert await claim(16, first, second, third) == {"first": 3, "second": 1, "third": 3}
    # None of its own is under way, so it comes first.
    assert await claim(1, *[first] * 3) == {"third": 1}
    assert await claim(16, *[first] * 4) == {}


async def test_channels_that_are_avoided_get_nothing(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    one, other = [await make_channel(owner, project) for _ in range(2)]
    await queue_tests(owner, project, 1)
    (message,) = await alerts.claim_alert_messages(LEASE, NO_WAIT, 100, 16, avoided=[one])
    assert message.channel_id == other


async def test_a_message_that_is_put_back_has_not_been_tried(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    await make_channel(owner, project)
    await queue_tests(owner, project, 1)
    (message,) = await alerts.claim_alert_messages(LEASE, NO_WAIT, 1, 16)
    await alerts.release_alert_message(message, timedelta(0))
    (again,) = await alerts.claim_alert_messages(LEASE, NO_WAIT, 1, 16)
    assert (again.message_id, again.attempt) == (message.message_id, 1)


async def test_a_host_that_never_answers_takes_its_share_and_no_more(
    owner: asyncpg.Connection,
    alerts: AlertStore,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notifying_module, "HOST_FULL_SECONDS", 0.05)
    release = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    receiver.answers = [never] * 40
    for _ in range(4):
        project = await make_project(owner)
        for _ in range(5):
            await hook(owner, project, receiver.url)
        await queue_tests(owner, project, 1)
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: len(receiver.got) == HOST_SHARE)
        await asyncio.sleep(0.5)
        assert len(receiver.got) == HOST_SHARE
        release.set()
        await eventually(lambda: len(receiver.got) == 20, within=20)


async def test_a_project_takes_its_share_of_slots_and_no_more(
    owner: asyncpg.Connection, alerts: AlertStore, receiver: Receiver, project: Project
) -> None:
    release = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    receiver.answers = [never] * 40
    for _ in range(10):
        await hook(owner, project, receiver.url)
    await queue_tests(owner, project, 1)
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: len(receiver.got) == PROJECT_SHARE)
        await asyncio.sleep(0.3)
        assert len(receiver.got) == PROJECT_SHARE
        release.set()
        await eventually(lambda: len(receiver.got) == 10, within=20)
