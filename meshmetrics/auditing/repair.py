"""Repairs the differences of an audit: counts uncounted runs, rebuilds buckets and counters."""

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
    """The result of a repair."""

    runs: int = 0
    """Runs whose count changed: added, removed, or counted with another outcome."""
    retried: int = 0
    """Runs set aside that were retried."""
    buckets: int = 0
    counters: int = 0
    """Workflows whose counters were repaired."""
    workflows: set[UUID] = field(default_factory=set)
    """Workflows whose buckets or counters were repaired."""
    projects: set[UUID] = field(default_factory=set)
    """Projects whose buckets were repaired."""
    passed_over: set[UUID] = field(default_factory=set)
    """Workflows skipped because they are being deleted."""


async def repair(
    store: CountingStore,
    audits: AuditStore,
    *,
    batch: int = BATCH,
    on_step: Callable[[str], None] = lambda _: None,
) -> Repairs:
    """Make ledger, buckets and counters match the runs. Safe beside a running daemon.

    First it walks all runs and counts the uncounted ones, including those set aside. Then it
    compares each workflow's buckets with the ledger, and each project's with its workflows', and
    repairs those that differ. It calls `on_step` with a description of each step.
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
