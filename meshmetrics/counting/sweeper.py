"""Finds the runs that the stream did not announce, and replaces a stream that stays silent."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.walk import FAR_FUTURE, FIRST_ID, walk
from meshmetrics.database.errors import is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, wait_for_event
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream

log = structlog.get_logger()

UNSUBSCRIBED_PAUSE = 10.0
"""The longest pause in seconds while unsubscribed: quick sweeps find finished runs, but the runs of
long transactions wait for this."""
CHECK_SECONDS = 1.0
"""How often the stream is checked between sweeps for runs that it did not announce, in seconds."""
LATE = timedelta(minutes=2)
"""How far behind the checkpoint a run may appear and still be found within LATE_EVERY: some writers
set `updated_at` explicitly. The deep sweep finds older ones."""
LATE_EVERY = 30.0
"""Seconds between two sweeps that start LATE before the checkpoint."""
REST = 4
"""The minimum pause after a sweep, in lengths of the sweep, so that sweeps never become the
database's main work. Never longer than the longest pause: a sweep may have been long only because
it waited for an unavailable database."""


@dataclass(frozen=True, slots=True)
class SweepTimes:
    """Times in seconds; settings.py explains each."""

    shortest: float = 1.0
    longest: float = 30.0
    overlap: float = 600.0
    missed_after: float = 3.0
    silent_after: float = 5.0


class Sweeper(Service):
    """Walks the runs from the checkpoint to now: at start, when `requested` is set, and on a
    timer: often while the stream misses runs or is down, rarely while it is complete.

    A run that a sweep counted is missed if no event announces it within `missed_after` seconds. If
    the stream has then been silent for `silent_after` seconds, its session has died without an
    error, and is replaced.
    """

    name = "sweeper"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        inbox: Inbox,
        stream: Stream,
        run_rate: RunRate,
        requested: asyncio.Event,
        telemetry: Telemetry,
        *,
        times: SweepTimes,
        batch: int,
    ) -> None:
        super().__init__()
        self._store = store
        self._counter = counter
        self._inbox = inbox
        self._stream = stream
        self._run_rate = run_rate
        self._requested = requested
        self._telemetry = telemetry
        self._times = times
        self._batch = batch
        self._pause = times.shortest
        self._late_sweep_at = -LATE_EVERY

    def stop(self) -> None:
        """End the pause, and return."""
        super().stop()
        self._requested.set()

    async def run(self) -> None:
        """Sweep until stopped. Retry while the database is unavailable."""
        clock = time.monotonic
        self.started.set()
        caught_up = False
        while not self.stopping.is_set():
            began = clock()
            self._requested.clear()
            try:
                # The first sweep counts what ended while no daemon ran: expect no events for that.
                missed = await self._sweep(expecting=caught_up)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("sweep.failed", error=describe(error))
                self._set_pause(self._times.shortest)
            else:
                caught_up = True
                longest = UNSUBSCRIBED_PAUSE if self._stream.unsubscribed else self._times.longest
                self._set_pause(min(self._pause * 2, longest, self._times.longest))
                self._check_stream(missed)
            ended = clock()
            await self._rest(ended, at_least=min(REST * (ended - began), self._times.longest))

    async def _sweep(self, *, expecting: bool) -> int:
        """Count everything uncounted from the checkpoint on; return how many runs are already known
        to be missed. `expecting`: the stream should announce the runs found."""
        began = time.monotonic()
        found = changed = missed = 0
        # Read before the walk: runs that are added behind it later have a later updated_at.
        settled = await self._store.settled_until(timedelta(seconds=self._times.overlap))
        start = await self._start(settled)
        async for step in walk(self._store, self._counter, start, FAR_FUTURE, self._batch, "sweep"):
            found += len(step.found)
            changed += step.changed
            if step.changed and expecting:
                self._run_rate.add(step.changed)
                deadline = time.monotonic() + self._times.missed_after
                missed += self._inbox.expect(step.found, deadline)
            if not step.last and step.reached.updated_at < settled:
                await self._store.advance_checkpoint("sweep", step.reached, done=False)
        await self._store.advance_checkpoint("sweep", Position(settled, FIRST_ID), done=False)
        took = time.monotonic() - began
        self._telemetry.sweeps.labels("regular").inc()
        self._telemetry.sweep_seconds.observe(took)
        if not expecting:
            log.info("sweep.caught_up", runs=changed, took_ms=took * 1000)
        else:
            log.debug("sweep.done", found=found, changed=changed, took_ms=took * 1000)
        return missed

    async def _start(self, settled: datetime) -> Position:
        """Where a sweep starts: at the checkpoint, or earlier if the clock was set back; and, every
        LATE_EVERY seconds, LATE before that, because writers may set `updated_at` explicitly."""
        database_now = await self._store.database.now()
        self._stream.clock_offset = database_now.timestamp() - time.time()
        checkpoint = (await self._store.read_checkpoint("sweep")).position
        start = min(checkpoint, Position(settled, FIRST_ID), key=lambda p: p.updated_at)
        now = time.monotonic()
        if now - self._late_sweep_at < LATE_EVERY:
            return start
        self._late_sweep_at = now
        return Position(start.updated_at - LATE, FIRST_ID)

    def _check_stream(self, missed: int = 0) -> None:
        """Count the runs that the stream missed; sweep more often if there are any, and replace the
        session if it is silent."""
        now = time.monotonic()
        missed += self._inbox.missed(now)
        down = self._stream.up_since is None and not self._stream.unsubscribed
        if missed or down or self._stream.behind(now):
            self._set_pause(self._times.shortest)
        if not missed:
            return
        self._telemetry.found_missed.inc(missed)
        silent = self._stream.silent_for(now)
        log.warning(
            "sweep.found_missed",
            runs=missed,
            stream_up=self._stream.up_since is not None,
            silent_ms=silent * 1000,
        )
        # Above its limit Realtime sends nothing for a while: a new session would not help.
        if silent >= self._times.silent_after and not self._run_rate.over_realtimes_limit():
            self._stream.replace()

    def _set_pause(self, seconds: float) -> None:
        self._pause = seconds
        self._telemetry.sweep_pause.set(seconds)

    async def _rest(self, ended: float, *, at_least: float) -> None:
        """Wait until the next sweep is due; meanwhile check the stream as deadlines pass."""
        clock = time.monotonic
        while not self.stopping.is_set():
            requested = self._requested.is_set()
            due = ended + max(0.0 if requested else self._pause, at_least)
            now = clock()
            if now >= due:
                return
            deadline = self._inbox.next_deadline
            wake = min(due, now + CHECK_SECONDS, due if deadline is None else deadline)
            # Once a sweep is requested, only stopping ends the wait early; `stop` sets both events.
            await wait_for_event(
                self.stopping if requested else self._requested, max(0.0, wake - now)
            )
            self._check_stream()
