"""The pages behind the links in mails, as far as they need no mail: tests/attacks has the rest."""

from __future__ import annotations

import httpx
import pytest

from meshmetrics.api.http.limits import CallerBudget
from tests.api.conftest import ApiOptions, signed
from tests.support import Project


async def test_a_page_is_not_cached_framed_or_scripted(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/mail/x")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in answer.text


@pytest.fixture
def options() -> ApiOptions:
    return ApiOptions(budget=CallerBudget(0.01, 2))


async def test_guessing_is_limited_by_the_clients_address(client: httpx.AsyncClient) -> None:
    statuses = [(await client.post(f"/api/mail/{n}")).status_code for n in range(3)]
    assert statuses == [404, 404, 429]


async def test_only_e_mail_is_confirmed(client: httpx.AsyncClient, project: Project) -> None:
    headers = signed(project.owner)
    body = {
        "project_id": str(project.id),
        "name": "x",
        "kind": "webhook",
        "target": "https://example.com/",
    }
    made = await client.post("/api/alerts/channels", json=body, headers=headers)
    assert made.json()["unconfirmed"] is False
    path = f"/api/alerts/channels/{made.json()['id']}/confirmation"
    answer = await client.post(path, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (409, "there is nothing to confirm")
