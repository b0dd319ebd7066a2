"""A daemon that only serves the API: it says so, answers, and never counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from meshmetrics.devstack.postgres.server import free_port
from meshmetrics.devstack.realtime import mint
from tests.daemon.conftest import JWT_SECRET, Running, World
from tests.daemon.process import environment, process
from tests.daemon.test_process import ROOT, get
from tests.support import eventually, finish_run, insert_run

pytestmark = pytest.mark.slow

SUMMARY = "/api/metrics/workflows/summary?range=1h"


@pytest.fixture
async def login(world: World) -> AsyncIterator[dict[str, str]]:
    """Settings with which a daemon can serve tenants."""
    name = f"serving_{uuid4().hex[:8]}"
    await world.owner.execute(f"create role {name} login in role meshmetrics_worker, authenticated")
    yield {"database_url": world.database.dsn(name), "supabase_jwt_secret": JWT_SECRET}
    await world.owner.execute(f"drop role {name}")


async def end_a_run(world: World) -> None:
    await finish_run(world.owner, await insert_run(world.owner, world.workflow))


async def state(running: Running) -> dict[str, Any]:
    """What it says of itself; for `eventually`: once it is ready."""
    answer = await running.get("/readyz")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def successes(running: Running, owner: asyncpg.Connection) -> int:
    """As a member of the project sees them."""
    user = await owner.fetchval("select owner from public.projects")
    token = mint(JWT_SECRET, "authenticated", sub=str(user))
    answer = await running.get(SUMMARY, Authorization=f"Bearer {token}")
    assert answer.status_code == 200, answer.text
    count: int = answer.json()["period"]["success_count"]
    return count


async def test_it_is_ready_and_says_that_it_does_not_count(
    world: World, login: dict[str, str]
) -> None:
    async with world.serving_only(**login) as serving:
        assert await eventually(lambda: state(serving)) == {
            "ready": True,
            "database": "ok",
            "lease": "not taken: API only",
            "stream": "not listening: API only",
            "counting": "no daemon counts",
            "api": "ok",
        }


async def test_it_serves_what_another_counts_and_names_that_one(
    world: World, login: dict[str, str]
) -> None:
    async with world.running(), world.serving_only(**login) as serving:
        await end_a_run(world)
        await eventually(world.counted)
        assert await successes(serving, world.owner) == 1
        holder = await world.owner.fetchval("select holder_name from meshmetrics.lease")
        assert (await eventually(lambda: state(serving)))["counting"] == f"{holder} counts"
        assert (await serving.get("/")).status_code in (200, 503)  # 503: not built


async def test_it_takes_no_lease_that_is_free_and_counts_nothing(
    world: World, login: dict[str, str]
) -> None:
    quick: dict[str, Any] = {"lease_ttl": 1}  # one that stood by would look three times a second
    async with world.serving_only(**login, **quick) as serving:
        await eventually(lambda: state(serving))
        async with world.running(**quick):
            pass
        await end_a_run(world)
        await asyncio.sleep(1.2)
        assert await world.owner.fetchval("select expires_at < now() from meshmetrics.lease")
        assert await world.owner.fetchval("select count(*) from meshmetrics.counted_runs") == 0
        assert serving.value("lease_held") == 0
        assert (await state(serving))["counting"] == "no daemon counts"
        async with world.running(**quick):  # there was something to count
            await eventually(world.counted)
            assert await successes(serving, world.owner) == 1


async def test_without_its_database_it_is_alive_and_not_ready(world: World) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/x"
    async with world.serving_only(database_url=nowhere) as serving:
        answer = await serving.get("/readyz")
        assert answer.status_code == 503
        assert (answer.json()["database"], answer.json()["counting"]) == ("unreachable", "unknown")
        assert (await serving.get("/healthz")).status_code == 200


async def test_run_with_api_only_serves_until_it_is_asked_to_stop(
    world: World, login: dict[str, str], tmp_path: Path
) -> None:
    env = environment(world.settings(**login), PYTHONPATH=ROOT)
    async with process(tmp_path, env, "run", "--api-only") as running:
        assert (await running.has_logged("daemon.started"))["api_only"] is True
        await running.has_logged("database.ready")
        assert (await get(running, "/readyz")).json()["lease"] == "not taken: API only"
        running.process.terminate()
        assert await running.ended(within=5.0) == 0, running.everything()
    events = {line["event"] for line in running.lines}
    assert not [event for event in events if event.startswith(("lease.", "stream.", "sweep."))]
    assert running.lines[-1]["event"] == "daemon.stopped"


async def test_it_ends_clearly_where_the_database_refuses_it(world: World, tmp_path: Path) -> None:
    dsn = world.database.server.dsn("nosuchdatabase")
    env = environment(world.settings(), PYTHONPATH=ROOT, DATABASE_URL=dsn)
    async with process(tmp_path, env, "run", "--api-only") as running:
        assert await running.ended() == 1
    [line] = running.logged("daemon.failed")
    assert "check user, password and database name in DATABASE_URL" in line["error"]
