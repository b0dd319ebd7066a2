"""Counts the runs from before meshmetrics was installed: once, in the background, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.model import Checkpoint, Position
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.walk import walk
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

REPORT_SECONDS = 5.0


class Backfill(Service):
    """Walks all runs updated before the sweeps' checkpoint; sweeps count the later ones.

    It is done once no open transaction can still add a run behind it. Live runs wait for at most
    one of its batches: the counting lock is granted in the order of requests. The daemon's and
    the command line's back-fill may run at the same time: they share one checkpoint.
    """

    name = "backfill"
    may_finish = True

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        telemetry: Telemetry,
        *,
        batch: int,
        overlap: float,
        settle_pause: float = 5.0,
        on_progress: Callable[[int, Position], None] | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        """`overlap`: as for sweeps, in seconds. `settle_pause`: seconds between checks whether
        old transactions have ended. `on_progress` is called after each step with the number of
        runs read so far and the position reached; `on_wait` is called once, with what the
        back-fill waits for, if that takes more than a few seconds."""
        super().__init__()
        self._store = store
        self._counter = counter
        self._telemetry = telemetry
        self._batch = batch
        self._overlap = timedelta(seconds=overlap)
        self._settle_pause = settle_pause
        self._on_progress = on_progress
        self._on_wait = on_wait
        self._explained = False
        self._reported = 0.0
        self._scanned = 0

    async def run(self) -> None:
        """Walk until the end or until stopped."""
        self.started.set()
        checkpoint = await self._store.read_checkpoint("backfill")
        if not checkpoint.done:
            log.info("backfill.started", after=checkpoint.position.updated_at)
            if not await self._walk(checkpoint.position):
                return
            log.info("backfill.done", scanned=self._scanned)
        self._telemetry.backfill_done.set(1)

    async def _walk(self, position: Position) -> bool:
        """Walk from `position`; return whether the end was reached (False: stopped)."""
        # The sweeps' checkpoint has advanced since they started, so some runs are read twice.
        until = (await self._store.read_checkpoint("sweep")).position.updated_at
        while True:
            settled = await self._store.settled_until(self._overlap)
            limit = min(until, settled)
            checkpoint = await self._walk_until(position, limit, last=limit == until)
            if checkpoint.done:
                return True
            if self.stopping.is_set():
                return False
            if checkpoint.position != position:
                position = checkpoint.position
            else:
                await self._explain(until)
                if await self.pause(self._settle_pause):
                    return False

    async def _explain(self, until: datetime) -> None:
        """Log once why the walk cannot end yet: a run may still be added before `until`."""
        if self._explained:
            return
        seen = await self._store.transactions_seen(self._overlap)
        if seen.oldest is None:
            ends = until + self._overlap
            reason = (
                f"{seen.owner}, the owner of meshmetrics' functions, may not see whether a"
                " transaction is still open that began before: so MESHMETRICS_SWEEP_OVERLAP"
                f" ({self._overlap.total_seconds():,.0f} s) must pass first"
            )
            remedy = f"grant pg_read_all_stats to {seen.owner}"
            text = (
                f"waiting until {ends:%Y-%m-%d %H:%M:%S %Z}: {reason}. To go on at once: {remedy};"
            )
            log.info("backfill.waiting", until=ends, reason=reason, remedy=remedy)
        elif seen.oldest < until:
            reason = f"a transaction that began at {seen.oldest:%Y-%m-%d %H:%M:%S %Z} is open"
            text = f"waiting: {reason}, and may still add runs. The back-fill goes on when it ends"
            log.info("backfill.waiting", until=None, reason=reason, remedy=None)
        else:
            return  # a few seconds, for clocks
        self._explained = True
        if self._on_wait is not None:
            self._on_wait(text)

    async def _walk_until(self, start: Position, limit: datetime, *, last: bool) -> Checkpoint:
        """Walk to `limit`, until stopped, or until another back-fill has advanced the checkpoint
        further; return the checkpoint."""
        checkpoint = Checkpoint(start, done=False)
        async for step in walk(
            self._store, self._counter, start, limit, self._batch, "backfill", whole=True
        ):
            self._report(step.scanned, step.reached)
            done = step.last and last
            await self._store.advance_checkpoint("backfill", step.reached, done=done)
            checkpoint = await self._store.read_checkpoint("backfill")
            if checkpoint.done or checkpoint.position != step.reached or self.stopping.is_set():
                break
        return checkpoint

    def _report(self, scanned: int, position: Position) -> None:
        self._scanned += scanned
        self._telemetry.backfilled.inc(scanned)
        if self._on_progress is not None:
            self._on_progress(self._scanned, position)
        now = time.monotonic()
        if scanned and now - self._reported >= REPORT_SECONDS:
            self._reported = now
            log.info("backfill.progress", scanned=self._scanned, reached=position.updated_at)
