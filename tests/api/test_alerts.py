"""Alerts over REST: what one can do, what is refused, and what another tenant gets to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from meshmetrics.counting.store import CountingStore
from tests.api.conftest import Counted, signed
from tests.support import Project, Workflow, insert_run
from tests.support.databases import EVERY_VERSION


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: answers follow from the database's constraint errors."""
    version: int = request.param
    return version


@pytest.fixture
def headers(project: Project) -> dict[str, str]:
    return signed(project.owner)


async def made(
    client: httpx.AsyncClient, headers: dict[str, str], path: str, **body: Any
) -> dict[str, Any]:
    answer = await client.post(f"/api/alerts/{path}", json=body, headers=headers)
    assert answer.status_code in (200, 201, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def rule_of(
    client: httpx.AsyncClient, headers: dict[str, str], project: Project, **more: Any
) -> dict[str, Any]:
    return await made(client, headers, "rules", project_id=str(project.id), name="Fails", **more)


async def channel_of(
    client: httpx.AsyncClient, headers: dict[str, str], project: Project, **more: Any
) -> dict[str, Any]:
    body = {"name": "Ours", "kind": "webhook", "target": "https://example.com/hook?key=hidden"}
    return await made(client, headers, "channels", project_id=str(project.id), **{**body, **more})


async def open_incident(
    owner: asyncpg.Connection, worker: asyncpg.Connection, count: Counted, workflow: Workflow
) -> str:
    await count(workflow, failed=3)
    await worker.execute("select * from meshmetrics.evaluate_alerts(null, null)")
    return str(await owner.fetchval("select id from public.workflow_alert_incidents"))


async def test_a_rule_lives_from_its_making_to_its_deletion(
    client: httpx.AsyncClient, headers: dict[str, str], project: Project
) -> None:
    rule = await rule_of(client, headers, project)
    assert (rule["threshold"], rule["comparison"], rule["states"]) == (0.95, "below", [])
    url = f"/api/alerts/rules/{rule['id']}"
    changed = await client.patch(url, json={"threshold": 0.9}, headers=headers)
    assert (changed.status_code, changed.json()["threshold"]) == (200, 0.9)
    assert changed.json()["name"] == "Fails"
    listed = await client.get("/api/alerts/rules", headers=headers)
    assert [r["id"] for r in listed.json()] == [rule["id"]]
    assert (await client.delete(url, headers=headers)).status_code == 204
    assert (await client.get(url, headers=headers)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"threshold": 1.5},
        {"metric": "failure_count"},
        {"metric": "no_runs"},
        {"no_data_after_seconds": 600},
        {"scope": "project", "workflow_slug": "orders"},
        {"metric": "consecutive_failures", "consecutive": 0},
        {"repeat_every_seconds": 10},
        {"window_seconds": 1},
        {"project_id": "nobody"},
        {"name": ""},
        {"name": "a\nb"},
        {"treshold": 0.9},
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str], project: Project, body: dict[str, Any]
) -> None:
    whole = {"project_id": str(project.id), "name": "Fails", **body}
    answer = await client.post("/api/alerts/rules", json=whole, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    rule = await rule_of(client, headers, project)
    if "project_id" not in body:
        changed = await client.patch(f"/api/alerts/rules/{rule['id']}", json=body, headers=headers)
        assert changed.status_code == 422
        made_so, changed_so = (a.json()["errors"][0] for a in (answer, changed))
        assert changed_so["takes"] == made_so["takes"]  # in the same words
        assert changed_so["parameter"] == made_so["parameter"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"metric": "failure_count"}, "threshold"),
        ({"recovery_threshold": 2}, "recovery_threshold"),
        ({"metric": "no_runs"}, "no_data_after_seconds"),
        ({"scope": "project", "workflow_slug": "orders"}, "workflow_slug"),
        ({"metric": "consecutive_failures", "consecutive": 0}, "consecutive"),
        ({"repeat_every_seconds": 10}, "repeat_every_seconds"),
        ({"window_seconds": 1}, "window_seconds"),
        ({"metric": "open_too_long"}, "threshold"),
        ({"metric": "overdue_count", "comparison": "below"}, "comparison"),
        ({"metric": "overdue_count", "deadline_seconds": 59}, "deadline_seconds"),
        ({"deadline_seconds": 600}, "deadline_seconds"),
    ],
)
async def test_what_is_refused_of_a_rule_names_the_field(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    project: Project,
    body: dict[str, Any],
    parameter: str,
) -> None:
    whole = {"project_id": str(project.id), "name": "Fails", **body}
    rule = await rule_of(client, headers, project)
    for answer in (
        await client.post("/api/alerts/rules", json=whole, headers=headers),
        await client.patch(f"/api/alerts/rules/{rule['id']}", json=body, headers=headers),
    ):
        (error,) = answer.json()["errors"]
        assert error["parameter"] == parameter
        assert error["takes"]


