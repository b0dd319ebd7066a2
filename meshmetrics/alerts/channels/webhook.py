"""Webhooks as https://www.standardwebhooks.com has them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from meshmetrics.alerts.outbound import Answer, Guard
from meshmetrics.counting.model import AlertMessage

PREFIX = "whsec_"


def body(message: AlertMessage, notices: Sequence[dict[str, Any]]) -> bytes:
    """The same for every attempt, so that a receiver may compare."""
    return json.dumps(
        {
            "type": "alert.notices",
            "timestamp": message.first_attempt_at.astimezone(UTC).isoformat(),
            "data": {
                "project_id": str(message.project_id),
                "digest": message.digest,
                "notices": list(notices),
            },
        },
        separators=(",", ":"),
    ).encode()


def sign(secret: str, message_id: str, timestamp: int, content: bytes) -> str:
    """One signature. Raises ValueError for what is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("the secret is not base64") from None
    signed = f"{message_id}.{timestamp}.".encode() + content
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def send(
    guard: Guard,
    url: str,
    secrets: Sequence[str],
    message: AlertMessage,
    notices: Sequence[dict[str, Any]],
) -> Answer:
    """Send it signed by each of the secrets: two, for a day after one was replaced."""
    content = body(message, notices)
    message_id, timestamp = str(message.message_id), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(s, message_id, timestamp, content) for s in secrets),
    }
    return await guard.post(url, content, headers)


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: it has seconds, or a date."""
    from email.utils import parsedate_to_datetime

    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
