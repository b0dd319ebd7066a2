"""Compares everything with everything, slowly: the proof that goes on while the daemon works."""

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

REST = 9
"""A step is followed by a pause of so many times its length: auditing takes a tenth of one
connection's time, and a cycle ten times what its steps take together."""
MOST_REST = 30.0
"""Seconds: a step that was long may have waited for a database that was away."""
NOT_YET = 60.0
"""Seconds between looks at whether the back-fill is done: until then nothing can be equal."""


@dataclass(slots=True)
class _Found:
    runs: int = 0
    buckets: int = 0
    counters: int = 0


class Auditor(Service):
    """One cycle after another: all runs against the ledger, then the ledger against the buckets
    and the counters of every workflow, in steps with long pauses.

    A run that nothing else found is counted: events, sweeps and audits feed the same function.
    Buckets and counters that are wrong are told, and left for `meshmetrics verify --repair`: they
    are written in one transaction with the ledger, so somebody should find out how that came.
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
        second_look: float = 5.0,
    ) -> None:
        """`interval`: seconds from the start of one cycle to the next at least. `batch`: runs in
        one step. `second_look`: seconds until what is found uncounted is looked at again: a long
        transaction may commit behind the sweeps, and its event be under way."""
        super().__init__()
        self._store = store
        self._audits = audits
        self._counter = counter
        self._telemetry = telemetry
        self._interval = interval
        self._batch = batch
        self._second_look = second_look
        self._told: dict[str, int] = {}
        """What the last whole cycle found."""

    async def run(self) -> None:
        """Cycle until stopped, going on with the rhythm of the daemon before this one."""
        self.started.set()
        last = await self._audits.last_audit("cycle")
        if last is not None:
            self._tell(last)
            since = (await self._store.database.now() - last.started_at).total_seconds()
            if await self.pause(self._interval - since):
                return
        while not self.stopping.is_set():
            if not (await self._store.read_checkpoint("backfill")).done:
                await self.pause(min(NOT_YET, self._interval))
                continue
            began = time.monotonic()
            await self._cycle()
            await self.pause(self._interval - (time.monotonic() - began))

    async def _cycle(self) -> None:
        started_at = await self._store.database.now()
        began = time.monotonic()
        found = _Found()
        if not (await self._audit_runs(found) and await self._audit_buckets(found)):
            return
        aside = (await self._audits.condition())["set_aside"]
        record = AuditRecord(started_at, found.runs, found.buckets, found.counters, aside)
        await self._audits.record_audit("cycle", record)
        self._tell(record)
        took = time.monotonic() - began
        self._telemetry.audit_seconds.set(took)
        log.info("audit.done", drift=record.drift, set_aside=aside, took_ms=took * 1000)

    def _tell(self, record: AuditRecord) -> None:
        for kind, count in (
            ("run", record.runs_wrong),
            ("bucket", record.buckets_wrong),
            ("counter", record.counters_wrong),
        ):
            self._told[kind] = count
            self._telemetry.drift.labels(kind).set(count)
        self._telemetry.set_aside.set(record.runs_set_aside)
        # What was compared first in a cycle is as old as its start.
        self._telemetry.last_audit.set(record.started_at.timestamp())

    def _tell_early(self, kind: str, count: int) -> None:
        """What a cycle under way has found so far: it does not make less of what the last one
        found, which it has not come by yet."""
        self._telemetry.drift.labels(kind).set(max(count, self._told.get(kind, 0)))

    async def _rest(self, began: float) -> bool:
        """Pause after a step; whether we go on."""
        return not await self.pause(min(REST * (time.monotonic() - began), MOST_REST))

    async def _audit_runs(self, found: _Found) -> bool:
        """Whether all runs were looked at that sweeps and back-fill are done with."""
        until = (await self._store.read_checkpoint("sweep")).position.updated_at
        position = BEGINNING
        while True:
            began = time.monotonic()
            step = await self._store.uncounted_runs(position, until, self._batch)
            if step.run_ids and not await self._look_again(step.run_ids, found):
                return False
            if step.scanned < self._batch or step.reached is None:
                return True
            position = step.reached
            if not await self._rest(began):
                return False

    async def _look_again(self, suspects: tuple[UUID, ...], found: _Found) -> bool:
        if await self.pause(self._second_look):
            return False
        still = await self._audits.audit_runs(suspects)
        wrong = [run_id for run_id, pending in still.items() if not pending]
        if wrong:
            found.runs += len(wrong)
            self._tell_early("run", found.runs)
            log.warning("audit.found_runs", runs=len(wrong), first=str(wrong[0]))
            await self._counter.count(wrong, source="audit")
        return True

    async def _audit_buckets(self, found: _Found) -> bool:
        """Whether all workflows and projects were looked at."""
        for part in await self._audits.audit_slices(self._batch):
            began = time.monotonic()
            differences = await self._audits.audit_slice(part)
            buckets = sum(d.kind == "bucket" for d in differences)
            # The counters come with each slice of a workflow: those of the last one count.
            counters = len(differences) - buckets if part.before is None else 0
            if buckets or counters:
                found.buckets += buckets
                found.counters += counters
                self._tell_early("bucket", found.buckets)
                self._tell_early("counter", found.counters)
                log.error(
                    "audit.drift",
                    **{f"{part.kind}_id": str(part.id)},
                    buckets=buckets,
                    counters=counters,
                    expected=differences[0].expected,
                    found=differences[0].found,
                    remedy="meshmetrics verify --repair",
                )
            if not await self._rest(began):
                return False
        return True
