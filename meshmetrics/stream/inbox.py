"""The queue of hints: a bounded set of run ids."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

REMEMBERED = 10_000
"""How many ids are remembered after they were taken out. They need to be remembered only from a
sweep's read until its count: a moment."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the first hint about a run arrived (`time.monotonic`), and when its change was committed
    (Unix time by the database's clock; None if unknown)."""

    received: float
    committed: float | None


class Inbox:
    """A bounded set of run ids, without duplicates.

    When it is full, it drops the hint and calls `on_overflow`: the next sweep finds that run, so
    this is not an error. An id that was taken out may come again, and is then counted again.
    """

    def __init__(self, capacity: int, on_overflow: Callable[[], None] = lambda: None) -> None:
        self._capacity = capacity
        self._on_overflow = on_overflow
        self._waiting: dict[UUID, Arrival] = {}
        self._remembered: OrderedDict[UUID, None] = OrderedDict()
        self._expected: OrderedDict[UUID, float] = OrderedDict()
        self._expecting_from = float("-inf")
        self.filled = asyncio.Event()
        """Set while there are hints."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, run_id: UUID, arrival: Arrival) -> None:
        """Add a hint. Never raises, never waits."""
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
        """Remove and return up to `limit` hints, oldest first."""
        if len(self._waiting) <= limit:
            hints, self._waiting = self._waiting, {}
            self.filled.clear()
            return hints
        return {run_id: self._waiting.pop(run_id) for run_id in list(self._waiting)[:limit]}

    # A run that a sweep counted before its event arrived is not missed yet: the event may still
    # come. It is expected until a deadline.

    def expect(self, run_ids: Iterable[UUID], deadline: float) -> int:
        """Expect an event for each of these by `deadline` (`time.monotonic`), unless it has come.

        Return how many did not fit: so many events in one sweep are missed, not late.
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
        """Expect no event for runs counted before `at` (`time.monotonic`): there is no session."""
        self._expecting_from = at
        self._expected.clear()

    def missed(self, now: float) -> int:
        """How many events are overdue; each is returned once."""
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
        """When the first expected event becomes overdue."""
        return next(iter(self._expected.values()), None)
