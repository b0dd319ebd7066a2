"""One method for each of counting's SQL functions, and no other SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from meshmetrics.counting.model import (
    Change,
    Checkpoint,
    Counted,
    Delta,
    Maintained,
    OpenCounts,
    OpenRuns,
    Position,
    SetAside,
    Status,
    TransactionsSeen,
    Uncounted,
)
from meshmetrics.database.store import Database


class CountingStore:
    """Counts runs and finds those to count."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def count_runs(self, run_ids: Sequence[UUID]) -> Counted:
        """Bring the ledger, buckets and counters of these runs in line with `workflow_runs`.

        Idempotent; in any order; safe for concurrent callers. Unknown ids are ignored.
        """
        row = await self.database.row(
            "select counted, changes, set_aside from meshmetrics.count_runs($1)", list(run_ids)
        )
        return _counted(row)

    async def source_flaws(self) -> tuple[str, ...]:
        """What keeps us from reading the engine's tables or receiving their changes, one sentence
        per flaw; empty if everything is in order."""
        row = await self.database.row("select meshmetrics.source_flaws() as flaws")
        return tuple(row["flaws"])

    async def stream_slot_active(self) -> bool:
        """Whether Realtime reads the changes of this database now."""
        row = await self.database.row("select meshmetrics.stream_slot_active() as active")
        return bool(row["active"])

    async def unknown_statuses(self) -> dict[str, int]:
        """The statuses that are not mapped to an outcome, with the number of runs of each."""
        rows = await self.database.rows("select status, runs from meshmetrics.unknown_statuses()")
        return {row["status"]: row["runs"] for row in rows}

    async def find_abandoned(self, silent_for: timedelta, max_runs: int) -> tuple[UUID, ...]:
        """The runs, `max_runs` at most, that `settle_abandoned` would change. `silent_for`: how
        long nothing may follow a failed step. Reads every open run."""
        row = await self.database.long_row(
            "select meshmetrics.find_abandoned($1, $2) as run_ids", silent_for, max_runs
        )
        return tuple(row["run_ids"])

    async def settle_abandoned(self, run_ids: Sequence[UUID], silent_for: timedelta) -> Counted:
        """Count those of these open runs as failures that are abandoned according to the engine's
        events and jobs, and withdraw the failure of those that continued. Idempotent."""
        row = await self.database.row(
            "select counted, changes, set_aside from meshmetrics.settle_abandoned($1, $2)",
            list(run_ids),
            silent_for,
        )
        return _counted(row)

    async def count_open_runs(self) -> OpenRuns:
        """Count the open, overdue and abandoned runs of every workflow version. Reads every open
        run."""
        row = await self.database.long_row(
            "select changed, open_runs, overdue_runs, abandoned_runs"
            " from meshmetrics.count_open_runs()"
        )
        return OpenRuns(
            changed=tuple(
                OpenCounts(
                    workflow_id=UUID(item["workflow_id"]),
                    project_id=UUID(item["project_id"]),
                    slug=item["slug"],
                    open=item["open"],
                    oldest_open_at=_time(item["oldest_open_at"]),
                    overdue=item["overdue"],
                    abandoned=item["abandoned"],
                )
                for item in json.loads(row["changed"])
            ),
            open=row["open_runs"],
            overdue=row["overdue_runs"],
            abandoned=row["abandoned_runs"],
        )

    async def refresh_deadlines(self, max_workflows: int) -> int:
        """Compute the deadlines of up to `max_workflows` workflows whose last computation is at
        least an hour old; return how many were computed."""
        row = await self.database.row(
            "select meshmetrics.refresh_deadlines($1) as n", max_workflows
        )
        return int(row["n"])

    async def follow_workflows(self) -> tuple[Change, ...]:
        """Move the metrics of workflows whose project changed to their current project; return
        what moved."""
        row = await self.database.row("select meshmetrics.follow_workflows(null) as changes")
        return _changes(row["changes"])

    async def due_set_aside(self, max_runs: int) -> tuple[UUID, ...]:
        """Up to `max_runs` runs that are set aside and due for their next attempt."""
        row = await self.database.row("select meshmetrics.due_set_aside($1) as run_ids", max_runs)
        return tuple(row["run_ids"])

    async def set_aside_run(self, run_id: UUID, reason: str) -> None:
        """Set a run aside that the database refused to count, and store the reason. It is retried
        when its row changes, and with exponential back-off."""
        await self.database.row("select meshmetrics.set_aside_run($1, $2)", run_id, reason)

    async def uncounted_runs(self, after: Position, until: datetime, max_scanned: int) -> Uncounted:
        """Read at most `max_scanned` runs after `after` and updated before `until`; return those
        whose current outcome differs from the ledger."""
        row = await self.database.row(
            "select run_ids, scanned, reached_at, reached_id"
            " from meshmetrics.uncounted_runs($1, $2, $3, $4)",
            after.updated_at,
            after.run_id,
            until,
            max_scanned,
        )
        reached = Position(row["reached_at"], row["reached_id"]) if row["scanned"] else None
        return Uncounted(tuple(row["run_ids"]), row["scanned"], reached)

    async def settled_until(self, overlap: timedelta) -> datetime:
        """The time before which no transaction can still add a row by `updated_at`: the start
        of the oldest open transaction, or `overlap` ago if the database does not let us see the
        transactions of other sessions."""
        row = await self.database.row("select meshmetrics.settled_until($1) as at", overlap)
        at: datetime = row["at"]
        return at

    async def transactions_seen(self, overlap: timedelta) -> TransactionsSeen:
        """What `settled_until` is based on, to explain what a walk waits for."""
        row = await self.database.row(
            "select oldest, owner from meshmetrics.transactions_seen($1)", overlap
        )
        return TransactionsSeen(row["oldest"], row["owner"])

    async def unsettled_since(self, overlap: timedelta) -> datetime:
        """The time after which rows may still appear behind those that exist now: the start of the
        oldest open transaction, at most `overlap` ago."""
        row = await self.database.row("select meshmetrics.unsettled_since($1) as at", overlap)
        at: datetime = row["at"]
        return at

    async def read_checkpoint(self, name: str) -> Checkpoint:
        """How far the walk `name` (`sweep` or `backfill`) has come."""
        row = await self.database.row(
            "select updated_at, run_id, done from meshmetrics.read_checkpoint($1)", name
        )
        return Checkpoint(Position(row["updated_at"], row["run_id"]), row["done"])

    async def advance_checkpoint(self, name: str, position: Position, *, done: bool) -> None:
        """Advance a checkpoint; a position behind the current one changes nothing."""
        await self.database.row(
            "select meshmetrics.advance_checkpoint($1, $2, $3, $4)",
            name,
            position.updated_at,
            position.run_id,
            done,
        )

    async def changed_since(self, since: datetime) -> tuple[Change, ...]:
        """The workflows counted at or after `since`, without deltas."""
        row = await self.database.row("select meshmetrics.changed_since($1) as changes", since)
        return _changes(row["changes"])

    async def maintain(self, now: datetime | None, max_scanned: int) -> Maintained:
        """Prune buckets by grain as of `now` (None: the database's clock), and retire the ledger
        rows whose run was deleted; read up to `max_scanned` ledger rows."""
        row = await self.database.row(
            "select pruned_buckets, retired_runs, scanned, wrapped"
            " from meshmetrics.maintain($1, $2)",
            now,
            max_scanned,
        )
        return Maintained(**dict(row))

    async def estimate_runs(self, after: datetime, until: datetime) -> int:
        """Estimate how many runs were updated from `after` to before `until`. Reads no runs."""
        row = await self.database.row("select meshmetrics.estimate_runs($1, $2) as n", after, until)
        return int(row["n"])

    async def statuses(self) -> tuple[Status, ...]:
        """Every status that is mapped or that a run has, with the number of its runs."""
        rows = await self.database.long_rows(
            "select status, outcome, runs from meshmetrics.statuses()"
        )
        return tuple(Status(**dict(row)) for row in rows)

    async def map_status(self, status: str, outcome: str) -> None:
        """Map a status to success, failure, canceled or open."""
        await self.database.row("select meshmetrics.map_status($1, $2)", status, outcome)

    async def runs_of_status(self, status: str, after: UUID, most: int) -> tuple[UUID, ...]:
        """Up to `most` runs of a status after the id `after`, in the order of their ids."""
        row = await self.database.row(
            "select meshmetrics.runs_of_status($1, $2, $3) as ids", status, after, most
        )
        return tuple(row["ids"])


def _counted(row: asyncpg.Record) -> Counted:
    return Counted(
        runs=row["counted"],
        changes=_changes(row["changes"]),
        set_aside=tuple(
            SetAside(UUID(item["run_id"]), item["reason"]) for item in json.loads(row["set_aside"])
        ),
    )


def _changes(document: str) -> tuple[Change, ...]:
    return tuple(_change(item) for item in json.loads(document))


def _change(item: dict[str, Any]) -> Change:
    deltas = item["deltas"]
    return Change(
        workflow_id=UUID(item["workflow_id"]),
        project_id=UUID(item["project_id"]),
        slug=item["slug"],
        base_revision=item["base_revision"],
        revision=item["revision"],
        success_count=item["success_count"],
        failure_count=item["failure_count"],
        canceled_count=item["canceled_count"],
        last_success_at=_time(item["last_success_at"]),
        last_failure_at=_time(item["last_failure_at"]),
        last_updated=datetime.fromisoformat(item["last_updated"]),
        deltas=None
        if deltas is None
        else tuple(
            Delta(datetime.fromisoformat(d["minute"]), d["success"], d["failure"], d["canceled"])
            for d in deltas
        ),
        moved_from=UUID(item["moved_from"]) if item.get("moved_from") else None,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
