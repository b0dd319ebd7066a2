"""Unsent changes: one merged change per workflow, with the projects taking turns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from meshmetrics.broadcast.messages import event_message, merge, message, take_fitting
from meshmetrics.counting.model import Change

MAX_EVENTS = 1000
"""Maximum unsent events other than `rates`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to be sent. Without changes it is an event other than `rates`."""

    project_id: UUID
    changes: list[Change]
    text: str
    counted: float
    committed: float | None


@dataclass(slots=True)
class _Unsent:
    """A project's unsent changes, oldest first."""

    not_before: float
    counted: float
    committed: float | None
    changes: dict[UUID, Change] = field(default_factory=dict)


class Outbox:
    """Stores at most one change per workflow, and at most `MAX_EVENTS` other events. After each
    message a project waits for its next turn. Times are `time.monotonic`."""

    def __init__(self, gap: float) -> None:
        """`gap`: seconds between two messages to a project."""
        self._gap = gap
        self._unsent: dict[UUID, _Unsent] = {}
        self._quiet_from: dict[UUID, float] = {}
        self._events: deque[Message] = deque(maxlen=MAX_EVENTS)
        self._moved: dict[UUID, UUID] = {}

    @property
    def projects(self) -> int:
        """How many projects have unsent changes."""
        return len(self._unsent)

    def add(
        self, change: Change, counted: float, committed: float | None, *, older: bool = False
    ) -> None:
        """Merge a change into the unsent ones; `older`: it precedes the one of its workflow."""
        if older and self._moved.get(change.workflow_id, change.project_id) != change.project_id:
            return  # it moved while this was being sent
        project = self._unsent.get(change.project_id)
        if project is None:
            project = _Unsent(self._quiet_from.get(change.project_id, 0.0), counted, committed)
            self._unsent[change.project_id] = project
        project.counted = min(project.counted, counted)
        project.committed = _earlier(project.committed, committed)
        other = project.changes.get(change.workflow_id)
        if other is not None:
            change = merge(change, other) if older else merge(other, change)
        project.changes[change.workflow_id] = change

    def move(self, workflow_id: UUID, old_project: UUID, new_project: UUID) -> None:
        """Send nothing more about this workflow to the project that it left."""
        self._moved[workflow_id] = new_project
        unsent = self._unsent.get(old_project)
        if unsent is not None and workflow_id in unsent.changes:
            del unsent.changes[workflow_id]
            if not unsent.changes:
                del self._unsent[old_project]

    def add_event(self, project_id: UUID, event: str, payload: dict[str, Any]) -> None:
        """Add an event other than `rates`; above the maximum the oldest is dropped."""
        text = event_message(project_id, event, payload)
        self._events.append(Message(project_id, [], text, time.monotonic(), None))

    def due(self, *, hurried: bool) -> float | None:
        """When there will be something to take; None if nothing is unsent. `hurried`: projects do
        not wait for their turns."""
        if not self._unsent and not self._events:
            return None
        if hurried or self._events:
            return 0.0
        return min(p.not_before for p in self._unsent.values())

    def take(self, room: int, now: float, *, hurried: bool) -> list[Message]:
        """Remove up to `room` messages: events, then one for each project whose turn it is."""
        ready = [
            (project_id, project)
            for project_id, project in self._unsent.items()
            if project.not_before <= now or hurried
        ]
        sent_at = datetime.now(UTC)
        messages = [self._events.popleft() for _ in range(min(room, len(self._events)))]
        for project_id, project in ready[: room - len(messages)]:
            changes, encoded = take_fitting(project.changes)
            text = message(project_id, encoded, sent_at)
            messages.append(Message(project_id, changes, text, project.counted, project.committed))
            del self._unsent[project_id]
            if project.changes:  # the rest waits for the project's next turn, behind all others
                project.not_before = now + self._gap
                self._unsent[project_id] = project
            self._quiet_from[project_id] = now + self._gap
        if len(self._quiet_from) > 2 * len(ready) + 1000:
            self._quiet_from = {k: v for k, v in self._quiet_from.items() if v > now}
        return messages

    def put_back(self, messages: Iterable[Message]) -> None:
        """Add messages again that could not be sent: they precede what was added meanwhile."""
        messages = list(messages)
        self._events.extendleft(one for one in reversed(messages) if not one.changes)
        for failed in messages:
            for change in failed.changes:
                self.add(change, failed.counted, failed.committed, older=True)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((t for t in (one, other) if t is not None), default=None)
