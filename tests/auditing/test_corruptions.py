"""Whatever is corrupted in ledger, buckets, sums or counters is found, named and healed."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.support import insert_run, make_project, make_workflow

SEEDS = int(os.environ.get("MESHMETRICS_TEST_CORRUPTIONS", "1000"))
PARTS = 10
OUTCOMES = ("success", "failure", "canceled")
BUCKET = "(workflow_id, grain, bucket_start) = ($1, $2, $3)"
PROJECT_BUCKET = "(project_id, grain, bucket_start) = ($1, $2, $3)"


@pytest.fixture
async def workflows(owner: asyncpg.Connection, store: CountingStore) -> list[UUID]:
    """Three workflows in two projects, with runs of the last days; everything is counted."""
    chance = random.Random(1)
    first, second = await make_project(owner), await make_project(owner)
    workflows = [await make_workflow(owner, project) for project in (first, first, second)]
    runs = [
        await insert_run(
            owner,
            workflow,
            chance.choice(("succeeded", "failed", "canceled")),
            finished_at=datetime.now(UTC) - timedelta(hours=chance.uniform(0.1, 90)),
        )
        for workflow in workflows
        for _ in range(12)
    ]
    await store.count_runs(runs)
    await owner.execute("update meshmetrics.checkpoint set updated_at = now() + interval '1 hour'")
    return [workflow.id for workflow in workflows]


async def corrupt(owner: asyncpg.Connection, chance: random.Random) -> set[str]:
    """One corruption; the ids of the workflow, project or run that an audit has to name."""
    return await chance.choice((ledger, buckets, project_buckets, counters))(owner, chance)


async def pick(owner: asyncpg.Connection, chance: random.Random, table: str) -> asyncpg.Record:
    rows = await owner.fetch(f"select t.* from {table} t order by t::text")
    return chance.choice(rows)


async def ledger(owner: asyncpg.Connection, chance: random.Random) -> set[str]:
    row = await pick(owner, chance, "meshmetrics.counted_runs")
    kind = chance.choice(("missing", "outcome", "time", "workflow"))
    if kind == "missing":
        await owner.execute("delete from meshmetrics.counted_runs where run_id = $1", row["run_id"])
    elif kind == "outcome":
        other = chance.choice([o for o in OUTCOMES if o != row["outcome"]])
        await owner.execute(
            "update meshmetrics.counted_runs set outcome = $2::text::meshmetrics.outcome"
            " where run_id = $1",
            row["run_id"],
            other,
        )
    elif kind == "time":
        await owner.execute(
            "update meshmetrics.counted_runs set finished_at = $2 where run_id = $1",
            row["run_id"],
            row["finished_at"] - timedelta(hours=chance.choice((1, 30))),
        )
    else:
        other_workflow = await owner.fetchval(
            "select id from public.workflow_definitions where id <> $1 limit 1", row["workflow_id"]
        )
        await owner.execute(
            "update meshmetrics.counted_runs set workflow_id = $2 where run_id = $1",
            row["run_id"],
            other_workflow,
        )
    return {str(row["run_id"])}


async def buckets(owner: asyncpg.Connection, chance: random.Random) -> set[str]:
    row = await pick(owner, chance, "public.workflow_run_buckets")
    key = row["workflow_id"], row["grain"], row["bucket_start"]
    change = chance.choice(
        (
            f"delete from public.workflow_run_buckets where {BUCKET}",
            "update public.workflow_run_buckets set success_count = success_count + 1"
            f" where {BUCKET}",
            "update public.workflow_run_buckets set failure_count = failure_count - 1"
            f" where {BUCKET}",
            "update public.workflow_run_buckets set success_count = 2 * success_count + 1,"
            f" canceled_count = 2 * canceled_count where {BUCKET}",
            "update public.workflow_run_buckets set bucket_start = bucket_start - interval '9 days'"
            f" where {BUCKET}",
            "update public.workflow_run_buckets b set project_id ="
            " (select p.id from public.projects p where p.id <> b.project_id limit 1)"
            f" where {BUCKET}",
        )
    )
    await owner.execute(change, *key)
    return {str(row["workflow_id"])}


async def project_buckets(owner: asyncpg.Connection, chance: random.Random) -> set[str]:
    row = await pick(owner, chance, "public.workflow_run_project_buckets")
    change = chance.choice(
        (
            f"delete from public.workflow_run_project_buckets where {PROJECT_BUCKET}",
            "update public.workflow_run_project_buckets set failure_count = failure_count + 1"
            f" where {PROJECT_BUCKET}",
            "update public.workflow_run_project_buckets set success_count = 2 * success_count + 1"
            f" where {PROJECT_BUCKET}",
            "update public.workflow_run_project_buckets"
            f" set bucket_start = bucket_start - interval '9 days' where {PROJECT_BUCKET}",
        )
    )
    await owner.execute(change, row["project_id"], row["grain"], row["bucket_start"])
    return {str(row["project_id"])}


async def counters(owner: asyncpg.Connection, chance: random.Random) -> set[str]:
    row = await pick(owner, chance, "public.workflow_run_metrics")
    change = chance.choice(
        (
            "delete from public.workflow_run_metrics where workflow_id = $1",
            "update public.workflow_run_metrics set success_count = success_count + 1"
            " where workflow_id = $1",
            "update public.workflow_run_metrics set canceled_count = 2 * canceled_count + 1"
            " where workflow_id = $1",
            "update public.workflow_run_metrics set last_success_at ="
            " coalesce(last_success_at, now()) - interval '1 hour' where workflow_id = $1",
        )
    )
    await owner.execute(change, row["workflow_id"])
    return {str(row["workflow_id"])}


async def differences(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return await owner.fetch("select * from meshmetrics.audit(null, null, 1000)")


async def heal(owner: asyncpg.Connection, found: list[asyncpg.Record]) -> None:
    """As `meshmetrics verify --repair` does it."""
    await owner.execute(
        "select meshmetrics.count_runs($1)", [d["run_id"] for d in found if d["kind"] == "run"]
    )
    await owner.execute(
        "select meshmetrics.repair_workflow(d.id, null, null) from public.workflow_definitions d"
    )
    await owner.execute(
        "select meshmetrics.repair_project(p.id, null, null) from public.projects p"
    )


async def numbers(owner: asyncpg.Connection) -> list[list[tuple[object, ...]]]:
    """All that tenants read, without what says when it was written, and without buckets that are
    older than what is kept of their grain."""
    queries = (
        "select workflow_id, project_id, success_count, failure_count, canceled_count,"
        " last_success_at, last_failure_at from public.workflow_run_metrics order by 1",
        "select b.* from public.workflow_run_buckets b join meshmetrics.kept_from k using (grain)"
        " where bucket_start >= since and success_count + failure_count + canceled_count > 0"
        " order by 1, 3, 4",
        "select project_id, grain, bucket_start, sum(success_count), sum(failure_count),"
        " sum(canceled_count) from public.workflow_run_project_buckets"
        " join meshmetrics.kept_from k using (grain) where bucket_start >= since group by 1, 2, 3"
        " having sum(success_count + failure_count + canceled_count) > 0 order by 1, 2, 3",
    )
    return [[tuple(row) for row in await owner.fetch(query)] for query in queries]


@pytest.mark.parametrize("part", range(PARTS))
async def test_every_corruption_is_found_named_and_healed(
    owner: asyncpg.Connection, workflows: list[UUID], part: int
) -> None:
    right = await numbers(owner)
    for seed in range(part, SEEDS, PARTS):
        chance = random.Random(seed)
        transaction = owner.transaction()
        await transaction.start()
        named = await corrupt(owner, chance)
        found = await differences(owner)
        names = {str(d[key]) for d in found for key in ("run_id", "workflow_id", "project_id")}
        assert named <= names, f"seed {seed}: {named} is not among {found}"
        assert not any(d["pending"] for d in found), f"seed {seed}"
        await heal(owner, found)
        assert await differences(owner) == [], f"seed {seed}"
        assert await numbers(owner) == right, f"seed {seed}"
        await transaction.rollback()
