"""Hosted Supabase gives its users no superuser: all of it has to work without one."""

from __future__ import annotations

import asyncpg

from meshmetrics.migrate import migrate
from meshmetrics.store import Store
from tests.conftest import Connect
from tests.support import acting_as, finish_run, insert_run, make_project, make_workflow
from tests.support.databases import Database, hand_over


async def test_the_owner_on_hosted_supabase_can_migrate(
    source_database: Database, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    connection = await connect(dsn)
    assert await connection.fetchval("show is_superuser") == "off"
    assert await migrate(dsn)
    assert await migrate(dsn) == []


async def test_a_run_is_counted_and_seen_by_its_tenant_where_nobody_is_superuser(
    source_database: Database, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    await migrate(dsn)
    owner = await connect(dsn)
    project = await make_project(owner)
    run = await insert_run(owner, await make_workflow(owner, project))
    await finish_run(owner, run)

    async with asyncpg.create_pool(source_database.worker_dsn, min_size=0) as pool:
        assert (await Store(pool).count_runs([run])).runs == 1

    stranger = await make_project(owner)
    for user, counted in ((project.owner, 1), (stranger.owner, None)):
        async with acting_as(owner, user):
            seen = await owner.fetchval("select success_count from public.workflow_run_metrics")
        assert seen == counted
