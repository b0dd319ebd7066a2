"""What the operations on alerts take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

Metric = Literal["success_rate", "failure_rate", "failure_count", "consecutive_failures", "no_runs"]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Slug = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
Note = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]


def _unfit(parameter: str, takes: str) -> PydanticCustomError:
    """A field that does not fit the others."""
    return PydanticCustomError("unfit", "{takes}", {"parameter": parameter, "takes": takes})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RuleFields(_Body):
    """What a rule says."""

    name: Name
    enabled: bool = True
    severity: Literal["info", "warning", "critical"] = "warning"
    scope: Literal["workflow", "project"] = Field(
        default="workflow", description="`project`: all its workflows together"
    )
    workflow_slug: Slug | None = Field(
        default=None, description="null: each workflow of the project on its own"
    )
    metric: Metric = "success_rate"
    comparison: Literal["below", "above"] | None = Field(
        default=None, description="Which side of the threshold is told of; null: the bad one"
    )
    threshold: float | None = Field(
        default=None, ge=0, le=1_000_000, description="A share or a count; null: 0.95"
    )
    window_seconds: int = Field(default=86_400, ge=300, le=2_592_000)
    window_min_runs: int = Field(
        default=20, ge=0, le=100, description="The window goes back to this many runs, if fewer"
    )
    min_runs: int = Field(default=5, ge=1, le=10_000, description="Fewer never break a rate")
    method: Literal["wilson", "plain"] = "wilson"
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
            if self.metric in ("failure_rate", "failure_count"):
                raise _unfit("threshold", "a threshold, with this metric")
            self.threshold = 0.95
        if self.comparison is None:
            self.comparison = "below" if self.metric == "success_rate" else "above"
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
    state: Literal[
        "ok", "insufficient", "pending", "firing", "recovering", "flapping", "no_data", "silenced"
    ]
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
    severity: str
    scope: str
    workflow_slug: str | None
    metric: str
    comparison: str
    threshold: float
    window_seconds: int
    window_min_runs: int
    min_runs: int
    method: str
    consecutive: int
    recovery_threshold: float | None
    recovery_runs: int
    reopen_within_seconds: int
    repeat_every_seconds: int
    no_data_after_seconds: int | None
    silenced_until: datetime | None
    silence_reason: str | None
    notify_resolved: bool
    channel_ids: list[UUID] | None
    created_at: datetime
    updated_at: datetime
    states: list[RuleState] = Field(description="Empty until it was first looked at")


class WouldOpen(BaseModel):
    """An incident that would have been."""

    workflow_slug: str
    opened_at: datetime
    closed_at: datetime | None
    cause: str
    success_count: int
    failure_count: int


class Preview(BaseModel):
    """What a rule would have done in the last 30 days."""

    count: int
    incidents: list[WouldOpen]
    complete: bool = Field(description="False: there were more runs than are looked at")


class Silence(_Body):
    """How long notices of a rule are kept back; null ends it."""

    until: AwareDatetime | None
    reason: Note | None = None


class Acknowledgement(_Body):
    """That somebody is at it: no reminders."""

    note: Note | None = None


class Incident(BaseModel):
    """Trouble that began and, with `closed_at`, ended."""

    id: UUID
    project_id: UUID
    rule_id: UUID
    workflow_slug: str
    rule_name: str
    severity: str
    cause: str
    opened_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    reopened_at: list[datetime]
    flapping_since: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: UUID | None
    acknowledge_note: str | None
    notice: dict[str, Any] = Field(description="The last notice: what was measured")


class Event(BaseModel):
    """One transition, or notice, of an incident."""

    at: datetime
    kind: str
    from_state: str | None
    to_state: str
    success_count: int
    failure_count: int


class IncidentHistory(Incident):
    """An incident with its history, oldest first."""

    events: list[Event]


class Incidents(BaseModel):
    """Newest first."""

    incidents: list[Incident]
    next: UUID | None = Field(description="`after` of the next page; null on the last")


class NewChannel(_Body):
    """A channel to be made."""

    project_id: UUID
    name: Name
    kind: Literal["webhook", "slack", "email"]
    target: SecretStr = Field(
        min_length=3, max_length=2000, description="The URL, or the e-mail address; never shown"
    )
    enabled: bool = True


class ChannelChange(_Body):
    """What is to be changed; what is left out stays."""

    name: Name | None = None
    target: SecretStr | None = Field(default=None, min_length=3, max_length=2000)
    enabled: bool | None = None


class Channel(BaseModel):
    """Where notices go."""

    id: UUID
    project_id: UUID
    name: str
    kind: str
    enabled: bool
    disabled_reason: str | None
    hint: str = Field(description="The target as far as it is shown")
    old_secret_until: datetime | None = Field(
        description="Until then webhooks are signed with the secret before, too"
    )
    created_at: datetime
    updated_at: datetime


class ChannelSecret(Channel):
    """A webhook's channel, and its secret: shown this one time."""

    secret: str | None = Field(description="`whsec_…`; null for other kinds than webhook")


class Delivery(BaseModel):
    """One notice for one channel."""

    id: UUID
    project_id: UUID
    channel_id: UUID
    incident_id: UUID | None
    kind: str
    status: Literal["pending", "held", "sending", "sent", "dead", "silenced"]
    held_for: Literal["digest", "cap"] | None
    message_id: UUID | None = Field(description="`webhook-id`: what travels together shares it")
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    finished_at: datetime | None
    http_status: int | None
    latency_ms: int | None
    error: str | None
    excerpt: str | None


class Deliveries(BaseModel):
    """Newest first."""

    deliveries: list[Delivery]
    next: UUID | None = Field(description="`after` of the next page; null on the last")
