"""Finds the runs that the stream did not announce, and judges the stream by them."""

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
from meshmetrics.stream.run_rate import Flow
from meshmetrics.stream.state import Stream

log = structlog.get_logger()

LEFT_SECONDS = 10.0
"""The longest pause while the stream is left: quick sweeps see what ends, and what commits long
after it began waits for this."""
JUDGE_SECONDS = 1.0
"""How often the stream is judged between sweeps, by what quick sweeps have counted meanwhile."""
LATE = timedelta(minutes=2)
"""How far behind the checkpoint a run may appear and still be found within LATE_EVERY: its writer
set `updated_at` himself. The deep sweep finds what is older."""
LATE_EVERY = 30.0
REST = 4
"""A sweep is followed by a pause of so many times its length at least, so that sweeping never
becomes the database's main work. Never longer than the longest pause: a sweep may have been long
only because it waited for a database that was away."""


@dataclass(frozen=True, slots=True)
class SweepTimes:
    """All in seconds; settings.py says what each is for."""

    shortest: float = 1.0
    longest: float = 30.0
    overlap: float = 600.0
    missed_after: float = 3.0
    silent_after: float = 5.0


class Sweeper(Service):
    """Walks the runs from the checkpoint to now: at start, when `wanted` is set, and on a timer
    that runs fast while the stream misses runs or is down, and slowly while it is whole.

    A run that a sweep counted is missed once no event has announced it `missed_after` seconds
    later. If the stream has then been silent for `silent_after` seconds it is dead without saying
    so, and is replaced.
    """

    name = "sweeper"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        inbox: Inbox,
        stream: Stream,
        flow: Flow,
        wanted: asyncio.Event,
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
        self._flow = flow
        self._wanted = wanted
        self._telemetry = telemetry
        self._times = times
        self._batch = batch
        self._pause = times.shortest
        self._looked_back = -LATE_EVERY

    def stop(self) -> None:
        """End the pause, and return."""
        super().stop()
        self._wanted.set()

    async def run(self) -> None:
        """Sweep until stopped. A database that is away is waited for."""
        clock = time.monotonic
        self.started.set()
        caught_up = False
        while not self.stopping.is_set():
            began = clock()
            self._wanted.clear()
            try:
                # What ended while no daemon worked is the first sweep's: no event is expected.
                missed = await self._sweep(expecting=caught_up)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("sweep.failed", error=describe(error))
                self._set_pause(self._times.shortest)
            else:
                caught_up = True
                longest = LEFT_SECONDS if self._stream.left else self._times.longest
                self._set_pause(min(self._pause * 2, longest, self._times.longest))
                self._judge(missed)
            ended = clock()
            await self._rest(ended, at_least=min(REST * (ended - began), self._times.longest))

    async def _sweep(self, *, expecting: bool) -> int:
        """Count everything uncounted from the checkpoint on; return how many runs are certainly
        missed already."""
        began = time.monotonic()
        found = changed = missed = 0
        # Read before the walk: what a transaction adds behind it later has a later updated_at.
        settled = await self._store.settled_until(timedelta(seconds=self._times.overlap))
        start = await self._start(settled)
        async for step in walk(self._store, self._counter, start, FAR_FUTURE, self._batch, "sweep"):
            found += len(step.found)
            changed += step.changed
            if step.changed and expecting:
                self._flow.add(step.changed)
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
        """Where a sweep begins: at the checkpoint, unless the clock was set back behind it; and,
        every LATE_EVERY seconds, LATE before that, as a writer may set `updated_at` himself."""
        database_now = await self._store.database.now()
        self._stream.clock_offset = database_now.timestamp() - time.time()
        checkpoint = (await self._store.read_checkpoint("sweep")).position
        start = min(checkpoint, Position(settled, FIRST_ID), key=lambda p: p.updated_at)
        now = time.monotonic()
        if now - self._looked_back < LATE_EVERY:
            return start
        self._looked_back = now
        return Position(start.updated_at - LATE, FIRST_ID)

    def _judge(self, missed: int = 0) -> None:
        """Count the runs whose events are overdue, and draw the consequences."""
        now = time.monotonic()
        missed += self._inbox.missed(now)
        down = self._stream.up_since is None and not self._stream.left
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
        # Above its limit Realtime sends nothing for a while: a new session would change nothing.
        if silent >= self._times.silent_after and not self._flow.over_realtimes_limit():
            self._stream.replace()

    def _set_pause(self, seconds: float) -> None:
        self._pause = seconds
        self._telemetry.sweep_pause.set(seconds)

    async def _rest(self, ended: float, *, at_least: float) -> None:
        """Wait until the next sweep is due; meanwhile judge the stream as deadlines pass."""
        clock = time.monotonic
        while not self.stopping.is_set():
            wanted = self._wanted.is_set()
            due = ended + max(0.0 if wanted else self._pause, at_least)
            now = clock()
            if now >= due:
                return
            deadline = self._inbox.next_deadline
            wake = min(due, now + JUDGE_SECONDS, due if deadline is None else deadline)
            # Once a sweep is wanted only stopping cuts the wait short, and `stop` sets both.
            await wait_for_event(self.stopping if wanted else self._wanted, max(0.0, wake - now))
            self._judge()
