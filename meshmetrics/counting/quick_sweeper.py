"""Sweeps the runs of the last second, many times per second, while runs finish.

Realtime's poller sleeps up to half a second before it reports a change, and above its limit it
reports few. A walk over the runs updated in the last second is one short index scan.
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
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream

log = structlog.get_logger()

ACTIVE_SECONDS = 10.0
"""Quick sweeps continue for this long after the last counted run."""
OVERLAP = timedelta(seconds=1)
"""The maximum that a sweep goes back. A transaction that takes longer is left to its event and to
the regular sweeps. The database knows how far back is necessary: usually a few milliseconds."""
AHEAD = timedelta(seconds=1)
"""How far ahead of the database's clock a sweep goes."""
REST = 9
"""The pause after a sweep, in lengths of the sweep: sweeps use one connection for a tenth of the
time, and large batches cost less per run."""
MAX_REST = 0.4
"""The longest such pause in seconds, so that runs are counted within a second. After a sweep that
took longer than this, the pause is as long as the sweep."""
LONGEST_REST = 5.0
"""The longest pause of all in seconds: a very long sweep probably waited for an unavailable
database."""


class QuickSweeper(Service):
    """Counts finished runs within `interval` seconds, without waiting for their events. Pauses
    while no run finishes and events arrive in time. The stream still has to
    announce the runs that it counted: one that the stream does not announce is missed.
    """

    name = "quick_sweeper"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        inbox: Inbox,
        run_rate: RunRate,
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
        self._run_rate = run_rate
        self._stream = stream
        self._telemetry = telemetry
        self._interval = interval
        self._missed_after = missed_after
        self._batch = batch

    def stop(self) -> None:
        """End the pause, and return."""
        super().stop()
        self._counter.counted.set()

    async def run(self) -> None:
        """Sweep while runs finish, until stopped. Retry while the database is unavailable."""
        self.started.set()
        while not self.stopping.is_set():
            await self._counter.counted.wait()
            try:
                await self._sweep_while_active()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("sweep.failed", error=describe(error))
                await self.pause(1.0)

    async def _sweep_while_active(self) -> None:
        last_counted = time.monotonic()
        since = await self._store.unsettled_since(OVERLAP) - OVERLAP
        while not self.stopping.is_set() and self._needed(last_counted):
            if self._counter.counted.is_set():
                self._counter.counted.clear()
                last_counted = time.monotonic()
            began = time.monotonic()
            # Read before this sweep, for the next one. The clock may have been set back meanwhile.
            unsettled = await self._store.unsettled_since(OVERLAP)
            start = Position(min(since, unsettled), FIRST_ID)
            until = unsettled + OVERLAP + AHEAD
            async for step in walk(self._store, self._counter, start, until, self._batch, "sweep"):
                if step.changed:
                    self._run_rate.add(step.changed)
                    # Runs beyond the inbox's capacity count as missed at once. Only regular sweeps
                    # report that, so the result is ignored.
                    self._inbox.expect(step.found, time.monotonic() + self._missed_after)
            since = unsettled
            took = time.monotonic() - began
            self._telemetry.sweeps.labels("quick").inc()
            if await self.pause(max(self._interval, rest_after(took))):
                return

    def _needed(self, last_counted: float) -> bool:
        """Whether runs were counted recently, or events are too late to wait for."""
        now = time.monotonic()
        return now - last_counted < ACTIVE_SECONDS or self._stream.behind(now)


def rest_after(took: float) -> float:
    """The pause after a sweep, in seconds. `took`: the length of the sweep in seconds."""
    return max(min(REST * took, MAX_REST), min(took, LONGEST_REST))
