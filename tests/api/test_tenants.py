"""Whether the API can read as a tenant: as it is now, and as it was last seen in between."""

from __future__ import annotations

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.api.http.as_caller import NoTenantError, Reader
from meshmetrics.api.http.problems import Problem
from meshmetrics.api.http.tenant_check import (
    BROKEN,
    BROKEN_SECONDS,
    FRESH_SECONDS,
    OFF,
    OK,
    TenantProbe,
)
from tests.api.conftest import Service, api_login
from tests.daemon.conftest import LOSE_PUBLIC
from tests.support import Workflow
from tests.support.databases import EVERY_VERSION, DatabaseClone


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: row-level security decides."""
    version: int = request.param
    return version


class Clocked:
    """A probe that fails as the test says, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.failure: Exception | None = None
        self.looks = 0
        self.probe = TenantProbe(self._look, clock=lambda: self.now)

    async def _look(self) -> None:
        self.looks += 1
        if self.failure is not None:
            raise self.failure


async def test_a_good_answer_is_good_for_half_a_minute() -> None:
    clocked = Clocked()
    assert await clocked.probe.state() == OK
    clocked.now += FRESH_SECONDS - 0.1
    clocked.failure = asyncpg.UndefinedTableError("gone")
    assert (await clocked.probe.state(), clocked.looks) == (OK, 1)
    clocked.now += 0.2
    with capture_logs() as lines:
        assert (await clocked.probe.state(), clocked.looks) == (BROKEN, 2)
    assert [(line["event"], line["error"]) for line in lines] == [
        ("api.cannot_read", "UndefinedTableError: gone")
    ]
    clocked.failure = None
    clocked.now += BROKEN_SECONDS
    assert (await clocked.probe.state(), clocked.looks) == (OK, 3)


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (NoTenantError("permission denied"), OFF),
        (Problem(503, "the database cannot be reached now"), OK),
        (TimeoutError(), OK),
    ],
)
async def test_a_database_that_is_away_says_nothing_about_reading(
    failure: Exception, state: str
) -> None:
    clocked = Clocked()
    clocked.failure = failure
    assert await clocked.probe.state() == state


async def test_the_probe_reads_as_a_tenant_and_fails_where_a_tenant_would(
    service: Service, workflow: Workflow, owner: asyncpg.Connection
) -> None:
    reader = Reader(service.pool, statement_timeout=5)
    await reader.probe()
    await owner.execute(LOSE_PUBLIC)
    with pytest.raises(asyncpg.UndefinedTableError, match="projects"):
        await reader.probe()


async def test_the_probe_tells_a_login_that_cannot_become_a_tenant(database: DatabaseClone) -> None:
    async with asyncpg.create_pool(database.worker_dsn, min_size=0, max_size=1) as pool:
        with pytest.raises(NoTenantError):
            await Reader(pool, statement_timeout=5).probe()
    async with asyncpg.create_pool(await api_login(database), min_size=0, max_size=1) as pool:
        await Reader(pool, statement_timeout=5).probe()
