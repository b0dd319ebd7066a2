"""The demo's rule and its webhook, made through the API as a tenant makes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from meshmetrics.devstack.demo.receiver import Receiver

RULE: dict[str, Any] = {
    "name": "Payments fail",
    "severity": "critical",
    "metric": "consecutive_failures",
    "consecutive": 3,
    "recovery_runs": 5,
    "reopen_within_seconds": 0,
}
"""Opens and closes within seconds at the demo's pace; each break is an incident of its own."""
RULE_SAYS = "3 failures in a row open an incident, 5 successes close it"


class AlertsFailedError(RuntimeError):
    """The daemon refused the rule or the webhook."""


async def make_rule(api: str, token: str, project_id: UUID, slug: str, receiver: Receiver) -> None:
    """A rule on that workflow, and a channel to the receiver, which gets the channel's secret.
    Raises AlertsFailedError."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"{api}/api/alerts", headers=headers) as http:
        channel = await _post(
            http,
            "/channels",
            {
                "project_id": str(project_id),
                "name": "The demo's receiver",
                "kind": "webhook",
                "target": receiver.url,
            },
        )
        receiver.secret = channel["secret"]
        await _post(http, "/rules", {"project_id": str(project_id), "workflow_slug": slug, **RULE})


async def _post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await http.post(path, json=body, timeout=10)
    except httpx.HTTPError as error:
        raise AlertsFailedError(f"the daemon's API does not answer: {error}") from None
    if answer.status_code != 201:
        raise AlertsFailedError(f"the daemon refused {path}: {answer.text}")
    made: dict[str, Any] = answer.json()
    return made
