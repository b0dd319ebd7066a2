"""Row "backlog": a million finished runs that nobody counted, against a bare insert … select."""

from __future__ import annotations

import time

from benchmarks.figures import Figure, at_least
from benchmarks.stack import Stack, database, insert_finished
from meshmetrics.model import Position
from meshmetrics.settings import Settings

ROW = "backlog"
BATCH: int = Settings.model_fields["backfill_batch"].default


async def measure(*, quick: bool = False) -> list[Figure]:
    runs = 100_000 if quick else 1_000_000
    async with database(workflows=200) as stack:
        await insert_finished(stack.owner, runs, days=30)
        bare = runs / await _bare(stack)
        view = await _materialized_view(stack)
        counting = runs / await _count_all(stack, runs)
    return [
        Figure(ROW, "bare insert of the ledger rows", bare, "rows/s"),
        at_least(ROW, f"counted, batches of {BATCH:,}", counting, 100_000, "runs/s"),
        at_least(ROW, "counted ÷ bare", counting / bare, 0.3),
        Figure(ROW, "a refresh of a materialized view, for comparison", view, "s"),
    ]


async def _bare(stack: Stack) -> float:
    await stack.owner.execute("create table bare (like meshmetrics.counted_runs including all)")
    began = time.perf_counter()
    await stack.owner.execute(
        "insert into bare select id, workflow_id, finished_at,"
        " case status when 'failed' then 'failure' else 'success' end::meshmetrics.outcome"
        " from public.workflow_runs"
    )
    return time.perf_counter() - began


async def _materialized_view(stack: Stack) -> float:
    """What a user pays at each refresh, whatever changed."""
    await stack.owner.execute(
        "create materialized view by_quarter as"
        " select workflow_id, date_bin('15 minutes', finished_at, '2000-01-01') as at, status,"
        " count(*) from public.workflow_runs group by 1, 2, 3"
    )
    await stack.owner.execute("create unique index on by_quarter (workflow_id, at, status)")
    began = time.perf_counter()
    await stack.owner.execute("refresh materialized view concurrently by_quarter")
    return time.perf_counter() - began


async def _count_all(stack: Stack, runs: int) -> float:
    """As the back-fill does it: find a batch, count it, go on."""
    store = stack.store
    began = time.perf_counter()
    position: Position = (await store.read_checkpoint("backfill")).position
    until = await store.now()
    counted = 0
    while True:
        step = await store.uncounted_runs(position, until, BATCH)
        counted += (await store.count_runs(step.run_ids)).runs
        if step.reached is None or step.scanned < BATCH:
            break
        position = step.reached
    took = time.perf_counter() - began
    if counted != runs:
        raise RuntimeError(f"{counted} of {runs} runs were counted")
    return took
