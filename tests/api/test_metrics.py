"""What the operations answer, and to whom."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from meshmetrics.api.metrics import routes as metrics
from meshmetrics.counting.store import CountingStore
from tests.api.conftest import Counted, Service, signed
from tests.support import Project, Workflow, insert_run, make_project, make_workflow
from tests.support.databases import EVERY_VERSION

SUMMARY = "/api/metrics/workflows/summary"
HISTORY = "/api/metrics/workflows/history"
EXPORT = "/api/metrics/workflows/export.csv"
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: what tenants read comes from SQL functions and row-level security."""
    version: int = request.param
    return version


def counts(part: dict[str, Any]) -> tuple[int, int, int]:
    return part["success_count"], part["failure_count"], part["canceled_count"]


async def get(
    client: httpx.AsyncClient, project: Project, path: str, /, **parameters: Any
) -> dict[str, Any]:
    response = await client.get(path, params=parameters, headers=signed(project.owner))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_one_workflow_since_ever_in_a_period_before_it_and_over_time(
    owner: asyncpg.Connection,
    client: httpx.AsyncClient,
    project: Project,
    workflow: Workflow,
    count: Counted,
) -> None:
    newer = await make_workflow(owner, project, "orders", version=2, name="Orders, better")
    await count(workflow, minutes_ago=30, succeeded=3, failed=1, canceled=2)
    await count(newer, minutes_ago=10, succeeded=5)
    await count(workflow, minutes_ago=90, failed=4)
    body = await get(client, project, f"/api/metrics/workflow/{workflow.id}", range="1h")
    assert (body["slug"], body["name"], body["version"]) == ("orders", "Orders, better", 2)
    assert (body["workflow_id"], body["versions"]) == (str(newer.id), 2)
    assert counts(body["period"]) == (8, 1, 2)
    assert counts(body["previous"]) == (0, 4, 0)
    assert counts(body["totals"]) == (8, 5, 2)
    assert body["period"]["success_rate"] == pytest.approx(8 / 9)
    assert body["success_rate_change"] == pytest.approx(8 / 9)
    assert body["bucket"] == "minute"
    assert sum(point["success_count"] for point in body["series"]) == 8
    assert body["series"][0]["start"] == body["period"]["from"]
    assert body["series"][-1]["end"] == body["period"]["to"]

    one = await get(
        client, project, f"/api/metrics/workflow/{workflow.id}", range="1h", versions="one"
    )
    assert (one["versions"], one["name"]) == (1, "Orders")
    assert counts(one["period"]) == (3, 1, 2)
    assert one["period"]["enough_runs"] is False


async def test_a_workflow_without_runs_has_no_rate_and_every_bucket(
    client: httpx.AsyncClient, project: Project, workflow: Workflow
) -> None:
    body = await get(client, project, f"/api/metrics/workflow/{workflow.id}", range="7d")
    assert body["period"]["success_rate"] is None
    assert body["period"]["success_rate_low"] is None
    assert body["totals"]["last_success_at"] is None
    assert len(body["series"]) in (168, 169)


async def test_open_overdue_and_abandoned_runs_are_in_every_answer(
    owner: asyncpg.Connection,
    store: CountingStore,
    client: httpx.AsyncClient,
    project: Project,
    stranger: Project,
    workflow: Workflow,
) -> None:
    other = await make_workflow(owner, project, "mail")
    foreign = await make_workflow(owner, stranger, "orders")
    for flow in (workflow, foreign):
        await insert_run(owner, other, "running")
        started = datetime.now(UTC) - timedelta(hours=1)
        await insert_run(owner, flow, "running", started_at=started)
        run = await insert_run(owner, flow, "running", created_at=started)
        await owner.execute(
            "insert into public.workflow_events (run_id, ts, type, payload)"
            " values ($1, now() - interval '20 minutes', 'step_failed', '{}')",
            run,
        )
        silent = timedelta(minutes=10)
        await store.settle_abandoned(await store.find_abandoned(silent, 10), silent)
    await store.count_open_runs()

    def open_of(part: dict[str, Any]) -> tuple[int, int, int]:
        return part["open"], part["overdue"], part["abandoned"]

    summary = await get(client, project, SUMMARY, sort="-overdue", live=True)
    assert open_of(summary) == (3, 1, 1)
    assert summary["period"]["failure_count"] == 1
    assert [(row["slug"], *open_of(row)) for row in summary["rows"]] == [
        ("orders", 1, 1, 1),
        ("mail", 2, 0, 0),
    ]
    oldest = summary["rows"][0]["oldest_open_at"]
    assert summary["oldest_open_at"] == oldest
    assert set(summary["held"]) == {str(workflow.id), str(other.id)}
    assert open_of(summary["held"][str(workflow.id)]) == (1, 1, 1)
    assert open_of(await get(client, project, HISTORY)) == (3, 1, 1)
    one = await get(client, project, f"/api/metrics/workflow/{workflow.id}")
    assert (*open_of(one), one["oldest_open_at"]) == (1, 1, 1, oldest)
    response = await client.get(EXPORT, params={"sort": "-open"}, headers=signed(project.owner))
    lines = list(csv.DictReader(io.StringIO(response.text)))
    assert [(line["slug"], line["open"], line["overdue"]) for line in lines] == [
        ("mail", "2", "0"),
        ("orders", "1", "1"),
    ]
    assert lines[1]["oldest_open_at"].removesuffix("Z") == oldest.removesuffix("Z")


