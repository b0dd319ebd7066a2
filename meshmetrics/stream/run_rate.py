"""How fast runs are ending, and whether that is too fast for the stream to be of use."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

SPAN = 5
"""Seconds that the rate is an average of."""


class Flow:
    """Runs counted as they end, a second, averaged over the last `SPAN` seconds.

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
        oldest = self._clock() - SPAN
        while self._seconds and self._seconds[0][0] < oldest:
            self._seconds.popleft()
        return sum(runs for _, runs in self._seconds) / SPAN

    def calm(self) -> bool:
        """Whether the rate is far enough below the limit; if so, `heavy` is over."""
        if self.rate() <= self._most / 2:
            self.heavy.clear()
        return not self.heavy.is_set()
