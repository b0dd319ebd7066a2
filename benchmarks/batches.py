"""Row "batches": time of count_runs for 1 to 10,000 ids; one id is what an RPC per event costs."""

from __future__ import annotations

import time
from itertools import pairwise

from benchmarks.figures import Figure, at_most
from benchmarks.stack import Stack, database, insert_finished

ROW = "batches"
SIZES = (1, 10, 100, 1000, 10_000)


async def measure(*, quick: bool = False) -> list[Figure]:
    runs = 60_000 if quick else 100_000
    async with database(workflows=200) as stack:
        await insert_finished(stack.owner, runs, days=1)
        costs = await _costs(stack, most=20_000 if quick else 60_000)
    figures = [at_most(ROW, "1 id", costs[1] * 1000, 1.0, "ms")]
    figures += [Figure(ROW, f"{size:,} ids", costs[size] * 1000, "ms") for size in SIZES[1:]]
    per_run = [costs[size] / size for size in SIZES]
    falling = all(later < earlier for earlier, later in pairwise(per_run))
    figures.append(
        Figure(
            ROW,
            f"cost per run, {SIZES[-1]:,} ids ÷ 1 id (a listener with one RPC per event)",
            per_run[-1] / per_run[0],
            "×",
            "falling all the way",
            falling,
        )
    )
    return figures


async def _costs(stack: Stack, most: int) -> dict[int, float]:
    """Median seconds of a call by number of ids, each call on runs not counted before."""
    rows = await stack.owner.fetch("select id from public.workflow_runs order by updated_at")
    ids = [row["id"] for row in rows]
    await stack.store.count_runs([ids.pop() for _ in range(1000)])  # warm
    costs = {}
    for size in SIZES:
        times = []
        for _ in range(max(3, min(300, most // size // len(SIZES)))):
            batch = [ids.pop() for _ in range(size)]
            began = time.perf_counter()
            counted = await stack.store.count_runs(batch)
            times.append(time.perf_counter() - began)
            if counted.runs != size:
                raise RuntimeError(f"{counted.runs} of {size} runs were counted")
        costs[size] = sorted(times)[len(times) // 2]
    return costs