async def test_an_unknown_workflow_and_another_tenants_are_the_same_404(
    client: httpx.AsyncClient, stranger: Project, workflow: Workflow, count: Counted
) -> None:
    await count(workflow, failed=1)
    said = []
    for id_ in (workflow.id, uuid4()):
        response = await client.get(
            f"/api/metrics/workflow/{id_}",
            headers=signed(stranger.owner) | {"X-Request-ID": "same"},
        )
        said.append((response.status_code, response.content))
    assert said[0] == said[1]
    assert said[0][0] == 404


async def test_the_summary_is_worst_first_by_what_is_proven(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project, count: Counted
) -> None:
    flows = {n: await make_workflow(owner, project, n) for n in ("unlucky", "bad", "fine", "new")}
    await count(flows["unlucky"], failed=1)
    await count(flows["bad"], succeeded=20, failed=10)
    await count(flows["fine"], succeeded=30)
    body = await get(client, project, SUMMARY)
    # One failure of one proves a failure rate of 21 %, and ten of thirty one of 19 %.
    slugs = [row["slug"] for row in body["rows"]]
    assert set(slugs[:2]) == {"bad", "unlucky"}
    assert slugs[2:] == ["fine", "new"]
    lows = [row["failure_rate_low"] for row in body["rows"][:3]]
    assert lows == sorted(lows, reverse=True)
    assert counts(body["period"]) == (50, 11, 0)
    assert (body["workflows"], body["matching"], body["next"]) == (4, 4, None)
    await count(flows["bad"], succeeded=20, failed=10)
    body = await get(client, project, SUMMARY)
    assert body["rows"][0]["slug"] == "bad"


async def test_a_release_that_made_things_worse_shows(
    owner: asyncpg.Connection,
    client: httpx.AsyncClient,
    project: Project,
    workflow: Workflow,
    count: Counted,
) -> None:
    newer = await make_workflow(owner, project, "orders", version=2)
    await count(workflow, succeeded=20)
    await count(newer, succeeded=5, failed=5)
    body = await get(client, project, SUMMARY, group_by="version")
    assert [(row["version"], row["success_rate"]) for row in body["rows"]] == [(2, 0.5), (1, 1.0)]
    body = await get(client, project, SUMMARY)
    assert [(row["versions"], row["failure_count"]) for row in body["rows"]] == [(2, 5)]


async def test_the_summary_is_filtered(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project, count: Counted
) -> None:
    second = await make_project(owner, project.owner)
    orders = await make_workflow(owner, project, "orders", name="Orders")
    mail = await make_workflow(owner, second, "mail", name="Mail")
    await count(orders, succeeded=9, failed=1)
    await count(mail, succeeded=3)

    async def slugs(**parameters: Any) -> list[str]:
        body = await get(client, project, SUMMARY, sort="slug", **parameters)
        return [row["slug"] for row in body["rows"]]

    assert await slugs() == ["mail", "orders"]
    assert await slugs(project=str(second.id)) == ["mail"]
    assert await slugs(project=[str(second.id), str(project.id)]) == ["mail", "orders"]
    assert await slugs(workflow=str(orders.id)) == ["orders"]
    assert await slugs(search="MAI") == ["mail"]
    assert await slugs(search="  ") == ["mail", "orders"]
    assert await slugs(failing="true") == ["orders"]
    assert await slugs(min_runs=4) == ["orders"]
    assert await slugs(project=str(uuid4())) == []


