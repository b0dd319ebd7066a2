"""What alerts read from the database and write to it. Frozen, and free of any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from meshmetrics.alerts.notice import Notice


@dataclass(frozen=True, slots=True)
class AlertProject:
    """A project whose rules are to be evaluated."""

    project_id: UUID
    pairs: int  # of a rule and a workflow
    excess: str | None  # why these are too many, for the tenant
    failures: int  # in a row
    touched: frozenset[UUID] | None
    """The workflow versions that changed; None: evaluate all rules."""


@dataclass(frozen=True, slots=True)
class AlertRound:
    """What one evaluation of the rules found."""

    evaluated: int  # rules times workflows
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """One or more deliveries that travel to a channel together, leased for one attempt."""

    message_id: UUID
    attempt: int  # from 1
    digest: bool
    first_attempt_at: datetime
    project_id: UUID
    channel_id: UUID
    channel_kind: str
    sealed_target: str = field(repr=False)
    sealed_secret: str | None = field(repr=False)
    sealed_old_secret: str | None = field(repr=False)
    deliveries: tuple[Mapping[str, Any], ...] = field(repr=False)
    """As SQL wrote them: notice.py reads each within the attempt, so that one that cannot be read
    stops no others."""


@dataclass(frozen=True, slots=True)
class AlertOutcome:
    """How an attempt to deliver went."""

    sent: bool
    took_ms: int
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_in: float | None = None  # seconds; None: never again
    disable: bool = False  # switch the channel off: its receiver is gone
