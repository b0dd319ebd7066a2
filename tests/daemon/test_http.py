"""What operators ask over HTTP: does it live, is it ready, what do the metrics say."""

from __future__ import annotations

import re
import time

import pytest

from meshmetrics.database.packaged_sql import packaged_schema
from tests.daemon.conftest import LOSE_PUBLIC, World
from tests.support import eventually, finish_run, insert_run


async def test_a_daemon_that_works_is_ready_and_says_of_each_part_how_it_is(world: World) -> None:
    async with world.running() as running:
        answer = await running.get("/readyz")
        assert answer.status_code == 200
        state = answer.json()
        assert state["ready"] is True
        assert (state["database"], state["lease"]) == ("ok", "held")
        assert state["stream"].startswith("up for")
        assert (await running.get("/healthz")).json() == {"status": "ok"}


async def test_a_standby_is_ready_and_names_whom_it_stands_by_for(world: World) -> None:
    async with world.running(), world.running_as_standby() as standby:
        answer = await standby.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["lease"].startswith("standby for ")


async def test_without_its_stream_the_one_that_works_is_not_ready_but_alive(world: World) -> None:
    async with world.running() as running:
        await world.realtime.kill()
        await eventually(lambda: not running.up)
        answer = await running.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["stream"] == "down"
        assert (await running.get("/healthz")).status_code == 200


async def test_a_stream_that_is_up_but_behind_says_by_how_much(world: World) -> None:
    """It stays ready: sweeps count every second meanwhile, so screens are on time."""
    async with world.running() as running:
        stream = running.daemon.stream
        stream.heard(time.monotonic(), time.time(), time.time() + stream.clock_offset - 90)
        answer = await running.get("/readyz")
        assert answer.status_code == 200
        assert re.fullmatch(r"up for \d+ s, 90 s behind", answer.json()["stream"])
        stream.heard(time.monotonic(), time.time(), time.time() + stream.clock_offset)
        answer = await running.get("/readyz")
        assert re.fullmatch(r"up for \d+ s", answer.json()["stream"])


async def test_a_service_that_keeps_failing_is_named(world: World) -> None:
    async with world.running() as running:
        await world.owner.execute("drop function meshmetrics.settled_until(interval)")

        async def named() -> bool:
            answer = await running.get("/readyz")
            return answer.status_code == 503 and "sweeper" in answer.json().get("services", "")

        await eventually(named)
        assert running.value("service_failures_total", service="sweeper") >= 1
        # The others go on.
        await finish_run(world.owner, await insert_run(world.owner, world.workflow))
        await eventually(world.counted)


async def test_metrics_are_open_unless_a_token_is_set(world: World) -> None:
    async with world.running() as running:
        assert (await running.get("/metrics")).status_code == 200
    async with world.running(metrics_token="let-me-in") as running:
        refused = await running.get("/metrics")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert (await running.get("/metrics", Authorization="Bearer let-me-on")).status_code == 401
        given = await running.get("/metrics", Authorization="Bearer let-me-in")
        assert "meshmetrics_lease_held 1.0" in given.text


async def test_two_daemons_in_one_process_have_metrics_of_their_own(world: World) -> None:
    async with world.running() as one, world.running_as_standby() as other:
        assert (one.value("lease_held"), other.value("lease_held")) == (1, 0)


async def test_a_daemon_that_cannot_read_as_a_tenant_is_not_ready_until_it_can(
    world: World, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.api.http.tenant_check.BROKEN_SECONDS", 0.1)
    await world.owner.execute(LOSE_PUBLIC)
    async with world.running(database_url=login) as running:
        answer = await running.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["api"].startswith("cannot read as a tenant")
        await world.owner.execute(packaged_schema().replayed)

        async def ready() -> bool:
            answer = await running.get("/readyz")
            return answer.status_code == 200 and answer.json()["api"] == "ok"

        await eventually(ready)


async def test_a_daemon_whose_role_only_counts_is_ready_and_says_that_the_api_is_off(
    world: World,
) -> None:
    async with world.running() as running:
        answer = await running.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["api"].startswith("off: ")
    async with world.serving_only() as serving:

        async def named() -> bool:
            answer = await serving.get("/readyz")
            return answer.status_code == 503 and answer.json()["api"].startswith("off: ")

        await eventually(named)
