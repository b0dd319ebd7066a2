"""Merges changes and encodes messages for broadcasting. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from meshmetrics.counting.model import Change, Delta

MESSAGE_BYTES = 200_000
"""Maximum size of a message; larger ones are split."""
MAX_DELTAS = 120
"""Maximum minutes in one change; more are cheaper to refetch than to send."""

_ENVELOPE_BYTES = 500  # upper bound of topic, event and the fields around the workflows


def merge(older: Change, newer: Change) -> Change:
    """One change that replaces both.

    If `newer` continues `older`, it has the sum of their deltas. Otherwise it has none, and a
    subscriber that is behind refetches.
    """
    if newer.revision <= older.revision:
        return older
    if older.deltas is None or newer.deltas is None or newer.base_revision != older.revision:
        return replace(newer, base_revision=newer.revision, deltas=None)
    deltas = _add(older.deltas, newer.deltas)
    if len(deltas) > MAX_DELTAS:
        return replace(newer, base_revision=newer.revision, deltas=None)
    return replace(newer, base_revision=older.base_revision, deltas=deltas)


def _add(older: Sequence[Delta], newer: Sequence[Delta]) -> tuple[Delta, ...]:
    sums: dict[datetime, tuple[int, int, int]] = {}
    for d in (*older, *newer):
        success, failure, canceled = sums.get(d.minute, (0, 0, 0))
        sums[d.minute] = (success + d.success, failure + d.failure, canceled + d.canceled)
    return tuple(Delta(minute, *sums[minute]) for minute in sorted(sums) if any(sums[minute]))


def encode(change: Change) -> str:
    """One workflow of a `rates` message, as JSON. Without deltas `base_revision` is the revision
    itself, so that a subscriber that is behind refetches."""
    has_deltas = change.deltas is not None and len(change.deltas) <= MAX_DELTAS
    rate = change.success_rate
    return json.dumps(
        {
            "workflow_id": str(change.workflow_id),
            "slug": change.slug,
            "base_revision": change.base_revision if has_deltas else change.revision,
            "revision": change.revision,
            "success_count": change.success_count,
            "failure_count": change.failure_count,
            "canceled_count": change.canceled_count,
            "success_rate": None if rate is None else round(rate, 6),
            "last_success_at": rfc3339(change.last_success_at),
            "last_failure_at": rfc3339(change.last_failure_at),
            "last_updated": rfc3339(change.last_updated),
            "deltas": [
                {
                    "minute": rfc3339(d.minute),
                    "success": d.success,
                    "failure": d.failure,
                    "canceled": d.canceled,
                }
                for d in (change.deltas if has_deltas else None) or ()
            ],
        },
        separators=(",", ":"),
    )


def take_fitting(changes: dict[UUID, Change]) -> tuple[list[Change], list[str]]:
    """Remove from `changes` what fits into one message, oldest first, and encode it.

    A change that is too large for a message gets a message of its own.
    """
    room = MESSAGE_BYTES - _ENVELOPE_BYTES
    fitting: list[Change] = []
    encoded: list[str] = []
    for change in list(changes.values()):
        text = encode(change)
        room -= len(text) + 1  # json.dumps writes ASCII
        if room < 0 and fitting:
            break
        del changes[change.workflow_id]
        fitting.append(change)
        encoded.append(text)
    return fitting, encoded


def message(project_id: UUID, workflows: Iterable[str], sent_at: datetime) -> str:
    """One `rates` message for a project, as an item of the request's `messages`."""
    return (
        f'{{"topic":"metrics:{project_id}","event":"rates","private":true,"payload":'
        f'{{"v":1,"project_id":"{project_id}","sent_at":"{rfc3339(sent_at)}",'
        f'"workflows":[{",".join(workflows)}]}}}}'
    )


def event_message(project_id: UUID, event: str, payload: dict[str, Any]) -> str:
    """Another event for a project, as an item of the request's `messages`."""
    return json.dumps(
        {
            "topic": f"metrics:{project_id}",
            "event": event,
            "private": True,
            "payload": {"v": 1, "project_id": str(project_id), **payload},
        }
    )


def request(messages: Iterable[str]) -> bytes:
    """The body of one request."""
    return f'{{"messages":[{",".join(messages)}]}}'.encode()


def rfc3339(at: datetime | None) -> str | None:
    """The time in UTC with a Z, to the microsecond."""
    if at is None:
        return None
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
