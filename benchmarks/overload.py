"""Row "overload": 2,000 runs/s for a minute, with a Realtime that passes 100 events/s."""

from __future__ import annotations

import asyncio
import time
from statistics import quantiles
from uuid import UUID

import asyncpg

from benchmarks.engine import SteadyEngine
from benchmarks.figures import Figure, at_most
from benchmarks.live import live
from benchmarks.stack import database
from meshmetrics.auditing.store import AuditStore
from meshmetrics.devstack.realtime import Limits

ROW = "overload"
RATE = 2000
SAMPLE = 20
"""One run in so many is watched."""
LOOK_SECONDS = 0.02
SETTLE_SECONDS = 60


async def measure(*, quick: bool = False) -> list[Figure]:
    seconds = 8 if quick else 60
    limits = Limits(events_per_second=100, average_over=1)
    async with database(workflows=200) as stack, live(stack, limits=limits) as running:
        await running.streaming()
        watch = Watch()
        watching = asyncio.create_task(watch.run(stack.dsn))
        engine = SteadyEngine(stack.dsn, RATE, watch.ended)
        began = time.perf_counter()
        await engine.run(seconds)
        took = time.perf_counter() - began
        watch.last = True
        async with asyncio.timeout(SETTLE_SECONDS):
            await watching
            while (await running.metrics()).counted() < engine.ended:
                await asyncio.sleep(0.1)
        events = (await running.metrics()).get("events_received_total")
        wrong = [d for d in await AuditStore(stack.store.database).audit() if d.kind != "set_aside"]
        counted = await stack.owner.fetchval(
            "select sum(success_count + failure_count)::bigint from public.workflow_run_metrics"
        )
    lags = quantiles(watch.lags, n=100)
    return [
        Figure(ROW, "runs ended", engine.ended / took, "runs/s"),
        Figure(ROW, "events that came through", events, "events"),
        at_most(
            ROW, "difference to the run list", abs(engine.ended - counted) + len(wrong), 0, "runs"
        ),
        Figure(ROW, "commit → counted, p50", lags[49], "s"),
        at_most(ROW, "commit → counted, p99", lags[98], 2.0, "s"),
    ]


class Watch:
    """How long after its commit a run is in the ledger, of a sample of the runs."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.last = False
        """Set once no more runs will end."""
        self._pending: dict[UUID, float] = {}
        self._number = 0

    def ended(self, run: UUID) -> None:
        self._number += 1
        if self._number % SAMPLE == 0:
            self._pending[run] = time.perf_counter()

    async def run(self, dsn: str) -> None:
        """Look again and again, until the last run that is watched is counted."""
        connection = await asyncpg.connect(dsn)
        try:
            while self._pending or not self.last:
                rows = await connection.fetch(
                    "select run_id from meshmetrics.counted_runs where run_id = any ($1)",
                    list(self._pending),
                )
                now = time.perf_counter()
                self.lags += [now - self._pending.pop(row["run_id"]) for row in rows]
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()
