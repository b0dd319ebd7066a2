"""What the parts of meshmetrics hand to each other. Frozen, and free of any I/O."""

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
    None where they are not told (a correction of runs older than the minute buckets, a resend
    after a restart): a subscriber that is behind `revision` then has to refetch.
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

    runs: int  # runs whose ledger entry changed: 0 where all was counted already
    changes: tuple[Change, ...]
    set_aside: tuple[SetAside, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the walk over `workflow_runs` by (updated_at, id)."""

    updated_at: datetime
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Uncounted:
    """One step of the walk: the runs to count, and how far the step came."""

    run_ids: tuple[UUID, ...]
    scanned: int  # rows looked at; fewer than asked for means that the end was reached
    reached: Position | None  # None where nothing was scanned


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
    """A status of the engine's: what it counts as (success, failure, canceled, open or unknown),
    and how many runs have it."""

    status: str
    outcome: str
    runs: int


@dataclass(frozen=True, slots=True)
class Account:
    """Where every run of a workflow version is. `unknown`: runs whose status no outcome is mapped
    to; `pending`: runs that ended and are still to be counted."""

    workflow_id: UUID
    started: int
    succeeded: int
    failed: int
    canceled: int
    open: int
    set_aside: int
    unknown: int
    pending: int

    @property
    def unaccounted(self) -> int:
        """Runs that are in none of the other counts; 0 unless something is wrong."""
        parts = (self.succeeded, self.failed, self.canceled, self.open, self.set_aside)
        return self.started - sum(parts) - self.unknown - self.pending


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a walk got. `done` says that it has nothing left to do, ever."""

    position: Position
    done: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works. `last_alive` is when a holder (any, this one included) last renewed before now."""

    held: bool
    holder_name: str
    last_alive: datetime | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of an audit: something that is not as the run list says.

    `kind` is `run` (ledger against runs), `bucket` (buckets against ledger), `counter`
    (counters against day buckets) or `set_aside` (a run that cannot be counted). A difference
    that a sweep is still going to mend is `pending`; all others are wrong.
    """

    kind: Literal["run", "bucket", "counter", "set_aside"]
    pending: bool
    project_id: UUID | None  # of a bucket without workflow: the project's own
    workflow_id: UUID | None
    run_id: UUID | None
    grain: Grain | None
    bucket_start: datetime | None
    expected: str
    found: str
    alike: int  # how many of this kind, pending or not as this one, there are in all


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of a workflow's or project's life for an audit to look at: whole UTC days; None is an
    open end."""

    kind: Literal["workflow", "project"]
    id: UUID
    after: datetime | None
    before: datetime | None


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """A bucket that is not the sum that it should be, or the counters of a workflow."""

    kind: Literal["bucket", "counter"]
    grain: Grain | None
    bucket_start: datetime | None
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class RepairedSlice:
    """What was set right of a slice."""

    buckets: int
    counters: bool
    passed_over: bool  # the workflow is being deleted: nothing was done


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A finished audit: when it began, and how many differences it found that were not pending."""

    started_at: datetime
    runs_wrong: int
    buckets_wrong: int
    counters_wrong: int
    runs_set_aside: int

    @property
    def drift(self) -> int:
        """Everything that was wrong. A run set aside is known not to be counted: no drift."""
        return self.runs_wrong + self.buckets_wrong + self.counters_wrong


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one call of `maintain` did."""

    pruned_buckets: int
    retired_runs: int  # ledger rows whose run is gone, moved to the retired buckets
    scanned: int  # ledger rows looked at
    wrapped: bool  # the slice reached the end of the ledger; the next begins anew


@dataclass(frozen=True, slots=True)
class EngineHabits:
    """How the engine says that a run failed (engine_habits.sql)."""

    has_runs: bool
    writes_failures: bool
    writes_events: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A project to read as its owner, and what the ledger holds of one of its workflows."""

    project_id: UUID
    owner: UUID
    workflow_id: UUID | None
    success_count: int
    failure_count: int
    canceled_count: int


@dataclass(frozen=True, slots=True)
class TransactionsSeen:
    """When the oldest transaction under way began; None where `owner`, who owns our functions, may
    not see the transactions of others."""

    oldest: datetime | None
    owner: str
