"""Slack's incoming webhooks; Mattermost, and Discord at `/slack`, understand them too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from meshmetrics.alerts.notice import Delivered
from meshmetrics.alerts.wording import headline, lines

MAX_NOTICES = 12
"""A message of Slack's has at most 50 blocks; further notices are only counted."""


def body(notices: Sequence[Delivered]) -> bytes:
    """Blocks, with a plain text for clients that show none."""
    blocks: list[dict[str, Any]] = []
    for notice in notices[:MAX_NOTICES]:
        title = {"type": "plain_text", "text": unmention(headline(notice))[:150]}
        blocks.append({"type": "header", "text": title})
        text = [escape(line) for line in lines(notice)]
        text += [f"<{r.url}|failed run {r.run_id}>" for r in notice.failed_runs if r.url]
        blocks.append(
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": "\n".join(text)[:3000], "verbatim": True},
            }
        )
        if notice.url:
            link = {"type": "mrkdwn", "text": f"<{notice.url}|Open the incident>"}
            blocks.append({"type": "context", "elements": [link]})
    if len(notices) > MAX_NOTICES:
        more = {"type": "mrkdwn", "text": f"and {len(notices) - MAX_NOTICES} more"}
        blocks.append({"type": "context", "elements": [more]})
    summary = "; ".join(escape(headline(n)) for n in notices[:5])
    return json.dumps({"text": summary, "blocks": blocks}).encode()


def escape(text: str) -> str:
    """Text that a tenant wrote, so that Slack sees no mention and no link in it."""
    return unmention(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unmention(text: str) -> str:
    """With a zero-width space behind each @: Mattermost and Discord read @everyone and @channel
    in any text."""
    return text.replace("@", "@\u200b")