async def test_pages_follow_each_other_by_cursor_and_keep_their_period(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project, count: Counted
) -> None:
    for n in range(7):
        await count(await make_workflow(owner, project, f"flow-{n}"), failed=n % 3, succeeded=5)
    asked = {"range": "24h", "limit": 3, "sort": "-failure_count"}
    pages = [await get(client, project, SUMMARY, **asked)]
    while pages[-1]["next"]:
        pages.append(await get(client, project, SUMMARY, **asked, cursor=pages[-1]["next"]))
    assert [len(page["rows"]) for page in pages] == [3, 3, 1]
    assert {page["matching"] for page in pages} == {7}
    assert len({page["period"]["from"] for page in pages}) == 1
    rows = [row for page in pages for row in page["rows"]]
    assert len({row["slug"] for row in rows}) == 7
    assert [row["failure_count"] for row in rows] == [2, 2, 1, 1, 0, 0, 0]


async def test_a_last_page_that_is_full_has_no_next(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project
) -> None:
    for n in range(4):
        await make_workflow(owner, project, f"flow-{n}")
    first = await get(client, project, SUMMARY, limit=2)
    second = await get(client, project, SUMMARY, limit=2, cursor=first["next"])
    assert (len(second["rows"]), second["next"]) == (2, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cursor: cursor[:-2],
        lambda cursor: ("A" if cursor[40] != "A" else "B").join((cursor[:40], cursor[41:])),
        lambda cursor: cursor + "AAAA",
        lambda _: "",
        lambda _: "ä",
        lambda _: "bm90IG91cnM",
    ],
)
async def test_a_cursor_that_was_tampered_with_is_refused(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project, spoil: Any
) -> None:
    for n in range(3):
        await make_workflow(owner, project, f"flow-{n}")
    first = await get(client, project, SUMMARY, limit=2)
    response = await client.get(
        SUMMARY,
        params={"limit": 2, "cursor": spoil(first["next"])},
        headers=signed(project.owner),
    )
    assert response.status_code == 422
    assert [error["parameter"] for error in response.json()["errors"]] == ["cursor"]


async def test_a_cursor_is_for_its_own_question_and_its_own_caller(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project, stranger: Project
) -> None:
    for n in range(3):
        await make_workflow(owner, project, f"flow-{n}")
    cursor = (await get(client, project, SUMMARY, limit=2))["next"]
    for who, other in ((project, {"sort": "name"}), (project, {"search": "x"}), (stranger, {})):
        response = await client.get(
            SUMMARY, params={"limit": 2, "cursor": cursor, **other}, headers=signed(who.owner)
        )
        assert response.status_code == 422
    # Another size of page is no other question.
    assert (await get(client, project, SUMMARY, limit=1, cursor=cursor))["rows"]


async def test_the_history_adds_up_all_workflows_of_all_the_callers_projects(
    owner: asyncpg.Connection,
    client: httpx.AsyncClient,
    project: Project,
    workflow: Workflow,
    stranger: Project,
    count: Counted,
) -> None:
    second = await make_workflow(owner, await make_project(owner, project.owner))
    foreign = await make_workflow(owner, stranger)
    yesterday = TODAY - timedelta(hours=12)
    await count(workflow, at=yesterday, succeeded=2)
    await count(second, at=yesterday, failed=1)
    await count(foreign, at=yesterday, failed=50)
    body = await get(client, project, HISTORY, range="7d", bucket="day", tz="Asia/Kathmandu")
    assert (body["tz"], body["bucket"], body["workflows"]) == ("Asia/Kathmandu", "day", 2)
    assert counts(body["period"]) == (2, 1, 0)
    days = [point for point in body["series"] if point["success_count"]]
    assert len(body["series"]) in (7, 8)
    assert [counts(day) for day in days] == [(2, 1, 0)]
    assert days[0]["start"] == (TODAY - timedelta(hours=29, minutes=45)).strftime(
        "%Y-%m-%dT18:15:00Z"
    )
    only = await get(client, project, HISTORY, range="7d", workflow=str(second.id))
    assert counts(only["period"]) == (0, 1, 0)
    by_project = await get(client, project, HISTORY, range="7d", project=str(project.id))
    assert counts(by_project["period"]) == (2, 0, 0)


