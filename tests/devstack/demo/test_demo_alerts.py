"""The demo's alert: its receiver, and what it lets the daemon reach."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
from standardwebhooks.webhooks import Webhook

from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.outbound import Guard, RefusedError
from meshmetrics.daemon.alerting import make_guard
from meshmetrics.devstack.demo.receiver import Receiver, describe
from meshmetrics.settings.fields import Settings

OPENED = {
    "kind": "opened",
    "cause": "consecutive",
    "seconds": 0,
    "rule": {"name": "Payments fail", "consecutive": 3},
    "workflow": {"slug": "relay", "name": "Relay"},
}


async def post(receiver: Receiver, secret: str, message: str) -> str:
    """Send a notice as somebody with this secret would."""
    body = json.dumps({"data": {"notices": [OPENED]}})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, body),
    }
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(receiver.url, content=body, headers=headers)
    assert answer.status_code == 200
    return answer.text


async def test_the_receiver_checks_signatures_and_drops_repeats(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "webhooks.log")
    receiver.secret = new_secret()
    await receiver.start()
    try:
        message = str(uuid4())
        await post(receiver, receiver.secret, message)
        assert await post(receiver, receiver.secret, message) == "duplicate"
        await post(receiver, new_secret(), str(uuid4()))
    finally:
        await receiver.stop()
    assert [r.genuine for r in receiver.received] == [True, False]
    lines = receiver.log.read_text().splitlines()
    assert lines == [r.line for r in receiver.received]
    assert lines[0].endswith("✕ opened    Relay: 3 failures in a row")
    assert lines[1].endswith("a wrong signature")


def test_a_notice_is_told_in_a_few_words() -> None:
    assert describe({**OPENED, "kind": "resolved", "seconds": 75.0}) == "Relay: over after 1 min"
    assert describe({**OPENED, "cause": "rate", "workflow": None}) == "Payments fail: Payments fail"


def refused(guard: Guard, url: str) -> bool:
    try:
        guard.check(url)
    except RefusedError:
        return True
    return False


async def test_only_the_receivers_address_and_port_are_let_through(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "webhooks.log")
    await receiver.start()
    await receiver.stop()
    needed = {
        "supabase_url": "http://127.0.0.1:1",
        "supabase_secret_key": "k",
        "database_url": "postgresql://x",
    }
    given = {
        key.removeprefix("MESHMETRICS_").lower(): value for key, value in receiver.settings.items()
    }
    local = make_guard(Settings.model_validate({**needed, **given}))
    usual = make_guard(Settings.model_validate(needed))
    assert not refused(local, receiver.url)
    assert refused(usual, receiver.url)
    for other in ("127.0.0.2", "10.0.0.1", "169.254.169.254", "[::1]"):
        assert refused(local, receiver.url.replace("127.0.0.1", other))
    assert refused(local, receiver.url.replace(str(receiver.port), "22"))
