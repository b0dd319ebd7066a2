"""What alerts say: the one place that reads the JSON that SQL writes (alert_notice.sql).

`document()` gives the same JSON back, so what webhooks and broadcasts carry is what SQL wrote: a
field that SQL did not write is not added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema

from meshmetrics.alerts.rule import Cause, Comparison, Metric, Severity

Kind = Literal["opened", "reopened", "reminder", "flapping", "no_data", "resolved", "acknowledged"]
Timestamp = str
"""ISO 8601 in UTC, in the digits that Postgres wrote."""
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A whole number stays one, as SQL wrote it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return self.model_dump(mode="json", exclude_unset=True)


class NoticeRule(_Part):
    """The rule as it was when the notice was written."""

    id: UUID
    name: str
    severity: Severity
    metric: Metric
    comparison: Comparison
    threshold: Number
    window_seconds: int
    consecutive: int
    no_data_after_seconds: int | None


class NoticeWorkflow(_Part):
    """The workflow that a rule found in trouble."""

    slug: str
    name: str | None


class Measured(_Part):
    """The runs in the rule's window. `from` is null where the window has no beginning."""

    from_: Timestamp | None = Field(alias="from")
    to: Timestamp
    success_count: int
    failure_count: int
    success_rate: Number | None
    success_rate_low: Number | None
    success_rate_high: Number | None
    last_finished_at: Timestamp | None


class MeasuredOpen(_Part):
    """The runs that had not ended, for rules on open runs."""

    open: int
    overdue: int
    oldest_open_at: Timestamp | None


class MeasuredBefore(_Part):
    """The runs in the window of the same length before that."""

    success_count: int
    failure_count: int
    success_rate: Number | None


class FirstVersion(_Part):
    """The workflow version of the first failure."""

    workflow_id: UUID
    version: int


class FailedRun(_Part):
    """One of the last runs that failed."""

    run_id: UUID
    finished_at: Timestamp


class Notice(_Part):
    """One thing that happened to an incident, and what was measured."""

    kind: Kind
    at: Timestamp
    project_id: UUID
    incident_id: UUID
    opened_at: Timestamp
    seconds: Number = Field(description="Since the incident was opened")
    cause: Cause
    close_reason: str | None
    rule: NoticeRule
    workflow: NoticeWorkflow | None = Field(description="Null: all workflows together")
    measured: Measured
    open: MeasuredOpen | None = Field(default=None, description="Of rules on open runs")
    previous: MeasuredBefore
    began_with: FirstVersion | None
    failed_runs: tuple[FailedRun, ...] = Field(description="Newest first, five at most")


class LinkedRun(FailedRun):
    """A failed run with its page in the dashboard."""

    url: str | None


class DeliveredNotice(Notice):
    """A notice as a channel gets it: with the delivery's id, and links into the dashboard."""

    id: UUID
    url: str | None
    failed_runs: tuple[LinkedRun, ...]


class TrialNotice(_Part):
    """Of no incident: a tenant tries whether a channel works, or asks its address to confirm."""

    kind: Literal["test", "confirm"]
    id: UUID
    url: str | None
    failed_runs: tuple[LinkedRun, ...] = ()


Delivered = DeliveredNotice | TrialNotice
_NOTICES: TypeAdapter[tuple[Notice, ...]] = TypeAdapter(tuple[Notice, ...])
_DELIVERED: TypeAdapter[Delivered] = TypeAdapter(Annotated[Delivered, Field(discriminator="kind")])


def read_notices(json: str) -> tuple[Notice, ...]:
    """An array of notices. Raises ValueError where one is not as `Notice` has it."""
    return _NOTICES.validate_json(json)


def read_delivery(delivery: Mapping[str, Any], dashboard_url: str | None) -> Delivered:
    """The notice of a delivery, with links where the dashboard's address is known. Raises
    ValueError."""
    notice = delivery["notice"]
    incident = notice.get("incident_id")
    url = dashboard_url
    if dashboard_url and incident:
        url = f"{dashboard_url}/alerts/incidents/{quote(incident)}"
    runs = [
        {**run, "url": dashboard_url and f"{dashboard_url}/runs/{run['run_id']}"}
        for run in notice.get("failed_runs", ())
    ]
    return _DELIVERED.validate_python(
        {**notice, "kind": delivery["kind"], "id": delivery["id"], "url": url, "failed_runs": runs}
    )


def documents(notices: Iterable[Delivered]) -> list[dict[str, Any]]:
    """All of them as JSON."""
    return [notice.document() for notice in notices]
