"""The background audit: verifies all counts slowly while the daemon works."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

import structlog

from meshmetrics.auditing.model import AuditRecord
from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.walk import BEGINNING
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

PAUSE_FACTOR = 9
"""How many times longer than a step the pause after it is: auditing uses a tenth of one
connection's time, and a cycle takes ten times as long as its steps."""
MAX_PAUSE = 30.0
"""Seconds. A long step may only have waited for a database that was unreachable."""
BACKFILL_POLL = 60.0
"""Seconds between checks of whether the back-fill is done. Before that, counts must differ."""


@dataclass(slots=True)
class _Differences:
    runs: int = 0
    buckets: int = 0
    counters: int = 0


class Auditor(Service):
    """Runs one cycle after another: compares all runs with the ledger, then the ledger with the
    buckets and counters of every workflow, in steps with long pauses.

    It counts a run that nothing else found: events, sweeps and audits feed the same function. It
    only reports wrong buckets and counters, and leaves them to `meshmetrics verify --repair`:
    counting writes them in one transaction with the ledger, so an operator should find the cause.
    """

    name = "auditor"

    def __init__(
        self,
        store: CountingStore,
        audits: AuditStore,
        counter: Counter,
        telemetry: Telemetry,
        *,
        interval: float,
        batch: int,
        recheck_after: float = 5.0,
    ) -> None:
        """`interval`: minimum seconds between the starts of two cycles. `batch`: runs per step.
        `recheck_after`: seconds after which uncounted runs are checked again, because a long
        transaction may commit behind the sweeps before its event arrives."""
        super().__init__()
        self._store = store
        self._audits = audits
        self._counter = counter
        self._telemetry = telemetry
        self._interval = interval
        self._batch = batch
        self._recheck_after = recheck_after
        self._last_drift: dict[str, int] = {}
        """The differences that the last complete cycle found, by kind."""

    async def run(self) -> None:
        """Cycle until stopped, keeping the schedule of the previous daemon."""
        self.started.set()
        last = await self._audits.last_audit("cycle")
        if last is not None:
            self._report(last)
            since = (await self._store.database.now() - last.started_at).total_seconds()
            if await self.pause(self._interval - since):
                return
        while not self.stopping.is_set():
            if not (await self._store.read_checkpoint("backfill")).done:
                await self.pause(min(BACKFILL_POLL, self._interval))
                continue
            began = time.monotonic()
            await self._cycle()
            await self.pause(self._interval - (time.monotonic() - began))

    async def _cycle(self) -> None:
        started_at = await self._store.database.now()
        began = time.monotonic()
        found = _Differences()
        if not (await self._audit_runs(found) and await self._audit_buckets(found)):
            return
        aside = (await self._audits.condition())["set_aside"]
        record = AuditRecord(started_at, found.runs, found.buckets, found.counters, aside)
        await self._audits.record_audit("cycle", record)
        self._report(record)
        took = time.monotonic() - began
        self._telemetry.audit_seconds.set(took)
        log.info("audit.done", drift=record.drift, set_aside=aside, took_ms=took * 1000)

    def _report(self, record: AuditRecord) -> None:
        for kind, count in (
            ("run", record.runs_wrong),
            ("bucket", record.buckets_wrong),
            ("counter", record.counters_wrong),
        ):
            self._last_drift[kind] = count
            self._telemetry.drift.labels(kind).set(count)
        self._telemetry.set_aside.set(record.runs_set_aside)
        # The start, because the first comparisons of a cycle are that old.
        self._telemetry.last_audit.set(record.started_at.timestamp())

    def _report_early(self, kind: str, count: int) -> None:
        """Report what the current cycle has found so far. The metric never falls below the last
        cycle's result: this one may not have reached those differences yet."""
        self._telemetry.drift.labels(kind).set(max(count, self._last_drift.get(kind, 0)))

    async def _pause_after(self, began: float) -> bool:
        """Pause after a step; return False when stopping."""
        return not await self.pause(min(PAUSE_FACTOR * (time.monotonic() - began), MAX_PAUSE))

    async def _audit_runs(self, found: _Differences) -> bool:
        """Check all runs that sweeps and back-fill have passed; return False when stopping."""
        until = (await self._store.read_checkpoint("sweep")).position.updated_at
        position = BEGINNING
        while True:
            began = time.monotonic()
            step = await self._store.uncounted_runs(position, until, self._batch)
            if step.run_ids and not await self._recheck(step.run_ids, found):
                return False
            if step.scanned < self._batch or step.reached is None:
                return True
            position = step.reached
            if not await self._pause_after(began):
                return False

    async def _recheck(self, suspects: tuple[UUID, ...], found: _Differences) -> bool:
        if await self.pause(self._recheck_after):
            return False
        still = await self._audits.audit_runs(suspects)
        wrong = [run_id for run_id, pending in still.items() if not pending]
        if wrong:
            found.runs += len(wrong)
            self._report_early("run", found.runs)
            log.warning("audit.found_runs", runs=len(wrong), first=str(wrong[0]))
            await self._counter.count(wrong, source="audit")
        return True

    async def _audit_buckets(self, found: _Differences) -> bool:
        """Check all workflows and projects; return False when stopping."""
        for part in await self._audits.audit_slices(self._batch):
            began = time.monotonic()
            differences = await self._audits.audit_slice(part)
            buckets = sum(d.kind == "bucket" for d in differences)
            # Each slice of a workflow repeats its counters: only the last slice's are used.
            counters = len(differences) - buckets if part.before is None else 0
            if buckets or counters:
                found.buckets += buckets
                found.counters += counters
                self._report_early("bucket", found.buckets)
                self._report_early("counter", found.counters)
                log.error(
                    "audit.drift",
                    **{f"{part.kind}_id": str(part.id)},
                    buckets=buckets,
                    counters=counters,
                    expected=differences[0].expected,
                    found=differences[0].found,
                    remedy="meshmetrics verify --repair",
                )
            if not await self._pause_after(began):
                return False
        return True
