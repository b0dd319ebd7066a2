"""Open, overdue and abandoned runs through the read functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.sql.reading import read
from tests.sql.test_open_runs import event, old_run, settle
from tests.support import Project, Workflow, insert_run, make_project, make_workflow

HOUR = timedelta(hours=1)
COLUMNS = ("open", "oldest_open_at", "overdue", "abandoned")


@pytest.fixture
async def project(owner: asyncpg.Connection) -> Project:
    return await make_project(owner)


def found(row: asyncpg.Record) -> tuple[object, ...]:
    return tuple(row[name] for name in COLUMNS)


async def open_since(owner: asyncpg.Connection, workflow: Workflow, ago: timedelta) -> datetime:
    """An open run; when it started."""
    at = datetime.now(UTC) - ago
    await insert_run(owner, workflow, "running", started_at=at, created_at=at)
    return at


async def abandon(owner: asyncpg.Connection, workflow: Workflow, ago: timedelta) -> UUID:
    run = await old_run(owner, workflow)
    await event(owner, run, "step_failed", ago)
    return run


async def test_open_runs_of_all_versions_add_up_and_the_oldest_is_the_oldest_of_all(
    owner: asyncpg.Connection, store: CountingStore, project: Project
) -> None:
    first = await make_workflow(owner, project, "orders", version=1)
    second = await make_workflow(owner, project, "orders", version=2)
    idle = await make_workflow(owner, project, "mail")
    oldest = await open_since(owner, first, 3 * HOUR)
    newer = await open_since(owner, second, timedelta(minutes=5))
    await abandon(owner, second, HOUR)
    await settle(store)
    await store.count_open_runs()
    period = (datetime.now(UTC) - 24 * HOUR, datetime.now(UTC))

    rows = await read(owner, project.owner, "summary($1, $2, sort_by => 'open')", *period)
    assert [(row["slug"], *found(row)) for row in rows] == [
        ("orders", 2, oldest, 1, 1),
        ("mail", 0, None, 0, 0),
    ]
    (totals,) = await read(owner, project.owner, "totals($1, $2)", *period)
    assert found(totals) == (2, oldest, 1, 1)
    assert totals["failure_count"] == 1
    (whole,) = await read(owner, project.owner, "workflow($3, $1, $2)", *period, second.id)
    assert found(whole) == (2, oldest, 1, 1)
    (one,) = await read(owner, project.owner, "workflow($3, $1, $2, 'one')", *period, second.id)
    assert found(one) == (1, newer, 0, 1)
    versions = await read(
        owner, project.owner,
        "summary($1, $2, group_by => 'version', sort_by => 'overdue', max_rows => 1)", *period,
    )  # fmt: skip
    assert [(row["workflow_id"], *found(row)) for row in versions] == [(first.id, 1, oldest, 1, 0)]
    rows = await read(owner, project.owner, "versions()")
    held = {row["workflow_id"]: found(row) for row in rows}
    assert held == {
        first.id: (1, oldest, 1, 0),
        second.id: (1, newer, 0, 1),
        idle.id: (0, None, 0, 0),
    }


async def test_a_workflow_that_has_only_open_runs_is_in_the_summary(
    owner: asyncpg.Connection, store: CountingStore, project: Project
) -> None:
    workflow = await make_workflow(owner, project, "new")
    started = await open_since(owner, workflow, timedelta(minutes=1))
    await store.count_open_runs()
    now = datetime.now(UTC)
    (row,) = await read(owner, project.owner, "summary($1, $2)", now - HOUR, now)
    assert (row["slug"], *found(row)) == ("new", 1, started, 0, 0)


async def test_an_abandoned_run_is_in_the_period_of_its_last_sign_of_life_only(
    owner: asyncpg.Connection, store: CountingStore, project: Project
) -> None:
    workflow = await make_workflow(owner, project)
    await abandon(owner, workflow, timedelta(minutes=90))
    await settle(store)
    await store.count_open_runs()
    now = datetime.now(UTC)
    for since, until, abandoned in ((2 * HOUR, HOUR, 1), (HOUR, timedelta(0), 0)):
        (row,) = await read(owner, project.owner, "totals($1, $2)", now - since, now - until)
        assert (row["abandoned"], row["failure_count"]) == (abandoned, abandoned)


async def test_open_and_abandoned_runs_of_another_tenant_are_never_included(
    owner: asyncpg.Connection, store: CountingStore, project: Project
) -> None:
    mine = await make_workflow(owner, project, "orders")
    other = await make_project(owner)
    theirs = await make_workflow(owner, other, "orders")
    await open_since(owner, theirs, 3 * HOUR)
    await abandon(owner, theirs, HOUR)
    await settle(store)
    await store.count_open_runs()
    now = datetime.now(UTC)
    period = (now - 24 * HOUR, now)
    (row,) = await read(owner, project.owner, "summary($1, $2)", *period)
    assert (row["workflow_id"], *found(row)) == (mine.id, 0, None, 0, 0)
    for call in ("totals($1, $2)", "totals($1, $2, array[$3::uuid])"):
        given = (other.id,) if "$3" in call else ()
        (totals,) = await read(owner, project.owner, call, *period, *given)
        assert found(totals) == (0, None, 0, 0)
    named = "open_counts(array[$3::uuid], array[$4::uuid], $1, $2)"
    assert await read(owner, project.owner, named, *period, other.id, theirs.id) == []
    assert len(await read(owner, other.owner, named, *period, other.id, theirs.id)) == 1
