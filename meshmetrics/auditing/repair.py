"""Mends what an audit found: counts what is uncounted, rebuilds buckets and counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.counter import quiet_counter
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.walk import BEGINNING, FAR_FUTURE, walk

BATCH = 20_000


@dataclass(slots=True)
class Repairs:
    """What was done."""

    runs: int = 0
    """Runs counted, or taken out of the counts, anew."""
    retried: int = 0
    """Runs set aside that were looked at again."""
    buckets: int = 0
    counters: int = 0
    """Workflows whose counters were set right."""
    workflows: set[UUID] = field(default_factory=set)
    """Whose buckets or counters were."""
    projects: set[UUID] = field(default_factory=set)
    """Whose buckets were."""
    passed_over: set[UUID] = field(default_factory=set)
    """Workflows that are being deleted just now."""


async def repair(
    store: CountingStore,
    audits: AuditStore,
    *,
    batch: int = BATCH,
    on_step: Callable[[str], None] = lambda _: None,
) -> Repairs:
    """Make ledger, buckets and counters say what the runs say; safe beside a running daemon.

    First all runs are walked and what is uncounted is counted, those set aside included. Then each
    workflow's buckets are compared with the ledger, and each project's with its workflows', and
    set right where they differ. `on_step` is
    told what is being done.
    """
    done = Repairs()
    on_step("counting uncounted runs")
    done.retried = await audits.retry_set_aside()
    async for step in walk(
        store, quiet_counter(store, batch), BEGINNING, FAR_FUTURE, batch, "audit", whole=True
    ):
        done.runs += step.changed
    slices = await audits.audit_slices(batch)
    for number, part in enumerate(slices, 1):
        on_step(f"comparing buckets: part {number:,} of {len(slices):,}")
        if not await audits.audit_slice(part):
            continue
        repaired = await audits.repair_slice(part)
        if repaired.passed_over:
            done.passed_over.add(part.id)
        if repaired.buckets or repaired.counters:
            (done.workflows if part.kind == "workflow" else done.projects).add(part.id)
            done.buckets += repaired.buckets
            done.counters += repaired.counters
    return done
