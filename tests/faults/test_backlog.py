"""A million runs from before meshmetrics, found at the first start."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.daemon.conftest import World
from tests.faults.conftest import counted_by, exact, scaled
from tests.support import Workflow, eventually

pytestmark = pytest.mark.slow

RUNS = scaled(1_000_000, 10_000_000)
SECONDS = scaled(90, 1800)


@pytest.fixture
async def backlog(world: World, workflows: list[Workflow]) -> None:
    """Runs of the last 30 days, written without MeshHook's foreign key checks and those of its
    indexes that nobody uses here: they would take longer than all the rest."""
    await world.owner.execute(
        "drop index public.workflow_runs_project_id, public.workflow_runs_workflow_id,"
        " public.workflow_runs_status, public.workflow_runs_project_id_started_at"
    )
    async with world.owner.transaction():
        await world.owner.execute("set local session_replication_role = replica")
        await world.owner.execute(
            "insert into public.workflow_runs"
            " (project_id, workflow_id, status, started_at, finished_at, updated_at)"
            " select ($1::uuid[])[1 + n % $3], ($2::uuid[])[1 + n % $3],"
            "  (array['succeeded', 'failed', 'succeeded', 'canceled'])[1 + n % 4], at, at, at"
            " from (select n, date_trunc('second', now()) - interval '5 minutes'"
            "   - n * interval '30 days' / $4 as at from generate_series(1, $4::integer) n) s",
            [workflow.project_id for workflow in workflows],
            [workflow.id for workflow in workflows],
            len(workflows),
            RUNS,
        )
        await world.owner.execute(
            "update meshmetrics.checkpoint set updated_at = now() - interval '1 minute'"
            " where name = 'sweep'"
        )


async def backfilled(owner: asyncpg.Connection) -> bool:
    done: bool = await owner.fetchval(
        "select done from meshmetrics.checkpoint where name = 'backfill'"
    )
    return done


@pytest.mark.timeout(4 * SECONDS)
@pytest.mark.usefixtures("backlog")
async def test_a_million_runs_are_counted_in_the_background_while_live_ones_go_first(
    world: World,
) -> None:
    dsn = world.database.owner_dsn
    async with world.running(backfill_batch=20_000) as running:
        live = 0
        while not await backfilled(world.owner):
            await counted_by(dsn, world.workflow, within=20)
            live += 1
            await asyncio.sleep(0.2)
        assert live >= 3  # counted while it was under way
        await eventually(lambda: running.value("backfill_done") == 1, SECONDS)
        await exact(dsn, within=SECONDS)
