"""Row "start": from starting the process to ready, on a migrated database.

A Realtime that nobody has subscribed to for a minute starts its replication first, and answers
"Subscribed to PostgreSQL" only then: that is its time and not ours, so both are shown."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import httpx

from benchmarks.figures import Figure, at_most
from benchmarks.live import live
from benchmarks.stack import Stack, database

ROW = "start"


async def measure(*, quick: bool = False) -> list[Figure]:
    times: dict[bool, list[float]] = {True: [], False: []}
    async with database(workflows=20) as stack:
        for _ in range(2 if quick else 5):
            for warm in (True, False):
                times[warm].append(await _start(stack, warm=warm))
    return [
        at_most(ROW, "meshmetrics run → ready", median(times[True]), 2.0, "s"),
        Figure(ROW, "the same where Realtime starts, too", median(times[False]), "s"),
    ]


async def _start(stack: Stack, *, warm: bool) -> float:
    """Seconds. `warm`: Realtime has streamed changes to somebody just now."""
    began = time.perf_counter()
    async with live(stack) as running, httpx.AsyncClient() as http:
        if warm:
            await running.streaming()
            await running.daemon.stop()
            began = time.perf_counter()
            await running.daemon.start()
        async with asyncio.timeout(30):
            while (await http.get(f"{running.daemon.url}/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
        return time.perf_counter() - began
