"""The engine alters its own tables: nothing of ours stops it, and what is counted stays right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.migrate import migrate
from meshmetrics.database.store import Database
from tests.sql.plain import assert_counted
from tests.support import Workflow, insert_run, make_project, make_workflow

MADE_ANEW = """
create table public.runs_anew (like public.workflow_runs including all);
insert into public.runs_anew select * from public.workflow_runs;
drop table public.workflow_runs cascade;
alter table public.runs_anew rename to workflow_runs;
drop index public.runs_anew_updated_at_id_idx;
alter table public.workflow_runs enable row level security;
"""


@pytest.fixture
async def workflow(owner: asyncpg.Connection) -> Workflow:
    return await make_workflow(owner, await make_project(owner))


async def ended(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow, status: str
) -> int:
    run = await insert_run(owner, workflow, status, finished_at=datetime.now(UTC))
    return (await store.count_runs([run])).runs


async def test_a_column_of_another_type_is_counted_on(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    assert await ended(owner, store, workflow, "succeeded") == 1
    await owner.execute("alter table workflow_runs alter column status type varchar(20)")
    assert await store.source_flaws() == ()
    for status in ("succeeded", "failed"):  # on connections that know the statement from before
        assert await ended(owner, store, workflow, status) == 1
    await assert_counted(owner)
    assert (await store.count_open_runs()).open == 0
    assert await store.find_abandoned(timedelta(minutes=10), 10) == ()


async def test_a_renamed_column_is_named_and_no_run_is_lost_over_it(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await owner.execute("alter table workflow_runs rename finished_at to completed_at")
    with pytest.raises(asyncpg.UndefinedColumnError, match="finished_at"):
        await store.count_runs([run])
    assert await store.source_flaws() == ("public.workflow_runs has no column finished_at",)
    await owner.execute("alter table workflow_runs rename completed_at to finished_at")
    assert await store.source_flaws() == ()
    assert (await store.count_runs([run])).runs == 1
    await assert_counted(owner)


async def test_a_table_made_anew_is_noticed_and_put_right(
    owner: asyncpg.Connection,
    store: CountingStore,
    owner_dsn: str,
    workflow: Workflow,
    worker_dsn: str,
) -> None:
    await ended(owner, store, workflow, "succeeded")
    await owner.execute(MADE_ANEW)
    assert await store.source_flaws() == (
        "workflow_runs is not in the publication supabase_realtime with its inserts and updates",
        "the index workflow_runs_updated_at_id is missing or invalid",
    )
    assert await migrate(owner_dsn) == [
        "added workflow_runs to the publication supabase_realtime",
        "built the index workflow_runs_updated_at_id",
    ]
    assert await store.source_flaws() == ()
    assert await migrate(owner_dsn) == []
    await ended(owner, store, workflow, "failed")
    await assert_counted(owner)
    async with asyncpg.create_pool(worker_dsn, min_size=0) as pool:
        assert [d for d in await AuditStore(Database(pool)).audit() if not d.pending] == []


async def test_a_table_made_anew_beside_the_old_one_gets_the_index_too(
    owner: asyncpg.Connection, store: CountingStore, owner_dsn: str, workflow: Workflow
) -> None:
    """The old table keeps the name of our index."""
    await ended(owner, store, workflow, "succeeded")
    await owner.execute(
        "create table runs_anew (like workflow_runs including defaults including constraints);"
        "insert into runs_anew select * from workflow_runs;"
        "alter table workflow_runs rename to runs_of_before;"
        "alter table runs_anew rename to workflow_runs;"
        "alter table workflow_runs add primary key (id);"
        "alter table workflow_runs enable row level security"
    )
    assert len(await store.source_flaws()) == 2
    await migrate(owner_dsn)
    assert await store.source_flaws() == ()
    assert await migrate(owner_dsn) == []


async def test_lost_row_level_security_is_named(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    await owner.execute("alter table workflow_runs disable row level security")
    assert await store.source_flaws() == (
        "row-level security is off on public.workflow_runs: every user reads every row",
    )


async def test_a_table_that_is_gone_or_of_another_kind_is_named(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    await owner.execute(
        "alter table workflow_runs rename to runs; create view workflow_runs as select * from runs"
    )
    assert "public.workflow_runs is a view, not an ordinary table" in await store.source_flaws()
    await owner.execute("drop view workflow_runs")
    assert await store.source_flaws() == ("the table public.workflow_runs is missing",)


async def test_a_column_of_a_type_that_we_cannot_read_is_named(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    await owner.execute(
        "alter table workflow_runs alter column finished_at type text using finished_at::text"
    )
    assert await store.source_flaws() == (
        "public.workflow_runs.finished_at is of type text, not timestamp with time zone",
    )
