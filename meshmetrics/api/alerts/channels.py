"""The operations on channels, and on what was delivered to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from meshmetrics.api.alerts.paging import After, Limit, Project
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
from meshmetrics.api.http.problems import Problem, wrong

router = APIRouter()


@dataclass(frozen=True, slots=True)
class AlertsApi:
    """What the operations need besides the metrics': `app.state.alerts_api`."""

    seal: Callable[[str], str] | None
    """Seals a secret for the database; None where no key is set."""
    check_url: Callable[[str], None]
    """Raises ValueError for a URL that nothing is sent to, with what it takes."""
    new_secret: Callable[[], str]


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
