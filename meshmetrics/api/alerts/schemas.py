"""Requests and answers of the operations on incidents, channels and deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from meshmetrics.alerts.channels.registry import KindName
from meshmetrics.alerts.notice import Notice
from meshmetrics.alerts.rule import Body, Cause, Name, Note, Severity, State


class Acknowledgement(Body):
    """A user works on the incident: no more reminders."""

    note: Note | None = None


class Incident(BaseModel):
    """Trouble that began and, with `closed_at`, ended."""

    id: UUID
    project_id: UUID
    rule_id: UUID
    workflow_slug: str
    rule_name: str
    severity: Severity
    cause: Cause
    opened_at: datetime
    closed_at: datetime | None
    close_reason: Literal["recovered", "corrected", "ended"] | None
    reopened_at: list[datetime]
    flapping_since: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: UUID | None
    acknowledge_note: str | None
    notice: Notice = Field(description="The last notice: what was measured")


class Event(BaseModel):
    """One transition, or notice, of an incident."""

    at: datetime
    kind: Literal[
        "opened", "reopened", "flapping", "reminder", "recovered", "corrected", "ended", "state"
    ]
    from_state: State | None
    to_state: State
    success_count: int
    failure_count: int


class IncidentHistory(Incident):
    """An incident with its history, oldest first."""

    events: list[Event]


class Incidents(BaseModel):
    """Newest first."""

    incidents: list[Incident]
    next: UUID | None = Field(description="`after` of the next page; null on the last")


class NewChannel(Body):
    """A new channel."""

    project_id: UUID
    name: Name
    kind: KindName
    target: SecretStr = Field(
        min_length=3,
        max_length=2000,
        description="What its kind sends to, such as a URL or an e-mail address; never shown",
    )
    enabled: bool = True


class ChannelChange(Body):
    """The fields to change."""

    name: Name | None = None
    target: SecretStr | None = Field(default=None, min_length=3, max_length=2000)
    enabled: bool | None = None


class Channel(BaseModel):
    """Where notices go."""

    id: UUID
    project_id: UUID
    name: str
    kind: KindName
    enabled: bool
    disabled_reason: str | None
    unconfirmed: bool = Field(
        description="Nothing is sent until its address is confirmed, by the link in a mail"
    )
    hint: str = Field(description="The target as far as it is shown")
    old_secret_until: datetime | None = Field(
        description="Until then messages are signed with the previous secret, too"
    )
    created_at: datetime
    updated_at: datetime


class ChannelSecret(Channel):
    """A channel with its secret, which only this answer contains."""

    secret: str | None = Field(description="`whsec_…`; null for kinds that sign nothing")


class Delivery(BaseModel):
    """One notice for one channel."""

    id: UUID
    project_id: UUID
    channel_id: UUID
    incident_id: UUID | None
    kind: Literal[
        "opened", "reminder", "reopened", "resolved", "flapping", "no_data", "test", "confirm"
    ]
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
