"""The application does what its document says, whatever it is sent and by whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from meshmetrics.alerts.channels.registry import channel_kinds
from meshmetrics.alerts.outbound import Guard, Target
from meshmetrics.api.alerts.channels import AlertsApi
from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.server import HttpServer, Readiness, create_app
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.store import Database
from meshmetrics.runtime.telemetry import Telemetry
from tests.api.conftest import SEAL, SECRET, api_login, signed
from tests.api.test_openapi import COMMITTED
from tests.support import Project, finish_run, insert_run, make_project, make_workflow
from tests.support.databases import Servers, cloned

pytestmark = pytest.mark.slow


class AnyUrl(Guard):
    """Random text is hardly ever a URL, and what lies behind the check is to be reached."""

    def check(self, url: str) -> Target:
        return Target(url, "https", "example.com", 443)


ALERTS = AlertsApi(SEAL, channel_kinds(AnyUrl(), None))
HIDDEN = "only-the-tenant-may-know"
CONFIG = SchemathesisConfig.from_dict(
    {
        # A period may be backwards and a zone unknown in ways that no schema tells.
        "checks": {
            "positive_data_acceptance": {"expected-statuses": [200, 404, 422]},
            "negative_data_rejection": {"expected-statuses": [401, 404, 405, 413, 422, 431]},
        },
    }
)
some = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Running:
    url: str
    tenant: Project
    stranger: Project
    workflow_id: str


@pytest.fixture(scope="module")
def running(servers: Servers, postgres_version: int) -> Iterator[Running]:
    """The application behind a real server, in a loop of its own."""
    started = threading.Event()
    found: list[Running] = []
    ending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        ending.append((asyncio.get_running_loop(), stop))
        async with application(servers, postgres_version) as running:
            found.append(running)
            started.set()
            await stop.wait()

    def main() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=main)
    thread.start()
    started.wait()
    assert found, "the application did not start"
    yield found[0]
    loop, stop = ending[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()


@asynccontextmanager
async def application(servers: Servers, version: int) -> AsyncIterator[Running]:
    async with (
        cloned(servers.get(version)) as database,
        asyncpg.create_pool(database.owner_dsn, min_size=0, max_size=2) as owner,
        asyncpg.create_pool(await api_login(database), min_size=0, max_size=4) as pool,
    ):
        async with owner.acquire() as connection:
            tenant, stranger = await make_project(connection), await make_project(connection)
            workflow = await make_workflow(connection, tenant, HIDDEN)
            runs = [await insert_run(connection, workflow) for _ in range(5)]
            for run in runs:
                await finish_run(connection, run, "failed")
        await CountingStore(Database(owner)).count_runs(runs)
        api = MetricsApi(
            Authenticator(SECRET, None),
            Reader(pool, statement_timeout=5),
            Cursors("secret"),
            CallerBudget(10_000, 1_000_000),
        )

        async def ready() -> Readiness:
            return Readiness(True)

        server = HttpServer(
            create_app(ready, Telemetry(), metrics_api=api, alerts_api=ALERTS), "127.0.0.1", 0
        )
        serving = asyncio.create_task(server.run())
        await server.started.wait()
        yield Running(f"http://127.0.0.1:{server.port}", tenant, stranger, str(workflow.id))
        server.stop()
        await serving


# The committed document, which another test keeps fresh.
whole = schemathesis.openapi.from_path(str(COMMITTED), config=CONFIG)
alerts = whole.include(path_regex="^/api/alerts/")
schema = whole.exclude(path_regex="^/api/alerts/")
tenants = schema.include(path_regex="^/api/")


@alerts.parametrize()
@settings(some, max_examples=6)
def test_alerts_do_what_the_document_says(case: Any, running: Running) -> None:
    """Whatever is sent to them: nothing breaks, and every answer is one of the document's."""
    response = case.call(running.url, headers=signed(running.stranger.owner))
    # What a body must be in all no schema tells; and the framework's Allow names but one method.
    loose: list[Any] = [positive_data_acceptance, negative_data_rejection]
    loose += [unsupported_method, allow_header_conformance]
    case.validate_response(response, excluded_checks=loose)
    assert response.status_code < 500
    assert HIDDEN not in response.text
    assert str(running.tenant.id) not in response.text or response.status_code >= 400


@alerts.parametrize()
@settings(some, max_examples=2)
def test_alerts_are_for_nobody_without_a_token(case: Any, running: Running) -> None:
    assert case.call(running.url).status_code in (400, 401, 404, 405, 413, 422, 431)


@schema.parametrize()
@some
def test_a_tenant_gets_what_the_document_says(case: Any, running: Running) -> None:
    if case.meta.generation.mode.is_positive:
        make_sensible(case, running)
    # What is wrong with such a value is not sent: an empty list has no place in an address.
    unsent = any(value in ([], {}, None) for value in case.query.values())
    case.call_and_validate(
        running.url,
        headers=signed(running.tenant.owner),
        excluded_checks=[negative_data_rejection] if unsent else [],
    )


def make_sensible(case: Any, running: Running) -> None:
    """What no schema tells: what goes together. Else nearly all is refused, and rightly."""
    if "from" in case.query:
        case.query.pop("range", None)
        case.query["from"], case.query["to"] = "2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z"
    else:
        case.query.pop("to", None)
    if case.query.get("bucket") in ("minute", "quarter", "hour"):
        case.query["range"] = "1h"
        case.query.pop("from", None)
        case.query.pop("to", None)
    case.query.pop("cursor", None)
    if "tz" in case.query:
        case.query["tz"] = "Asia/Kathmandu"
    if "workflow_id" in case.path_parameters:
        case.path_parameters["workflow_id"] = running.workflow_id


@tenants.parametrize()
@some
def test_a_stranger_gets_nothing_of_the_tenants(case: Any, running: Running) -> None:
    if case.meta.generation.mode.is_positive:
        make_sensible(case, running)
    response = case.call(running.url, headers=signed(running.stranger.owner))
    assert response.status_code in (200, 401, 404, 405, 422, 431)
    assert HIDDEN not in response.text
    assert str(running.tenant.id) not in response.text


@tenants.parametrize()
@some
def test_an_expired_token_gets_nothing(case: Any, running: Running) -> None:
    response = case.call(running.url, headers=signed(running.tenant.owner, exp=1))
    case.validate_response(response, excluded_checks=[positive_data_acceptance])
    assert response.status_code in (401, 405, 431)
    assert response.headers["content-type"] == ["application/problem+json"]


@tenants.parametrize()
@some
def test_without_a_token_there_is_nothing(case: Any, running: Running) -> None:
    response = case.call(running.url)
    assert response.status_code in (401, 405, 431)
    assert response.headers["content-type"] == ["application/problem+json"]
