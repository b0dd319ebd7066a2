"""The operations on alerts: rules, incidents, channels, deliveries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError

from meshmetrics.api.alerts_rows import (
    CHANNELS,
    DELIVERIES,
    INCIDENTS,
    PREVIEW_RUNS,
    RULES,
    Rows,
    rows_of,
)
from meshmetrics.api.alerts_schemas import (
    Acknowledgement,
    Channel,
    ChannelChange,
    ChannelSecret,
    Deliveries,
    Delivery,
    Incident,
    IncidentHistory,
    Incidents,
    NewChannel,
    NewRule,
    Preview,
    Rule,
    RuleChange,
    RuleFields,
    Silence,
    WouldOpen,
)
from meshmetrics.api.callers import Api, Signed, bearer
from meshmetrics.api.problems import Problem, explain, responses, wrong


@dataclass(frozen=True, slots=True)
class AlertsApi:
    """What the operations need besides the metrics': `app.state.alerts_api`."""

    seal: Callable[[str], str] | None
    """Seals a secret for the database; None where no key is set."""
    check_url: Callable[[str], None]
    """Raises ValueError for a URL that nothing is sent to, with what it takes."""
    new_secret: Callable[[], str]


router = APIRouter(
    prefix="/api/alerts",
    tags=["alerts"],
    dependencies=[Depends(bearer)],
    responses=responses(400, 401, 404, 409, 422, 429, 431, 500, 503),
)


def _alerts(request: Request) -> AlertsApi:
    found: AlertsApi = request.app.state.alerts_api
    return found


Alerts = Annotated[AlertsApi, Depends(_alerts)]
Project = Annotated[UUID | None, Query(description="Only this project's")]
Limit = Annotated[int, Query(ge=1, le=200, description="Most rows of a page")]
RuleId = Annotated[UUID | None, Query(description="Only this rule's")]
ChannelId = Annotated[UUID | None, Query(description="Only this channel's")]
IncidentId = Annotated[UUID | None, Query(description="Only this incident's")]
Open = Annotated[Literal["open", "closed"] | None, Query(description="Only these")]
Status = Annotated[
    Literal["pending", "held", "sending", "sent", "dead", "silenced"] | None,
    Query(description="Only these"),
]
After = Annotated[UUID | None, Query(description="`next` of the page before")]


async def _with_states(rows: Rows, rules: list[dict[str, Any]]) -> list[Rule]:
    states = await rows.states([rule["id"] for rule in rules])
    return [Rule(**rule, states=states.get(rule["id"], [])) for rule in rules]


@router.get("/rules")
async def rules(api: Api, who: Signed, project_id: Project = None) -> list[Rule]:
    """All rules, and how they stand."""
    async with rows_of(api.reader, who) as rows:
        return await _with_states(rows, await rows.all(RULES, project_id))


@router.post("/rules", status_code=201)
async def add_rule(api: Api, who: Signed, rule: NewRule) -> Rule:
    """Make a rule. It is looked at within half a minute, and whenever its workflows change."""
    async with rows_of(api.reader, who) as rows:
        return (await _with_states(rows, [await rows.add(RULES, rule.model_dump())]))[0]


@router.post("/rules/preview")
async def preview(api: Api, who: Signed, rule: NewRule) -> Preview:
    """How often this rule would have opened in the last 30 days, and when."""
    fields = rule.model_dump(mode="json", exclude={"project_id"})
    async with rows_of(api.reader, who) as rows:
        found = await rows.preview(rule.project_id, fields)
    incidents = [WouldOpen(**row) for row in found]
    incidents.sort(key=lambda i: i.opened_at)
    runs = {row["workflow_slug"]: row["runs"] for row in found}
    complete = sum(runs.values()) < PREVIEW_RUNS
    return Preview(count=len(incidents), incidents=incidents, complete=complete)


@router.get("/rules/{rule_id}")
async def rule(api: Api, who: Signed, rule_id: UUID) -> Rule:
    """One rule, and how it stands."""
    async with rows_of(api.reader, who) as rows:
        return (await _with_states(rows, [await rows.one(RULES, rule_id)]))[0]


