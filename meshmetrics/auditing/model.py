"""The results of audits, repairs and the doctor: frozen records, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from meshmetrics.counting.model import Grain


@dataclass(frozen=True, slots=True)
class Account:
    """How every run of a workflow version is accounted for. `unknown`: runs whose status is not
    mapped to an outcome. `pending`: runs that ended and are still to be counted."""

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
        """Runs that no other count includes; 0 unless something is wrong."""
        parts = (self.succeeded, self.failed, self.canceled, self.open, self.set_aside)
        return self.started - sum(parts) - self.unknown - self.pending


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of an audit: something that differs from the run list.

    `kind` is `run` (ledger against runs), `bucket` (buckets against ledger), `counter`
    (counters against day buckets) or `set_aside` (a run that cannot be counted). A difference
    that a sweep will still fix is `pending`; all others are wrong.
    """

    kind: Literal["run", "bucket", "counter", "set_aside"]
    pending: bool
    project_id: UUID | None  # a bucket without workflow_id is the project's own
    workflow_id: UUID | None
    run_id: UUID | None
    grain: Grain | None
    bucket_start: datetime | None
    expected: str
    found: str
    alike: int  # the total number of this kind with the same `pending`


@dataclass(frozen=True, slots=True)
class Slice:
    """A span of a workflow's or project's history for an audit to check: whole UTC days; None is
    an open end."""

    kind: Literal["workflow", "project"]
    id: UUID
    after: datetime | None
    before: datetime | None


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """A bucket that is not the sum that it should be, or wrong counters of a workflow."""

    kind: Literal["bucket", "counter"]
    grain: Grain | None
    bucket_start: datetime | None
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class RepairedSlice:
    """The result of repairing a slice."""

    buckets: int
    counters: bool
    passed_over: bool  # the workflow is being deleted, so nothing was done


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A finished audit: when it began, and how many differences, without pending ones, it found."""

    started_at: datetime
    runs_wrong: int
    buckets_wrong: int
    counters_wrong: int
    runs_set_aside: int

    @property
    def drift(self) -> int:
        """All differences. A run set aside is known not to be counted, so it is not drift."""
        return self.runs_wrong + self.buckets_wrong + self.counters_wrong


@dataclass(frozen=True, slots=True)
class EngineHabits:
    """How the engine reports failed runs (engine_habits.sql)."""

    has_runs: bool
    writes_failures: bool
    writes_events: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A project to read as its owner, and the ledger's counts of one of its workflows."""

    project_id: UUID
    owner: UUID
    workflow_id: UUID | None
    success_count: int
    failure_count: int
    canceled_count: int
