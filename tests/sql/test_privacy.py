"""Who sees what, as Postgres decides it."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.support import Project, acting_as, insert_run, make_project, make_user, make_workflow

TABLES = ("public.workflow_run_metrics", "public.workflow_run_buckets")


@pytest.fixture
async def projects(owner: asyncpg.Connection, store: CountingStore) -> list[Project]:
    """Two projects of different owners, each with one counted failure."""
    projects = [await make_project(owner), await make_project(owner)]
    for project in projects:
        workflow = await make_workflow(owner, project)
        await store.count_runs(
            [await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))]
        )
    return projects


@pytest.mark.parametrize("table", TABLES)
async def test_a_member_reads_its_own_projects_and_no_others(
    owner: asyncpg.Connection, projects: list[Project], table: str
) -> None:
    for project in projects:
        async with acting_as(owner, project.owner):
            seen = {r["project_id"] for r in await owner.fetch(f"select project_id from {table}")}
        assert seen == {project.id}


@pytest.mark.parametrize("table", TABLES)
async def test_a_stranger_and_a_request_without_a_user_see_nothing(
    owner: asyncpg.Connection, projects: list[Project], table: str
) -> None:
    async with acting_as(owner, await make_user(owner)):
        assert await owner.fetch(f"select * from {table}") == []
    async with acting_as(owner, None, role="authenticated"):
        assert await owner.fetch(f"select * from {table}") == []


@pytest.mark.parametrize("table", TABLES)
async def test_the_anon_key_may_not_even_ask(
    owner: asyncpg.Connection, projects: list[Project], table: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(owner, None, role="anon"):
            await owner.fetch(f"select * from {table}")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["delete from {}", "update {} set failure_count = 0"])
async def test_a_member_cannot_change_its_own_metrics(
    owner: asyncpg.Connection, projects: list[Project], table: str, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(owner, projects[0].owner):
            await owner.execute(statement.format(table))


async def test_nothing_private_can_be_reached_by_tenants_or_the_service_key(
    owner: asyncpg.Connection, projects: list[Project]
) -> None:
    for role in ("anon", "authenticated", "service_role"):
        for statement in (
            "select * from meshmetrics.counted_runs",
            "select * from meshmetrics.run_states()",
            "select meshmetrics.count_runs('{}')",
            "select meshmetrics.audit(null, null, 1)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with acting_as(owner, projects[0].owner, role=role):
                    await owner.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from meshmetrics.counted_runs",
        "select * from public.workflow_runs",
        "select * from public.workflow_run_metrics",
        "update public.workflow_runs set status = 'failed'",
        "select meshmetrics.counting_lock()",
        "create table public.mine ()",
    ],
)
async def test_the_worker_can_execute_its_functions_and_nothing_else(
    worker: asyncpg.Connection, statement: str
) -> None:
    assert await worker.fetchval("select counted from meshmetrics.count_runs('{}')") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await worker.execute(statement)


async def receives(owner: asyncpg.Connection, user: object, topic: str, role: str) -> bool:
    """Whether a subscriber may join: Realtime inserts a message for the topic, and looks whether
    the subscriber's role can see it."""
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute(
            "insert into realtime.messages (topic, extension, event, private)"
            " values ($1, 'broadcast', 'rates', true)",
            topic,
        )
        await owner.execute("select set_config('realtime.topic', $1, true)", topic)
        async with acting_as(owner, user, role=role):  # type: ignore[arg-type]
            return bool(await owner.fetch("select 1 from realtime.messages"))
    finally:
        await transaction.rollback()


async def test_a_member_receives_the_channel_of_its_own_project_only(
    owner: asyncpg.Connection, projects: list[Project]
) -> None:
    mine, theirs = projects
    assert await receives(owner, mine.owner, f"metrics:{mine.id}", "authenticated")
    assert not await receives(owner, mine.owner, f"metrics:{theirs.id}", "authenticated")
    assert not await receives(owner, mine.owner, "metrics:", "authenticated")
    assert not await receives(owner, None, f"metrics:{mine.id}", "authenticated")
    assert not await receives(owner, None, f"metrics:{mine.id}", "anon")


async def test_nobody_but_the_service_sends_on_a_projects_channel(
    owner: asyncpg.Connection, projects: list[Project]
) -> None:
    project = projects[0]
    for role, user in (("authenticated", project.owner), ("anon", None)):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(owner, user, role=role):
                await owner.execute(
                    "insert into realtime.messages (topic, extension, event, private)"
                    " values ($1, 'broadcast', 'rates', true)",
                    f"metrics:{project.id}",
                )
