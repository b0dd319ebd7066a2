"""From a transition to the receiver: once, even if a daemon dies or a receiver is slow."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, make_rule
from tests.alerts.receiver import Receiver
from tests.alerts.sending import (
    SEAL,
    all_are,
    deliveries,
    hook,
    notifier_of,
    notifying,
    sent,
    trouble,
)
from tests.alerts.test_guard import local_guard
from tests.support import Project, Workflow, eventually


async def test_an_incident_is_delivered_once_signed_and_with_all_that_is_known(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    secret = await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    assert [n["kind"] for n in await evaluate()] == ["opened"]
    notifier = notifier_of(alerts, local_guard(receiver.url), dashboard_url="https://dash.test")
    async with notifying(notifier):
        row = await eventually(lambda: sent(owner))
    assert len(receiver.got) == 1
    headers, body = receiver.got[0]
    document = Webhook(secret).verify(body, {k.lower(): v for k, v in headers.items()})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, {k.lower(): v for k, v in headers.items()})
    (notice,) = document["data"]["notices"]
    assert headers["webhook-id"] == notice["id"] == str(row["id"])
    assert notice["kind"] == "opened"
    assert notice["workflow"] == {"slug": "orders", "name": "Orders"}
    assert (notice["measured"]["success_count"], notice["measured"]["failure_count"]) == (0, 3)
    assert len(notice["failed_runs"]) == 3
    assert notice["failed_runs"][0]["url"].startswith("https://dash.test/runs/")
    assert notice["began_with"]["version"] == 1
    assert (row["http_status"], row["excerpt"], row["attempts"]) == (200, "thanks", 1)
    assert SEAL.open(SEAL.seal("x")) == "x"
    assert secret.encode() not in body


async def test_a_slow_receiver_does_not_hold_up_the_others(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    release = asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    receiver.answers = [slowly]
    await hook(owner, project, receiver.url)
    await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    await evaluate()
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner))
        assert [d["status"] for d in await deliveries(owner)].count("sending") == 1
        release.set()
        await eventually(lambda: all_are(owner, "sent"))


async def test_a_daemon_that_dies_while_sending_is_followed_by_another_under_the_same_id(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    await evaluate()
    second = timedelta(seconds=1)
    (taken,) = await alerts.claim_alert_messages(second * 30, second * 0, 20, 10)
    assert await alerts.claim_alert_messages(second, second * 0, 20, 10) == ()
    await owner.execute("update public.workflow_alert_deliveries set next_attempt_at = now()")
    notifier = notifier_of(alerts, local_guard(receiver.url))
    async with notifying(notifier):
        await eventually(lambda: sent(owner))
    assert [h["webhook-id"] for h, _ in receiver.got] == [str(taken.message_id)]
    # The first one comes back to life: what it says is not taken any more.
    late = await notifier.attempt(taken)
    assert await alerts.finish_alert_message(taken, late) == 0


async def test_notices_close_together_travel_together_and_too_many_wait_for_a_digest(
    owner: asyncpg.Connection, alerts: AlertStore, receiver: Receiver, project: Project
) -> None:
    await hook(owner, project, receiver.url)
    channel = await owner.fetchval("select id from public.workflow_alert_channels")

    async def queue(n: int) -> None:
        await owner.executemany(
            "insert into public.workflow_alert_deliveries (project_id, channel_id, kind, notice)"
            " values ($1, $2, 'opened', '{\"kind\": \"opened\"}')",
            [(project.id, channel)] * n,
        )

    wait, zero = timedelta(seconds=30), timedelta(0)
    await queue(2)
    (first,) = await alerts.claim_alert_messages(wait, wait, 2, 10)
    assert len(first.deliveries) == 2
    await queue(3)
    assert await alerts.claim_alert_messages(wait, wait, 2, 10) == ()  # so soon after the first
    await owner.execute(
        "update public.workflow_alert_deliveries set next_attempt_at = now()"
        " where status = 'pending'"
    )
    (second,) = await alerts.claim_alert_messages(wait, zero, 2, 10)
    assert len(second.deliveries) == 3
    await queue(4)
    assert await alerts.claim_alert_messages(wait, zero, 2, 10) == ()  # two an hour
    held = [d for d in await deliveries(owner) if d["status"] == "held"]
    assert len(held) == 4
    assert {d["held_for"] for d in held} == {"cap"}
    await owner.execute(
        "update public.workflow_alert_deliveries set next_attempt_at = now(),"
        " first_attempt_at = first_attempt_at - interval '1 hour'"
        " where status in ('held', 'sending')"
    )
    found = await alerts.claim_alert_messages(wait, zero, 2, 10)
    digest = [m for m in found if m.digest]
    assert [len(m.deliveries) for m in digest] == [4]