async def test_the_versions_of_a_workflow_can_be_told_apart_in_history_and_table(
    owner: asyncpg.Connection,
    client: httpx.AsyncClient,
    project: Project,
    workflow: Workflow,
    count: Counted,
) -> None:
    newer = await make_workflow(owner, project, "orders", version=2)
    await count(workflow, succeeded=2)
    await count(newer, succeeded=3)
    for given, versions, expected in (
        (newer, "all", 5),
        (newer, "one", 3),
        (workflow, "one", 2),
        (workflow, "newest", 3),
        (None, "newest", 3),
    ):
        chosen = {"workflow": str(given.id)} if given else {}
        asked = {**chosen, "versions": versions, "live": "true"}
        history = await get(client, project, HISTORY, **asked)
        assert history["period"]["success_count"] == expected
        assert sum(point["success_count"] for point in history["series"]) == expected
        # The table of the same question is about the same runs.
        table = await get(client, project, SUMMARY, **asked, group_by="version")
        assert table["period"]["success_count"] == expected
        assert sum(row["success_count"] for row in table["rows"]) == expected
        assert table["held"].keys() == history["held"].keys()
        assert len(table["held"]) == len(table["rows"])


async def test_the_csv_is_the_whole_table(
    owner: asyncpg.Connection,
    client: httpx.AsyncClient,
    project: Project,
    count: Counted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "EXPORT_PAGE", 2)
    for n in range(5):
        await count(await make_workflow(owner, project, f"flow-{n}"), failed=n, succeeded=2)
    response = await client.get(EXPORT, headers=signed(project.owner))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["slug"] for row in rows] == [f"flow-{n}" for n in (4, 3, 2, 1, 0)]
    assert [row["failure_count"] for row in rows] == ["4", "3", "2", "1", "0"]
    assert (rows[4]["success_rate"], rows[4]["previous_success_rate"]) == ("1.0", "")
    filtered = await client.get(EXPORT, params={"search": "-3"}, headers=signed(project.owner))
    assert len(filtered.text.splitlines()) == 2


NAMES = {
    '=HYPERLINK("http://x";"y")': '\'=HYPERLINK("http://x";"y")',
    "+1+1": "'+1+1",
    "-2": "'-2",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t=1",
    "  =1": "'  =1",
    "\rcmd": "'\rcmd",
    "\N{FULLWIDTH EQUALS SIGN}1": "'\N{FULLWIDTH EQUALS SIGN}1",
    'plain, with "quotes"\nand a line': 'plain, with "quotes"\nand a line',
    "a=b": "a=b",
}


async def test_no_name_in_the_csv_is_a_formula(
    owner: asyncpg.Connection, client: httpx.AsyncClient, project: Project
) -> None:
    for n, name in enumerate(NAMES):
        await make_workflow(owner, project, f"flow-{n}", name=name)
    response = await client.get(EXPORT, params={"sort": "slug"}, headers=signed(project.owner))
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["name"] for row in rows] == list(NAMES.values())


