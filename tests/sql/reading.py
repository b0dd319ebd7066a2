"""What the read functions are held against: a plain `group by` over workflow_runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from meshmetrics.counting.store import CountingStore
from tests.support import Project, Workflow, acting_as

COUNTS = """
count(*) filter (where r.status = 'succeeded') as success_count,
count(*) filter (where r.status = 'failed') as failure_count,
count(*) filter (where r.status = 'canceled') as canceled_count
"""
WITHIN = """
from public.workflow_runs r
join public.workflow_definitions d on d.id = r.workflow_id
where r.status in ('succeeded', 'failed', 'canceled')
  and coalesce(r.finished_at, r.updated_at) >= $1 and coalesce(r.finished_at, r.updated_at) < $2
  and r.project_id = any ($3) and ($4::uuid[] is null or r.workflow_id = any ($4))
"""
# Which hour, day or week of the local calendar a moment lies in. An hour that comes twice is two,
# told apart by the offset; where the clock moves by half an hour, an hour is longer or shorter.
LABEL = """
date_trunc($5, {at} at time zone $6)::text || case
  when $5 = 'hour' and $6 <> 'Australia/Lord_Howe'
  then ({at} at time zone $6 - {at} at time zone 'UTC')::text else '' end
"""

Numbers = tuple[int, int, int]
NOTHING: Numbers = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Run:
    """A run to insert."""

    workflow: Workflow
    status: str
    finished_at: datetime


async def insert_and_count(
    owner: asyncpg.Connection, store: CountingStore, project: Project, runs: Sequence[Run]
) -> None:
    """Insert the runs at once and count them as the daemon would."""
    ids = await owner.fetch(
        "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
        " select $1, w, s, f from unnest($2::uuid[], $3::text[], $4::timestamptz[]) u (w, s, f)"
        " returning id",
        project.id,
        [run.workflow.id for run in runs],
        [run.status for run in runs],
        [run.finished_at for run in runs],
    )
    await store.count_runs([row["id"] for row in ids])


async def read(
    owner: asyncpg.Connection, user: UUID, call: str, *arguments: object
) -> list[asyncpg.Record]:
    """Call a read function as that user."""
    async with acting_as(owner, user):
        return await owner.fetch(f"select * from {read_function(call)}", *arguments)


def read_function(call: str) -> str:
    """A call of a function that tenants call, or (members, sums …) of one of their parts."""
    public = ("recent", "series", "summary", "totals", "versions", "workflow")
    name = call.partition("(")[0]
    return ("public.workflow_metrics_" if name in public else "meshmetrics_parts.") + call


def numbers(row: asyncpg.Record, prefix: str = "") -> Numbers:
    return (
        row[prefix + "success_count"],
        row[prefix + "failure_count"],
        row[prefix + "canceled_count"],
    )


async def plain_total(
    owner: asyncpg.Connection,
    starts_at: datetime,
    ends_at: datetime,
    projects: Sequence[UUID],
    workflows: Sequence[UUID] | None = None,
) -> Numbers:
    row = await owner.fetchrow(f"select {COUNTS} {WITHIN}", starts_at, ends_at, projects, workflows)
    assert row is not None
    return numbers(row)


async def plain_by(
    owner: asyncpg.Connection,
    key: str,
    starts_at: datetime,
    ends_at: datetime,
    projects: Sequence[UUID],
) -> dict[Any, Numbers]:
    rows = await owner.fetch(
        f"select {key} as key, {COUNTS} {WITHIN} group by 1", starts_at, ends_at, projects, None
    )
    return {row["key"]: numbers(row) for row in rows}


async def plain_series(
    owner: asyncpg.Connection,
    starts_at: datetime,
    ends_at: datetime,
    projects: Sequence[UUID],
    workflows: Sequence[UUID] | None,
    bucket: str,
    zone: str,
) -> dict[str, Numbers]:
    """Counts by the label of a local hour, day or week."""
    label = LABEL.format(at="coalesce(r.finished_at, r.updated_at)")
    rows = await owner.fetch(
        f"select {label} as label, {COUNTS} {WITHIN} group by 1",
        starts_at, ends_at, projects, workflows, bucket, zone,
    )  # fmt: skip
    return {row["label"]: numbers(row) for row in rows}


async def labels(
    owner: asyncpg.Connection, moments: Sequence[datetime], bucket: str, zone: str
) -> list[str]:
    label = LABEL.format(at="u.at").replace("$5", "$2::text").replace("$6", "$3::text")
    rows = await owner.fetch(
        f"select {label} as label from unnest($1::timestamptz[]) with ordinality u (at, n)"
        " order by n",
        moments,
        bucket,
        zone,
    )
    return [row["label"] for row in rows]
