"""Row "backlog": a million finished runs that nobody counted, against a bare insert … select."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.figures import Figure, at_least
from benchmarks.stack import Stack, database, insert_finished
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.walk import BEGINNING, walk
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings
from meshmetrics.stream.inbox import Inbox

ROW = "backlog"
BATCH: int = Settings.model_fields["backfill_batch"].default
COUNTED: int = Settings.model_fields["count_batch"].default


async def measure(*, quick: bool = False) -> list[Figure]:
    runs = 100_000 if quick else 1_000_000
    async with database(workflows=200) as stack:
        await insert_finished(stack.owner, runs, days=30)
        bare = runs / median([await _bare(stack) for _ in range(3)])
        view = await _materialized_view(stack)
        counting = runs / await _count_all(stack, runs)
    return [
        Figure(ROW, "bare insert of the ledger rows", bare, "rows/s"),
        at_least(ROW, f"counted, batches of {COUNTED:,}", counting, 100_000, "runs/s"),
        at_least(ROW, "counted ÷ bare", counting / bare, 0.3),
        Figure(ROW, "a refresh of a materialized view, for comparison", view, "s"),
    ]


async def _bare(stack: Stack) -> float:
    await stack.owner.execute(
        "drop table if exists bare; create table bare (like meshmetrics.counted_runs including all)"
    )
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
    """As the back-fill does it."""
    store, until = stack.store, await stack.store.database.now()
    counter = Counter(store, Inbox(1), lambda *_, **__: None, Telemetry(), batch=COUNTED)
    counted = 0
    began = time.perf_counter()
    async for step in walk(store, counter, BEGINNING, until, BATCH, "backfill"):
        counted += step.changed
    took = time.perf_counter() - began
    if counted != runs:
        raise RuntimeError(f"{counted} of {runs} runs were counted")
    return took