@pytest.mark.parametrize(
    "path", [SUMMARY + "?range=30d", HISTORY + "?range=30d", "/api/metrics/workflow/{id}?range=30d"]
)
async def test_an_answer_that_did_not_change_is_304(
    client: httpx.AsyncClient, project: Project, workflow: Workflow, count: Counted, path: str
) -> None:
    until = TODAY.strftime("%Y-%m-%dT%H:%M:%SZ")
    since = (TODAY - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = path.format(id=workflow.id).replace("range=30d", f"from={since}&to={until}")
    headers = signed(project.owner)
    first = await client.get(path, headers=headers)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-store"
    for sent in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = await client.get(path, headers=headers | {"If-None-Match": sent})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    await count(workflow, at=TODAY - timedelta(hours=5), failed=1)
    changed = await client.get(path, headers=headers | {"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


WRONG = [
    (
        SUMMARY,
        {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        "from",
        "before `to`",
    ),
    (SUMMARY, {"from": "2026-01-01"}, "from", "RFC 3339"),
    (SUMMARY, {"from": "2026-01-01T00:00:00"}, "from", "offset"),
    (SUMMARY, {"from": "2026-13-01T00:00:00Z"}, "from", "RFC 3339"),
    (SUMMARY, {"from": "0001-01-01T00:00:00+14:00"}, "from", "RFC 3339"),
    (SUMMARY, {"from": "0002-01-01T00:00:00Z"}, "from", "from 1970"),
    (SUMMARY, {"from": "1700000000"}, "from", "RFC 3339"),
    (SUMMARY, {"to": "2026-01-01T00:00:00Z"}, "from", "`range`"),
    (SUMMARY, {"from": "2026-01-01T00:00:00Z", "range": "7d"}, "range", "nothing"),
    (SUMMARY, {"range": "8d"}, "range", "'7d'"),
    (SUMMARY, {"sort": "secret"}, "sort", "failure_rate_low"),
    (SUMMARY, {"sort": "slug; drop table workflow_runs"}, "sort", "failure_rate_low"),
    (SUMMARY, {"limit": "501"}, "limit", "500"),
    (SUMMARY, {"limit": "0"}, "limit", "1"),
    (SUMMARY, {"min_runs": "-1"}, "min_runs", "0"),
    (SUMMARY, {"project": "me"}, "project", "UUID"),
    (SUMMARY, {"search": "a\0b"}, "search", "U+0000"),
    (SUMMARY, {"search": "x" * 201}, "search", "200"),
    (SUMMARY, {"serach": "mail"}, "serach", "no such parameter"),
    (SUMMARY, {"group_by": "project"}, "group_by", "'version'"),
    (HISTORY, {"tz": "Mars/Olympus"}, "tz", "Asia/Kathmandu"),
    (HISTORY, {"tz": "../../etc/passwd"}, "tz", "Asia/Kathmandu"),
    (HISTORY, {"tz": "UTC'; select 1"}, "tz", "Asia/Kathmandu"),
    (HISTORY, {"bucket": "month"}, "bucket", "'week'"),
    (HISTORY, {"range": "7d", "bucket": "minute"}, "bucket", "quarter"),
    (HISTORY, {"range": "30d", "bucket": "quarter"}, "bucket", "hour"),
    (HISTORY, {"range": "365d", "bucket": "hour"}, "bucket", "day"),
    (HISTORY, {"workflow": ["x"]}, "workflow", "UUID"),
    (EXPORT, {"cursor": "x"}, "cursor", "no such parameter"),
    ("/api/metrics/workflow/42", {}, "workflow_id", "UUID"),
    (
        "/api/metrics/workflow/6c13d5ab-c7d4-4b00-bf21-9f15d838fed9",
        {"versions": "2"},
        "versions",
        "'all'",
    ),
]


@pytest.mark.parametrize(("path", "parameters", "name", "takes"), WRONG)
async def test_a_wrong_parameter_is_named_with_what_was_given_and_what_it_takes(
    client: httpx.AsyncClient,
    project: Project,
    path: str,
    parameters: dict[str, Any],
    name: str,
    takes: str,
) -> None:
    response = await client.get(path, params=parameters, headers=signed(project.owner))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert [error["parameter"] for error in body["errors"]][:1] == [name]
    assert takes in body["errors"][0]["takes"]
    given = body["errors"][0]["given"]
    if takes == "no such parameter":
        assert given == "(not shown)"  # it may be a token
    elif name in parameters and isinstance(parameters[name], str) and name != "from":
        assert given == parameters[name] or given == parameters[name][:199] + "…"
    assert body["request_id"] == response.headers["x-request-id"]


async def test_a_plus_that_became_a_space_is_understood(
    client: httpx.AsyncClient, project: Project
) -> None:
    path = f"{SUMMARY}?from=2026-01-01T05:45:00+05:45&to=2026-01-02T00:00:00Z"
    response = await client.get(path, headers=signed(project.owner))
    assert response.json()["period"]["from"] == "2026-01-01T00:00:00Z"


async def test_a_zone_that_this_postgres_does_not_know_is_refused_too(
    client: httpx.AsyncClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.api.metrics.parameters._zones", lambda: {"Europe/Atlantis"})
    response = await client.get(
        HISTORY, params={"tz": "Europe/Atlantis"}, headers=signed(project.owner)
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "tz"


async def test_nothing_of_one_caller_is_left_for_the_next(
    service: Service, project: Project, stranger: Project, workflow: Workflow, count: Counted
) -> None:
    await count(workflow, failed=3)
    for _ in range(8):  # over the same few connections
        mine = await get(service.client, project, SUMMARY)
        theirs = await get(service.client, stranger, SUMMARY)
        assert mine["period"]["failure_count"] == 3
        assert (theirs["period"]["failure_count"], theirs["rows"]) == (0, [])
    async with service.pool.acquire() as connection:
        left = await connection.fetchrow(
            "select current_user as who, current_setting('request.jwt.claims', true) as claims,"
            " current_setting('statement_timeout') as timeout"
        )
    assert left is not None
    assert (left["who"], left["claims"] or "", left["timeout"]) == ("meshmetrics_test_api", "", "0")
