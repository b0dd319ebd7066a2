"""How many runs there were in a time: exact at its edges, and little to read in between."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.support import Workflow

COUNT = "select successes, failures from meshmetrics.alert_count($1, $2, $3)"


@pytest.fixture
async def finished(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> list[tuple[datetime, bool]]:
    """The runs of four days: the minute buckets of the first two are gone."""
    chance = random.Random(3)
    now = datetime.now(UTC)
    runs = [
        (now - timedelta(microseconds=chance.randrange(4 * 86_400_000_000)), chance.random() < 0.7)
        for _ in range(3000)
    ]
    # Some at the very edges of minutes and quarters.
    runs += [(at.replace(minute=15, second=0, microsecond=0), good) for at, good in runs[:50]]
    ids = await owner.fetch(
        "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
        " select $1, $2, case when good then 'succeeded' else 'failed' end, at"
        " from unnest($3::timestamptz[], $4::boolean[]) r (at, good) returning id",
        workflow.project_id,
        workflow.id,
        [at for at, _ in runs],
        [good for _, good in runs],
    )
    await store.count_runs([row["id"] for row in ids])
    return runs


async def test_it_is_what_one_gets_by_counting(
    owner: asyncpg.Connection,
    store: CountingStore,
    workflow: Workflow,
    finished: list[tuple[datetime, bool]],
) -> None:
    chance = random.Random(4)
    edges = [at for at, _ in finished]
    for _ in range(200):
        begin, end = sorted(chance.choices(edges, k=2))
        end = chance.choice([end, begin + (end - begin) / 100, datetime.max.replace(tzinfo=UTC)])
        row = await owner.fetchrow(COUNT, [workflow.id], begin, end)
        inside = [good for at, good in finished if begin <= at <= end]
        assert row is not None
        assert tuple(row) == (sum(inside), len(inside) - sum(inside)), f"{begin} to {end}"


async def test_of_a_busy_day_it_reads_the_buckets_and_not_the_runs(
    owner: asyncpg.Connection,
    workflow: Workflow,
    finished: list[tuple[datetime, bool]],
) -> None:
    """An open incident's runs are counted again at every round."""
    until = max(at for at, _ in finished)
    read = (
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint"
        " from pg_stat_xact_user_tables where relname = 'counted_runs'"
    )
    async with owner.transaction():
        before = await owner.fetchval(read)
        row = await owner.fetchrow(COUNT, [workflow.id], until - timedelta(hours=40), until)
        rows = await owner.fetchval(read) - before
    assert row is not None
    assert sum(row) > 1000
    assert rows < 20
