"""A database that goes away, that takes its backends away, and that fails in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from meshmetrics.database.migrate import migrate
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.devstack.schema import create_source
from tests.conftest import Connect
from tests.daemon.conftest import World
from tests.faults.conftest import SEED, counted_by, exact, live, make_realtime, scaled
from tests.faults.load import engine
from tests.support import Workflow, eventually, make_project, make_workflow
from tests.support.databases import WORKER_LOGIN, DatabaseClone

pytestmark = pytest.mark.slow


@pytest.fixture
async def own_world(own_postgres: EmbeddedPostgres) -> AsyncIterator[World]:
    """A world whose Postgres may be stopped; its owner is a pool, which survives that."""
    maintenance = await asyncpg.connect(own_postgres.dsn())
    await maintenance.execute("create database meshhook")
    await maintenance.close()
    database = DatabaseClone("meshhook", own_postgres)
    source = await asyncpg.connect(database.owner_dsn)
    await create_source(source)
    await source.close()
    await migrate(database.owner_dsn)
    realtime = make_realtime(database)
    await realtime.start()
    pool = await asyncpg.create_pool(database.owner_dsn, min_size=0, max_size=3)
    await pool.execute(f"create role {WORKER_LOGIN} login in role meshmetrics_worker")
    owner = cast("asyncpg.Connection", pool)
    yield World(database, realtime, owner, await make_workflow(owner, await make_project(owner)))
    pool.terminate()
    await realtime.stop()


async def test_a_postgres_that_crashes_under_load_is_waited_for(own_world: World) -> None:
    world, dsn = own_world, own_world.database.owner_dsn
    choices = random.Random(SEED)
    async with world.running(sweep_max=0.3) as running:
        async with engine(dsn, [world.workflow], SEED) as load:
            for _ in range(scaled(3, 30)):
                done = load.done
                await eventually(lambda: load.done > done + 30, 20)  # noqa: B023
                await world.database.server.stop("immediate")
                await asyncio.sleep(choices.uniform(0, scaled(0.5, 3.0)))
                await world.database.server.start()
                await counted_by(dsn, world.workflow, within=20)
            assert load.away > 0
        await exact(dsn)
        await live(world, running)


async def test_backends_that_are_terminated_in_the_middle_of_a_batch_lose_nothing(
    world: World, workflows: list[Workflow], connect: Connect
) -> None:
    dsn = world.database.owner_dsn
    hostile = await connect(dsn)
    terminated = 0
    async with world.running(sweep_max=0.2) as running:
        async with engine(dsn, workflows, SEED, pause=0.001):

            async def terminate() -> bool:
                nonlocal terminated
                terminated += await hostile.fetchval(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                    " where datname = current_database() and application_name = 'meshmetrics'"
                    " and state = 'active' and query like '%count_runs%'"
                )
                return bool(terminated >= scaled(20, 500))

            await eventually(terminate, scaled(40, 600), what="enough backends terminated")
        await exact(dsn)
        await live(world, running)
    assert running.value("count_failures_total", kind="passing") > 0


FAULTY = """
create sequence meshmetrics.calls;
alter function meshmetrics.count_runs(uuid[]) rename to count_runs_itself;
create function meshmetrics.count_runs(
  run_ids uuid[], out counted integer, out changes jsonb, out set_aside jsonb
) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  select c.counted, c.changes, c.set_aside into counted, changes, set_aside
  from meshmetrics.count_runs_itself(run_ids) c;
  if nextval('meshmetrics.calls') % 3 <> 0 then
    {fault}
  end if;
end $$;
grant execute on function meshmetrics.count_runs(uuid[]) to meshmetrics_worker;
"""
MENDED = """
drop function meshmetrics.count_runs(uuid[]);
alter function meshmetrics.count_runs_itself(uuid[]) rename to count_runs;
"""
ERRORS = {
    "disk full": "raise 'could not extend file: No space left on device' using errcode = '53100';",
    "statement timeout": "raise 'statement timeout' using errcode = '57014';",
    "serialization failure": "raise 'could not serialize' using errcode = '40001';",
    "out of memory": "raise 'out of memory' using errcode = '53200';",
    "shutting down": "raise 'terminating connection' using errcode = '57P01';",
}


@pytest.mark.parametrize("fault", ERRORS.values(), ids=ERRORS.keys())
async def test_errors_from_counting_are_passing_and_set_nothing_aside(
    world: World, workflows: list[Workflow], fault: str
) -> None:
    """After the work was done, so that all of it is rolled back; two times out of three."""
    dsn = world.database.owner_dsn
    async with world.running(sweep_max=0.3) as running:
        async with engine(dsn, workflows, SEED, pause=0.01):
            await world.owner.execute(FAULTY.format(fault=fault))

            def failed() -> bool:
                return running.value("count_failures_total", kind="passing") >= scaled(6, 100)

            await eventually(failed, scaled(40, 600), what="failures")
            await world.owner.execute(MENDED)
        await exact(dsn)
        await live(world, running)
        assert running.value("runs_set_aside_total") == 0


async def test_a_deadlock_with_a_hostile_session_is_survived(
    world: World, workflows: list[Workflow], connect: Connect
) -> None:
    """It locks what counting writes, in the wrong order, and never is the victim itself."""
    dsn = world.database.owner_dsn
    hostile = await connect(dsn)
    await hostile.execute("set deadlock_timeout = '1min'")
    async with world.running(sweep_max=0.3) as running:
        async with engine(dsn, workflows, SEED):
            await exact_once(dsn, workflows)
            for _ in range(scaled(2, 20)):
                async with hostile.transaction():
                    await hostile.execute(
                        "update public.workflow_run_buckets set success_count = success_count"
                    )
                    await eventually(lambda: somebody_waits_for(hostile), 20)
                    await hostile.execute("select meshmetrics.counting_lock()")
            await eventually(lambda: running.value("count_failures_total", kind="passing") >= 1, 20)
        await exact(dsn)
        await live(world, running)


async def exact_once(dsn: str, workflows: list[Workflow]) -> None:
    """Wait until each workflow has a counted run, so that there are rows to lock."""
    for workflow in workflows:
        await counted_by(dsn, workflow, 10)


async def somebody_waits_for(connection: asyncpg.Connection) -> bool:
    waits: bool = await connection.fetchval(
        "select exists (select from pg_stat_activity a"
        " where pg_backend_pid() = any (pg_blocking_pids(a.pid))"
        " and a.application_name = 'meshmetrics')"
    )
    return waits
