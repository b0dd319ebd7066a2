"""What the REST API's operations answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field

MIN_RUNS = 5
"""Fewer succeeded and failed runs than this are too few to show a rate by itself."""


class Counts(BaseModel):
    """Finished runs, and what share of them succeeded."""

    success_count: int
    failure_count: int
    canceled_count: int = Field(description="In no rate")
    success_rate: float | None = Field(
        description="success / (success + failure); null without such runs"
    )
    success_rate_low: float | None = Field(description="Lower Wilson 95 % bound of the rate")
    success_rate_high: float | None = Field(description="Upper Wilson 95 % bound of the rate")

    @computed_field(  # type: ignore[prop-decorator] # mypy knows no decorated properties
        description=f"Whether there are {MIN_RUNS} runs or more, so that the rate may stand alone"
    )
    @property
    def enough_runs(self) -> bool:
        return self.success_count + self.failure_count >= MIN_RUNS


class Period(Counts):
    """The finished runs of a period."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: datetime = Field(
        alias="from",
        description="Begin of what is counted here: `from` rounded down to what is still kept"
        " (minutes for 2 days, quarters of an hour for 400, then whole UTC days)",
    )
    to: datetime = Field(description="End of what is counted here, rounded up likewise")


class OpenRuns(BaseModel):
    """Runs that have not ended, and those that never will."""

    open: int = Field(description="Runs that are running or paused now")
    oldest_open_at: datetime | None = Field(description="When the oldest open run started")
    overdue: int = Field(description="Open runs that are open for longer than their deadline")
    abandoned: int = Field(
        description="How many of the period's failures are abandoned: a step failed, and nothing"
        " followed. Such a run counts as a failure until it goes on"
    )


class Comparison(BaseModel):
    """A period, and the one of the same length before it."""

    period: Period
    previous: Period
    success_rate_change: float | None = Field(
        description="Rate less previous rate: 0.02 is two percentage points; null without both"
    )


class Point(Counts):
    """One bucket of a series."""

    start: datetime
    end: datetime
    partial: bool = Field(description="The period holds only a part of this hour, day or week")


class Series(BaseModel):
    """A period over time, empty buckets included. The points add up to the period."""

    tz: str
    bucket: Literal["minute", "quarter", "hour", "day", "week"]
    series: list[Point]


class Held(BaseModel):
    """The counters of one workflow version, since ever, that an answer's numbers hold."""

    revision: int
    success_count: int
    failure_count: int
    canceled_count: int
    open: int
    oldest_open_at: datetime | None
    overdue: int
    abandoned: int = Field(description="Runs that are abandoned now, whatever the period")


class Live(BaseModel):
    """What a screen needs to follow the broadcasts from these numbers on."""

    held: dict[UUID, Held] | None = Field(
        None,
        description="With `live=true`: each workflow version's counters in these numbers. A"
        " broadcast whose `base_revision` is this revision is the first that they do not hold",
    )


class History(Comparison, OpenRuns, Series, Live):
    """All workflows asked for, together."""

    workflows: int = Field(description="How many workflows that are")


class Totals(Counts):
    """All finished runs since ever."""

    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_updated: datetime | None = Field(description="When these counters last changed")
    revision: int = Field(description="Grows whenever one of the counters changes")


class Workflow(Comparison, OpenRuns, Series, Live):
    """One workflow."""

    workflow_id: UUID = Field(description="Of the newest version counted here")
    project_id: UUID
    slug: str
    name: str
    version: int = Field(description="The newest version counted here")
    versions: int = Field(description="How many versions are counted here")
    totals: Totals


class Row(Counts, OpenRuns):
    """One workflow, or one version of it, in the table."""

    workflow_id: UUID = Field(description="Of the newest version counted in this row")
    project_id: UUID
    slug: str
    name: str
    version: int
    versions: int = Field(description="How many versions are added up in this row")
    failure_rate: float | None
    failure_rate_low: float | None
    failure_rate_high: float | None
    previous: Counts
    success_rate_change: float | None
    last_success_at: datetime | None
    last_failure_at: datetime | None


class Summary(Comparison, OpenRuns, Live):
    """All workflows asked for, together and one by one."""

    workflows: int = Field(
        description="How many workflows `period` adds up: before `failing` and `min_runs`"
    )
    matching: int = Field(description="How many rows all pages together have")
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
        description="When it was made; null where MeshHook does not say"
    )


class Project(BaseModel):
    """A project that the caller is a member of."""

    project_id: UUID
    name: str
    versions: list[Version] = Field(description="All versions of its workflows")


class Catalogue(BaseModel):
    """What there is to look at."""

    projects: list[Project] = Field(description="Those with a workflow, by name")
    complete: bool = Field(description="False: there is more than one answer can have")


class Outcome(BaseModel):
    """One finished run."""

    run_id: UUID
    outcome: Literal["success", "failure", "canceled"]
    finished_at: datetime
    abandoned: bool = Field(
        description="It is a failure because a step failed and nothing followed, until it goes on"
    )


class Recent(BaseModel):
    """How the last runs of one workflow ended."""

    project_id: UUID
    slug: str
    outcomes: list[Outcome] = Field(description="All versions together, the newest first")


class RecentRuns(BaseModel):
    """How the last runs of each workflow ended. A workflow without finished runs is not here."""

    workflows: list[Recent]


class Strip(BaseModel):
    """How the last runs of one workflow ended, in short."""

    project_id: UUID
    slug: str
    outcomes: str = Field(
        pattern="^[sfc]*$",
        description="`s`uccess, `f`ailure or `c`anceled for each run of all versions together,"
        " the newest first",
    )


class Strips(BaseModel):
    """How the last runs of each workflow ended. A workflow without finished runs is not here."""

    workflows: list[Strip]


class UnknownStatus(BaseModel):
    """A status of MeshHook's runs that no outcome is mapped to: its runs are in no rate."""

    status: str
    runs: int = Field(description="How many of the caller's runs have it; 1000: that many or more")


class Standing(BaseModel):
    """How far the numbers can be trusted: what an operator would be asked for."""

    audited_at: datetime | None = Field(
        description="When the last audit of all counts began; null before the first is finished"
    )
    drift: int | None = Field(description="How many differences to the runs it found")
    backfilled: bool | None = Field(
        description="Whether the runs from before the installation are in; null if unknown"
    )
    unknown_statuses: list[UnknownStatus] = Field(
        default_factory=list, description="Of the caller's runs: the 20 with the most"
    )
