"""Finds the runs that regular sweeps miss because their assumptions did not hold."""

from __future__ import annotations

import time
from datetime import timedelta

import structlog

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.walk import FAR_FUTURE, FIRST_ID, walk
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

DEEP = timedelta(hours=25)
SOON = 60.0
"""Seconds from the start to the first deep sweep, at most."""
REST = 4
"""The pause after a step, in lengths of the step: a deep sweep is not urgent, so it uses one
connection for a fifth of the time, and leaves the database to other work in between."""
MAX_REST = 30.0
"""The longest such pause in seconds: a long step may have waited for an unavailable database."""


class DeepSweeper(Service):
    """Sweeps the last 25 hours and everything dated in the future, with pauses between steps."""

    name = "deep_sweeper"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        telemetry: Telemetry,
        *,
        interval: float,
        batch: int,
    ) -> None:
        """`interval`: minimum seconds from the start of one sweep to the next. `batch`: rows
        read in one step."""
        super().__init__()
        self._store = store
        self._counter = counter
        self._telemetry = telemetry
        self._interval = interval
        self._batch = batch

    async def run(self) -> None:
        """Sweep soon after the start, and then every `interval` seconds, until stopped."""
        self.started.set()
        pause = min(SOON, self._interval)
        while not await self.pause(pause):
            began = time.monotonic()
            changed = await self._sweep()
            if changed is None:
                return
            self._telemetry.sweeps.labels("deep").inc()
            took = time.monotonic() - began
            # Not logged as missed: the events of the last seconds may still arrive. The regular
            # sweeps decide that.
            log.info("sweep.deep", runs=changed, took_ms=took * 1000)
            pause = self._interval - took

    async def _sweep(self) -> int | None:
        """Count everything uncounted; return how many runs changed, None when stopped."""
        start = Position(await self._store.database.now() - DEEP, FIRST_ID)
        changed = 0
        began = time.monotonic()
        async for step in walk(
            self._store, self._counter, start, FAR_FUTURE, self._batch, "sweep", whole=True
        ):
            changed += step.changed
            took = time.monotonic() - began
            if not step.last and await self.pause(min(REST * took, MAX_REST)):
                return None
            began = time.monotonic()
        return changed
