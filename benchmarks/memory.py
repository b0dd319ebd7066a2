"""Row "memory": the daemon's resident size before and after a million events."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.live import UNLIMITED, Live, live
from benchmarks.stack import database

ROW = "memory"
RUNS = 2000


async def measure(*, quick: bool = False) -> list[Figure]:
    events = 50_000 if quick else 1_000_000
    async with (
        database(workflows=200) as stack,
        live(stack, limits=UNLIMITED, MESHMETRICS_STREAM_RUNS_PER_SECOND="0") as running,
    ):
        await stack.owner.execute(
            "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
            " select project_id, id, 'succeeded', now() from public.workflow_definitions,"
            " generate_series(1, $1::integer / 200)",
            RUNS,
        )

        await running.streaming()

        async def touch(rounds: int) -> None:
            """Each round moves the end of every run: an event, a correction and a broadcast."""
            for _ in range(rounds):
                before = (await running.metrics()).get("events_received_total")
                await stack.owner.execute("update public.workflow_runs set finished_at = now()")
                async with asyncio.timeout(60):
                    while (await running.metrics()).get("events_received_total") < before + RUNS:
                        await asyncio.sleep(0.05)

        await touch(25)  # warm: caches and arenas have their size
        first, start = await _resident(running), await _events(running)
        await touch(events // RUNS)
        last, seen = await _resident(running), await _events(running) - start
    return [
        Figure(ROW, "events", seen, "events"),
        at_most(ROW, "resident size at the end", last, 120, "MB"),
        at_most(ROW, "growth", (last / first - 1) * 100, 5, "%"),
    ]


async def _events(running: Live) -> float:
    return (await running.metrics()).get("events_received_total")


async def _resident(running: Live) -> float:
    status = await asyncio.to_thread(Path(f"/proc/{running.daemon.pid}/status").read_text)
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000
