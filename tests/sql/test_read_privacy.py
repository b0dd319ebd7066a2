"""Who reads what through the read functions, and how much they touch for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.sql.reading import Run, insert_and_count, numbers, read, read_function
from tests.support import (
    Project,
    Workflow,
    acting_as,
    insert_run,
    make_project,
    make_user,
    make_workflow,
)

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
WEEK = (TODAY - 6 * DAY, TODAY + DAY)
CALLS = [
    "totals('{from}', '{to}')",
    "totals('{from}', '{to}', array['{project}'::uuid])",
    "totals('{from}', '{to}', workflow_ids => array['{workflow}'::uuid])",
    "series('{from}', '{to}', 'day', 'Asia/Kathmandu')",
    "series('{from}', '{to}', 'hour', 'UTC', array['{project}'::uuid])",
    "series('{from}', '{to}', 'day', 'UTC', workflow_ids => array['{workflow}'::uuid])",
    "summary('{from}', '{to}')",
    "summary('{from}', '{to}', array['{project}'::uuid], array['{workflow}'::uuid])",
    "workflow('{workflow}', '{from}', '{to}')",
    "workflow('{workflow}', '{from}', '{to}', 'one')",
    "members(array['{project}'::uuid], null, null, 'all')",
    "sums('{{{from}}}', '{{{to}}}', array['{project}'::uuid], null)",
    "sums('{{{from}}}', '{{{to}}}', null, array['{workflow}'::uuid])",
]

# What reads no buckets.
OTHERS = [
    "versions(null, array['{workflow}'::uuid])",
    "recent(array['{project}'::uuid])",
    "recent(null, array['{workflow}'::uuid], 5)",
]


def call_for(call: str, workflow: Workflow) -> str:
    return call.format_map(
        {
            "from": WEEK[0].isoformat(),
            "to": WEEK[1].isoformat(),
            "project": workflow.project_id,
            "workflow": workflow.id,
        }
    )


async def a_tenant(
    owner: asyncpg.Connection, store: CountingStore, runs: int
) -> tuple[Project, Workflow]:
    project = await make_project(owner)
    workflow = await make_workflow(owner, project)
    made = [Run(workflow, "failed", TODAY - n * DAY / 2) for n in range(runs)]
    await insert_and_count(owner, store, project, made)
    return project, workflow


@pytest.mark.parametrize("call", CALLS + OTHERS)
async def test_a_tenant_reads_its_own_and_of_others_nothing(
    owner: asyncpg.Connection, store: CountingStore, call: str
) -> None:
    mine, my_workflow = await a_tenant(owner, store, 8)
    other, _ = await a_tenant(owner, store, 3)
    asked = call_for(call, my_workflow)
    own = await read(owner, mine.owner, asked)
    if "failure_count" in own[0]:
        assert sum(numbers(row)[1] for row in own) == 8

    foreign = await read(owner, other.owner, asked)
    if "{project}" not in call and "{workflow}" not in call:
        assert sum(numbers(row)[1] for row in foreign) == 3
    elif foreign and "failure_count" in foreign[0]:
        assert all(numbers(row) == (0, 0, 0) for row in foreign)
        assert all(row.get("workflows", 0) == 0 for row in foreign)
    else:
        assert foreign == []


@pytest.mark.parametrize("call", CALLS + OTHERS)
async def test_nobody_reads_without_being_signed_in(
    owner: asyncpg.Connection, store: CountingStore, call: str
) -> None:
    _, workflow = await a_tenant(owner, store, 2)
    asked = f"select * from {read_function(call_for(call, workflow))}"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(owner, None, role="anon"):
            await owner.fetch(asked)
    async with acting_as(owner, None):  # the role, but nobody's claims
        rows = await owner.fetch(asked)
    assert all(not any(numbers(row)) for row in rows if "failure_count" in row)


@pytest.mark.parametrize("call", CALLS)
async def test_buckets_are_read_by_index_and_runs_and_ledger_never(
    owner: asyncpg.Connection, store: CountingStore, call: str
) -> None:
    """Counted by Postgres itself, whatever the plan looks like: with tables that are still small
    or have no statistics it would rather read them whole."""
    mine, workflow = await a_tenant(owner, store, 8)
    asked = f"select * from {read_function(call_for(call, workflow))}"
    # May not even be looked at.
    await owner.execute("revoke all on public.workflow_runs from authenticated")
    for _ in range(2):
        async with acting_as(owner, mine.owner):
            before = await touched(owner)
            await owner.fetch(asked)
            after = await touched(owner)
        scans = {
            name: [b - a for a, b in zip(before[name], after[name], strict=True)] for name in after
        }
        assert scans["workflow_runs"] == scans["counted_runs"] == [0, 0]
        for name in ("workflow_run_buckets", "workflow_run_project_buckets"):
            assert scans[name][0] == 0, f"{name} was read whole"
        read_buckets = scans["workflow_run_buckets"][1] + scans["workflow_run_project_buckets"][1]
        assert read_buckets > 0 or call.startswith("members")
        await owner.execute("analyze")


async def touched(owner: asyncpg.Connection) -> dict[str, tuple[int, int]]:
    """Sequential and index scans of each table in this transaction."""
    rows = await owner.fetch(
        "select relname, seq_scan, coalesce(idx_scan, 0) as idx_scan from pg_stat_xact_user_tables"
    )
    return {row["relname"]: (row["seq_scan"], row["idx_scan"]) for row in rows}


async def test_a_long_series_over_all_reads_a_few_buckets_a_day_however_many_workflows(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    project = await make_project(owner)
    flows = [await make_workflow(owner, project) for _ in range(5)]
    quarter = timedelta(minutes=15)
    runs = [Run(flow, "failed", TODAY - n * quarter) for n in range(96 * 20) for flow in flows]
    await insert_and_count(owner, store, project, runs)
    async with acting_as(owner, project.owner):
        before = await fetched(owner)
        rows = await owner.fetch(
            "select * from public.workflow_metrics_series($1, $2, 'day', 'Asia/Kathmandu')",
            TODAY - 19 * DAY, TODAY,
        )  # fmt: skip
        read_rows = await fetched(owner) - before
    assert sum(row["failure_count"] for row in rows) == 96 * 19 * 5
    # 18:15 UTC is 23 quarters from the next midnight, at both ends of a day.
    assert read_rows <= len(rows) * (23 + 1 + 23) + 10


async def fetched(owner: asyncpg.Connection) -> int:
    found: int = await owner.fetchval(
        "select sum(idx_tup_fetch)::bigint from pg_stat_xact_user_tables"
        " where relname like 'workflow_run%buckets'"
    )
    return found


@pytest.mark.parametrize(
    ("call", "parameter", "says"),
    [
        ("totals('2026-02-01Z', '2026-01-01Z')", "from_at", "before the end of the period"),
        ("totals(null, '2026-01-01Z')", "from_at", "a time"),
        ("totals('0001-01-01Z', '2026-01-01Z')", "from_at", "from 1970"),
        ("totals('2026-01-01Z', 'infinity')", "to_at", "to 2200"),
        ("series('2026-01-01Z', '2026-02-01Z', 'day', 'Mars/Olympus')", "zone", "IANA"),
        ("series('2026-01-01Z', '2026-02-01Z', 'fortnight')", "bucket", "week"),
        ("series('2026-01-01Z', '2026-02-01Z', null)", "bucket", "auto"),
        ("series(now() - interval '3 days', now(), 'minute')", "bucket", "quarter for"),
        ("series(now() - interval '300 days', now(), 'hour')", "bucket", "day for"),
        ("series(now() - interval '30 days', now(), 'quarter')", "bucket", "hour for"),
        ("series(now() - interval '500 days', now(), 'hour')", "bucket", "day for"),
        ("series('1990-01-01Z', '2020-01-01Z', 'day')", "bucket", "week for"),
        ("series('1970-01-01Z', '2026-01-01Z')", "from_at", "2000 weeks before"),
        ("summary('2026-01-01Z', '2026-02-01Z', sort_by => 'id; drop table x')", "sort_by", "name"),
        ("summary('2026-01-01Z', '2026-02-01Z', group_by => 'day')", "group_by", "workflow or"),
        ("summary('2026-01-01Z', '2026-02-01Z', max_rows => 501)", "max_rows", "1 to 500"),
        (
            "summary('2026-01-01Z', '2026-02-01Z', version_mode => 'two')",
            "version_mode",
            "all, one or",
        ),
    ],
)
async def test_what_cannot_be_told_is_refused_naming_the_parameter_and_what_it_takes(
    owner: asyncpg.Connection, call: str, parameter: str, says: str
) -> None:
    project = await make_project(owner)
    with pytest.raises(asyncpg.InvalidParameterValueError) as caught:
        await read(owner, project.owner, call)
    said = json.loads(caught.value.detail or "")
    assert said["parameter"] == parameter
    assert says in said["takes"]
    assert str(caught.value).startswith(f"{parameter} is")


async def test_what_is_named_twice_is_counted_once(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    mine, workflow = await a_tenant(owner, store, 8)
    async with acting_as(owner, mine.owner):
        for named in ([[mine.id] * 2, None], [[mine.id] * 2, [workflow.id] * 2]):
            for call in (
                "totals($1, $2, $3, $4)",
                "series($1, $2, 'auto', 'UTC', $3, $4)",
                "summary($1, $2, $3, $4)",
            ):
                failures = await owner.fetchval(
                    f"select sum(failure_count) from {read_function(call)}", *WEEK, *named
                )
                assert failures == 8, call


async def test_a_service_role_reads_what_it_names(
    owner: asyncpg.Connection, store: CountingStore
) -> None:
    mine, _ = await a_tenant(owner, store, 8)
    async with acting_as(owner, None, role="service_role"):
        row = await owner.fetchrow(
            "select * from public.workflow_metrics_totals($1, $2, $3)", *WEEK, [mine.id]
        )
    assert row is not None
    assert row["failure_count"] == 8


async def test_unknown_statuses_are_those_of_the_callers_own_runs(
    owner: asyncpg.Connection,
) -> None:
    await owner.execute("alter table workflow_runs drop constraint workflow_runs_status_check")
    mine, theirs = await make_project(owner), await make_project(owner)
    workflow, other = await make_workflow(owner, mine), await make_workflow(owner, theirs)
    for status in ("timed_out", "timed_out", "succeeded", "running"):
        await insert_run(owner, workflow, status)
    for status in ("timed_out", "secret_status"):
        await insert_run(owner, other, status)
    # A run of theirs that names my workflow is theirs.
    await insert_run(owner, workflow, "odd", project_id=theirs.id)
    call = "select status, runs from public.workflow_metrics_unknown_statuses()"
    async with acting_as(owner, mine.owner):
        assert [tuple(row) for row in await owner.fetch(call)] == [("timed_out", 2)]
    stranger = await make_user(owner)
    async with acting_as(owner, stranger):
        assert await owner.fetch(call) == []
