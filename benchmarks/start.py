"""Row "start": from starting the process to ready, on a migrated database."""

from __future__ import annotations

import asyncio
import time

import httpx

from benchmarks.figures import Figure, at_most
from benchmarks.live import live
from benchmarks.stack import database

ROW = "start"


async def measure(*, quick: bool = False) -> list[Figure]:
    times = []
    async with database(workflows=20) as stack:
        for _ in range(2 if quick else 5):
            began = time.perf_counter()
            async with live(stack) as running, httpx.AsyncClient() as http:
                async with asyncio.timeout(30):
                    while (await http.get(f"{running.daemon.url}/readyz")).status_code != 200:
                        await asyncio.sleep(0.02)
                times.append(time.perf_counter() - began)
    return [at_most(ROW, "meshmetrics run → ready", sorted(times)[len(times) // 2], 2.0, "s")]
