"""The database as those see it who prove the numbers right, mend them, and examine the whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from meshmetrics.counting.model import (
    Account,
    AuditRecord,
    EngineHabits,
    RepairedSlice,
    Sample,
    Slice,
    SliceDifference,
    Status,
)
from meshmetrics.counting.store import Store
from meshmetrics.database.store import UNLIMITED, Connection

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


class AuditStore(Store):
    """The store, and the functions of audits, repairs and the doctor: a method for each."""

    async def estimate_runs(self, after: datetime, until: datetime) -> int:
        """About how many runs were updated from `after` to before `until`; at once."""
        row = await self._row("select meshmetrics.estimate_runs($1, $2) as n", after, until)
        return int(row["n"])

    async def audit_runs(self, run_ids: Sequence[UUID]) -> dict[UUID, bool]:
        """Which of these runs the ledger does not agree with at this moment, and whether that is
        merely pending."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                "select run_id, pending from meshmetrics.audit_runs($1)", list(run_ids)
            )
        return {row["run_id"]: row["pending"] for row in rows}

    async def statuses(self) -> tuple[Status, ...]:
        """Every status that is mapped or that a run has. Counts the runs of each."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = 0")
            rows = await connection.fetch(
                "select status, outcome, runs from meshmetrics.statuses()", timeout=UNLIMITED
            )
        return tuple(Status(**dict(row)) for row in rows)

    async def map_status(self, status: str, outcome: str) -> None:
        """Map a status to success, failure, canceled or open."""
        await self._row("select meshmetrics.map_status($1, $2)", status, outcome)

    async def runs_of_status(self, status: str, after: UUID, most: int) -> tuple[UUID, ...]:
        """The next `most` runs of a status, in the order of their ids."""
        row = await self._row(
            "select meshmetrics.runs_of_status($1, $2, $3) as ids", status, after, most
        )
        return tuple(row["ids"])

    async def account(self) -> tuple[Account, ...]:
        """Where every run of every workflow version is, in one snapshot. Reads every run."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = 0")
            rows = await connection.fetch(
                "select workflow_id, started, succeeded, failed, canceled, open, set_aside,"
                " unknown, pending from meshmetrics.account()",
                timeout=UNLIMITED,
            )
        return tuple(Account(**dict(row)) for row in rows)

    async def audit_slices(self, max_runs: int) -> tuple[Slice, ...]:
        """All workflows' and then all projects' lives, in slices of about `max_runs` runs."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                "select kind, id, after, before from meshmetrics.audit_slices($1)", max_runs
            )
        return tuple(Slice(**dict(row)) for row in rows)

    async def audit_slice(self, part: Slice) -> tuple[SliceDifference, ...]:
        """Compare a workflow's buckets with the ledger and its counters with its buckets, or a
        project's buckets with its workflows'."""
        async with self._connection() as connection:
            rows = await connection.fetch(_AUDIT[part.kind], part.id, part.after, part.before)
        return tuple(SliceDifference(**dict(row)) for row in rows)

    async def repair_slice(self, part: Slice) -> RepairedSlice:
        """Set right what `audit_slice` would find. Counting waits meanwhile."""
        row = await self._row(_REPAIR[part.kind], part.id, part.after, part.before)
        return RepairedSlice(**dict(row))

    async def repair_effect(self) -> tuple[int, int]:
        """How many runs a repair would take out of the counts, and put in. Reads every run."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = 0")
            row = await connection.fetchrow(
                "select taken_out, put_in from meshmetrics.repair_effect()", timeout=UNLIMITED
            )
        assert row is not None  # noqa: S101 - a function called this way returns one row
        return row["taken_out"], row["put_in"]

    async def retry_set_aside(self) -> int:
        """Have all runs set aside looked at again; return how many there are."""
        row = await self._row("select meshmetrics.retry_set_aside() as n")
        return int(row["n"])

    async def record_audit(self, kind: Literal["cycle", "snapshot"], record: AuditRecord) -> None:
        """Note a finished audit: the daemon's slice by slice, or one of everything at once."""
        await self._row(
            "select meshmetrics.record_audit($1, $2, $3, $4, $5, $6)",
            kind,
            record.started_at,
            record.runs_wrong,
            record.buckets_wrong,
            record.counters_wrong,
            record.runs_set_aside,
        )

    async def last_audit(self, kind: Literal["cycle", "snapshot"]) -> AuditRecord | None:
        """The last one of this kind that was finished."""
        row = await self._row(
            "select started_at, runs_wrong, buckets_wrong, counters_wrong, runs_set_aside"
            " from meshmetrics.last_audit($1)",
            kind,
        )
        return None if row["started_at"] is None else AuditRecord(**dict(row))

    async def condition(self) -> dict[str, Any]:
        """How things stand, for the doctor; condition.sql says what is in it."""
        row = await self._row("select meshmetrics.condition() as condition")
        condition: dict[str, Any] = json.loads(row["condition"])
        return condition

    async def engine_habits(self) -> EngineHabits:
        """How the engine says that a run failed."""
        row = await self._row("select * from meshmetrics.engine_habits()")
        return EngineHabits(**dict(row))

    @asynccontextmanager
    async def sampling(self, upto: datetime) -> AsyncIterator[tuple[Connection, Sample | None]]:
        """A read-only transaction of one snapshot, and a project in it with what the ledger holds
        of one workflow, finished before `upto`; None where there is no project. The rest of the
        transaction is the caller's."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow("select * from meshmetrics.tenant_sample($1)", upto)
            yield connection, None if row is None else Sample(**dict(row))
