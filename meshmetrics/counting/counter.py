"""Inbox → `count_runs` → publisher. No timer and no fixed batch size: the load determines both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Literal, Protocol, TypeVar
from uuid import UUID

import structlog

from meshmetrics.counting.model import Change, Counted
from meshmetrics.counting.source import SourceWatch
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.errors import (
    is_data_error,
    is_schema_error,
    is_too_long,
    is_transient,
)
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, full_jitter
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Arrival, Inbox
from meshmetrics.stream.run_rate import RunRate

log = structlog.get_logger()

T = TypeVar("T")
Source = Literal["event", "sweep", "backfill", "audit", "open_runs", "retry"]

FOUND = ("event", "sweep")
"""The sources that find runs as they end."""


class Publish(Protocol):
    """Accepts changes to broadcast. Never waits, never raises."""

    def __call__(
        self, changes: Sequence[Change], *, counted: float, committed: float | None
    ) -> None:
        """`counted`: when (`time.monotonic`); `committed`: Unix time of the oldest run's commit,
        if known."""


class Counter(Service):
    """Counts the runs in the inbox as soon as they arrive, and the runs that sweeps find."""

    name = "counter"
    drain_seconds = 2.0

    def __init__(
        self,
        store: CountingStore,
        inbox: Inbox,
        publish: Publish,
        telemetry: Telemetry,
        *,
        run_rate: RunRate | None = None,
        source: SourceWatch | None = None,
        batch: int = 10_000,
        retry_base: float = 0.1,
        retry_cap: float = 5.0,
    ) -> None:
        super().__init__()
        self._store = store
        self._inbox = inbox
        self._publish = publish
        self._run_rate = run_rate or RunRate(0)
        self._source = source or SourceWatch(store)
        self._telemetry = telemetry
        self._batch = batch
        self._retry_base = retry_base
        self._retry_cap = retry_cap
        self.counted = asyncio.Event()
        """Set whenever runs were found that may have ended, whether or not they can be counted, so
        that the flawed runs of one tenant hide no sound ones of another. The quick sweeper clears
        it."""

    def stop(self) -> None:
        """Request the end: `run` counts the rest of the inbox, and returns."""
        super().stop()
        self._inbox.filled.set()

    async def run(self) -> None:
        """Count until stopped; then count the rest of the inbox."""
        self.started.set()
        while True:
            if not self.stopping.is_set():
                await self._inbox.filled.wait()
            batch = self._inbox.take(self._batch)
            self._telemetry.inbox_size.set(len(self._inbox))
            if batch:
                await self._count_arrived(batch)
            elif self.stopping.is_set():
                return

    async def _count_arrived(self, batch: dict[UUID, Arrival]) -> None:
        commit_times = [a.committed for a in batch.values() if a.committed is not None]
        try:
            changed = await self.count(
                list(batch), source="event", committed=min(commit_times, default=None)
            )
        except Exception:
            for run_id, arrival in batch.items():
                self._inbox.put(run_id, arrival)
            raise
        self._run_rate.add(changed)
        now = time.monotonic()
        for arrival in batch.values():
            self._telemetry.received_to_counted.observe(now - arrival.received)

    async def count(
        self, run_ids: Sequence[UUID], *, source: Source, committed: float | None = None
    ) -> int:
        """Count these runs and publish what changed; return how many changed.

        While the database is unavailable, retries without limit, unless the counter is stopping.
        Halves a batch that runs into a timeout. Sets a run aside that cannot be counted, and
        counts the rest.

        Raises the database's error if it is not the fault of a single run.
        """
        changed = 0
        if run_ids and source in FOUND:
            self.counted.set()
        pieces = [run_ids[i : i + self._batch] for i in range(0, len(run_ids), self._batch)][::-1]
        while pieces:
            piece = pieces.pop()
            try:
                counted = await self._retry(
                    partial(self._store.count_runs, piece), splits=len(piece) > 1
                )
            except Exception as error:
                if is_schema_error(error):
                    await self._source.check()
                if len(piece) > 1 and (is_data_error(error) or is_too_long(error)):
                    middle = len(piece) // 2
                    pieces += [piece[middle:], piece[:middle]]
                elif is_data_error(error):
                    await self._set_aside(piece[0], describe(error))
                else:
                    raise
                continue
            changed += counted.runs
            self._telemetry.count_batch.observe(len(piece))
            self._report(counted, source, committed)
        return changed

    async def settle_abandoned(self, run_ids: Sequence[UUID], silent_for: timedelta) -> int:
        """Count abandoned runs among these open runs as failures, withdraw the failure of runs that
        continued, and publish what changed; return how many changed. Retries while the database
        is unavailable."""
        changed = 0
        for first in range(0, len(run_ids), self._batch):
            piece = run_ids[first : first + self._batch]
            counted = await self._retry(partial(self._store.settle_abandoned, piece, silent_for))
            changed += counted.runs
            self._report(counted, "open_runs", None)
        return changed

    async def follow_workflows(self) -> None:
        """Move the metrics of workflows whose project changed, and publish what moved."""
        changes = await self._retry(self._store.follow_workflows)
        self._report(Counted(0, changes, ()), "retry", None)

    def _report(self, counted: Counted, source: Source, committed: float | None) -> None:
        self._telemetry.runs_counted.labels(source).inc(counted.runs)
        if counted.runs:
            self.counted.set()
        if source in FOUND:
            self._run_rate.add(len(counted.set_aside))
        for item in counted.set_aside:
            self._telemetry.runs_set_aside.inc()
            log.warning("run.set_aside", run_id=str(item.run_id), reason=item.reason)
        if counted.changes:
            now = time.monotonic()
            self._publish(counted.changes, counted=now, committed=committed)
        log.debug("run.counted", runs=counted.runs, workflows=len(counted.changes), source=source)

    async def _set_aside(self, run_id: UUID, reason: str) -> None:
        self._telemetry.runs_set_aside.inc()
        log.error("run.set_aside", run_id=str(run_id), reason=reason)
        try:
            await self._retry(lambda: self._store.set_aside_run(run_id, reason))
        except Exception as error:
            if not is_data_error(error):
                raise
            log.exception("run.set_aside_failed", run_id=str(run_id), error=describe(error))

    async def _retry(self, call: Callable[[], Awaitable[T]], *, splits: bool = False) -> T:
        """Retry a call while it fails with transient errors and the counter is not stopping.
        `splits`: the caller splits a call that took too long, so do not retry it."""
        attempt = 0
        while True:
            began = time.perf_counter()
            try:
                result = await call()
            except Exception as error:
                attempt += 1
                transient = is_transient(error)
                self._telemetry.count_failures.labels("passing" if transient else "lasting").inc()
                if not transient or self.stopping.is_set() or (splits and is_too_long(error)):
                    raise
                wait = full_jitter(attempt, base=self._retry_base, cap=self._retry_cap)
                log.warning(
                    "count.retry", attempt=attempt, wait_ms=wait * 1000, error=describe(error)
                )
                await self.pause(wait)
            else:
                self._telemetry.count_seconds.observe(time.perf_counter() - began)
                return result


def quiet_counter(store: CountingStore, batch: int) -> Counter:
    """A counter for a command: it receives no hints and publishes nothing."""
    return Counter(store, Inbox(1), lambda *_, **__: None, Telemetry(), batch=batch)
