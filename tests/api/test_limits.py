"""How much a request may be, how long it may take, and how many a caller may send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request

from meshmetrics.api.http import limits
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.http.middleware import frame
from meshmetrics.api.http.problems import Problem
from meshmetrics.runtime.telemetry import Telemetry
from tests.api.conftest import Service, signed
from tests.support import Project
from tests.support.databases import EVERY_VERSION


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Each: answers follow from the database's timeouts."""
    version: int = request.param
    return version


SUMMARY = "/api/metrics/workflows/summary"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def granted(budget: CallerBudget, caller: str, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            budget.take(caller)
        except Problem:
            continue
        count += 1
    return count


def test_a_burst_is_granted_and_then_so_many_a_second() -> None:
    clock = Clock()
    budget = CallerBudget(2, 5, clock=clock)
    assert granted(budget, "a", 20) == 5
    clock.now += 1
    assert granted(budget, "a", 20) == 2
    clock.now += 1000
    assert granted(budget, "a", 20) == 5


def test_one_callers_flood_takes_nothing_from_another() -> None:
    budget = CallerBudget(1, 3, clock=Clock())
    granted(budget, "a", 1000)
    assert granted(budget, "b", 3) == 3


def test_a_refusal_says_when_to_come_again() -> None:
    clock = Clock()
    budget = CallerBudget(0.1, 1, clock=clock)
    budget.take("a")
    with pytest.raises(Problem) as caught:
        budget.take("a")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "10")
    clock.now += 10
    budget.take("a")


def test_refusals_cost_nothing() -> None:
    clock = Clock()
    budget = CallerBudget(1, 1, clock=clock)
    budget.take("a")
    for _ in range(9):
        clock.now += 0.1
        assert granted(budget, "a", 1) == 0
    clock.now += 0.11
    assert granted(budget, "a", 1) == 1


def test_no_more_callers_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_CALLERS", 3)
    budget = CallerBudget(1, 1, clock=Clock())
    for caller in "abcabcd":
        granted(budget, caller, 1)
    assert len(budget._buckets) == 3
    assert granted(budget, "d", 1) == 0


async def test_over_http_too_many_requests_of_one_caller_are_429(
    service: Service, project: Project, stranger: Project
) -> None:
    service.app.state.metrics_api = replace(
        service.app.state.metrics_api, budget=CallerBudget(0.001, 3)
    )
    statuses = [
        (await service.client.get(SUMMARY, headers=signed(project.owner))).status_code
        for _ in range(5)
    ]
    assert statuses == [200, 200, 200, 429, 429]
    refused = await service.client.get(SUMMARY, headers=signed(project.owner))
    assert int(refused.headers["retry-after"]) > 0
    assert (await service.client.get(SUMMARY, headers=signed(stranger.owner))).status_code == 200


async def test_headers_and_addresses_have_a_size(client: httpx.AsyncClient) -> None:
    for path, headers in ((SUMMARY, {"X": "a" * 20_000}), (f"{SUMMARY}?search={'a' * 20_000}", {})):
        response = await client.get(path, headers=headers)
        assert response.status_code == 431
        assert response.json()["title"] == "Request headers too large"


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_has_a_size_whether_it_says_so_or_not(declared: bool) -> None:
    app = FastAPI()
    frame(app, Telemetry())

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    async def parts(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024

    def body(size: int) -> bytes | AsyncIterator[bytes]:
        return b"x" * size if declared else parts(size)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        fits = await client.post("/echo", content=body(limits.MAX_BODY_BYTES))
        assert fits.json() == limits.MAX_BODY_BYTES
        large = await client.post("/echo", content=body(limits.MAX_BODY_BYTES + 1024))
    assert large.status_code == 413
    assert large.headers["content-type"] == "application/problem+json"


async def test_a_length_that_is_no_number_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz", headers={"Content-Length": "-1"})
    assert response.status_code == 413


async def test_a_query_that_takes_too_long_is_given_up(
    owner: asyncpg.Connection, service: Service, project: Project
) -> None:
    """Something else holds what it needs; the reader is told to ask again, and its connection
    is as good as new."""
    service.app.state.metrics_api.reader._statement_timeout = "100"
    async with owner.transaction():
        await owner.execute("lock table public.workflow_definitions in access exclusive mode")
        response = await service.client.get(SUMMARY, headers=signed(project.owner))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert (await service.client.get(SUMMARY, headers=signed(project.owner))).status_code == 200


async def test_a_database_that_is_gone_is_503(service: Service, project: Project) -> None:
    await service.pool.close()
    response = await service.client.get(SUMMARY, headers=signed(project.owner))
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"


async def test_readers_who_wait_for_a_connection_are_told_so_in_the_end(
    service: Service, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.api.http.as_caller.ACQUIRE_SECONDS", 0.05)
    held = [await service.pool.acquire() for _ in range(4)]
    response = await service.client.get(SUMMARY, headers=signed(project.owner))
    assert response.status_code == 503
    for connection in held:
        await service.pool.release(connection)
