"""What channels send: signatures, Slack's blocks, and nothing to private addresses."""

from __future__ import annotations

import json

import asyncpg
import pytest
from cryptography.fernet import Fernet
from standardwebhooks.webhooks import Webhook

from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.sealing import Seal
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, make_channel, make_rule
from tests.alerts.receiver import Receiver
from tests.alerts.sending import SEAL, hook, notifier_of, notifying, sent, trouble
from tests.alerts.test_guard import local_guard
from tests.support import Project, Workflow, eventually


async def test_for_a_day_both_secrets_sign(
    owner: asyncpg.Connection, alerts: AlertStore, receiver: Receiver, project: Project
) -> None:
    old = await hook(owner, project, receiver.url)
    new = new_secret()
    await owner.execute(
        "update public.workflow_alert_channels set sealed_secret = $1", SEAL.seal(new)
    )
    await owner.execute(
        "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
        " select project_id, id, 'test' from public.workflow_alert_channels"
    )
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner))
    headers, body = receiver.got[0]
    for secret in (old, new):
        Webhook(secret).verify(body, {k.lower(): v for k, v in headers.items()})


async def test_slack_gets_blocks_in_which_nothing_is_a_mention(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_channel(owner, project, "slack", sealed_target=SEAL.seal(receiver.url))
    await make_rule(owner, project, name="<!channel> down")
    await trouble(owner, store, workflow)
    await evaluate()
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner))
    headers, body = receiver.got[0]
    document = json.loads(body)
    assert "<!channel>" not in document["text"]
    assert document["blocks"][0]["type"] == "header"
    assert "0 of 3 runs succeeded" in document["blocks"][1]["text"]["text"]
    assert "webhook-signature" not in headers


async def test_a_private_target_is_dead_at_once_and_says_why(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    await hook(owner, project, "https://127.0.0.1/")
    await owner.execute(
        "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
        " select project_id, id, 'test' from public.workflow_alert_channels"
    )
    async with notifying(notifier_of(alerts, Guard())):
        row = await eventually(lambda: sent(owner, "dead"))
    assert "127.0.0.1 is not a public address" in row["error"]


def test_what_was_sealed_is_opened_with_old_keys_too() -> None:
    one, two = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Seal(one).seal("a secret")
    assert "a secret" not in sealed
    assert Seal(f"{two},{one}").open(sealed) == "a secret"
    with pytest.raises(ValueError, match="key"):
        Seal("too short")
