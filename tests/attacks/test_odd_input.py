"""Small things that answered 500, repeated a secret, or broke a colleague's list."""

from __future__ import annotations

import asyncpg
import jwt
import pytest

from meshmetrics.alerts.channels.slack.kind import escape
from meshmetrics.api.dashboard import Dashboard
from tests.api.conftest import SECRET, Service, signed
from tests.support import Project, acting_as

RULES = "/api/alerts/rules"


@pytest.mark.parametrize("path", ["a%00b.js", "x" * 300 + ".js", "../" * 50 + "etc/passwd"])
async def test_an_odd_file_name_is_404(service: Service, path: str) -> None:
    Dashboard("http://127.0.0.1:1").mount(service.app)
    assert (await service.client.get(f"/_app/{path}")).status_code == 404


async def test_half_of_a_surrogate_pair_is_422(service: Service, a: Project) -> None:
    body = b'{"project_id": "%s", "name": "\\ud800", "\\udfff": 1}' % str(a.id).encode()
    headers = signed(a.owner) | {"Content-Type": "application/json"}
    assert (await service.client.post(RULES, content=body, headers=headers)).status_code == 422


@pytest.mark.parametrize(
    "claims",
    [
        {"note": "\0"},
        {"note": float("nan")},
        {"note": "\ud800"},
        {"sub": "urn:uuid:00000000-0000-4000-8000-000000000000"},
        {"role": ["authenticated"]},
        {"exp": float("inf")},
        {"aud": {"authenticated": 1}},
    ],
    ids=str,
)
async def test_odd_claims_of_a_signed_token_are_401(
    service: Service, a: Project, claims: dict[str, object]
) -> None:
    good: dict[str, object] = {
        "sub": str(a.owner),
        "role": "authenticated",
        "aud": "authenticated",
        "exp": 4_000_000_000,
    }
    token = jwt.encode(good | claims, SECRET, "HS256")
    headers = {"Authorization": f"Bearer {token}"}
    answer = await service.client.get("/api/metrics/workflows/summary", headers=headers)
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "slack", "name": "x", "taget": "https://hooks.slack.test/T0P53CR3T"},
        {"kind": "T0P53CR3T", "name": "x", "target": "T0P53CR3T"},
        {"kind": "slack", "name": "x", "target": ["T0P53CR3T"]},
        ["T0P53CR3T"],
        "T0P53CR3T",
    ],
    ids=str,
)
async def test_a_422_repeats_no_secret(service: Service, a: Project, body: object) -> None:
    answer = await service.client.post("/api/alerts/channels", json=body, headers=signed(a.owner))
    assert answer.status_code == 422
    assert "T0P53CR3T" not in answer.text


@pytest.mark.parametrize(
    "path", ["alerts/rules", "metrics/catalogue", "metrics/workflows/summary", "docs", "nowhere"]
)
async def test_nothing_below_api_is_cached(service: Service, a: Project, path: str) -> None:
    answer = await service.client.get(f"/api/{path}", headers=signed(a.owner))
    assert answer.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.parametrize("year", ["20000-01-01", "0044-03-15 BC", "infinity"])
async def test_a_time_that_no_client_reads_is_refused(
    owner: asyncpg.Connection, a: Project, year: str
) -> None:
    async with acting_as(owner, a.owner):
        with pytest.raises(asyncpg.CheckViolationError):
            async with owner.transaction():
                await owner.execute(
                    "insert into public.workflow_alert_rules (project_id, name, silenced_until)"
                    " values ($1, 'a rule', $2::text::timestamptz)",
                    a.id,
                    year,
                )


async def test_nobody_else_takes_the_counting_lock(owner: asyncpg.Connection, a: Project) -> None:
    for role in ("authenticated", "anon", "service_role"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(owner, a.owner, role=role):
                await owner.execute("lock table meshmetrics.counting in access share mode")


def test_a_name_mentions_nobody() -> None:
    for text in ("@everyone", "@channel", "<!here>", "<@U123>"):
        assert text not in escape(f"rule {text} broke")
