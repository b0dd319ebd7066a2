"""Row "growth": what counting one run costs with 10⁵, 10⁶ and 10⁷ runs counted already."""

from __future__ import annotations

import time

import asyncpg

from benchmarks.figures import Figure, at_most
from benchmarks.stack import Stack, database, insert_finished

ROW = "growth"
BATCH = 100


async def measure(*, quick: bool = False) -> list[Figure]:
    sizes = (10_000, 50_000, 100_000) if quick else (100_000, 1_000_000, 10_000_000)
    costs = {}
    async with database(workflows=200) as stack:
        counted = 0
        for size in sizes:
            await _grow(stack.owner, size - counted)
            counted = size
            costs[size] = await _cost(stack)
    first = costs[sizes[0]]
    figures = [
        Figure(ROW, f"with {size:,} counted", cost * 1e6, "µs/run") for size, cost in costs.items()
    ]
    return [
        *figures,
        at_most(ROW, "most ÷ least", max(costs.values()) / min(first, *costs.values()), 1.3, "×"),
    ]


async def _grow(owner: asyncpg.Connection, runs: int) -> None:
    """Runs and the ledger rows that counting them leaves, written directly: counting ten million
    is another benchmark's."""
    await insert_finished(owner, runs, days=365)
    await owner.execute(
        "insert into meshmetrics.counted_runs"
        " select r.id, r.workflow_id, r.finished_at,"
        "  case r.status when 'failed' then 'failure' else 'success' end::meshmetrics.outcome"
        " from public.workflow_runs r"
        " where not exists (select from meshmetrics.counted_runs l where l.run_id = r.id)"
    )
    await owner.execute("vacuum analyze meshmetrics.counted_runs")
    await owner.execute("checkpoint")


async def _cost(stack: Stack) -> float:
    """Median seconds a run, in batches of 100 new ones."""
    times = []
    for _ in range(60):
        rows = await stack.owner.fetch(
            "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
            " select project_id, id, 'succeeded', now() from public.workflow_definitions"
            " order by random() limit $1 returning id",
            BATCH,
        )
        ids = [row["id"] for row in rows]
        began = time.perf_counter()
        counted = await stack.store.count_runs(ids)
        times.append((time.perf_counter() - began) / BATCH)
        if counted.runs != BATCH:
            raise RuntimeError(f"{counted.runs} of {BATCH} runs were counted")
    return sorted(times)[len(times) // 2]
