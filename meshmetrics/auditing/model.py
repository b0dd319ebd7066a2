"""What audits, repairs and the doctor find: frozen records, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from meshmetrics.counting.model import Grain


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
class Difference:
    """One line of an audit: something that is not as the run list says.

    `kind` is `run` (ledger against runs), `bucket` (buckets against ledger), `counter`
    (counters against day buckets) or `set_aside` (a run that cannot be counted). A difference
    that a sweep is still going to fix is `pending`; all others are wrong.
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