@router.patch("/rules/{rule_id}")
async def change_rule(api: Api, who: Signed, rule_id: UUID, change: RuleChange) -> Rule:
    """Change what is given of a rule's fields; what is left out stays."""
    given = change.model_dump(exclude_unset=True)
    async with rows_of(api.reader, who) as rows:
        old = await rows.one(RULES, rule_id)
        kept = {name: old[name] for name in RuleFields.model_fields}
        if given.get("metric", old["metric"]) != old["metric"]:  # another scale
            given = {"threshold": None, "comparison": None, "recovery_threshold": None, **given}
        try:
            whole = RuleFields.model_validate({**kept, **given})
        except ValidationError as error:
            raise explain([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from None
        values = {name: getattr(whole, name) for name in given}
        return (await _with_states(rows, [await rows.change(RULES, rule_id, values)]))[0]


@router.delete("/rules/{rule_id}", status_code=204)
async def remove_rule(api: Api, who: Signed, rule_id: UUID) -> None:
    """Delete a rule; its open incidents end within half a minute."""
    async with rows_of(api.reader, who) as rows:
        await rows.remove(RULES, rule_id)


@router.post("/rules/{rule_id}/silence")
async def silence(api: Api, who: Signed, rule_id: UUID, asked: Silence) -> Rule:
    """Keep the notices of a rule back: incidents go on, and the deliveries list shows them."""
    values = {"silenced_until": asked.until, "silence_reason": asked.reason}
    async with rows_of(api.reader, who) as rows:
        return (await _with_states(rows, [await rows.change(RULES, rule_id, values)]))[0]


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
async def acknowledge(api: Api, who: Signed, incident_id: UUID, asked: Acknowledgement) -> Incident:
    """Say that one is at it: there are no more reminders."""
    values = {
        "acknowledged_at": datetime.now(UTC),
        "acknowledged_by": who.user_id,
        "acknowledge_note": asked.note,
    }
    async with rows_of(api.reader, who) as rows:
        return Incident(**await rows.change(INCIDENTS, incident_id, values, "closed_at is null"))


def _sealed(alerts: AlertsApi, kind: str, target: str) -> dict[str, str]:
    """The columns of a target, checked. Raises Problem."""
    if alerts.seal is None:
        raise Problem(503, "channels need a key to seal their secrets: MESHMETRICS_ALERT_KEYS")
    if kind == "email":
        if not re.fullmatch(r"[\w.+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", target, re.ASCII):
            raise wrong("target", "(not shown)", "an e-mail address")
        hint = f"{target[0]}…@{target.rpartition('@')[2]}"
    else:
        try:
            alerts.check_url(target)
        except ValueError as error:
            raise wrong("target", "(not shown)", f"a URL that may be sent to: {error}") from None
        hint = f"{urlsplit(target).hostname}/…"
    return {"sealed_target": alerts.seal(target), "hint": hint[:300]}


@router.get("/channels")
async def channels(api: Api, who: Signed, project_id: Project = None) -> list[Channel]:
    """All channels. Their targets and secrets are never shown."""
    async with rows_of(api.reader, who) as rows:
        return [Channel(**row) for row in await rows.all(CHANNELS, project_id)]


@router.post("/channels", status_code=201)
async def add_channel(api: Api, alerts: Alerts, who: Signed, channel: NewChannel) -> ChannelSecret:
    """Make a channel. A webhook's secret is in the answer, this one time."""
    values: dict[str, Any] = channel.model_dump(exclude={"target"})
    values |= _sealed(alerts, channel.kind, channel.target.get_secret_value())
    secret = alerts.new_secret() if channel.kind == "webhook" else None
    if secret and alerts.seal:
        values["sealed_secret"] = alerts.seal(secret)
    async with rows_of(api.reader, who) as rows:
        return ChannelSecret(**await rows.add(CHANNELS, values), secret=secret)


@router.patch("/channels/{channel_id}")
async def change_channel(
    api: Api, alerts: Alerts, who: Signed, channel_id: UUID, change: ChannelChange
) -> Channel:
    """Change what is given; what is left out stays."""
    values: dict[str, Any] = change.model_dump(exclude={"target"}, exclude_none=True)
    if change.enabled:
        values["disabled_reason"] = None
    async with rows_of(api.reader, who) as rows:
        if change.target is not None:
            old = await rows.one(CHANNELS, channel_id)
            values |= _sealed(alerts, old["kind"], change.target.get_secret_value())
        return Channel(**await rows.change(CHANNELS, channel_id, values))


@router.delete("/channels/{channel_id}", status_code=204)
async def remove_channel(api: Api, who: Signed, channel_id: UUID) -> None:
    """Delete a channel; what it was still to get is dead."""
    async with rows_of(api.reader, who) as rows:
        await rows.remove(CHANNELS, channel_id)


@router.post("/channels/{channel_id}/test", status_code=202)
async def send_test(api: Api, who: Signed, channel_id: UUID) -> Delivery:
    """Send a test notice; the delivery shows how it went."""
    async with rows_of(api.reader, who) as rows:
        channel = await rows.one(CHANNELS, channel_id)
        values = {"project_id": channel["project_id"], "channel_id": channel_id, "kind": "test"}
        return Delivery(**await rows.add(DELIVERIES, values))


@router.post("/channels/{channel_id}/rotate-secret")
async def rotate_secret(api: Api, alerts: Alerts, who: Signed, channel_id: UUID) -> ChannelSecret:
    """A new secret, in the answer this one time. For a day webhooks are signed with both."""
    if alerts.seal is None:
        raise Problem(503, "channels need a key to seal their secrets: MESHMETRICS_ALERT_KEYS")
    secret = alerts.new_secret()
    values = {"sealed_secret": alerts.seal(secret)}
    async with rows_of(api.reader, who) as rows:
        found = await rows.change(CHANNELS, channel_id, values, "kind = 'webhook'")
    return ChannelSecret(**found, secret=secret)


@router.get("/deliveries")
async def deliveries(
    api: Api,
    who: Signed,
    project_id: Project = None,
    status: Status = None,
    channel_id: ChannelId = None,
    incident_id: IncidentId = None,
    limit: Limit = 50,
    after: After = None,
) -> Deliveries:
    """Deliveries, newest first: what was sent, what waits, and what could not be sent and why."""
    filters = {
        "project_id = ?": project_id,
        "status = ?": status,
        "channel_id = ?": channel_id,
        "incident_id = ?": incident_id,
    }
    async with rows_of(api.reader, who) as rows:
        found = await rows.page(DELIVERIES, filters, limit, after)
    return Deliveries(
        deliveries=[Delivery(**row) for row in found[:limit]],
        next=found[limit - 1]["id"] if len(found) > limit else None,
    )


@router.post("/deliveries/{delivery_id}/replay", status_code=202)
async def replay(api: Api, who: Signed, delivery_id: UUID) -> Delivery:
    """Send a delivery that is dead, held back or silenced after all, under its own id."""
    values = {"replay_requested_at": datetime.now(UTC)}
    only = "status in ('dead', 'held', 'silenced')"
    async with rows_of(api.reader, who) as rows:
        return Delivery(**await rows.change(DELIVERIES, delivery_id, values, only))


def _aware(name: str, at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise wrong(name, at.isoformat(), "a time with its zone (RFC 3339)")
    return at
