"""The rate of finishing runs, and whether it is too high for the stream to be useful."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

SPAN = 5
"""Seconds over which the rate is averaged."""
REALTIME_SPAN = 60
"""Seconds over which Realtime averages its limit of events."""
REALTIME_LIMIT = 100
"""Events per second that Realtime sends by default: above it, it drops every event for a while."""


class RunRate:
    """The rate of runs counted or set aside as they end, averaged over the last `SPAN` seconds.

    `heavy` is set when the rate exceeds `max_rate`, until `calm` finds it at half of that or below.
    With `max_rate` 0 it is never set.
    """

    def __init__(self, max_rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_rate = max_rate
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()
        self.heavy = asyncio.Event()

    def add(self, runs: int) -> None:
        """Record runs that were counted now."""
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            runs += self._seconds.pop()[1]
        self._seconds.append((second, runs))
        if self._max_rate and self.rate() > self._max_rate:
            self.heavy.set()

    def rate(self) -> float:
        """Runs per second."""
        return self._since(SPAN) / SPAN

    def over_realtimes_limit(self) -> bool:
        """Whether so many runs finished in the last minute that Realtime may send none of them."""
        return self._since(REALTIME_SPAN) > REALTIME_LIMIT * REALTIME_SPAN

    def _since(self, seconds: int) -> int:
        """Runs of the last `seconds`, REALTIME_SPAN at most."""
        now = self._clock()
        while self._seconds and self._seconds[0][0] < now - REALTIME_SPAN:
            self._seconds.popleft()
        return sum(runs for second, runs in self._seconds if second >= now - seconds)

    def calm(self) -> bool:
        """Whether the rate is far enough below the maximum; if so, clear `heavy`."""
        if self.rate() <= self._max_rate / 2:
            self.heavy.clear()
        return not self.heavy.is_set()
