"""Telegram, through a bot of the tenant's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.http import post
from meshmetrics.alerts.notice import Delivered
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.wording import headline, lines

URL = "https://api.telegram.org"
MOST_CHARACTERS = 4000
"""Of Telegram's 4,096: so that the last line fits."""


class Telegram:
    """A plain text to a chat. The bot's token is part of the URL, and the only secret."""

    def __init__(self, guard: Guard, url: str = URL) -> None:
        self._guard = guard
        self._url = url

    def prepare(self, target: str) -> Target:
        """The bot's token and the chat: `123456:ABC… -1001234`, or `@channel` for the number."""
        found = re.fullmatch(
            r"(\d{5,20}:[A-Za-z0-9_-]{30,60}) (-?\d{1,20}|@\w{4,32})", target, re.A
        )
        if found is None:
            raise ValueError("a bot token and a chat ID with a space between them")
        return Target(target, f"chat {found[2]}")

    def new_secret(self) -> None:
        """None: Telegram checks no signature."""

    async def send(self, message: Message) -> Outcome:
        """Send it."""
        token, chat = message.target.split(" ")
        url = f"{self._url}/bot{token}/sendMessage"
        return await post(self._guard, url, body(message.notices, chat), {})


def body(notices: Sequence[Delivered], chat: str) -> bytes:
    """Plain text: without a `parse_mode` there is no markup in it."""
    parts: list[str] = []
    room = MOST_CHARACTERS
    for notice in notices:
        part = _text(notice)[:MOST_CHARACTERS]
        if len(part) + 2 > room and parts:
            break
        parts.append(part)
        room -= len(part) + 2
    if len(parts) < len(notices):
        parts.append(f"and {len(notices) - len(parts)} more")
    document = {
        "chat_id": chat,
        "text": "\n\n".join(parts),
        "link_preview_options": {"is_disabled": True},
    }
    return json.dumps(document).encode()


def _text(notice: Delivered) -> str:
    text = [headline(notice), *lines(notice)]
    text += [f"Failed run: {run.url}" for run in notice.failed_runs if run.url]
    if notice.url:
        text.append(notice.url)
    return "\n".join(text)
