"""The REST API as its callers see it: the real application on a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI

from meshmetrics.alerts.channels.registry import channel_kinds
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.sealing import Seal
from meshmetrics.api.alerts.channels import AlertsApi
from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.server import Readiness, create_app
from meshmetrics.counting.store import CountingStore
from meshmetrics.devstack.realtime.tokens import mint
from meshmetrics.runtime.telemetry import Telemetry
from tests.support import Project, Workflow, insert_run, make_project, make_workflow
from tests.support.databases import DatabaseClone

SECRET = "the secret of the project that the tests are about"
API_LOGIN = "meshmetrics_test_api"
SEAL = Seal(Fernet.generate_key().decode())


def token(user_id: UUID, **claims: Any) -> str:
    """A good token of that user's."""
    return mint(SECRET, "authenticated", sub=str(user_id), **claims)


def signed(user_id: UUID, **claims: Any) -> dict[str, str]:
    """The headers of a request of that user's."""
    return {"Authorization": f"Bearer {token(user_id, **claims)}"}


async def _ready() -> Readiness:
    return Readiness(True, {"database": "ok"})


@dataclass
class Service:
    """The application, and what a test may want to look at or to change before using it."""

    app: FastAPI
    client: httpx.AsyncClient
    telemetry: Telemetry
    pool: asyncpg.Pool


@dataclass
class ApiOptions:
    """What a test may set otherwise, before it asks for `service`."""

    authenticator: Authenticator = field(default_factory=lambda: Authenticator(SECRET, None))
    statement_timeout: float = 5.0
    budget: CallerBudget = field(default_factory=lambda: CallerBudget(1000, 100_000))
    cors_origins: tuple[str, ...] = ()
    metrics_token: str | None = None


async def api_login(database: DatabaseClone) -> str:
    """The DSN of a role that can become `authenticated`, and can do nothing by itself."""
    connection = await asyncpg.connect(database.owner_dsn)
    try:
        await connection.execute(
            f"do $$ begin create role {API_LOGIN} login noinherit in role authenticated;"
            " exception when duplicate_object or unique_violation then null; end $$"
        )
    finally:
        await connection.close()
    return database.dsn(API_LOGIN)


@pytest.fixture
def options() -> ApiOptions:
    return ApiOptions()


@pytest.fixture
async def service(database: DatabaseClone, options: ApiOptions) -> AsyncIterator[Service]:
    """The application, called in this process."""
    telemetry = Telemetry()
    async with asyncpg.create_pool(await api_login(database), min_size=0, max_size=4) as pool:
        api = MetricsApi(
            options.authenticator,
            Reader(pool, statement_timeout=options.statement_timeout),
            Cursors("the daemon's own secret"),
            options.budget,
        )
        app = create_app(
            _ready,
            telemetry,
            metrics_token=options.metrics_token,
            metrics_api=api,
            alerts_api=AlertsApi(SEAL, channel_kinds(Guard(), None)),
            cors_origins=options.cors_origins,
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            yield Service(app, client, telemetry, pool)


@pytest.fixture
def client(service: Service) -> httpx.AsyncClient:
    return service.client


Counted = Callable[..., Awaitable[None]]


@pytest.fixture
def count(owner: asyncpg.Connection, store: CountingStore) -> Counted:
    """Inserts runs that finished at a time (or some minutes ago) and counts them."""

    async def count_some(
        workflow: Workflow, *, at: datetime | None = None, minutes_ago: float = 30, **outcomes: int
    ) -> None:
        moment = at or datetime.now(UTC) - timedelta(minutes=minutes_ago)
        ids = [
            await insert_run(owner, workflow, status, finished_at=moment)
            for status, number in outcomes.items()
            for _ in range(number)
        ]
        await store.count_runs(ids)

    return count_some


@pytest.fixture
async def project(owner: asyncpg.Connection) -> Project:
    """A tenant's project."""
    return await make_project(owner)


@pytest.fixture
async def workflow(owner: asyncpg.Connection, project: Project) -> Workflow:
    """A workflow in it."""
    return await make_workflow(owner, project, "orders", name="Orders")


@pytest.fixture
async def stranger(owner: asyncpg.Connection) -> Project:
    """Another tenant's project."""
    return await make_project(owner)
