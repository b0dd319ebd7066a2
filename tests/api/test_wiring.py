"""The REST API as the daemon makes it of its settings, on the roles of an installation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from meshmetrics.api.server import Readiness, create_app
from meshmetrics.counting.store import CountingStore
from meshmetrics.daemon.rest_api import metrics_api
from meshmetrics.database.store import Database
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings
from tests.api.conftest import SECRET, Counted, signed
from tests.support import Project, Workflow
from tests.support.databases import DatabaseClone
from tests.support.pgbouncer import pgbouncer

SUMMARY = "/api/metrics/workflows/summary"


@asynccontextmanager
async def wired(dsn: str, **others: object) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate(
        {
            "supabase_url": "http://127.0.0.1:9",
            "supabase_secret_key": "sb_secret_of_the_tests",
            "supabase_jwt_secret": SECRET,
            "database_url": dsn,
            **others,
        }
    )

    async def ready() -> Readiness:
        return Readiness(True)

    async with metrics_api(settings) as api:
        app = create_app(ready, Telemetry(), metrics_api=api)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            yield client


@pytest.fixture
async def daemon_login(owner: asyncpg.Connection) -> AsyncIterator[str]:
    """The login role of an installation, as docs/decisions/0005-roles.md has it."""
    name = f"daemon_{uuid4().hex[:8]}"
    await owner.execute(f"create role {name} login in role meshmetrics_worker, authenticated")
    yield name
    await owner.execute(f"drop role {name}")


async def test_one_login_counts_and_serves(
    database: DatabaseClone,
    daemon_login: str,
    project: Project,
    workflow: Workflow,
    count: Counted,
    stranger: Project,
) -> None:
    await count(workflow, failed=2)
    dsn = database.dsn(daemon_login)
    async with asyncpg.create_pool(dsn, min_size=0, max_size=1) as pool:
        assert (await CountingStore(Database(pool)).count_runs([uuid4()])).runs == 0
    async with wired(dsn) as client:
        mine = await client.get(SUMMARY, headers=signed(project.owner))
        assert mine.json()["period"]["failure_count"] == 2
        theirs = await client.get(SUMMARY, headers=signed(stranger.owner))
        assert theirs.json()["rows"] == []


async def test_reading_works_behind_a_transaction_pooler(
    database: DatabaseClone,
    daemon_login: str,
    project: Project,
    workflow: Workflow,
    count: Counted,
    stranger: Project,
) -> None:
    await count(workflow, failed=2)
    async with (
        pgbouncer(database, "transaction", user=daemon_login, pool_size=1) as dsn,
        wired(dsn, pooler="transaction") as client,
    ):
        for _ in range(4):
            mine = await client.get(SUMMARY, headers=signed(project.owner))
            theirs = await client.get(SUMMARY, headers=signed(stranger.owner))
            assert mine.json()["period"]["failure_count"] == 2
            assert theirs.json()["period"]["failure_count"] == 0


async def test_a_login_that_cannot_become_the_caller_tells_nothing(
    database: DatabaseClone, project: Project, workflow: Workflow, count: Counted
) -> None:
    await count(workflow, failed=2)
    with capture_logs() as lines:
        async with wired(database.worker_dsn) as client:
            response = await client.get(SUMMARY, headers=signed(project.owner))
    assert response.status_code == 500
    assert "role" not in response.text
    (line,) = [line for line in lines if line["event"] == "http.request"]
    assert "authenticated" in str(line["exc_info"])


async def test_the_settings_limits_hold(database: DatabaseClone, daemon_login: str) -> None:
    user = uuid4()
    async with wired(
        database.dsn(daemon_login), api_burst=2, api_requests_per_second=0.1
    ) as client:
        statuses = [(await client.get(SUMMARY, headers=signed(user))).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
