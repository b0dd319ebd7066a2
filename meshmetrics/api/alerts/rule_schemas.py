"""What the operations on alert rules take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from meshmetrics.alerts.rule import (
    Body,
    Cause,
    Comparison,
    Method,
    Metric,
    Name,
    Note,
    RuleFields,
    Scope,
    Severity,
    State,
)


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


class RuleFailure(BaseModel):
    """A project whose rules cannot be evaluated. It is tried again with growing pauses, and soon
    after a change of its rules."""

    project_id: UUID
    reason: str
    failures: int = Field(description="In a row")
    since: datetime
    failed_at: datetime
    retry_at: datetime


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
    complete: bool = Field(description="False: there were more runs than are evaluated")
    history: bool = Field(
        description="False: the rule is about open runs. Past numbers of those are not stored, so"
        " nothing can be said about the last 30 days"
    )


class Silence(Body):
    """How long notices of a rule are kept back; null ends it."""

    until: AwareDatetime | None
    reason: Note | None = None
