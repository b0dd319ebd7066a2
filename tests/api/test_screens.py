"""What a dashboard asks beside the metrics, and what numbers say to be followed live."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from meshmetrics.counting.store import CountingStore
from tests.api.conftest import Counted, Service, signed
from tests.sql.test_open_runs import event, old_run, settle
from tests.support import Project, Workflow, insert_run, make_project, make_workflow
from tests.support.databases import EVERY_VERSION


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: what tenants read comes from SQL functions and row-level security."""
    version: int = request.param
    return version


async def ask(client: httpx.AsyncClient, path: str, who: Project, **query: Any) -> Any:
    answer = await client.get(f"/api/metrics/{path}", params=query, headers=signed(who.owner))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_catalogue_has_the_callers_projects_and_all_their_versions(
    client: httpx.AsyncClient, owner: asyncpg.Connection, project: Project, workflow: Workflow
) -> None:
    newer = await make_workflow(owner, project, "orders", version=2, name="Orders")
    stranger = await make_project(owner)
    await make_workflow(owner, stranger)
    (found,) = (await ask(client, "catalogue", project))["projects"]
    assert found["project_id"] == str(project.id)
    assert [(v["workflow_id"], v["version"]) for v in found["versions"]] == [
        (str(workflow.id), 1),
        (str(newer.id), 2),
    ]


async def test_the_last_outcomes_are_those_of_all_versions_the_newest_first(
    client: httpx.AsyncClient,
    owner: asyncpg.Connection,
    project: Project,
    workflow: Workflow,
    count: Counted,
) -> None:
    newer = await make_workflow(owner, project, "orders", version=2, name="Orders")
    await count(workflow, minutes_ago=30, failed=1)
    await count(newer, minutes_ago=20, succeeded=1)
    await count(workflow, minutes_ago=10, canceled=1)
    (found,) = (await ask(client, "workflows/recent", project))["workflows"]
    assert found["slug"] == "orders"
    assert [one["outcome"] for one in found["outcomes"]] == ["canceled", "success", "failure"]
    (two,) = (await ask(client, "workflows/recent", project, most=2))["workflows"]
    assert two["outcomes"] == found["outcomes"][:2]
    (short,) = (await ask(client, "workflows/outcomes", project))["workflows"]
    assert (short["project_id"], short["slug"]) == (found["project_id"], "orders")
    assert short["outcomes"] == "csf"
    (two,) = (await ask(client, "workflows/outcomes", project, most=2))["workflows"]
    assert two["outcomes"] == "cs"


async def test_a_failure_that_is_an_abandoned_run_is_marked_until_the_run_goes_on(
    client: httpx.AsyncClient,
    owner: asyncpg.Connection,
    store: CountingStore,
    project: Project,
    workflow: Workflow,
    count: Counted,
) -> None:
    await count(workflow, minutes_ago=60, failed=1, succeeded=1)
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed", timedelta(minutes=20))
    await settle(store)

    async def marked() -> list[tuple[str, bool]]:
        (found,) = (await ask(client, "workflows/recent", project))["workflows"]
        return sorted((one["outcome"], one["abandoned"]) for one in found["outcomes"])

    assert await marked() == [("failure", False), ("failure", True), ("success", False)]
    await event(owner, run, "step_started", timedelta(0))
    await settle(store)
    assert await marked() == [("failure", False), ("success", False)]


async def test_the_last_outcomes_of_another_tenants_workflow_are_none(
    client: httpx.AsyncClient, workflow: Workflow, stranger: Project, count: Counted
) -> None:
    await count(workflow, failed=2)
    for query in ({"workflow": str(workflow.id)}, {"project": str(workflow.project_id)}, {}):
        assert (await ask(client, "workflows/recent", stranger, **query))["workflows"] == []
        assert (await ask(client, "workflows/outcomes", stranger, **query))["workflows"] == []


@pytest.mark.parametrize("path", ["workflows/summary", "workflows/history"])
async def test_numbers_to_be_followed_live_say_what_they_hold(
    client: httpx.AsyncClient,
    owner: asyncpg.Connection,
    project: Project,
    workflow: Workflow,
    count: Counted,
    path: str,
) -> None:
    await count(workflow, succeeded=3, failed=1)
    idle = await make_workflow(owner, project)
    revision = await owner.fetchval("select revision from public.workflow_run_metrics")
    none_open = {"open": 0, "oldest_open_at": None, "overdue": 0, "abandoned": 0}
    none = {"revision": 0, "success_count": 0, "failure_count": 0, "canceled_count": 0}
    assert (await ask(client, path, project, live=True))["held"] == {
        str(workflow.id): {
            "revision": revision,
            "success_count": 3,
            "failure_count": 1,
            "canceled_count": 0,
            **none_open,
        },
        str(idle.id): {**none, **none_open},
    }
    assert (await ask(client, path, project))["held"] is None


async def test_how_the_counts_stand_is_said_as_far_as_it_is_known(
    service: Service, project: Project
) -> None:
    unknown: dict[str, Any] = {
        "audited_at": None,
        "drift": None,
        "backfilled": None,
        "unknown_statuses": [],
    }
    assert await ask(service.client, "standing", project) == unknown
    assert (await service.client.get("/api/metrics/standing")).status_code == 401


async def test_a_status_that_counts_as_no_outcome_is_said(
    service: Service, owner: asyncpg.Connection, project: Project, workflow: Workflow
) -> None:
    await owner.execute("alter table workflow_runs drop constraint workflow_runs_status_check")
    await insert_run(owner, workflow, "timed_out")
    standing = await ask(service.client, "standing", project)
    assert standing["unknown_statuses"] == [{"status": "timed_out", "runs": 1}]
