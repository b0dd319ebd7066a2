"""Hosted Supabase gives its users no superuser: all of it has to work without one."""

from __future__ import annotations

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from meshmetrics.database.migrate import migrate, missing_privilege
from meshmetrics.database.packaged_sql import MigrationError
from meshmetrics.database.store import Database
from tests.conftest import Connect
from tests.support import acting_as, finish_run, insert_run, make_project, make_workflow
from tests.support.databases import HOSTED_LOGIN, DatabaseClone, hand_over


async def test_the_owner_on_hosted_supabase_can_migrate(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    connection = await connect(dsn)
    assert await connection.fetchval("show is_superuser") == "off"
    assert await migrate(dsn)
    assert await migrate(dsn) == []


async def test_a_run_is_counted_and_seen_by_its_tenant_where_nobody_is_superuser(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = await hand_over(source_database)
    await migrate(dsn)
    owner = await connect(dsn)
    project = await make_project(owner)
    run = await insert_run(owner, await make_workflow(owner, project))
    await finish_run(owner, run)

    async with asyncpg.create_pool(source_database.worker_dsn, min_size=0) as pool:
        assert (await CountingStore(Database(pool)).count_runs([run])).runs == 1

    stranger = await make_project(owner)
    for user, counted in ((project.owner, 1), (stranger.owner, None)):
        async with acting_as(owner, user):
            seen = await owner.fetchval("select success_count from public.workflow_run_metrics")
        assert seen == counted


async def test_a_role_that_may_not_write_policies_of_realtime_learns_which_grant_it_lacks(
    source_database: DatabaseClone, connect: Connect
) -> None:
    await hand_over(source_database)
    owner = await connect(source_database.owner_dsn)
    role = f"plain_{source_database.name}"
    await owner.execute(
        f"create role {role} login createrole bypassrls in role anon, authenticated, service_role;"
        f"reassign owned by {HOSTED_LOGIN} to {role};"
        f"grant create on database {source_database.name} to {role}"
    )
    try:
        with pytest.raises(MigrationError) as caught:
            await migrate(source_database.dsn(role))
        message = str(caught.value)
        assert f"{role} may not set up the policy on realtime.messages" in message
        assert "role `postgres`" in message
        assert f"run `grant supabase_realtime_admin to {role};` as a superuser" in message
        await owner.execute(f"grant supabase_realtime_admin to {role}")
        assert await migrate(source_database.dsn(role))
    finally:
        await owner.execute(f"reassign owned by {role} to postgres")
        await owner.execute(f"drop owned by {role}; drop role {role}")


def test_postgres_itself_is_not_sent_to_postgres() -> None:
    message = missing_privilege(
        "must be owner of table messages", "postgres", {"messages": "supabase_realtime_admin"}
    )
    assert message == (
        "postgres may not set up the policy on realtime.messages, because it is not a member of"
        " supabase_realtime_admin: run `grant supabase_realtime_admin to postgres;` as a superuser"
    )
