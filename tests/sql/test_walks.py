"""Walking the runs: what is uncounted, up to when nothing can appear behind, and checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.migrate import migrate
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.devstack.schema import create_source
from tests.conftest import Connect
from tests.sql.plain import assert_counted
from tests.support import (
    Workflow,
    eventually,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
    resume_run,
)

BEGINNING = Position(datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))


@pytest.fixture
async def workflow(owner: asyncpg.Connection) -> Workflow:
    return await make_workflow(owner, await make_project(owner))


async def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


async def test_the_walk_finds_what_differs_from_the_ledger_and_nothing_else(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    running = await insert_run(owner, workflow)
    counted = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    resumed = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await store.count_runs([counted, resumed])
    await resume_run(owner, resumed)
    fresh = await insert_run(owner, workflow, "succeeded", finished_at=datetime.now(UTC))

    step = await store.uncounted_runs(BEGINNING, await soon(), 100)

    assert set(step.run_ids) == {resumed, fresh}
    assert step.scanned == 4
    assert running not in step.run_ids


async def test_the_walk_goes_on_where_a_step_ended_and_looks_at_each_run_once(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    # Ten runs of one transaction share their updated_at: the id has to break the tie.
    async with owner.transaction():
        runs = {
            await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
            for _ in range(10)
        }
    found: list[UUID] = []
    position, steps = BEGINNING, 0
    while True:
        step = await store.uncounted_runs(position, await soon(), 3)
        found += step.run_ids
        steps += 1
        if step.scanned < 3:
            break
        assert step.reached is not None
        position = step.reached
    assert len(found) == 10
    assert set(found) == runs
    assert steps == 4


async def test_the_walk_stops_before_until(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    at = await owner.fetchval("select updated_at from public.workflow_runs where id = $1", run)
    assert (await store.uncounted_runs(BEGINNING, at, 10)).scanned == 0
    assert (await store.uncounted_runs(BEGINNING, at + timedelta(microseconds=1), 10)).run_ids == (
        run,
    )


async def test_a_run_set_aside_is_left_out_until_it_changes(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await store.set_aside_run(run, "the function could not digest it")
    assert (await store.uncounted_runs(BEGINNING, await soon(), 10)).run_ids == ()
    await finish_run(owner, run, "succeeded")
    assert (await store.uncounted_runs(BEGINNING, await soon(), 10)).run_ids == (run,)
    await store.count_runs([run])
    await assert_counted(owner)
    assert await owner.fetchval("select count(*) from meshmetrics.set_aside_runs") == 0


async def test_nothing_is_settled_past_the_oldest_transaction_where_it_can_be_seen(
    owner: asyncpg.Connection, store: CountingStore, connect: Connect, owner_dsn: str
) -> None:
    engine = await connect(owner_dsn)
    async with engine.transaction():
        began = await engine.fetchval("select now()")
        assert await store.settled_until(timedelta(hours=1)) < began
    assert await store.settled_until(timedelta(hours=1)) > began - timedelta(seconds=30)


async def test_an_autovacuum_holds_nothing_back() -> None:
    """It takes hours on a large table; here one of its own, made to take as long."""
    async with EmbeddedPostgres(settings={"autovacuum_naptime": "1s"}) as server:
        connection = await asyncpg.connect(server.dsn())
        try:
            await create_source(connection)
            await migrate(server.dsn())
            await connection.execute(
                "create table slow (i integer) with (fillfactor = 10,"
                " autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,"
                " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
            )
            await connection.execute("insert into slow select generate_series(1, 20000)")
            await connection.execute("delete from slow")
            worker = (
                "select min(xact_start) from pg_stat_activity"
                " where backend_type = 'autovacuum worker' and datname = current_database()"
                " and query like '%public.slow%'"
            )

            async def under_way() -> bool:
                return bool(await connection.fetchval(f"select ({worker}) is not null"))

            await eventually(under_way, 60)
            row = await connection.fetchrow(
                f"select ({worker}) as began,"
                " meshmetrics.settled_until('1 hour') + interval '10 seconds' as settled"
            )
        finally:
            await connection.close()
    assert row is not None
    assert row["settled"] > row["began"]


async def blind(owner: asyncpg.Connection) -> None:
    """Take away the sight of other sessions' transactions."""
    await owner.execute(
        "do $$ begin create role blind; exception when duplicate_object then null; end $$;"
        "alter function meshmetrics.oldest_transaction owner to blind;"
        "grant usage on schema meshmetrics to blind;"
        "grant execute on function meshmetrics.oldest_transaction to public;"
    )


async def test_where_other_sessions_cannot_be_seen_the_overlap_decides(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    await blind(owner)
    settled = await store.settled_until(timedelta(hours=1))
    assert abs(datetime.now(UTC) - timedelta(hours=1) - settled) < timedelta(minutes=1)


async def test_a_quick_sweep_looks_from_the_oldest_transaction_on_but_no_further_than_it_may(
    owner: asyncpg.Connection, store: CountingStore, connect: Connect, owner_dsn: str
) -> None:
    engine = await connect(owner_dsn)
    now = await owner.fetchval("select clock_timestamp()")
    assert now - await store.unsettled_since(timedelta(hours=1)) < timedelta(seconds=30)
    async with engine.transaction():
        began = await engine.fetchval("select now()")
        assert await store.unsettled_since(timedelta(hours=1)) < began
        later = await owner.fetchval("select clock_timestamp()")
        assert await store.unsettled_since(timedelta(0)) >= later


async def test_a_quick_sweep_that_cannot_see_other_sessions_looks_as_far_back_as_it_may(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    await blind(owner)
    since = await store.unsettled_since(timedelta(hours=1))
    assert abs(datetime.now(UTC) - timedelta(hours=1) - since) < timedelta(minutes=1)


async def test_checkpoints_only_go_forward(store: CountingStore) -> None:
    first = await store.read_checkpoint("sweep")
    assert first.done is False
    forward = Position(first.position.updated_at + timedelta(seconds=5), uuid4())
    await store.advance_checkpoint("sweep", forward, done=False)
    await store.advance_checkpoint("sweep", first.position, done=False)
    assert (await store.read_checkpoint("sweep")).position == forward


async def test_a_walk_that_is_done_stays_done(store: CountingStore) -> None:
    start = (await store.read_checkpoint("backfill")).position
    assert start == BEGINNING
    end = Position(datetime.now(UTC), uuid4())
    await store.advance_checkpoint("backfill", end, done=True)
    await store.advance_checkpoint("backfill", end, done=False)
    checkpoint = await store.read_checkpoint("backfill")
    assert (checkpoint.position, checkpoint.done) == (end, True)
