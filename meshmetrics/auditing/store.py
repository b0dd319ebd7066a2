"""The SQL functions of audits, repairs and the doctor, with one method per function."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from meshmetrics.auditing.model import (
    Account,
    AuditRecord,
    Difference,
    EngineHabits,
    RepairedSlice,
    Sample,
    Slice,
    SliceDifference,
)
from meshmetrics.database.store import Connection, Database

_AUDIT = {
    "workflow": "select kind, grain, bucket_start, expected, found"
    " from meshmetrics.audit_workflow($1, $2, $3)",
    "project": "select kind, grain, bucket_start, expected, found"
    " from meshmetrics.audit_project($1, $2, $3)",
}
_REPAIR = {
    "workflow": "select buckets, counters, passed_over"
    " from meshmetrics.repair_workflow($1, $2, $3)",
    "project": "select buckets, false as counters, false as passed_over"
    " from meshmetrics.repair_project($1, $2, $3)",
}


class AuditStore:
    """Compares runs, ledger, buckets and counters, and repairs them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def audit(
        self, after: datetime | None = None, before: datetime | None = None, limit: int = 1000
    ) -> tuple[Difference, ...]:
        """Compare runs, ledger, buckets and counters in one snapshot; wrong ones first.

        `after` and `before` limit it to whole UTC days of `finished_at`; it compares counters only
        if both are None. It reads every run.
        """
        rows = await self.database.long_rows(
            "select kind, pending, project_id, workflow_id, run_id, grain, bucket_start,"
            " expected, found, alike from meshmetrics.audit($1, $2, $3)",
            after,
            before,
            limit,
        )
        return tuple(Difference(**dict(row)) for row in rows)

    async def audit_runs(self, run_ids: Sequence[UUID]) -> dict[UUID, bool]:
        """Which of these runs differ from the ledger now, and whether the difference is only
        pending."""
        rows = await self.database.rows(
            "select run_id, pending from meshmetrics.audit_runs($1)", list(run_ids)
        )
        return {row["run_id"]: row["pending"] for row in rows}

    async def account(self) -> tuple[Account, ...]:
        """Account for every run of every workflow version in one snapshot. Reads every run."""
        rows = await self.database.long_rows(
            "select workflow_id, started, succeeded, failed, canceled, open, set_aside,"
            " unknown, pending from meshmetrics.account()"
        )
        return tuple(Account(**dict(row)) for row in rows)

    async def counted_totals(self) -> tuple[int, int]:
        """How many runs the counters say are counted, and how many the ledger says."""
        row = await self.database.long_row(
            "select counters, ledger from meshmetrics.counted_totals()"
        )
        return row["counters"], row["ledger"]

    async def receipt(self, from_at: datetime, to_at: datetime) -> dict[str, Any]:
        """Counts and hashes of the ledger's runs that ended in this period, in one snapshot."""
        row = await self.database.long_row(
            "select meshmetrics.receipt($1, $2) as receipt", from_at, to_at
        )
        receipt: dict[str, Any] = json.loads(row["receipt"])
        return receipt

    async def audit_slices(self, max_runs: int) -> tuple[Slice, ...]:
        """The history of all workflows, then projects, in slices of about `max_runs` runs."""
        rows = await self.database.rows(
            "select kind, id, after, before from meshmetrics.audit_slices($1)", max_runs
        )
        return tuple(Slice(**dict(row)) for row in rows)

    async def audit_slice(self, part: Slice) -> tuple[SliceDifference, ...]:
        """Compare a workflow's buckets with the ledger and its counters with its buckets, or a
        project's buckets with its workflows'."""
        rows = await self.database.rows(_AUDIT[part.kind], part.id, part.after, part.before)
        return tuple(SliceDifference(**dict(row)) for row in rows)

    async def repair_slice(self, part: Slice) -> RepairedSlice:
        """Repair what `audit_slice` would find. Counting waits meanwhile."""
        row = await self.database.row(_REPAIR[part.kind], part.id, part.after, part.before)
        return RepairedSlice(**dict(row))

    async def repair_effect(self) -> tuple[int, int]:
        """How many runs a repair would remove from the counts and add to them. Reads every run."""
        row = await self.database.long_row(
            "select taken_out, put_in from meshmetrics.repair_effect()"
        )
        return row["taken_out"], row["put_in"]

    async def retry_set_aside(self) -> int:
        """Retry all runs set aside; return how many there are."""
        row = await self.database.row("select meshmetrics.retry_set_aside() as n")
        return int(row["n"])

    async def record_audit(self, kind: Literal["cycle", "snapshot"], record: AuditRecord) -> None:
        """Record a finished audit: a `cycle` of the daemon's, or a `snapshot` of everything."""
        await self.database.row(
            "select meshmetrics.record_audit($1, $2, $3, $4, $5, $6)",
            kind,
            record.started_at,
            record.runs_wrong,
            record.buckets_wrong,
            record.counters_wrong,
            record.runs_set_aside,
        )

    async def last_audit(self, kind: Literal["cycle", "snapshot"]) -> AuditRecord | None:
        """The last finished audit of this kind."""
        row = await self.database.row(
            "select started_at, runs_wrong, buckets_wrong, counters_wrong, runs_set_aside"
            " from meshmetrics.last_audit($1)",
            kind,
        )
        return None if row["started_at"] is None else AuditRecord(**dict(row))

    async def condition(self) -> dict[str, Any]:
        """The condition of the database for the doctor; condition.sql describes the fields."""
        row = await self.database.row("select meshmetrics.condition() as condition")
        condition: dict[str, Any] = json.loads(row["condition"])
        return condition

    async def engine_habits(self) -> EngineHabits:
        """How the engine reports failed runs."""
        row = await self.database.row("select * from meshmetrics.engine_habits()")
        return EngineHabits(**dict(row))

    @asynccontextmanager
    async def sampling(self, upto: datetime) -> AsyncIterator[tuple[Connection, Sample | None]]:
        """A read-only transaction of one snapshot, and a project in it with the ledger's counts of
        one workflow's runs that finished before `upto`; None if there is no project. The caller
        may go on using the transaction."""
        async with (
            self.database.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow("select * from meshmetrics.tenant_sample($1)", upto)
            yield connection, None if row is None else Sample(**dict(row))
