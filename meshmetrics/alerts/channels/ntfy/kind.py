"""ntfy: push messages to a topic, of ntfy.sh or of a server of the tenant's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.http import post, url_target
from meshmetrics.alerts.notice import Delivered, TrialNotice
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.wording import headline, lines

PRIORITIES = {"info": 2, "warning": 4, "critical": 5}
DEFAULT_PRIORITY = 3
"""Of tests, and of the end of trouble."""
MOST_BYTES = 3500
"""ntfy makes an attachment of a text beyond 4,096 bytes."""


class Ntfy:
    """One message, as urgent as its most urgent notice. The topic's name is its only secret; a
    protected topic takes `?auth=…` in its URL."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def prepare(self, target: str) -> Target:
        """The topic's URL."""
        found = url_target(self._guard, target)
        if not re.search(r"/[A-Za-z0-9_-]{1,64}$", urlsplit(target).path):
            raise ValueError("a URL that ends with the topic's name")
        return found

    def new_secret(self) -> None:
        """None: ntfy checks no signature."""

    async def send(self, message: Message) -> Outcome:
        """Send it, as JSON to the server's root."""
        parts = urlsplit(message.target)
        path, _, topic = parts.path.rpartition("/")
        url = parts._replace(path=f"{path}/").geturl()
        return await post(self._guard, url, body(message.notices, topic), {})


def body(notices: Sequence[Delivered], topic: str) -> bytes:
    """Plain text."""
    first, rest = notices[0], notices[1:]
    text = [*lines(first), *(headline(n) for n in rest)]
    document: dict[str, Any] = {
        "topic": topic,
        "title": headline(first),
        "message": "\n".join(text).encode()[:MOST_BYTES].decode(errors="ignore"),
        "priority": max(_priority(n) for n in notices),
    }
    return json.dumps(document | ({"click": first.url} if first.url else {})).encode()


def _priority(notice: Delivered) -> int:
    if isinstance(notice, TrialNotice) or notice.kind == "resolved":
        return DEFAULT_PRIORITY
    return PRIORITIES.get(notice.rule.severity, DEFAULT_PRIORITY)
