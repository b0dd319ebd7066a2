"""The operations on incidents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from meshmetrics.api.alerts.paging import After, Limit, Project
from meshmetrics.api.alerts.rows import INCIDENTS, rows_of
from meshmetrics.api.alerts.schemas import Acknowledgement, Incident, IncidentHistory, Incidents
from meshmetrics.api.http.dependencies import Api, Signed
from meshmetrics.api.http.problems import wrong

router = APIRouter()

RuleId = Annotated[UUID | None, Query(description="Only this rule's")]
Open = Annotated[Literal["open", "closed"] | None, Query(description="Only these")]


@router.get("/incidents")
async def incidents(
    api: Api,
    who: Signed,
    project_id: Project = None,
    state: Open = None,
    workflow: Annotated[str | None, Query(description="A workflow's slug")] = None,
    rule_id: RuleId = None,
    from_: Annotated[datetime | None, Query(alias="from", description="Opened since")] = None,
    to: Annotated[datetime | None, Query(description="Opened before")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Incidents:
    """Incidents, newest first."""
    filters = {
        "project_id = ?": project_id,
        "(closed_at is null) = ?": None if state is None else state == "open",
        "workflow_slug = ?": workflow,
        "rule_id = ?": rule_id,
        "opened_at >= ?": _aware("from", from_),
        "opened_at < ?": _aware("to", to),
    }
    async with rows_of(api.reader, who) as rows:
        found = await rows.page(INCIDENTS, filters, limit, after)
    return Incidents(
        incidents=[Incident(**row) for row in found[:limit]],
        next=found[limit - 1]["id"] if len(found) > limit else None,
    )


@router.get("/incidents/{incident_id}")
async def incident(api: Api, who: Signed, incident_id: UUID) -> IncidentHistory:
    """An incident with its history."""
    async with rows_of(api.reader, who) as rows:
        found = await rows.one(INCIDENTS, incident_id)
        return IncidentHistory(**found, events=await rows.events(incident_id))


@router.post("/incidents/{incident_id}/acknowledge")
async def acknowledge(api: Api, who: Signed, incident_id: UUID, body: Acknowledgement) -> Incident:
    """Acknowledge an incident, which stops its reminders."""
    values = {
        "acknowledged_at": datetime.now(UTC),
        "acknowledged_by": who.user_id,
        "acknowledge_note": body.note,
    }
    async with rows_of(api.reader, who) as rows:
        return Incident(**await rows.change(INCIDENTS, incident_id, values, "closed_at is null"))


def _aware(name: str, at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise wrong(name, at.isoformat(), "a time with its zone (RFC 3339)")
    return at