async def test_a_preview_tells_what_a_rule_would_have_done(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    project: Project,
    workflow: Workflow,
    stranger: Project,
) -> None:
    start = datetime.now(UTC) - timedelta(days=10)
    for n, status in enumerate(["failed"] * 3 + ["succeeded"] * 12 + ["failed"] * 4):
        at = start + timedelta(minutes=n)
        await insert_run(owner, workflow, status, started_at=at, finished_at=at)
    body = {"project_id": str(project.id), "name": "Fails"}
    found = await made(client, headers, "rules/preview", **body)
    assert (found["count"], found["complete"]) == (2, True)
    first, second = found["incidents"]
    assert datetime.fromisoformat(first["opened_at"]) == start + timedelta(minutes=2)
    assert datetime.fromisoformat(first["closed_at"]) == start + timedelta(minutes=12)
    assert second["closed_at"] is None
    theirs = await client.post(
        "/api/alerts/rules/preview", json=body, headers=signed(stranger.owner)
    )
    assert theirs.status_code == 404
    # Nothing was made.
    assert await owner.fetchval("select count(*) from public.workflow_alert_rules") == 0


async def test_a_rule_on_overdue_runs_is_made_changed_and_has_no_history_to_be_tried_on(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    project: Project,
    workflow: Workflow,
) -> None:
    body = {"project_id": str(project.id), "name": "Stuck", "metric": "overdue_count"}
    rule = await made(client, headers, "rules", **body, deadline_seconds=600)
    assert (rule["threshold"], rule["comparison"], rule["deadline_seconds"]) == (0, "above", 600)
    path = f"/api/alerts/rules/{rule['id']}"
    changed = await client.patch(path, json={"deadline_seconds": None}, headers=headers)
    assert changed.json()["deadline_seconds"] is None
    await client.patch(path, json={"deadline_seconds": 900}, headers=headers)
    other = {"metric": "open_too_long", "threshold": 3600}
    changed = await client.patch(path, json=other, headers=headers)
    assert (changed.json()["threshold"], changed.json()["deadline_seconds"]) == (3600, None)
    await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    for asked in (body, {**body, **other}):
        found = await made(client, headers, "rules/preview", **asked)
        assert found == {"count": 0, "incidents": [], "complete": True, "history": False}


async def test_an_incident_is_listed_read_and_acknowledged(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    worker: asyncpg.Connection,
    count: Counted,
    project: Project,
    workflow: Workflow,
) -> None:
    rule = await rule_of(client, headers, project)
    incident_id = await open_incident(owner, worker, count, workflow)
    for query, wanted in {
        "state=open": 1,
        "state=closed": 0,
        "workflow=orders": 1,
        "workflow=others": 0,
        "from=2020-01-01T00:00:00Z": 1,
        "to=2020-01-01T00:00:00Z": 0,
    }.items():
        answer = await client.get(f"/api/alerts/incidents?{query}", headers=headers)
        assert len(answer.json()["incidents"]) == wanted, query
    path = f"incidents/{incident_id}"
    one = (await client.get(f"/api/alerts/{path}", headers=headers)).json()
    assert [e["kind"] for e in one["events"]] == ["opened"]
    assert one["notice"]["measured"]["failure_count"] == 3
    noted = await made(client, headers, f"{path}/acknowledge", note="on it")
    assert (noted["acknowledged_by"], noted["acknowledge_note"]) == (str(project.owner), "on it")
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    silenced = await made(client, headers, f"rules/{rule['id']}/silence", until=until, reason="x")
    assert [s["state"] for s in silenced["states"]] == ["silenced"]


