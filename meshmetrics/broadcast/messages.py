"""What is broadcast: how changes merge, and how messages are written. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from meshmetrics.counting.model import Change, Delta

MESSAGE_BYTES = 200_000
"""A message stays below this; larger ones are split."""
MOST_DELTAS = 120
"""More minutes than this in one change are cheaper to refetch than to send."""

_ENVELOPE_BYTES = 500  # topic, event and the fields around the workflows, generously


def merge(older: Change, newer: Change) -> Change:
    """One change that says what both say.

    Deltas are added up where `newer` begins where `older` ends; otherwise there are none, and
    whoever is behind refetches.
    """
    if newer.revision <= older.revision:
        return older
    if older.deltas is None or newer.deltas is None or newer.base_revision != older.revision:
        return replace(newer, base_revision=newer.revision, deltas=None)
    deltas = _add(older.deltas, newer.deltas)
    if len(deltas) > MOST_DELTAS:
        return replace(newer, base_revision=newer.revision, deltas=None)
    return replace(newer, base_revision=older.base_revision, deltas=deltas)


def _add(older: Sequence[Delta], newer: Sequence[Delta]) -> tuple[Delta, ...]:
    sums: dict[datetime, tuple[int, int, int]] = {}
    for d in (*older, *newer):
        success, failure, canceled = sums.get(d.minute, (0, 0, 0))
        sums[d.minute] = (success + d.success, failure + d.failure, canceled + d.canceled)
    return tuple(Delta(minute, *sums[minute]) for minute in sorted(sums) if any(sums[minute]))


def encode(change: Change) -> str:
    """One workflow of a `rates` message, as JSON. Untold deltas make whoever is behind refetch:
    base_revision is then the revision itself."""
    told = change.deltas is not None and len(change.deltas) <= MOST_DELTAS
    rate = change.success_rate
    return json.dumps(
        {
            "workflow_id": str(change.workflow_id),
            "slug": change.slug,
            "base_revision": change.base_revision if told else change.revision,
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
                for d in (change.deltas if told else None) or ()
            ],
        },
        separators=(",", ":"),
    )


def take_fitting(changes: dict[UUID, Change]) -> tuple[list[Change], list[str]]:
    """Remove from `changes` what fits into one message, the oldest first, and encode it.

    A single change that alone is too large for a message goes alone.
    """
    room = MESSAGE_BYTES - _ENVELOPE_BYTES
    taken: list[Change] = []
    encoded: list[str] = []
    for change in list(changes.values()):
        text = encode(change)
        room -= len(text) + 1  # JSON as we write it is ASCII
        if room < 0 and taken:
            break
        del changes[change.workflow_id]
        taken.append(change)
        encoded.append(text)
    return taken, encoded


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
    """The time in UTC with a Z, as far as microseconds."""
    if at is None:
        return None
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
