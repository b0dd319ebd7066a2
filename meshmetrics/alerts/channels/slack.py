"""Slack's incoming webhooks; Mattermost, and Discord at `/slack`, understand them too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from meshmetrics.alerts.outbound import Answer, Guard
from meshmetrics.alerts.wording import headline, lines

MOST_NOTICES = 12
"""A message of Slack's has at most 50 blocks; the rest is only counted."""


def body(notices: Sequence[dict[str, Any]]) -> bytes:
    """A Block Kit message, with a plain text for those who show no blocks."""
    blocks: list[dict[str, Any]] = []
    for notice in notices[:MOST_NOTICES]:
        title = {"type": "plain_text", "text": headline(notice)[:150]}
        blocks.append({"type": "header", "text": title})
        said = [escape(line) for line in lines(notice)]
        said += [f"<{r['url']}|failed run {r['run_id']}>" for r in runs(notice)]
        blocks.append(
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(said)[:3000]}}
        )
        if notice.get("url"):
            where = {"type": "mrkdwn", "text": f"<{notice['url']}|Open the incident>"}
            blocks.append({"type": "context", "elements": [where]})
    if len(notices) > MOST_NOTICES:
        more = {"type": "mrkdwn", "text": f"and {len(notices) - MOST_NOTICES} more"}
        blocks.append({"type": "context", "elements": [more]})
    text = "; ".join(escape(headline(n)) for n in notices[:5])
    return json.dumps({"text": text, "blocks": blocks}).encode()


def runs(notice: dict[str, Any]) -> list[dict[str, Any]]:
    """The failed runs that a link leads to."""
    return [run for run in notice.get("failed_runs", []) if run.get("url")]


def escape(text: str) -> str:
    """What tenants wrote, so that it is no mention and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def send(guard: Guard, url: str, notices: Sequence[dict[str, Any]]) -> Answer:
    """Send it."""
    return await guard.post(url, body(notices), {"Content-Type": "application/json"})
