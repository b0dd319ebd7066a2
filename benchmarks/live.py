"""A running daemon: Postgres, the development Realtime server and `meshmetrics run`."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.stack import Stack
from meshmetrics.devstack.demo.daemon import DaemonProcess
from meshmetrics.devstack.realtime import Limits, RealtimeServer, Timing, mint

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Live:
    """The daemon as a process of its own, and the server it listens to."""

    realtime: RealtimeServer
    daemon: DaemonProcess
    secret: str
    service_key: str

    async def metrics(self) -> Metrics:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{self.daemon.url}/metrics", timeout=10)
        return Metrics(
            {
                (sample.name.removeprefix("meshmetrics_"), *sample.labels.values()): sample.value
                for family in text_string_to_metric_families(answer.text)
                for sample in family.samples
            }
        )

    async def streaming(self) -> None:
        """Return once events flow to the daemon."""
        async with asyncio.timeout(30):
            while (await self.metrics()).get("stream_up") != 1:
                await asyncio.sleep(0.05)

    async def caught_up(self) -> None:
        """Return once what ended before is counted."""
        async with asyncio.timeout(300):
            while not (await self.metrics()).get("sweeps_total", "regular"):
                await asyncio.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the daemon says of itself at one moment."""

    values: Mapping[tuple[str, ...], float]

    def get(self, *key: str) -> float:
        return self.values.get(key, 0.0)

    def counted(self) -> float:
        return sum(v for key, v in self.values.items() if key[0] == "runs_counted_total")

    def quantile(self, histogram: str, q: float, since: Metrics) -> float:
        """The q-quantile in seconds of what was observed after `since`, linear within a bucket:
        as Prometheus' histogram_quantile does it."""
        key = f"{histogram}_bucket"
        buckets = sorted(
            (float(k[1]), v - since.values.get(k, 0.0))
            for k, v in self.values.items()
            if k[0] == key
        )
        rank = q * buckets[-1][1]
        lower = below = 0.0
        for upper, count in buckets:
            if count >= rank and count > below:
                if upper == float("inf"):
                    return lower
                return lower + (upper - lower) * (rank - below) / (count - below)
            lower, below = upper, count
        return float("nan")


@asynccontextmanager
async def live(
    stack: Stack,
    *,
    limits: Limits | None = None,
    timing: Timing | None = None,
    users: Mapping[str, UUID] | None = None,
    **settings: str,
) -> AsyncIterator[Live]:
    """Start Realtime and the daemon in front of `stack`; `settings` are the daemon's own, `users`
    whom a dashboard may sign in as."""
    secret = secrets.token_urlsafe(32)
    realtime = RealtimeServer(
        database_dsn=stack.dsn,
        jwt_secret=secret,
        limits=limits or Limits(),
        timing=timing or Timing(),
        users=users,
    )
    await realtime.start()
    key = mint(secret, "service_role", expires_in=DAY)
    with tempfile.TemporaryDirectory(prefix="meshmetrics-bench-") as directory:
        daemon = DaemonProcess(
            {
                "SUPABASE_URL": realtime.url,
                "SUPABASE_SECRET_KEY": key,
                "SUPABASE_JWT_SECRET": secret,
                "SUPABASE_PUBLISHABLE_KEY": mint(secret, "anon", expires_in=DAY),
                "DATABASE_URL": stack.dsn,
                "MESHMETRICS_HTTP_PORT": "0",
                "MESHMETRICS_LOG_FORMAT": "json",
                **settings,
            },
            Path(directory),
        )
        try:
            await daemon.start()
            yield Live(realtime, daemon, secret, key)
        finally:
            await daemon.stop()
            await realtime.stop()


UNLIMITED = Limits(events_per_second=1e9, users=10_000)
