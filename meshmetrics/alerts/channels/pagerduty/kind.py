"""PagerDuty's Events API v2: an incident of ours is an alert there, resolved together with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.http import post_each
from meshmetrics.alerts.notice import Delivered, TrialNotice
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.wording import headline, lines

URL = "https://events.pagerduty.com/v2/enqueue"
EU_URL = "https://events.eu.pagerduty.com/v2/enqueue"
MOST_SUMMARY = 1024
"""Characters, of PagerDuty's."""


class PagerDuty:
    """An event for each notice. PagerDuty drops repeats by their `dedup_key`."""

    def __init__(self, guard: Guard, url: str = URL, eu_url: str = EU_URL) -> None:
        self._guard = guard
        self._urls = {"": url, "eu:": eu_url}

    def prepare(self, target: str) -> Target:
        """The integration key of a service; `eu:` before it for the region."""
        if not re.fullmatch(r"(eu:)?[A-Za-z0-9]{32}", target):
            raise ValueError("an integration key of 32 characters, with eu: before it for the EU")
        return Target(target, f"{target[:-32]}…{target[-4:]}")

    def new_secret(self) -> None:
        """None: the integration key is all that PagerDuty checks."""

    async def send(self, message: Message) -> Outcome:
        """Send the events, the oldest first."""
        region, key = message.target[:-32], message.target[-32:]
        return await post_each(self._guard, self._urls[region], events(message, key))


def events(message: Message, key: str) -> Iterator[dict[str, Any]]:
    """The events of a message."""
    for notice in message.notices:
        if isinstance(notice, TrialNotice):  # a test must not wake anyone for long
            yield _trigger(notice, key, str(notice.id), "info")
            yield _event(key, "resolve", str(notice.id))
        elif notice.kind == "resolved":
            yield _event(key, "resolve", str(notice.incident_id))
        else:
            yield _trigger(notice, key, str(notice.incident_id), notice.rule.severity)


def _trigger(notice: Delivered, key: str, dedup_key: str, severity: str) -> dict[str, Any]:
    workflow = None if isinstance(notice, TrialNotice) else notice.workflow
    payload: dict[str, Any] = {
        "summary": headline(notice)[:MOST_SUMMARY],
        "source": "meshmetrics",
        "severity": severity,
        "custom_details": {"notice": notice.kind, "details": lines(notice)},
    }
    if workflow is not None:
        payload["component"] = workflow.slug[:200]
    links = [{"href": notice.url, "text": "Open the incident"}] if notice.url else []
    links += [
        {"href": r.url, "text": f"Failed run {r.run_id}"} for r in notice.failed_runs if r.url
    ]
    return _event(key, "trigger", dedup_key) | {
        "client": "meshmetrics",
        "payload": payload,
        "links": links,
    }


def _event(key: str, action: str, dedup_key: str) -> dict[str, Any]:
    return {"routing_key": key, "event_action": action, "dedup_key": dedup_key}
