"""The responses of the REST API's operations."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field

MIN_RUNS = 5
"""Minimum number of succeeded and failed runs for a rate to be shown without its interval."""


class Counts(BaseModel):
    """Finished runs, and their success rate."""

    success_count: int
    failure_count: int
    canceled_count: int = Field(description="Not part of any rate")
    success_rate: float | None = Field(
        description="success / (success + failure); null without such runs"
    )
    success_rate_low: float | None = Field(description="Lower Wilson 95 % bound of the rate")
    success_rate_high: float | None = Field(description="Upper Wilson 95 % bound of the rate")

    @computed_field(  # type: ignore[prop-decorator] # mypy does not support decorated properties
        description=f"Whether there are at least {MIN_RUNS} runs; if not, show the interval, too"
    )
    @property
    def enough_runs(self) -> bool:
        return self.success_count + self.failure_count >= MIN_RUNS


class Period(Counts):
    """The finished runs of a period."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: datetime = Field(
        alias="from",
        description="Start of the counted period: `from` rounded down to the grain that is still"
        " stored (minutes for 2 days, quarters of an hour for 400 days, then whole UTC days)",
    )
    to: datetime = Field(description="End of the counted period: `to` rounded up to the same grain")


class OpenRuns(BaseModel):
    """Runs that have not ended, and those that never will."""

    open: int = Field(description="Runs that are running or paused now")
    oldest_open_at: datetime | None = Field(description="When the oldest open run started")
    overdue: int = Field(description="Open runs that are older than their deadline")
    abandoned: int = Field(
        description="How many of the period's failures are abandoned runs: a step failed and no"
        " event followed. Such a run counts as a failure until it continues"
    )


class Comparison(BaseModel):
    """A period, and the period of the same length before it."""

    period: Period
    previous: Period
    success_rate_change: float | None = Field(
        description="Rate minus previous rate (0.02: two percentage points); null unless both exist"
    )


class Point(Counts):
    """One bucket of a series."""

    start: datetime
    end: datetime
    partial: bool = Field(description="The period contains only part of this hour, day or week")


class Series(BaseModel):
    """A period over time, empty buckets included. The points add up to the period."""

    tz: str
    bucket: Literal["minute", "quarter", "hour", "day", "week"]
    series: list[Point]


class Held(BaseModel):
    """The all-time counters of one workflow version that a response's numbers include."""

    revision: int
    success_count: int
    failure_count: int
    canceled_count: int
    open: int
    oldest_open_at: datetime | None
    overdue: int
    abandoned: int = Field(description="Runs that are abandoned now, regardless of the period")


class Live(BaseModel):
    """What a client needs to apply broadcasts to these numbers."""

    held: dict[UUID, Held] | None = Field(
        None,
        description="With `live=true`: the counters of each workflow version that these numbers"
        " include. The first broadcast to apply is the one whose `base_revision` is this revision",
    )


class History(Comparison, OpenRuns, Series, Live):
    """All selected workflows together."""

    workflows: int = Field(description="How many workflows are selected")


class Totals(Counts):
    """All finished runs, all-time."""

    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_updated: datetime | None = Field(description="When these counters last changed")
    revision: int = Field(description="Increases whenever one of the counters changes")


class Workflow(Comparison, OpenRuns, Series, Live):
    """One workflow."""

    workflow_id: UUID = Field(description="The id of the newest version counted here")
    project_id: UUID
    slug: str
    name: str
    version: int = Field(description="The newest version counted here")
    versions: int = Field(description="How many versions are counted here")
    totals: Totals


class Row(Counts, OpenRuns):
    """One row of the table: a workflow, or one of its versions."""

    workflow_id: UUID = Field(description="The id of the newest version counted in this row")
    project_id: UUID
    slug: str
    name: str
    version: int
    versions: int = Field(description="How many versions this row adds up")
    failure_rate: float | None
    failure_rate_low: float | None
    failure_rate_high: float | None
    previous: Counts
    success_rate_change: float | None
    last_success_at: datetime | None
    last_failure_at: datetime | None


class Summary(Comparison, OpenRuns, Live):
    """All selected workflows, together and one by one."""

    workflows: int = Field(
        description="How many workflows `period` adds up, regardless of `failing` and `min_runs`"
    )
    matching: int = Field(description="How many rows all pages have together")
    rows: list[Row]
    next: str | None = Field(description="`cursor` of the next page; null on the last")


class Version(BaseModel):
    """One version of a workflow."""

    workflow_id: UUID
    project_id: UUID
    slug: str
    version: int
    name: str
    created_at: datetime | None = Field(
        description="When it was created; null if MeshHook does not record it"
    )


class Project(BaseModel):
    """A project that the caller is a member of."""

    project_id: UUID
    name: str
    versions: list[Version] = Field(description="All versions of its workflows")


class Catalogue(BaseModel):
    """The projects and workflows that the caller may see."""

    projects: list[Project] = Field(description="Projects that have a workflow, sorted by name")
    complete: bool = Field(description="False: there are more than one answer can have")


class Outcome(BaseModel):
    """One finished run."""

    run_id: UUID
    outcome: Literal["success", "failure", "canceled"]
    finished_at: datetime
    abandoned: bool = Field(
        description="It counts as a failure because a step failed and no event followed"
    )


class Recent(BaseModel):
    """The outcomes of one workflow's last runs."""

    project_id: UUID
    slug: str
    outcomes: list[Outcome] = Field(description="All versions together, newest first")


class RecentRuns(BaseModel):
    """The outcomes of each workflow's last runs. Workflows without finished runs are left out."""

    workflows: list[Recent]


class Strip(BaseModel):
    """The outcomes of one workflow's last runs, as letters."""

    project_id: UUID
    slug: str
    outcomes: str = Field(
        pattern="^[sfc]*$",
        description="`s`uccess, `f`ailure or `c`anceled for each run of all versions together,"
        " newest first",
    )


class Strips(BaseModel):
    """The outcomes of each workflow's last runs. Workflows without finished runs are left out."""

    workflows: list[Strip]


class UnknownStatus(BaseModel):
    """A status of MeshHook's runs that is not mapped to an outcome: its runs are in no rate."""

    status: str
    runs: int = Field(description="How many of the caller's runs have it; 1000 means 1000 or more")


class Standing(BaseModel):
    """How far the numbers are verified."""

    audited_at: datetime | None = Field(
        description="When the last audit of all counts began; null until the first one finishes"
    )
    drift: int | None = Field(description="How many differences from the runs it found")
    backfilled: bool | None = Field(
        description="Whether the runs from before the installation are counted; null if unknown"
    )
    unknown_statuses: list[UnknownStatus] = Field(
        default_factory=list,
        description="The 20 most frequent unmapped statuses of the caller's runs",
    )
