"""Row "latency": from a frame to a count to a broadcast in the daemon; and from a run's commit to a
dashboard's client, beside what the same Realtime server takes for its own part."""

from __future__ import annotations

import asyncio
import time
from statistics import quantiles
from typing import Any
from uuid import UUID

from realtime import AsyncRealtimeClient
from realtime.types import RealtimeChannelOptions, RealtimePostgresChangesListenEvent

from benchmarks.engine import SteadyEngine
from benchmarks.figures import Figure, at_most
from benchmarks.live import DAY, UNLIMITED, Live, live
from benchmarks.stack import Stack, database
from meshmetrics.devstack.realtime import mint

DAEMON = "latency, daemon"
END_TO_END = "latency, end to end"


async def measure(*, quick: bool = False) -> list[Figure]:
    figures: list[Figure] = []
    seconds = 6 if quick else 30
    quiet = 6 if quick else 120
    async with database(workflows=20) as stack, live(stack, limits=UNLIMITED) as running:
        await running.streaming()
        for rate in (1, 100, 500):
            before = await running.metrics()
            await SteadyEngine(stack.dsn, rate).run(quiet if rate == 1 else seconds)
            await asyncio.sleep(1)  # the last events
            after = await running.metrics()
            for q, target in ((0.5, 5.0), (0.99, 25.0)):
                took = after.quantile("received_to_counted_seconds", q, before) * 1000
                what = f"{rate} runs/s: frame → counted, p{q * 100:.0f}"
                figures.append(at_most(DAEMON, what, took, target, "ms"))
            if rate == 1:
                for q in (0.5, 0.99):
                    took = after.quantile("counted_to_broadcast_seconds", q, before) * 1000
                    what = f"quiet project: counted → handed to Realtime, p{q * 100:.0f}"
                    figures.append(at_most(DAEMON, what, took, 5.0, "ms"))
        figures += await _end_to_end(stack, running, runs=10 if quick else 60)
    return figures


async def _end_to_end(stack: Stack, running: Live, runs: int) -> list[Figure]:
    """One run a second: its commit → the dashboard's client; and → a bare client of changes."""
    owner, project = await _project(stack)
    client = AsyncRealtimeClient(
        f"{running.realtime.url}/realtime/v1",
        running.service_key,
    )
    floors: dict[UUID, float] = {}
    shown: list[float] = []
    hops: list[float] = []
    ready = asyncio.Event()

    def change(payload: Any) -> None:
        floors[UUID(payload["data"]["record"]["id"])] = time.perf_counter()

    def rates(_: Any) -> None:
        shown.append(time.perf_counter())

    def system(payload: Any) -> None:
        if payload.extension == "postgres_changes":
            ready.set()

    bare = client.channel("bench-floor")
    bare.on_postgres_changes(
        RealtimePostgresChangesListenEvent.Update, change, table="workflow_runs", schema="public"
    ).on_system(system)
    tenant = AsyncRealtimeClient(
        f"{running.realtime.url}/realtime/v1",
        mint(running.secret, "authenticated", sub=owner, expires_in=DAY),
    )
    dashboard = tenant.channel(f"metrics:{project}", _config(private=True))
    dashboard.on_broadcast("rates", rates)
    echo = client.channel("bench-hop", _config(private=False))
    echo.on_broadcast("hop", lambda _: hops.append(time.perf_counter()))
    for each in (bare, dashboard, echo):
        await each.subscribe()
    await asyncio.wait_for(ready.wait(), 30)
    direct, whole, hop = [], [], []
    for _ in range(runs):
        floors.clear()
        shown.clear()
        hops.clear()
        committed: list[tuple[UUID, float]] = []

        def ended(run: UUID, into: list[tuple[UUID, float]] = committed) -> None:
            into.append((run, time.perf_counter()))

        await SteadyEngine(stack.dsn, 1, ended).run(1)
        run, at = committed[0]
        async with asyncio.timeout(20):
            while not shown or run not in floors:
                await asyncio.sleep(0.0005)
        direct.append(floors[run] - at)
        whole.append(shown[0] - at)
        sent = time.perf_counter()
        await echo.send_broadcast("hop", {})
        async with asyncio.timeout(20):
            while not hops:
                await asyncio.sleep(0.0005)
        hop.append(hops[0] - sent)
        await asyncio.sleep(0.7)
    for each_client in (client, tenant):
        await each_client.close()
    floor = _ms(direct) + _ms(hop)
    return [
        Figure(END_TO_END, "commit → bare postgres_changes client, p50", _ms(direct), "ms"),
        Figure(END_TO_END, "one broadcast hop, p50", _ms(hop), "ms"),
        Figure(END_TO_END, "commit → dashboard's client, p50", _ms(whole), "ms"),
        Figure(
            END_TO_END, "commit → dashboard's client, p99", quantiles(whole, n=100)[98] * 1000, "ms"
        ),
        at_most(END_TO_END, "p50 ÷ the server's own floor", _ms(whole) / floor, 1.2, "×"),
    ]


def _config(*, private: bool) -> RealtimeChannelOptions:
    return {
        "config": {
            "broadcast": {"ack": False, "self": True},
            "presence": {"key": "", "enabled": False},
            "private": private,
        }
    }


def _ms(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] * 1000


async def _project(stack: Stack) -> tuple[str, str]:
    row = await stack.owner.fetchrow("select owner, id from public.projects")
    if row is None:
        raise RuntimeError("the stack has no project")
    return str(row["owner"]), str(row["id"])
