"""Verifies the counts of a live system, and separates pending differences from wrong ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from meshmetrics.auditing.model import Account, AuditRecord, Difference
from meshmetrics.auditing.store import AuditStore

PAUSE = 0.25
ACCOUNT = ("started", "succeeded", "failed", "canceled", "open", "set_aside", "unknown", "pending")


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit in one snapshot, after suspected runs were checked again.

    The counts include all differences; `differences` lists up to a limit of each kind, without
    pending ones.
    """

    differences: tuple[Difference, ...]
    runs: int
    buckets: int
    counters: int
    set_aside: int
    pending: int
    account: Account
    taken_out: int = 0
    """Runs that a repair would remove from the counts."""
    put_in: int = 0
    """Runs that a repair would add to the counts."""

    @property
    def drift(self) -> int:
        """All differences. A run set aside is known not to be counted, so it is not drift."""
        return self.runs + self.buckets + self.counters + self.account.unaccounted

    def as_json(self) -> dict[str, Any]:
        return {
            "drift": self.drift,
            "runs": self.runs,
            "buckets": self.buckets,
            "counters": self.counters,
            "set_aside": self.set_aside,
            "pending": self.pending,
            "account": {name: getattr(self.account, name) for name in (*ACCOUNT, "unaccounted")},
            "differences": [
                {
                    "kind": d.kind,
                    "project_id": None if d.project_id is None else str(d.project_id),
                    "workflow_id": None if d.workflow_id is None else str(d.workflow_id),
                    "run_id": None if d.run_id is None else str(d.run_id),
                    "grain": d.grain,
                    "bucket_start": None if d.bucket_start is None else d.bucket_start.isoformat(),
                    "expected": d.expected,
                    "found": d.found,
                }
                for d in self.differences
            ],
        }


async def verify(audits: AuditStore, *, patience: float = 10.0, limit: int = 1000) -> Report:
    """Audit everything in one snapshot, and record the audit.

    Counting writes buckets and counters in one transaction with the ledger, so any difference
    there is wrong. A run behind all walks may still be counted, if a long transaction has just
    committed it: it is watched for up to `patience` seconds, and is wrong if it is not counted by
    then. `limit`: maximum number of differences of each kind to list.
    """
    started_at = await audits.database.now()
    deadline = time.monotonic() + patience
    while True:
        found = await audits.audit(limit=limit)
        suspects = {d.run_id for d in found if d.kind == "run" and not d.pending and d.run_id}
        unlisted = max((d.alike for d in found if d.kind == "run" and not d.pending), default=0)
        unlisted -= len(suspects)
        wrong = await _watch(audits, suspects, deadline)
        if wrong or not unlisted:
            break  # otherwise all listed runs were counted meanwhile: check the unlisted ones
    taken_out, put_in = await audits.repair_effect() if wrong else (0, 0)
    totals = {(d.kind, d.pending): d.alike for d in found}
    report = Report(
        differences=tuple(
            d for d in found if not d.pending and (d.kind != "run" or d.run_id in wrong)
        ),
        runs=len(wrong) + unlisted,
        buckets=totals.get(("bucket", False), 0),
        counters=totals.get(("counter", False), 0),
        set_aside=totals.get(("set_aside", False), 0),
        pending=totals.get(("run", True), 0) + len(suspects) - len(wrong),
        account=_total(await audits.account()),
        taken_out=taken_out,
        put_in=put_in,
    )
    record = AuditRecord(started_at, report.runs, report.buckets, report.counters, report.set_aside)
    await audits.record_audit("snapshot", record)
    return report


def _total(accounts: Sequence[Account]) -> Account:
    """The sums over all workflow versions."""
    sums = {name: sum(getattr(one, name) for one in accounts) for name in ACCOUNT}
    return Account(workflow_id=UUID(int=0), **sums)


async def _watch(audits: AuditStore, suspects: set[UUID], deadline: float) -> set[UUID]:
    """The suspects that are still not counted at the deadline."""
    wrong = suspects
    while wrong:
        still = await audits.audit_runs(list(wrong))
        wrong = {run_id for run_id, pending in still.items() if not pending}
        if not wrong or time.monotonic() >= deadline:
            break
        await asyncio.sleep(PAUSE)
    return wrong
