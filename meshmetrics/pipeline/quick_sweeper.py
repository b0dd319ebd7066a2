"""Looks at the last moment of runs many times a second, while runs are flowing.

Realtime's poller sleeps up to half a second before it tells of a change, and above its limit it
tells of few. A walk over what was updated in the last second is one short index scan.
"""

from __future__ import annotations

import time
from datetime import timedelta

import structlog

from meshmetrics.logs import describe
from meshmetrics.model import Position
from meshmetrics.pipeline.counter import Counter
from meshmetrics.pipeline.inbox import Inbox
from meshmetrics.pipeline.walk import FIRST_ID, walk
from meshmetrics.service import Service
from meshmetrics.store import Store, is_transient
from meshmetrics.telemetry import Telemetry

log = structlog.get_logger()

FLOWING_SECONDS = 10.0
"""Runs are flowing until none was counted for so long."""
OVERLAP = timedelta(seconds=0.5)
"""How much further back than its last look each one reaches: what commits later than this after it
began is left to its event and to the regular sweeps."""
AHEAD = timedelta(seconds=1)
CLOCK_SECONDS = 30.0
"""How often the database is asked for its time: it may be set, or this machine have slept."""
REST = 4
"""A look is followed by a pause of so many times its length at least: the database gives it no more
than a fifth of one connection."""
MOST_REST = 5.0
"""Seconds: a look that was long may have waited for a database that was away."""


class QuickSweeper(Service):
    """Counts within `interval` seconds what ended, without waiting for its event; rests entirely
    while nothing flows. What it counted is still expected from the stream, which is judged by it.
    """

    name = "quick_sweeper"

    def __init__(
        self,
        store: Store,
        counter: Counter,
        inbox: Inbox,
        telemetry: Telemetry,
        *,
        interval: float,
        missed_after: float,
        batch: int,
    ) -> None:
        """`missed_after`: as for the regular sweeps, in seconds."""
        super().__init__()
        self._store = store
        self._counter = counter
        self._inbox = inbox
        self._telemetry = telemetry
        self._interval = interval
        self._missed_after = missed_after
        self._batch = batch

    def stop(self) -> None:
        """Stop resting, and return."""
        super().stop()
        self._counter.counted.set()

    async def run(self) -> None:
        """Look while runs are flowing, until stopped. A database that is away is waited for."""
        self.started.set()
        while not self.stopping.is_set():
            await self._counter.counted.wait()
            try:
                await self._look_while_flowing()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("sweep.failed", error=describe(error))
                await self.pause(1.0)

    async def _look_while_flowing(self) -> None:
        since = _steady()
        flowed, asked = time.monotonic(), -CLOCK_SECONDS
        while not self.stopping.is_set() and time.monotonic() - flowed < FLOWING_SECONDS:
            if time.monotonic() - asked >= CLOCK_SECONDS:
                asked = time.monotonic()
                offset = await self._store.now() - _steady()
            if self._counter.counted.is_set():
                self._counter.counted.clear()
                flowed = time.monotonic()
            began = _steady()
            start = Position(offset + since - OVERLAP, FIRST_ID)
            async for step in walk(
                self._store, self._counter, start, offset + began + AHEAD, self._batch, "sweep"
            ):
                if step.changed:
                    # What there is no room to expect is certainly missed, but the regular sweeps
                    # are the ones to say so.
                    self._inbox.expect(step.found, time.monotonic() + self._missed_after)
            since = began
            took = (_steady() - began).total_seconds()
            self._telemetry.sweeps.labels("quick").inc()
            if await self.pause(max(self._interval, min(REST * took, MOST_REST))):
                return


def _steady() -> timedelta:
    """A clock that nobody sets."""
    return timedelta(seconds=time.monotonic())
