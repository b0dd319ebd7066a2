"""How fast runs are ending, and whether that is too fast for the stream to be of use."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

SPAN = 5
"""Seconds that the rate is an average of."""
REALTIME_SPAN = 60
"""Seconds over which Realtime averages its limit of events."""
REALTIME_LIMIT = 100
"""Events per second that Realtime sends by default: above it, it drops every event for a while."""


class Flow:
    """Runs counted or set aside as they end, a second, averaged over the last `SPAN` seconds.

    `heavy` is set once the rate exceeds `most`, and stays so until `calm` finds it below half of
    that. With `most` 0 it is never set.
    """

    def __init__(self, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()
        self.heavy = asyncio.Event()

    def add(self, runs: int) -> None:
        """So many runs were counted now."""
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            runs += self._seconds.pop()[1]
        self._seconds.append((second, runs))
        if self._most and self.rate() > self._most:
            self.heavy.set()

    def rate(self) -> float:
        """Runs a second."""
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
        """Whether the rate is far enough below the limit; if so, `heavy` is over."""
        if self.rate() <= self._most / 2:
            self.heavy.clear()
        return not self.heavy.is_set()
