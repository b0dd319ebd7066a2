"""Discord's webhooks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from meshmetrics.alerts.notice import Delivered, TrialNotice
from meshmetrics.alerts.wording import headline, lines

MAX_NOTICES = 5
"""The embeds of a message may have 6,000 characters; further notices are only counted."""
COLOURS = {"info": 0x3B82F6, "warning": 0xF59E0B, "critical": 0xDC2626}
RESOLVED = 0x16A34A


def body(notices: Sequence[Delivered]) -> bytes:
    """Embeds. Nothing in them mentions a user, whatever a tenant called a rule."""
    more = len(notices) - MAX_NOTICES
    return json.dumps(
        {
            "content": f"and {more} more" if more > 0 else "",
            "embeds": [_embed(notice) for notice in notices[:MAX_NOTICES]],
            "allowed_mentions": {"parse": []},
        }
    ).encode()


def _embed(notice: Delivered) -> dict[str, Any]:
    text = [escape(line) for line in lines(notice)]
    text += [f"[Failed run {run.run_id}]({run.url})" for run in notice.failed_runs if run.url]
    if isinstance(notice, TrialNotice):
        colour = COLOURS["info"]
    elif notice.kind == "resolved":
        colour = RESOLVED
    else:
        colour = COLOURS.get(notice.rule.severity, COLOURS["info"])
    embed: dict[str, Any] = {
        "title": escape(headline(notice)[:120]),
        "description": "\n".join(text)[:900],
        "color": colour,
    }
    return embed | ({"url": notice.url} if notice.url else {})


def escape(text: str) -> str:
    """Text that a tenant wrote, so that Discord sees no Markdown, no mention and no link in it."""
    text = re.sub(r"([\\*_~`|>#\[\]()<])", r"\\\1", text)
    return text.replace("@", "@\u200b").replace("://", ":\u200b//")
