"""The tests' own footing."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.conftest import Connect
from tests.support import (
    acting_as,
    eventually,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
)
from tests.support.databases import DatabaseClone
from tests.support.pgbouncer import pgbouncer


async def test_a_run_is_counted_by_the_workers_role(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    workflow = await make_workflow(owner, await make_project(owner))
    run = await insert_run(owner, workflow)
    await finish_run(owner, run)
    assert (await store.count_runs([run])).runs == 1


async def test_the_workers_role_cannot_read_the_engines_tables(worker: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await worker.execute("select from public.workflow_runs")


async def test_acting_as_a_user_shows_only_its_own_projects(owner: asyncpg.Connection) -> None:
    project = await make_project(owner)
    await make_project(owner)
    async with acting_as(owner, project.owner):
        assert await owner.fetchval("select array_agg(id) from public.projects") == [project.id]
    async with acting_as(owner, None, role="anon"):
        assert await owner.fetchval("select array_agg(id) from public.projects") is None


@pytest.mark.parametrize("turn", [1, 2])
async def test_every_test_has_a_database_to_itself(owner: asyncpg.Connection, turn: int) -> None:
    assert await owner.fetchval("select count(*) from public.projects") == 0
    await make_project(owner)


async def test_a_source_database_knows_nothing_of_meshmetrics(
    source_database: DatabaseClone, connect: Connect
) -> None:
    connection = await connect(source_database.owner_dsn)
    assert await connection.fetchval("select to_regnamespace('meshmetrics')") is None
    assert await connection.fetchval("select to_regclass('public.workflow_runs')") is not None


async def test_eventually_returns_what_came_true() -> None:
    values = iter([0, None, 7])
    assert await eventually(lambda: next(values)) == 7


async def test_eventually_shows_the_last_value() -> None:
    async def never() -> int:
        await asyncio.sleep(0)
        return 0

    with pytest.raises(AssertionError, match=r"counted.*within 0.05 s; last: 0"):
        await eventually(never, within=0.05, what="counted")


async def test_a_session_pooler_keeps_a_session_on_its_backend(
    database: DatabaseClone, connect: Connect
) -> None:
    async with pgbouncer(database, "session") as dsn:
        first, second = await connect(dsn), await connect(dsn)
        assert await backend(first) != await backend(second)
        assert await backend(first) == await backend(first)


async def test_a_transaction_pooler_shares_one_backend_between_sessions(
    database: DatabaseClone,
) -> None:
    async with pgbouncer(database, "transaction", pool_size=1) as dsn:
        first = await asyncpg.connect(dsn, statement_cache_size=0)
        second = await asyncpg.connect(dsn, statement_cache_size=0)
        assert await backend(first) == await backend(second)
        await first.close()
        await second.close()


async def backend(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        pid: int = await connection.fetchval("select pg_backend_pid()")
    return pid
