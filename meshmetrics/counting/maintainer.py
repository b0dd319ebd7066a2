"""The chores: pruning old buckets, retiring ledger rows whose run is gone; a slice at a time."""

from __future__ import annotations

import structlog

from meshmetrics.counting.store import Store
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()


class Maintainer(Service):
    """Calls `maintain` for one slice of the ledger every `interval` seconds: a trickle, because
    it holds the counting lock meanwhile."""

    name = "maintainer"

    def __init__(self, store: Store, telemetry: Telemetry, *, interval: float, batch: int) -> None:
        super().__init__()
        self._store = store
        self._telemetry = telemetry
        self._interval = interval
        self._batch = batch
        self._flaws: tuple[str, ...] = ()
        self._unknown: set[str] = set()

    async def run(self) -> None:
        """Trickle until stopped."""
        self.started.set()
        while not await self.pause(self._interval):
            await self._check_source()
            done = await self._store.maintain(None, self._batch)
            self._telemetry.pruned_buckets.inc(done.pruned_buckets)
            self._telemetry.retired_runs.inc(done.retired_runs)
            if done.pruned_buckets or done.retired_runs:
                log.info(
                    "maintain.done", buckets=done.pruned_buckets, retired_runs=done.retired_runs
                )

    async def _check_source(self) -> None:
        """Say so, once, when the engine's tables are no longer as we left them."""
        flaws = await self._store.source_flaws()
        if flaws and flaws != self._flaws:
            log.warning("source.changed", flaws=flaws, remedy="meshmetrics migrate, then doctor")
        self._flaws = flaws
        unknown = await self._store.unknown_statuses()
        self._telemetry.unknown_status_runs.set(sum(unknown.values()))
        if unknown.keys() - self._unknown:
            log.warning("status.unknown", statuses=sorted(unknown), remedy="meshmetrics statuses")
        self._unknown = set(unknown)
