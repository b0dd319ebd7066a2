"""Looks at the last moment of runs many times a second, while runs are flowing.

Realtime's poller sleeps up to half a second before it tells of a change, and above its limit it
tells of few. A walk over what was updated in the last second is one short index scan.
"""

from __future__ import annotations

import time
from datetime import timedelta

import structlog

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.walk import FIRST_ID, walk
from meshmetrics.database.errors import is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from meshmetrics.stream.run_rate import Flow
from meshmetrics.stream.state import Stream

log = structlog.get_logger()

FLOWING_SECONDS = 10.0
"""Runs are flowing until none was counted for so long."""
OVERLAP = timedelta(seconds=1)
"""How far back a look reaches at most: what commits later than this after it began is left to its
event and to the regular sweeps. How far it has to reach the database knows: mostly a moment."""
AHEAD = timedelta(seconds=1)
REST = 9
"""A look is followed by a pause of so many times its length, so that the database gives it a tenth
of one connection; and what is counted many at once costs least."""
MOST_REST = 0.4
"""Seconds: the longest such pause, or else what ended would not be seen within a second. After a
look that took longer itself, the pause is as long as the look."""
LONGEST_REST = 5.0
"""Seconds: a look that was very long waited for a database that was away, most likely."""


class QuickSweeper(Service):
    """Counts what finished within `interval` seconds, without waiting for its event. Rests while no
    run finishes and events are current. The stream still has to announce what it counted, and is
    judged by that.
    """

    name = "quick_sweeper"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        inbox: Inbox,
        flow: Flow,
        stream: Stream,
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
        self._flow = flow
        self._stream = stream
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
        flowed = time.monotonic()
        since = await self._store.unsettled_since(OVERLAP) - OVERLAP
        while not self.stopping.is_set() and self._needed(flowed):
            if self._counter.counted.is_set():
                self._counter.counted.clear()
                flowed = time.monotonic()
            began = time.monotonic()
            # Read before the look, for the next one. A clock may have been set back since.
            unsettled = await self._store.unsettled_since(OVERLAP)
            start = Position(min(since, unsettled), FIRST_ID)
            until = unsettled + OVERLAP + AHEAD
            async for step in walk(self._store, self._counter, start, until, self._batch, "sweep"):
                if step.changed:
                    self._flow.add(step.changed)
                    # What there is no room to expect is certainly missed, but the regular sweeps
                    # are the ones to say so.
                    self._inbox.expect(step.found, time.monotonic() + self._missed_after)
            since = unsettled
            took = time.monotonic() - began
            self._telemetry.sweeps.labels("quick").inc()
            if await self.pause(max(self._interval, rest_after(took))):
                return

    def _needed(self, flowed: float) -> bool:
        """Whether runs were counted lately, or events are too late to be waited for."""
        now = time.monotonic()
        return now - flowed < FLOWING_SECONDS or self._stream.behind(now)


def rest_after(took: float) -> float:
    """Seconds to rest after a look of so many."""
    return max(min(REST * took, MOST_REST), min(took, LONGEST_REST))
