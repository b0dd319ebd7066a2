"""What the operations on alert rules take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from meshmetrics.api.alerts.schemas import Body, Cause, Name, Note, Severity, State

Metric = Literal[
    "success_rate",
    "failure_rate",
    "failure_count",
    "consecutive_failures",
    "no_runs",
    "overdue_count",
    "open_too_long",
]
Scope = Literal["workflow", "project"]
Comparison = Literal["below", "above"]
Method = Literal["wilson", "plain"]
OF_OPEN_RUNS = ("overdue_count", "open_too_long")
"""Metrics of the runs that are open now: there is no window, and no history to try them on."""
Slug = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]


def _unfit(parameter: str, takes: str) -> PydanticCustomError:
    """A field that does not fit the others."""
    return PydanticCustomError("unfit", "{takes}", {"parameter": parameter, "takes": takes})


class RuleFields(Body):
    """What a rule says."""

    name: Name
    enabled: bool = True
    severity: Severity = "warning"
    scope: Scope = Field(default="workflow", description="`project`: all its workflows together")
    workflow_slug: Slug | None = Field(
        default=None, description="null: each workflow of the project on its own"
    )
    metric: Metric = "success_rate"
    comparison: Comparison | None = Field(
        default=None, description="Which side of the threshold is told of; null: the bad one"
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="A share, a count, or seconds of `open_too_long`; null: 0.95, and 0 of"
        " `overdue_count`",
    )
    window_seconds: int = Field(default=86_400, ge=300, le=2_592_000)
    window_min_runs: int = Field(
        default=20, ge=0, le=100, description="The window goes back to this many runs, if fewer"
    )
    min_runs: int = Field(default=5, ge=1, le=10_000, description="Fewer never break a rate")
    method: Method = "wilson"
    consecutive: int = Field(
        default=3, ge=0, le=100, description="Also opens on this many failures in a row; 0: off"
    )
    recovery_threshold: float | None = Field(default=None, ge=0, le=1_000_000)
    recovery_runs: int = Field(default=10, ge=1, le=1000)
    reopen_within_seconds: int = Field(default=86_400, ge=0, le=2_592_000)
    repeat_every_seconds: int = Field(
        default=86_400, ge=0, le=2_592_000, description="Between reminders; 0: none"
    )
    no_data_after_seconds: int | None = Field(
        default=None, ge=60, le=31_536_000, description="Of `no_runs`"
    )
    deadline_seconds: int | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        description="Of `overdue_count`: how long a run may be open, of the workflows of this rule;"
        " null: three times the 99th percentile of their durations, at least 15 minutes",
    )
    silenced_until: AwareDatetime | None = None
    silence_reason: Note | None = None
    notify_resolved: bool = True
    channel_ids: list[UUID] | None = Field(
        default=None, max_length=50, description="null: all channels of the project"
    )

    @model_validator(mode="after")
    def _fits(self) -> RuleFields:
        rate = self.metric in ("success_rate", "failure_rate")
        if self.threshold is None:
            if self.metric in ("failure_rate", "failure_count", "open_too_long"):
                raise _unfit("threshold", "a threshold, with this metric")
            self.threshold = 0 if self.metric == "overdue_count" else 0.95
        if self.comparison is None:
            self.comparison = "below" if self.metric == "success_rate" else "above"
        if self.metric in OF_OPEN_RUNS and self.comparison == "below":
            raise _unfit("comparison", "above or null, of open runs")
        if self.metric != "overdue_count" and self.deadline_seconds is not None:
            raise _unfit("deadline_seconds", "a time with overdue_count, null with other metrics")
        if rate and self.threshold > 1:
            raise _unfit("threshold", "a share from 0 to 1, of a rate")
        if rate and (self.recovery_threshold or 0) > 1:
            raise _unfit("recovery_threshold", "a share from 0 to 1, of a rate")
        if 0 < self.repeat_every_seconds < 300:
            raise _unfit("repeat_every_seconds", "0, or 300 seconds and more")
        if self.scope == "project" and self.workflow_slug is not None:
            raise _unfit("workflow_slug", "null with the scope project")
        if self.metric == "consecutive_failures" and self.consecutive == 0:
            raise _unfit("consecutive", "1 and more with consecutive_failures")
        if (self.metric == "no_runs") != (self.no_data_after_seconds is not None):
            raise _unfit("no_data_after_seconds", "a time with no_runs, null with other metrics")
        return self


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class RuleChange(RuleFields):
    """What is to be changed of a rule; what is left out stays."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = ""

    @model_validator(mode="after")
    def _fits(self) -> RuleChange:
        return self  # whether the whole fits only the rule as it will be can tell


class NewRule(RuleFields):
    """A rule to be made, or tried on the past."""

    project_id: UUID


class RuleState(BaseModel):
    """How a rule stands with one workflow."""

    workflow_slug: str = Field(description="Empty: all workflows of the project together")
    state: State
    since: datetime
    incident_id: UUID | None
    success_count: int
    failure_count: int
    window_from: datetime | None
    evaluated_at: datetime


class Rule(BaseModel):
    """A rule, and how it stands."""

    id: UUID
    project_id: UUID
    name: str
    enabled: bool
    severity: Severity
    scope: Scope
    workflow_slug: str | None
    metric: Metric
    comparison: Comparison
    threshold: float
    window_seconds: int
    window_min_runs: int
    min_runs: int
    method: Method
    consecutive: int
    recovery_threshold: float | None
    recovery_runs: int
    reopen_within_seconds: int
    repeat_every_seconds: int
    no_data_after_seconds: int | None
    deadline_seconds: int | None
    silenced_until: datetime | None
    silence_reason: str | None
    notify_resolved: bool
    channel_ids: list[UUID] | None
    created_at: datetime
    updated_at: datetime
    state_counts: dict[State, int] = Field(
        description="With how many workflows it is in which state"
    )
    states: list[RuleState] = Field(
        description="The worst first, 2,000 at most for all rules of an answer; empty until"
        " the rule was first evaluated. `/rules/{rule_id}/states` lists all"
    )


class RuleStates(BaseModel):
    """How a rule stands with each workflow, by the workflow's slug."""

    states: list[RuleState]
    next: str | None = Field(description="`after` of the next page; null on the last")


class WouldOpen(BaseModel):
    """An incident that would have been."""

    workflow_slug: str
    opened_at: datetime
    closed_at: datetime | None
    cause: Cause
    success_count: int
    failure_count: int


class Preview(BaseModel):
    """What a rule would have done in the last 30 days."""

    count: int
    incidents: list[WouldOpen] = Field(description="The last 1,000")
    complete: bool = Field(description="False: there were more runs than are looked at")
    history: bool = Field(
        description="False: the rule is about open runs. Past numbers of those are not stored, so"
        " nothing can be said about the last 30 days"
    )


class Silence(Body):
    """How long notices of a rule are kept back; null ends it."""

    until: AwareDatetime | None
    reason: Note | None = None
