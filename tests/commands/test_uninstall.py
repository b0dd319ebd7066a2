"""Uninstalling leaves nothing of ours, and installing again is exact."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.auditing.verify import verify
from meshmetrics.commands import uninstall
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.migrate import migrate
from meshmetrics.database.packaged_sql import MigrationError
from meshmetrics.database.store import Database
from tests.conftest import Connect
from tests.support import eventually, finish_run, insert_run, make_project, make_workflow
from tests.support.databases import DatabaseClone, hand_over

OURS = """
select 'relation ' || c.oid::regclass from pg_class c
where c.relnamespace = to_regnamespace('meshmetrics')
   or c.relname ~ '^workflow_(run_|alert_|runs_updated_at)'
union all
select 'function ' || p.oid::regprocedure from pg_proc p
where p.pronamespace in (to_regnamespace('meshmetrics'), to_regnamespace('meshmetrics_parts'))
  or p.proname ~ '^workflow_(metrics|alert)_'
union all
select 'policy ' || polname from pg_policy where polname ~ 'meshmetrics|^members '
union all
select 'publication ' || prrelid::regclass from pg_publication_rel
where prrelid = 'public.workflow_runs'::regclass
union all
select 'schema ' || nspname from pg_namespace where nspname ~ '^meshmetrics'
"""


async def test_nothing_of_ours_is_left_and_a_second_installation_is_exact(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    owner = await connect(dsn)
    before = await owner.fetch(OURS)
    await migrate(dsn)
    workflow = await make_workflow(owner, await make_project(owner))
    runs = [await insert_run(owner, workflow) for _ in range(3)]
    for run, status in zip(runs, ("succeeded", "failed", "running"), strict=True):
        if status != "running":
            await finish_run(owner, run, status)
    async with asyncpg.create_pool(dsn, min_size=0) as pool:
        await CountingStore(Database(pool)).count_runs(runs)

    done = await uninstall.uninstall(dsn)
    assert "removed the schemas meshmetrics and meshmetrics_parts" in done
    assert await owner.fetch(OURS) == before == []
    assert await owner.fetchval("select count(*) from workflow_runs") == 3
    again = await uninstall.uninstall(dsn)  # only the role, which other databases use
    assert [line for line in again if not line.startswith("kept the role")] == []

    await migrate(dsn)
    async with asyncpg.create_pool(dsn, min_size=0) as pool:
        await CountingStore(Database(pool)).count_runs(runs)
        report = await verify(AuditStore(Database(pool)), patience=0)
    assert (report.drift, report.account.started, report.account.open) == (0, 3, 1)


async def test_a_publication_that_had_the_table_before_keeps_it(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    owner = await connect(dsn)
    await owner.execute("alter publication supabase_realtime add table public.workflow_runs")
    await migrate(dsn)
    await uninstall.uninstall(dsn)
    assert [row[0] for row in await owner.fetch(OURS)] == ["publication workflow_runs"]


async def test_the_role_goes_once_no_database_of_the_server_uses_it(
    own_postgres: object, connect: Connect
) -> None:
    from meshmetrics.devstack.postgres.server import EmbeddedPostgres
    from meshmetrics.devstack.schema import create_source

    assert isinstance(own_postgres, EmbeddedPostgres)
    owner = await connect(own_postgres.dsn())
    await create_source(owner)
    await migrate(own_postgres.dsn())
    done = await uninstall.uninstall(own_postgres.dsn())
    assert done[-1] == "removed the role meshmetrics_worker"
    assert await owner.fetchval("select count(*) from pg_roles where rolname ~ 'meshmetrics'") == 0
    await migrate(own_postgres.dsn())


async def test_a_daemon_at_work_keeps_everything(database: DatabaseClone, connect: Connect) -> None:
    owner = await connect(database.owner_dsn)
    await owner.execute("select meshmetrics.take_lease(gen_random_uuid(), 'here', '1 minute')")
    with pytest.raises(MigrationError, match="the daemon here is running: stop it first"):
        await uninstall.uninstall(database.owner_dsn)


async def test_the_printed_script_does_the_same(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    owner = await connect(dsn)
    await migrate(dsn)
    script, _, outside = uninstall.script().partition("-- Run these outside a transaction.")
    await owner.execute(script)
    await owner.execute(outside.split(";")[0])
    assert await owner.fetch(OURS) == []


async def test_what_the_operator_built_on_our_tables_is_named_and_nothing_is_removed(
    database: DatabaseClone, connect: Connect
) -> None:
    owner = await connect(database.owner_dsn)
    await owner.execute("create view public.my_rates as select * from public.workflow_run_metrics")
    with pytest.raises(MigrationError, match=r"(?s)my_rates.*Nothing was removed"):
        await uninstall.uninstall(database.owner_dsn)
    assert await owner.fetchval("select to_regclass('meshmetrics.counted_runs') is not null")


async def test_an_engine_that_writes_is_never_blocked_for_long(
    database: DatabaseClone, connect: Connect
) -> None:
    """A transaction holds a lock that uninstalling needs: others write on past it meanwhile."""
    holder = await connect(database.owner_dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("lock table public.projects in row exclusive mode")
    removing = asyncio.create_task(uninstall.uninstall(database.owner_dsn))
    try:
        writer = await connect(database.owner_dsn)
        waiting = "select count(*) from pg_locks where not granted"
        await eventually(lambda: writer.fetchval(waiting), what="uninstalling waits for a lock")
        await writer.execute("set statement_timeout = '20s'")
        await writer.execute("update public.projects set name = 'written'")
        assert not removing.done()
        await transaction.rollback()
        assert "removed the tables in public" in await removing
    finally:
        removing.cancel()
