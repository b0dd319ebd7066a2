"""Where hints wait: run ids, each once, and never more than the inbox holds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

REMEMBERED = 10_000
"""Arrivals that are remembered after they were taken out. What matters is the time between a
sweep's looking and its counting: a moment."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the first hint about a run came (`time.monotonic`), and when its change was committed
    (Unix time by the database's clock; None where that is not known)."""

    received: float
    committed: float | None


class Inbox:
    """A bounded, de-duplicating set of run ids.

    A hint that finds it full is dropped, and `on_overflow` called: a gap for the next sweep,
    never an error. An id that was taken may come again; it is then counted again.
    """

    def __init__(self, capacity: int, on_overflow: Callable[[], None] = lambda: None) -> None:
        self._capacity = capacity
        self._on_overflow = on_overflow
        self._waiting: dict[UUID, Arrival] = {}
        self._remembered: OrderedDict[UUID, None] = OrderedDict()
        self._expected: OrderedDict[UUID, float] = OrderedDict()
        self._expecting_from = float("-inf")
        self.filled = asyncio.Event()
        """Set while there is something to take."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, run_id: UUID, arrival: Arrival) -> None:
        """Take a hint. Never raises, never waits."""
        self._expected.pop(run_id, None)
        self._remembered[run_id] = None
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        if run_id in self._waiting:
            return
        if len(self._waiting) >= self._capacity:
            self._on_overflow()
            return
        self._waiting[run_id] = arrival
        self.filled.set()

    def take(self, limit: int) -> dict[UUID, Arrival]:
        """Remove and return up to `limit` hints, the oldest first."""
        if len(self._waiting) <= limit:
            taken, self._waiting = self._waiting, {}
            self.filled.clear()
            return taken
        return {run_id: self._waiting.pop(run_id) for run_id in list(self._waiting)[:limit]}

    # What a sweep counted before any event told of it is not yet missed: its event may be under
    # way. It is expected until a deadline.

    def expect(self, run_ids: Iterable[UUID], deadline: float) -> int:
        """Expect an event for each of these by `deadline` (`time.monotonic`), unless it has come.

        Return how many there was no room for: so many in one sweep are missed, not late.
        """
        surplus = 0
        if time.monotonic() < self._expecting_from:
            return surplus
        for run_id in run_ids:
            if run_id in self._remembered or run_id in self._expected:
                continue
            if len(self._expected) < self._capacity:
                self._expected[run_id] = deadline
            else:
                surplus += 1
        return surplus

    def expect_from(self, at: float) -> None:
        """Expect no event of a run counted before `at` (`time.monotonic`): nobody listens."""
        self._expecting_from = at
        self._expected.clear()

    def missed(self, now: float) -> int:
        """How many events are overdue; each is told once."""
        overdue = 0
        while self._expected:
            run_id, deadline = next(iter(self._expected.items()))
            if deadline > now:
                break
            del self._expected[run_id]
            overdue += 1
        return overdue

    @property
    def next_deadline(self) -> float | None:
        """When the first expected event is overdue."""
        return next(iter(self._expected.values()), None)
