"""The same figures by a plain `group by` over workflow_runs: what everything is held against."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg

BUCKETS = """
select r.workflow_id, g.grain, g.bucket_start,
       count(*) filter (where r.status = 'succeeded') as success_count,
       count(*) filter (where r.status = 'failed') as failure_count,
       count(*) filter (where r.status = 'canceled') as canceled_count
from public.workflow_runs r
cross join lateral (values
    ('minute', date_trunc('minute', coalesce(r.finished_at, r.updated_at), 'UTC')),
    ('quarter', to_timestamp(floor(extract(epoch from coalesce(r.finished_at, r.updated_at)) / 900)
                             * 900)),
    ('day', date_trunc('day', coalesce(r.finished_at, r.updated_at), 'UTC'))
) g (grain, bucket_start)
join meshmetrics.kept_from k on k.grain = g.grain and g.bucket_start >= k.since
where r.status in ('succeeded', 'failed', 'canceled')
group by 1, 2, 3
"""

COUNTERS = """
select r.workflow_id,
       count(*) filter (where r.status = 'succeeded') as success_count,
       count(*) filter (where r.status = 'failed') as failure_count,
       count(*) filter (where r.status = 'canceled') as canceled_count,
       max(coalesce(r.finished_at, r.updated_at)) filter (where r.status = 'succeeded')
         as last_success_at,
       max(coalesce(r.finished_at, r.updated_at)) filter (where r.status = 'failed')
         as last_failure_at
from public.workflow_runs r
where r.status in ('succeeded', 'failed', 'canceled')
group by 1
"""

# The project's own buckets against the sums of its workflows' buckets: what differs.
PROJECT_BUCKETS = """
select project_id, grain, bucket_start,
       sum(success_count) as success, sum(failure_count) as failure, sum(canceled_count) as canceled
from (
  select project_id, grain, bucket_start, success_count, failure_count, canceled_count
  from public.workflow_run_project_buckets
  union all
  select project_id, grain, bucket_start, -success_count, -failure_count, -canceled_count
  from public.workflow_run_buckets
) b
join meshmetrics.kept_from k using (grain)
where bucket_start >= k.since
group by 1, 2, 3
having (sum(success_count), sum(failure_count), sum(canceled_count)) <> (0, 0, 0)
"""

COUNTS = ("success_count", "failure_count", "canceled_count")

Key = tuple[Any, ...]


async def plain_buckets(connection: asyncpg.Connection) -> dict[Key, tuple[int, ...]]:
    rows = await connection.fetch(BUCKETS)
    return {_bucket(row): tuple(row[c] for c in COUNTS) for row in rows}


async def counted_buckets(connection: asyncpg.Connection) -> dict[Key, tuple[int, ...]]:
    """What the buckets say; those that were corrected down to nothing are no more than absent."""
    rows = await connection.fetch(
        "select * from public.workflow_run_buckets"
        " where (success_count, failure_count, canceled_count) <> (0, 0, 0)"
    )
    return {_bucket(row): tuple(row[c] for c in COUNTS) for row in rows}


def _bucket(row: asyncpg.Record) -> tuple[Any, str, datetime]:
    return row["workflow_id"], row["grain"], row["bucket_start"]


async def plain_counters(connection: asyncpg.Connection) -> dict[Key, tuple[Any, ...]]:
    return {row["workflow_id"]: tuple(row)[1:] for row in await connection.fetch(COUNTERS)}


async def counted_counters(connection: asyncpg.Connection) -> dict[Key, tuple[Any, ...]]:
    rows = await connection.fetch(
        "select workflow_id, success_count, failure_count, canceled_count,"
        " last_success_at, last_failure_at from public.workflow_run_metrics"
        " where (success_count, failure_count, canceled_count) <> (0, 0, 0)"
    )
    return {row["workflow_id"]: tuple(row)[1:] for row in rows}


async def assert_projects_add_up(connection: asyncpg.Connection) -> None:
    """The buckets of each project are the sums of those of its workflows."""
    assert [tuple(row) for row in await connection.fetch(PROJECT_BUCKETS)] == []


async def assert_counted(connection: asyncpg.Connection) -> None:
    """Counters and buckets of every grain equal the plain `group by`; projects add up."""
    await assert_projects_add_up(connection)
    assert await counted_counters(connection) == await plain_counters(connection)
    assert await counted_buckets(connection) == await plain_buckets(connection)
