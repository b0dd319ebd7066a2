"""Far more runs than Realtime passes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.devstack.realtime import Limits, RealtimeServer
from tests.daemon.conftest import World
from tests.faults.conftest import exact, live, make_realtime, scaled
from tests.support import Workflow
from tests.support.databases import DatabaseClone

pytestmark = pytest.mark.slow

RUNS_PER_SECOND = 2000
SECONDS = scaled(4, 60)
EVENTS_PER_SECOND = 100
AVERAGE_OVER = scaled(2.0, 60.0)
"""Seconds over which Realtime averages: so long it drops everything after an overload."""
STEP = 20
"""Runs that one transaction ends."""
LANES = 4


@pytest.fixture
async def realtime(database: DatabaseClone) -> AsyncIterator[RealtimeServer]:
    """With the limit that is the default: above it everything is dropped."""
    limits = Limits(events_per_second=EVENTS_PER_SECOND, average_over=AVERAGE_OVER)
    server = make_realtime(database, limits=limits)
    await server.start()
    yield server
    await server.stop()


async def begin(owner: asyncpg.Connection, workflows: list[Workflow], count: int) -> None:
    await owner.execute(
        "insert into public.workflow_runs (project_id, workflow_id, status)"
        " select ($1::uuid[])[1 + n % $3], ($2::uuid[])[1 + n % $3], 'running'"
        " from generate_series(1, $4) n",
        [workflow.project_id for workflow in workflows],
        [workflow.id for workflow in workflows],
        len(workflows),
        count,
    )


async def end_some(dsn: str, lane: int, began: float) -> int:
    """End this lane's share of the runs, as evenly as the machine can; return how many."""
    clock = asyncio.get_running_loop().time
    connection = await asyncpg.connect(dsn)
    ended = 0
    try:
        steps = RUNS_PER_SECOND * SECONDS // STEP // LANES
        ids = [
            row["id"]
            for row in await connection.fetch(
                "select id from public.workflow_runs order by id offset $1 limit $2",
                lane * steps * STEP,
                steps * STEP,
            )
        ]
        for step in range(steps):
            await asyncio.sleep(began + step * STEP * LANES / RUNS_PER_SECOND - clock())
            await connection.execute(
                "update public.workflow_runs set finished_at = now(), status ="
                " case when random() < 0.8 then 'succeeded' else 'failed' end"
                " where id = any ($1)",
                ids[step * STEP : (step + 1) * STEP],
            )
            ended += STEP
    finally:
        connection.terminate()
    return ended


@pytest.mark.parametrize("limit", [0, RUNS_PER_SECOND // 2], ids=["listening on", "leaving"])
async def test_with_a_twentieth_of_the_events_every_run_is_counted(
    world: World, workflows: list[Workflow], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.stream.run_rate.SPAN", 1)
    dsn = world.database.owner_dsn
    await begin(world.owner, workflows, RUNS_PER_SECOND * SECONDS)
    with capture_logs() as logged:
        async with world.running(stream_runs_per_second=limit) as running:
            before = running.value("events_received_total")
            began = asyncio.get_running_loop().time() + 0.2
            lanes = [end_some(dsn, lane, began) for lane in range(LANES)]
            ended = sum(await asyncio.gather(*lanes))
            assert ended == RUNS_PER_SECOND * SECONDS
            await exact(dsn)
            events = running.value("events_received_total") - before
            assert events < ended / 2  # it did drop them
            assert running.value("runs_counted_total", source="sweep") > 0
            await live(world, running, within=30 + 2 * AVERAGE_OVER)
    assert ("stream.left" in [line["event"] for line in logged]) is bool(limit)
