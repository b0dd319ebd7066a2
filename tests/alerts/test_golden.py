"""What each channel kind says for each kind of notice, to a word: golden/<channel kind>.txt has it.

MESHMETRICS_TEST_WRITE_GOLDEN=1 writes the files anew: read the difference before committing it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest

from meshmetrics.alerts.channels.contract import ChannelKind, Message
from meshmetrics.alerts.channels.email.mail import compose, compose_confirmation
from meshmetrics.alerts.channels.pagerduty.kind import PagerDuty
from meshmetrics.alerts.channels.registry import KindName, channel_kinds
from meshmetrics.alerts.channels.telegram.kind import Telegram
from meshmetrics.alerts.notice import read_delivery
from meshmetrics.api.alerts.schemas import Delivery
from tests.alerts.receiver import Receiver
from tests.alerts.test_email import message_of
from tests.alerts.test_guard import local_guard
from tests.alerts.test_notice import WRITTEN

GOLDEN = Path(__file__).with_name("golden")
NOTICE_KINDS = get_args(Delivery.model_fields["kind"].annotation)
PORT = "12345"
# A tenant who tries everything: markup of each of them, mentions, links.
HOSTILE = "<!channel> @everyone *b* [x](https://evil.test) <b>&"


def message(notice_kind: str) -> Message:
    """A message with one notice. What is written in a text is hostile."""
    written: dict[str, Any] = {}
    if notice_kind not in ("test", "confirm"):
        cause = "no_data" if notice_kind == "no_data" else "rate"
        rule = {**WRITTEN["rule"], "name": HOSTILE, "severity": "critical"}
        written = {
            **WRITTEN,
            "cause": cause,
            "rule": rule,
            "close_reason": "recovered" if notice_kind == "resolved" else None,
        }
    delivery = {"id": str(UUID(int=0xD1)), "kind": notice_kind, "notice": written}
    found = message_of(read_delivery(delivery, "https://dash.test"))
    at = datetime(2026, 11, 23, 12, 40, tzinfo=UTC)
    return dataclasses.replace(
        found, id=UUID(int=0xE1), project_id=UUID(int=0xA1), first_attempt_at=at
    )


def target_of(kind: str, url: str) -> str:
    """A target that leads to the receiver."""
    named = {"pagerduty": "k" * 32, "telegram": f"123456:{'t' * 35} -1001234"}
    return named.get(kind, url)


def kind_of(name: str, receiver: Receiver) -> ChannelKind:
    """The kind, with the receiver in the place of services that have one address for all."""
    guard = local_guard(receiver.url)
    base = receiver.url.rpartition("/")[0]
    if name == "pagerduty":
        return PagerDuty(guard, f"{base}/v2/enqueue", f"{base}/eu/v2/enqueue")
    if name == "telegram":
        return Telegram(guard, base)
    return channel_kinds(guard, None)[name]


async def said(name: str, notice_kind: str, receiver: Receiver) -> str:
    """All that is sent, as text."""
    if name == "email":
        link = "https://rates.test/api/mail/"
        if notice_kind == "confirm":
            mail = compose_confirmation(
                message(notice_kind), "alerts@mesh.test", f"{link}c", f"{link}u"
            )
        else:
            mail = compose(message(notice_kind), "alerts@mesh.test", f"{link}u")
        parts = [part.get_content() for part in mail.iter_parts()]
        return "\n".join([f"Subject: {mail['Subject']}", "", *parts])
    kind = kind_of(name, receiver)
    target = target_of(name, receiver.url)
    assert kind.prepare(target).text == target
    secrets = () if name != "webhook" else (kind.new_secret() or "",)
    sent = dataclasses.replace(message(notice_kind), target=target, secrets=secrets)
    outcome = await kind.send(sent)
    assert outcome.result == "sent"
    requests = zip(receiver.paths, receiver.got, strict=True)
    return "\n".join(
        f"POST {path}\n{json.dumps(json.loads(body), indent=1, ensure_ascii=False)}"
        for path, (_, body) in requests
    )


@pytest.mark.generates
@pytest.mark.parametrize("name", get_args(KindName))
async def test_what_a_channel_says_is_what_the_golden_file_has(
    name: str, receiver: Receiver
) -> None:
    sections = []
    for notice_kind in NOTICE_KINDS:
        if notice_kind == "confirm" and name != "email":
            continue
        receiver.got.clear()
        receiver.paths.clear()
        sections.append(f"=== {notice_kind}\n{await said(name, notice_kind, receiver)}\n")
    text = "\n".join(re.sub(r"[ \t]+\n", "\n", section) for section in sections)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
