"""Counts what was there before meshmetrics: once, in the background, from where it stopped."""

from __future__ import annotations

import time
from datetime import timedelta

import structlog

from meshmetrics.model import Position
from meshmetrics.pipeline.counter import Counter
from meshmetrics.pipeline.walk import walk
from meshmetrics.service import Service
from meshmetrics.store import Store
from meshmetrics.telemetry import Telemetry

log = structlog.get_logger()

REPORT_SECONDS = 5.0


class Backfill(Service):
    """Walks everything updated before the sweeps' checkpoint; what is later is the sweeps'.

    It is done once no transaction under way can still add a run behind it. Live runs wait for
    one of its batches at most: the counting lock is granted in the order it is asked for.
    """

    name = "backfill"
    may_finish = True

    def __init__(
        self,
        store: Store,
        counter: Counter,
        telemetry: Telemetry,
        *,
        batch: int,
        overlap: float,
        settle_pause: float = 5.0,
    ) -> None:
        """`overlap`: as for sweeps, in seconds. `settle_pause`: seconds between looks at whether
        old transactions have ended."""
        super().__init__()
        self._store = store
        self._counter = counter
        self._telemetry = telemetry
        self._batch = batch
        self._overlap = timedelta(seconds=overlap)
        self._settle_pause = settle_pause
        self._reported = 0.0
        self._scanned = 0

    async def run(self) -> None:
        """Walk to the end, then return; or return when stopped."""
        self.started.set()
        checkpoint = await self._store.read_checkpoint("backfill")
        if not checkpoint.done:
            log.info("backfill.started", after=checkpoint.position.updated_at)
            if not await self._walk(checkpoint.position):
                return
            log.info("backfill.done", scanned=self._scanned)
        self._telemetry.backfill_done.set(1)

    async def _walk(self, position: Position) -> bool:
        """Whether it came to the end, rather than being stopped."""
        # The checkpoint of the sweeps has moved on since they began: a part is looked at twice.
        until = (await self._store.read_checkpoint("sweep")).position.updated_at
        while True:
            settled = await self._store.settled_until(self._overlap)
            limit = min(until, settled)
            async for step in walk(
                self._store, self._counter, position, limit, self._batch, "backfill"
            ):
                position = step.reached
                self._report(step.scanned, position)
                done = step.last and limit == until
                await self._store.advance_checkpoint("backfill", position, done=done)
                if done:
                    return True
                if self.stopping.is_set():
                    return False
            if await self.pause(self._settle_pause):
                return False

    def _report(self, scanned: int, position: Position) -> None:
        self._scanned += scanned
        self._telemetry.backfilled.inc(scanned)
        now = time.monotonic()
        if scanned and now - self._reported >= REPORT_SECONDS:
            self._reported = now
            log.info("backfill.progress", scanned=self._scanned, reached=position.updated_at)