async def test_a_channels_secrets_are_written_and_never_read(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    project: Project,
) -> None:
    channel = await channel_of(client, headers, project)
    assert channel["secret"].startswith("whsec_")
    assert channel["hint"] == "example.com/…"
    listed = await client.get("/api/alerts/channels", headers=headers)
    assert "secret" not in listed.json()[0]
    assert "hidden" not in listed.text
    row = await owner.fetchrow("select * from public.workflow_alert_channels")
    assert row is not None
    assert "hidden" not in str(dict(row))
    assert channel["secret"] not in str(dict(row))
    path = f"channels/{channel['id']}"
    rotated = await made(client, headers, f"{path}/rotate-secret")
    assert rotated["secret"] not in (None, channel["secret"])
    assert rotated["old_secret_until"] is not None
    changed = await client.patch(f"/api/alerts/{path}", json={"enabled": False}, headers=headers)
    assert (changed.status_code, changed.json()["enabled"]) == (200, False)
    tested = await made(client, headers, f"{path}/test")
    assert (tested["kind"], tested["status"]) == ("test", "pending")
    mail = await channel_of(client, headers, project, kind="email", target="ann@example.com")
    assert (mail["secret"], mail["hint"]) == (None, "a…@example.com")
    refused = await client.post(f"/api/alerts/channels/{mail['id']}/rotate-secret", headers=headers)
    assert refused.status_code == 409
    assert (await client.delete(f"/api/alerts/{path}", headers=headers)).status_code == 204


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("webhook", "https://169.254.169.254/"),
        ("webhook", "http://example.com/"),
        ("slack", "https://user:pass@example.com/"),
        ("email", "nobody"),
        ("email", "a@b.test, c@d.test"),
        ("email", "a@b.test\nBcc: c@d.test"),
    ],
)
async def test_a_target_that_nothing_is_sent_to_is_refused_and_not_repeated(
    client: httpx.AsyncClient, headers: dict[str, str], project: Project, kind: str, target: str
) -> None:
    body = {"project_id": str(project.id), "name": "x", "kind": kind, "target": target}
    answer = await client.post("/api/alerts/channels", json=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "target"
    assert answer.json()["errors"][0]["given"] == "(not shown)"


async def test_a_dead_delivery_is_replayed_and_a_sent_one_is_not(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    project: Project,
) -> None:
    channel = await channel_of(client, headers, project)
    tests = [await made(client, headers, f"channels/{channel['id']}/test") for _ in range(3)]
    await owner.execute("update public.workflow_alert_deliveries set status = 'dead'")
    path = f"deliveries/{tests[0]['id']}/replay"
    await made(client, headers, path)
    asked = await owner.fetch(
        "select id from public.workflow_alert_deliveries where replay_requested_at is not null"
    )
    assert [str(row["id"]) for row in asked] == [tests[0]["id"]]
    await owner.execute("update public.workflow_alert_deliveries set status = 'sent'")
    assert (await client.post(f"/api/alerts/{path}", headers=headers)).status_code == 409
    seen: list[str] = []
    after = ""
    for _ in range(3):
        page = await client.get(f"/api/alerts/deliveries?limit=1{after}", headers=headers)
        seen += [d["id"] for d in page.json()["deliveries"]]
        after = f"&after={page.json()['next']}"
    assert seen == [t["id"] for t in reversed(tests)]
    assert page.json()["next"] is None


async def test_another_tenant_can_neither_read_nor_use_nor_guess(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    worker: asyncpg.Connection,
    store: CountingStore,
    count: Counted,
    project: Project,
    workflow: Workflow,
    stranger: Project,
) -> None:
    rule = await rule_of(client, headers, project)
    channel = await channel_of(client, headers, project)
    incident_id = await open_incident(owner, worker, count, workflow)
    delivery_id = str(await owner.fetchval("select id from public.workflow_alert_deliveries"))
    theirs = signed(stranger.owner)
    for path in ("rules", "channels"):
        assert (await client.get(f"/api/alerts/{path}", headers=theirs)).json() == []
    for path in ("incidents", "deliveries"):
        assert (await client.get(f"/api/alerts/{path}", headers=theirs)).json()[path] == []

    calls: list[tuple[str, str, str, Any]] = [
        ("GET", "rules/{}", rule["id"], None),
        ("PATCH", "rules/{}", rule["id"], {"enabled": False}),
        ("POST", "rules/{}/silence", rule["id"], {"until": None}),
        ("DELETE", "rules/{}", rule["id"], None),
        ("GET", "incidents/{}", incident_id, None),
        ("POST", "incidents/{}/acknowledge", incident_id, {}),
        ("PATCH", "channels/{}", channel["id"], {"enabled": False}),
        ("POST", "channels/{}/test", channel["id"], None),
        ("POST", "channels/{}/confirmation", channel["id"], None),
        ("POST", "channels/{}/rotate-secret", channel["id"], None),
        ("DELETE", "channels/{}", channel["id"], None),
        ("POST", "deliveries/{}/replay", delivery_id, None),
    ]
    for method, path, real, body in calls:
        answers = [
            await client.request(
                method, "/api/alerts/" + path.format(name), json=body, headers=theirs
            )
            for name in (real, uuid4())
        ]
        assert [a.status_code for a in answers] == [404, 404], (method, path)
        said = [{**a.json(), "request_id": None} for a in answers]
        assert said[0] == said[1]
    adding: dict[str, dict[str, str]] = {
        "rules": {"name": "x"},
        "channels": {"name": "x", "kind": "slack", "target": "https://example.com"},
    }
    for path, fields in adding.items():
        for name in (project.id, uuid4()):
            answer = await client.post(
                f"/api/alerts/{path}", json={"project_id": str(name), **fields}, headers=theirs
            )
            assert answer.status_code == 404
    assert (await client.get("/api/alerts/rules")).status_code == 401


async def test_channels_need_a_key(
    client: httpx.AsyncClient, headers: dict[str, str], project: Project, service: Any
) -> None:
    from dataclasses import replace

    service.app.state.alerts_api = replace(service.app.state.alerts_api, seal=None)
    body = {"project_id": str(project.id), "name": "x", "kind": "slack", "target": "https://a.b"}
    answer = await client.post("/api/alerts/channels", json=body, headers=headers)
    assert answer.status_code == 503
    assert "MESHMETRICS_ALERT_KEYS" in answer.json()["detail"]


async def test_members_see_that_and_why_their_rules_cannot_be_evaluated(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    worker: asyncpg.Connection,
    project: Project,
) -> None:
    url = "/api/alerts/rule-failures"
    assert (await client.get(url, headers=headers)).json() == []
    await worker.execute("select meshmetrics.record_alert_failure($1, 'too much')", project.id)
    (failure,) = (await client.get(url, headers=headers)).json()
    assert (failure["project_id"], failure["reason"]) == (str(project.id), "too much")
    stranger = signed(uuid4())
    assert (await client.get(url, headers=stranger)).json() == []


async def test_too_many_pairs_of_rules_and_workflows_are_answered_with_409_in_clear_words(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    owner: asyncpg.Connection,
    project: Project,
) -> None:
    await owner.execute(
        "insert into public.workflow_definitions"
        " (project_id, slug, version, name, definition, status)"
        " select $1, 'w' || i, 1, 'w', '{}', 'published' from generate_series(1, 30000) i",
        project.id,
    )
    await rule_of(client, headers, project)
    body = {"project_id": str(project.id), "name": "Fails"}
    answer = await client.post("/api/alerts/rules", json=body, headers=headers)
    assert answer.status_code == 409
    assert "2 rules on each of 30000 workflows are more" in answer.json()["detail"]
