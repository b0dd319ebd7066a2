"""Maintenance: prunes old buckets and retires ledger rows whose run was deleted, in slices."""

from __future__ import annotations

import structlog

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.source import SourceWatch
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()


class Maintainer(Service):
    """Calls `maintain` for one slice of the ledger every `interval` seconds: small slices, because
    it holds the counting lock meanwhile."""

    name = "maintainer"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        source: SourceWatch,
        telemetry: Telemetry,
        *,
        interval: float,
        batch: int,
    ) -> None:
        super().__init__()
        self._store = store
        self._counter = counter
        self._source = source
        self._telemetry = telemetry
        self._interval = interval
        self._batch = batch
        self._unknown: set[str] = set()

    async def run(self) -> None:
        """Maintain a slice per interval until stopped."""
        self.started.set()
        while not await self.pause(self._interval):
            await self._source.check()
            await self._check_statuses()
            await self._counter.follow_workflows()
            if run_ids := await self._store.due_set_aside(self._batch):
                await self._counter.count(run_ids, source="retry")
            done = await self._store.maintain(None, self._batch)
            self._telemetry.pruned_buckets.inc(done.pruned_buckets)
            self._telemetry.retired_runs.inc(done.retired_runs)
            if done.pruned_buckets or done.retired_runs:
                log.info(
                    "maintain.done", buckets=done.pruned_buckets, retired_runs=done.retired_runs
                )

    async def _check_statuses(self) -> None:
        """Log once when runs have a status that is not mapped to an outcome."""
        unknown = await self._store.unknown_statuses()
        self._telemetry.set_unknown_statuses(unknown)
        if unknown.keys() - self._unknown:
            log.warning("status.unknown", statuses=sorted(unknown), remedy="meshmetrics statuses")
        self._unknown = set(unknown)
