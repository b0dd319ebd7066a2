"""The operations on channels and deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from meshmetrics.alerts.channels.email.consent import Consent
from meshmetrics.alerts.channels.email.links import Links
from meshmetrics.alerts.channels.registry import ChannelKinds, KindName
from meshmetrics.alerts.sealing import Seal
from meshmetrics.api.alerts.paging import After, AfterRow, Limit, LongLimit, Project
from meshmetrics.api.alerts.rows import CHANNELS, DELIVERIES, rows_of
from meshmetrics.api.alerts.schemas import (
    Channel,
    ChannelChange,
    ChannelSecret,
    Deliveries,
    Delivery,
    NewChannel,
)
from meshmetrics.api.http.dependencies import Api, Signed
from meshmetrics.api.http.problems import NOT_SHOWN, Problem, wrong

router = APIRouter()


@dataclass(frozen=True, slots=True)
class AlertsApi:
    """What the operations need besides the metrics': `app.state.alerts_api`."""

    seal: Seal | None
    """None where no key is set."""
    kinds: ChannelKinds
    links: Links | None = None
    """Of mails; None where no key is set."""
    consent: Consent | None = None
    """Of their recipients."""


def _alerts(request: Request) -> AlertsApi:
    found: AlertsApi = request.app.state.alerts_api
    return found


Alerts = Annotated[AlertsApi, Depends(_alerts)]
ChannelId = Annotated[UUID | None, Query(description="Only this channel's")]
IncidentId = Annotated[UUID | None, Query(description="Only this incident's")]
Status = Annotated[
    Literal["pending", "held", "sending", "sent", "dead", "silenced"] | None,
    Query(description="Only these"),
]


def _seal(alerts: AlertsApi) -> Seal:
    if alerts.seal is None:
        raise Problem(503, "channels need a key to seal their secrets: MESHMETRICS_ALERT_KEYS")
    return alerts.seal


def _target_columns(alerts: AlertsApi, kind: KindName, target: str) -> dict[str, str]:
    """The columns of a target, checked. Raises Problem."""
    seal = _seal(alerts)
    try:
        prepared = alerts.kinds[kind].prepare(target)
    except ValueError as error:
        raise wrong("target", NOT_SHOWN, str(error)) from None
    return {"sealed_target": seal.seal(prepared.text), "hint": prepared.hint[:300]}


@router.get("/channels")
async def channels(
    api: Api,
    who: Signed,
    project_id: Project = None,
    limit: LongLimit = 500,
    after: AfterRow = None,
) -> list[Channel]:
    """Channels, oldest first. Their targets and secrets are never shown."""
    async with rows_of(api.reader, who) as rows:
        return [Channel(**row) for row in await rows.oldest(CHANNELS, project_id, limit, after)]


@router.post("/channels", status_code=201)
async def add_channel(api: Api, alerts: Alerts, who: Signed, channel: NewChannel) -> ChannelSecret:
    """Make a channel. If its kind has a secret, this answer is the only one that contains it."""
    values: dict[str, Any] = channel.model_dump(exclude={"target"})
    values |= _target_columns(alerts, channel.kind, channel.target.get_secret_value())
    secret = alerts.kinds[channel.kind].new_secret()
    if secret is not None:
        values["sealed_secret"] = _seal(alerts).seal(secret)
    async with rows_of(api.reader, who) as rows:
        return ChannelSecret(**await rows.add(CHANNELS, values), secret=secret)


@router.patch("/channels/{channel_id}")
async def change_channel(
    api: Api, alerts: Alerts, who: Signed, channel_id: UUID, change: ChannelChange
) -> Channel:
    """Change the fields that are present."""
    values: dict[str, Any] = change.model_dump(exclude={"target"}, exclude_none=True)
    if change.enabled:
        values["disabled_reason"] = None
    async with rows_of(api.reader, who) as rows:
        if change.target is not None:
            old = await rows.one(CHANNELS, channel_id)
            values |= _target_columns(alerts, old["kind"], change.target.get_secret_value())
        return Channel(**await rows.change(CHANNELS, channel_id, values))


@router.delete("/channels/{channel_id}", status_code=204)
async def remove_channel(api: Api, who: Signed, channel_id: UUID) -> None:
    """Delete a channel. Its undelivered messages are dropped."""
    async with rows_of(api.reader, who) as rows:
        await rows.remove(CHANNELS, channel_id)


@router.post("/channels/{channel_id}/test", status_code=202)
async def send_test(api: Api, who: Signed, channel_id: UUID) -> Delivery:
    """Send a test notice. The delivery in the answer has the result once it is sent."""
    async with rows_of(api.reader, who) as rows:
        channel = await rows.one(CHANNELS, channel_id)
        values = {"project_id": channel["project_id"], "channel_id": channel_id, "kind": "test"}
        return Delivery(**await rows.add(DELIVERIES, values))


@router.post("/channels/{channel_id}/confirmation", status_code=202)
async def send_confirmation(api: Api, who: Signed, channel_id: UUID) -> Delivery:
    """Send the mail that asks the address for confirmation again: three times a day at most."""
    async with rows_of(api.reader, who) as rows:
        channel = await rows.one(CHANNELS, channel_id)
        if not channel["unconfirmed"]:
            raise Problem(409, "there is nothing to confirm")
        values = {"project_id": channel["project_id"], "channel_id": channel_id, "kind": "confirm"}
        return Delivery(**await rows.add(DELIVERIES, values))


@router.post("/channels/{channel_id}/rotate-secret")
async def rotate_secret(api: Api, alerts: Alerts, who: Signed, channel_id: UUID) -> ChannelSecret:
    """Replace the secret. Only this answer contains it. For a day messages are signed with both."""
    seal = _seal(alerts)
    async with rows_of(api.reader, who) as rows:
        kind: KindName = (await rows.one(CHANNELS, channel_id))["kind"]
        secret = alerts.kinds[kind].new_secret()
        if secret is None:
            raise Problem(409, f"{kind} channels have no secret")
        found = await rows.change(CHANNELS, channel_id, {"sealed_secret": seal.seal(secret)})
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
    """Deliveries, newest first, with their status and the error of the last attempt."""
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
    """Send a dead, held or silenced delivery again, under the same id."""
    values = {"replay_requested_at": datetime.now(UTC)}
    only = "status in ('dead', 'held', 'silenced')"
    async with rows_of(api.reader, who) as rows:
        return Delivery(**await rows.change(DELIVERIES, delivery_id, values, only))
