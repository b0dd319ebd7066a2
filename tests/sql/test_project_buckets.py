"""The buckets of a whole project: always the sums over its workflows, deleted ones left out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from meshmetrics.counting.store import CountingStore
from meshmetrics.database.packaged_sql import packaged_schema
from tests.conftest import Connect
from tests.sql.plain import assert_counted, assert_projects_add_up
from tests.support import Workflow, acting_as, insert_run, make_project, make_workflow

NIL = UUID(int=0)


async def some_runs(owner: asyncpg.Connection, workflow: Workflow, count: int = 12) -> list[UUID]:
    """Runs of the last hours, of all outcomes."""
    now = datetime.now(UTC)
    outcomes = ["succeeded", "failed", "canceled"]
    return [
        await insert_run(owner, workflow, outcomes[n % 3], finished_at=now - n * timedelta(hours=5))
        for n in range(count)
    ]


async def rows(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return await owner.fetch(
        "select * from public.workflow_run_project_buckets"
        " where (success_count, failure_count, canceled_count) <> (0, 0, 0)"
    )


async def test_a_project_has_the_sums_over_its_workflows(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    for _ in range(3):
        await store.count_runs(await some_runs(owner, await make_workflow(owner, project)))
    await store.count_runs(
        await some_runs(owner, await make_workflow(owner, await make_project(owner)))
    )
    await assert_counted(owner)
    days = [row for row in await rows(owner) if row["grain"] == "day"]
    assert sum(row["failure_count"] for row in days) == 16
    assert sum(row["failure_count"] for row in days if row["project_id"] == project.id) == 12


async def test_a_tenant_may_delete_a_workflow_and_its_runs_leave_the_project(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    kept, deleted = [await make_workflow(owner, project) for _ in range(2)]
    for workflow in (kept, deleted):
        await store.count_runs(await some_runs(owner, workflow))
    async with acting_as(owner, project.owner):
        await owner.execute("delete from public.workflow_definitions where id = $1", deleted.id)
    await assert_counted(owner)
    taken_back = [row for row in await rows(owner) if row["deleted_workflow_id"] != NIL]
    assert {row["deleted_workflow_id"] for row in taken_back} == {deleted.id}

    await store.maintain(None, 7)
    await assert_counted(owner)
    left = [row for row in await rows(owner) if row["deleted_workflow_id"] != NIL]
    assert len(left) == len(taken_back) - 7
    await store.maintain(None, 1000)
    await assert_counted(owner)
    assert {row["deleted_workflow_id"] for row in await rows(owner)} == {NIL}


async def test_a_deletion_and_a_count_in_one_project_do_not_wait_for_each_other(
    owner: asyncpg.Connection, store: CountingStore, connect: Connect, owner_dsn: str
) -> None:
    project = await make_project(owner)
    kept, deleted = [await make_workflow(owner, project) for _ in range(2)]
    for workflow in (kept, deleted):
        await store.count_runs(await some_runs(owner, workflow))
    tenant = await connect(owner_dsn)
    async with tenant.transaction():
        await tenant.execute("delete from public.workflow_definitions where id = $1", deleted.id)
        async with asyncio.timeout(10):
            assert (await store.count_runs(await some_runs(owner, kept))).runs == 12
            await store.maintain(None, 1000)
    await assert_counted(owner)

    counting = await connect(owner_dsn)
    async with counting.transaction():
        await counting.fetch("select meshmetrics.count_runs($1)", await some_runs(owner, kept))
        other = await make_workflow(owner, project)
        async with asyncio.timeout(10):
            await owner.execute("delete from public.workflow_definitions where id = $1", other.id)
    await assert_counted(owner)


async def test_a_deleted_project_leaves_nothing_behind(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    for _ in range(2):
        await store.count_runs(await some_runs(owner, await make_workflow(owner, project)))
    await owner.execute("delete from public.projects where id = $1", project.id)
    await assert_projects_add_up(owner)
    await store.maintain(None, 1000)
    assert await owner.fetchval("select count(*) from public.workflow_run_project_buckets") == 0


async def test_the_buckets_of_projects_are_pruned_with_those_of_workflows(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    workflow = await make_workflow(owner, await make_project(owner))
    await store.count_runs(await some_runs(owner, workflow))
    now = datetime.now(UTC)
    for later, grains in (
        (timedelta(hours=49), {"quarter", "day"}),
        (timedelta(days=410), {"day"}),
    ):
        await store.maintain(now + later, 10)
        assert {row["grain"] for row in await rows(owner)} == grains


async def test_what_was_counted_before_this_migration_is_added_up_by_it(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    for _ in range(2):
        await store.count_runs(await some_runs(owner, await make_workflow(owner, project)))
    before = await rows(owner)
    (migration,) = [m for m in packaged_schema().migrations if m.name == "project_buckets"]
    await owner.execute("drop table public.workflow_run_project_buckets")
    async with owner.transaction():
        await owner.execute(migration.sql)
    assert sorted(map(tuple, await rows(owner))) == sorted(map(tuple, before))
