"""Webhooks as https://www.standardwebhooks.com has them."""

from __future__ import annotations

import json
import time
from datetime import UTC

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.http import post, url_target
from meshmetrics.alerts.channels.webhook.signature import new_secret, sign
from meshmetrics.alerts.notice import documents
from meshmetrics.alerts.outbound import Guard


class Webhook:
    """Signed JSON to a URL of the tenant's."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def prepare(self, target: str) -> Target:
        """A URL."""
        return url_target(self._guard, target)

    def new_secret(self) -> str:
        """What signs the messages."""
        return new_secret()

    async def send(self, message: Message) -> Outcome:
        """Signed by each of the secrets: two, for a day after one was replaced."""
        content = body(message)
        timestamp = int(time.time())
        try:
            signatures = [sign(s, str(message.id), timestamp, content) for s in message.secrets]
        except ValueError as error:
            return Outcome("failed", f"refused: {error}")
        headers = {
            "webhook-id": str(message.id),
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        return await post(self._guard, message.target, content, headers)


def body(message: Message) -> bytes:
    """The same for every attempt, so that a receiver may compare."""
    return json.dumps(
        {
            "type": "alert.notices",
            "timestamp": message.first_attempt_at.astimezone(UTC).isoformat(),
            "data": {
                "project_id": str(message.project_id),
                "digest": message.digest,
                "notices": documents(message.notices),
            },
        },
        separators=(",", ":"),
    ).encode()
