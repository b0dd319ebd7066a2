"""Microsoft Teams, by the webhook of a workflow ("When a Teams webhook request is received")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from meshmetrics.alerts.notice import Delivered
from meshmetrics.alerts.wording import headline, lines

MAX_NOTICES = 10
"""A message may have 28 KB; further notices are only counted."""


def body(notices: Sequence[Delivered]) -> bytes:
    """One card. Its texts are text runs, in which Teams reads no Markdown and no mention."""
    shown = notices[:MAX_NOTICES]
    blocks: list[dict[str, Any]] = []
    actions: list[dict[str, Any]] = []
    for notice in shown:
        blocks.append(_text(headline(notice), weight="Bolder", size="Medium"))
        blocks += [_text(line[:300]) for line in lines(notice)]
        for run in notice.failed_runs:
            if run.url:
                blocks.append(_text(f"Failed run {run.run_id}", action=_open(run.url)))
    if len(notices) > len(shown):
        blocks.append(_text(f"and {len(notices) - len(shown)} more"))
    if notices[0].url:
        actions.append(_open(notices[0].url) | {"title": "Open the incident"})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
        "actions": actions,
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return json.dumps({"type": "message", "attachments": [attachment]}).encode()


def _text(text: str, *, action: dict[str, str] | None = None, **style: str) -> dict[str, Any]:
    run: dict[str, Any] = {"type": "TextRun", "text": text, **style}
    if action is not None:
        run["selectAction"] = action
    return {"type": "RichTextBlock", "inlines": [run]}


def _open(url: str) -> dict[str, str]:
    return {"type": "Action.OpenUrl", "url": url}
