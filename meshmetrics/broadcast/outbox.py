"""What subscribers have not been told: one merged change a workflow, each project in its turn."""

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

MOST_EVENTS = 1000
"""Events beside the rates, waiting to be sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to be sent. Without changes it is another event than `rates`."""

    project_id: UUID
    changes: list[Change]
    text: str
    counted: float
    committed: float | None


@dataclass(slots=True)
class _Pending:
    """A project's changes, the oldest first."""

    not_before: float
    counted: float
    committed: float | None
    changes: dict[UUID, Change] = field(default_factory=dict)


class Outbox:
    """Keeps at most one change a workflow, and at most `MOST_EVENTS` other events. A project that
    was told something waits for its next turn. Times are `time.monotonic`."""

    def __init__(self, gap: float) -> None:
        """`gap`: seconds between two messages to a project."""
        self._gap = gap
        self._pending: dict[UUID, _Pending] = {}
        self._quiet_from: dict[UUID, float] = {}
        self._events: deque[Message] = deque(maxlen=MOST_EVENTS)
        self._moved: dict[UUID, UUID] = {}

    @property
    def projects(self) -> int:
        """How many wait with changes."""
        return len(self._pending)

    def keep(
        self, change: Change, counted: float, committed: float | None, *, unsent: bool = False
    ) -> None:
        """Merge a change into what is pending; an `unsent` one is older than what is there."""
        if unsent and self._moved.get(change.workflow_id, change.project_id) != change.project_id:
            return  # it moved while this was being sent
        project = self._pending.get(change.project_id)
        if project is None:
            project = _Pending(self._quiet_from.get(change.project_id, 0.0), counted, committed)
            self._pending[change.project_id] = project
        project.counted = min(project.counted, counted)
        project.committed = _earlier(project.committed, committed)
        there = project.changes.get(change.workflow_id)
        if there is not None:
            change = merge(change, there) if unsent else merge(there, change)
        project.changes[change.workflow_id] = change

    def move(self, workflow_id: UUID, old_project: UUID, new_project: UUID) -> None:
        """Nothing more about this workflow goes to the project that it moved out of."""
        self._moved[workflow_id] = new_project
        pending = self._pending.get(old_project)
        if pending is not None and workflow_id in pending.changes:
            del pending.changes[workflow_id]
            if not pending.changes:
                del self._pending[old_project]

    def keep_event(self, project_id: UUID, event: str, payload: dict[str, Any]) -> None:
        """Take another event; where there are too many the oldest is dropped."""
        text = event_message(project_id, event, payload)
        self._events.append(Message(project_id, [], text, time.monotonic(), None))

    def due(self, *, hurried: bool) -> float | None:
        """From when on there is something to take; None if there is nothing. `hurried`: nobody
        waits for a turn."""
        if not self._pending and not self._events:
            return None
        if hurried or self._events:
            return 0.0
        return min(p.not_before for p in self._pending.values())

    def take(self, room: int, now: float, *, hurried: bool) -> list[Message]:
        """Remove up to `room` messages: events, then one for each project whose turn it is."""
        ready = [
            (project_id, project)
            for project_id, project in self._pending.items()
            if project.not_before <= now or hurried
        ]
        sent_at = datetime.now(UTC)
        messages = [self._events.popleft() for _ in range(min(room, len(self._events)))]
        for project_id, project in ready[: room - len(messages)]:
            changes, encoded = take_fitting(project.changes)
            text = message(project_id, encoded, sent_at)
            messages.append(Message(project_id, changes, text, project.counted, project.committed))
            del self._pending[project_id]
            if project.changes:  # the rest is for the project's next turn: behind all others
                project.not_before = now + self._gap
                self._pending[project_id] = project
            self._quiet_from[project_id] = now + self._gap
        if len(self._quiet_from) > 2 * len(ready) + 1000:
            self._quiet_from = {k: v for k, v in self._quiet_from.items() if v > now}
        return messages

    def put_back(self, messages: Iterable[Message]) -> None:
        """Keep what could not be sent: it is older than what came meanwhile."""
        messages = list(messages)
        self._events.extendleft(one for one in reversed(messages) if not one.changes)
        for unsent in messages:
            for change in unsent.changes:
                self.keep(change, unsent.counted, unsent.committed, unsent=True)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((t for t in (one, other) if t is not None), default=None)
