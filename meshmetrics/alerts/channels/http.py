"""What channel kinds share that send an HTTP request to a URL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from meshmetrics.alerts.channels.contract import ATTEMPT_SECONDS, Outcome, Target
from meshmetrics.alerts.exchange import Answer
from meshmetrics.alerts.outbound import Guard, RefusedError
from meshmetrics.runtime.logs import describe


def url_target(guard: Guard, url: str) -> Target:
    """A URL as a channel's target. Raises ValueError where the guard would refuse it."""
    try:
        guard.check(url)
    except RefusedError as error:
        raise ValueError(f"a URL that may be sent to: {error}") from None
    return Target(url, f"{urlsplit(url).hostname}/…")


async def post(guard: Guard, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send JSON."""
    try:
        answer = await guard.post(url, body, {"Content-Type": "application/json", **headers})
    except RefusedError as error:
        return Outcome("failed", f"refused: {error}")
    except TimeoutError:
        return Outcome("retry", "no answer in time")
    except OSError as error:
        return Outcome("retry", describe(error))
    return outcome_of(answer, datetime.now(UTC))


async def post_each(guard: Guard, url: str, documents: Iterable[Mapping[str, Any]]) -> Outcome:
    """Send one after another, until one is not taken: all of them within ATTEMPT_SECONDS. The
    next attempt sends the first ones again, so the receiver has to recognize repeats."""
    outcome = Outcome("sent")
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            for document in documents:
                outcome = await post(guard, url, json.dumps(document).encode(), {})
                if outcome.result != "sent":
                    return outcome
    except TimeoutError:
        return Outcome("retry", "no answer in time")
    return outcome


def outcome_of(answer: Answer, now: datetime) -> Outcome:
    """What a receiver's answer means. All but 2xx and 410 is retried: a wrong path or a
    missing permission is usually fixed within the days that the attempts go on."""
    status, excerpt = answer.status, answer.excerpt
    if 200 <= status < 300:
        return Outcome("sent", status=status, excerpt=excerpt)
    if status == 410:
        error = "the receiver does not exist any more (410)"
        return Outcome("disable", error, status=status, excerpt=excerpt)
    wait = retry_after(answer.retry_after, now) if status in (429, 503) else None
    return Outcome("retry", f"the receiver answered {status}", wait, status, excerpt)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After header (RFC 9110, 10.2.3): seconds or a date. None where
    it is missing or malformed. May be infinite: a receiver can write any number of digits."""
    header = (header or "").strip()
    if header.isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):  # a year or a zone that no date can have
        return None
