"""40 requests at once by one user: B's summary went from 0.03 to 4.8 s."""

from __future__ import annotations

import asyncio

import asyncpg

from meshmetrics.api.http.shares import MAX_WAITING
from tests.api.conftest import Service, signed
from tests.attacks.conftest import assert_unharmed, figure
from tests.support import Project

SUMMARY = "/api/metrics/workflows/summary"


async def test_parallel_requests_of_one_caller_use_one_connection(
    service: Service, owner: asyncpg.Connection, a: Project, b: Project
) -> None:
    service.app.state.metrics_api.reader._statement_timeout = "700"

    async def read_b() -> None:
        assert (await service.client.get(SUMMARY, headers=signed(b.owner))).status_code == 200

    async def attack() -> int:
        answer = await service.client.get("/api/alerts/rules", headers=signed(a.owner))
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) > 0
            assert "send fewer at once" in answer.json()["detail"]
        return answer.status_code

    quiet = await figure(read_b)
    async with owner.transaction():
        # Requests of A's that take as long as they may.
        await owner.execute("lock table public.workflow_alert_rules in access exclusive mode")
        requests = [asyncio.create_task(attack()) for _ in range(40)]
        await asyncio.sleep(0.1)
        attacked = await figure(read_b)
    statuses = await asyncio.gather(*requests)
    assert_unharmed(quiet, attacked)
    assert statuses.count(429) == 40 - 1 - MAX_WAITING
    assert await attack() == 200


async def test_callers_that_left_are_not_remembered(service: Service, a: Project) -> None:
    reader = service.app.state.metrics_api.reader
    tasks = [
        asyncio.create_task(service.client.get(SUMMARY, headers=signed(a.owner))) for _ in range(9)
    ]
    await asyncio.sleep(0.01)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert reader._shares._callers == {}
