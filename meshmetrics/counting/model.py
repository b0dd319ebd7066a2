"""The data types of counting: frozen records, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

Outcome = Literal["success", "failure", "canceled"]
Grain = Literal["minute", "quarter", "day"]


@dataclass(frozen=True, slots=True)
class Delta:
    """How many runs one minute gained (or lost, where negative) of each outcome."""

    minute: datetime
    success: int
    failure: int
    canceled: int


@dataclass(frozen=True, slots=True)
class Change:
    """One workflow's counters after a count that changed them.

    Counts are absolute. `deltas` are the differences between `base_revision` and `revision`;
    None for a correction of runs older than the minute buckets and for a resend after a restart:
    a subscriber that is behind `revision` then has to refetch.
    """

    workflow_id: UUID
    project_id: UUID
    slug: str
    base_revision: int
    revision: int
    success_count: int
    failure_count: int
    canceled_count: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_updated: datetime
    deltas: tuple[Delta, ...] | None
    moved_from: UUID | None = None
    """The project that the workflow has left: its dashboards must no longer show it."""

    @property
    def success_rate(self) -> float | None:
        """success / (success + failure); None (never 0 or 1) before the first such run."""
        finished = self.success_count + self.failure_count
        return self.success_count / finished if finished else None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A run that cannot be counted, and why."""

    run_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What one call of `count_runs` did."""

    runs: int  # runs whose ledger entry changed: 0 if all were counted already
    changes: tuple[Change, ...]
    set_aside: tuple[SetAside, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the walk over `workflow_runs` by (updated_at, id)."""

    updated_at: datetime
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Uncounted:
    """One step of the walk: the runs to count, and how far the step came."""

    run_ids: tuple[UUID, ...]
    scanned: int  # rows read; fewer than requested: the walk has reached the end
    reached: Position | None  # None if nothing was scanned


@dataclass(frozen=True, slots=True)
class OpenCounts:
    """A workflow version's runs that have not ended, as last counted.

    `overdue` of the `open` ones are open for longer than the workflow's deadline. `abandoned`
    ones are counted as failures and are not among the open.
    """

    workflow_id: UUID
    project_id: UUID
    slug: str
    open: int
    oldest_open_at: datetime | None
    overdue: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """Which workflow versions' counts of open runs changed, and the sums over all of them."""

    changed: tuple[OpenCounts, ...]
    open: int
    overdue: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class Status:
    """One of the engine's statuses: the outcome that it is mapped to (success, failure, canceled,
    open or unknown), and how many runs have it."""

    status: str
    outcome: str
    runs: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a walk has come. `done`: it has reached its end and never starts again."""

    position: Position
    done: bool


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one call of `maintain` did."""

    pruned_buckets: int
    retired_runs: int  # ledger rows whose run was deleted, moved to the retired buckets
    scanned: int  # ledger rows read
    wrapped: bool  # the slice reached the end of the ledger; the next one starts from the beginning


@dataclass(frozen=True, slots=True)
class TransactionsSeen:
    """When the oldest open transaction began; None if `owner`, the role that owns our functions,
    may not see the transactions of other roles."""

    oldest: datetime | None
    owner: str
