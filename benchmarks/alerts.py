"""Row "alerts": rounds over 10,000 rules on 2,000 workflows; from a run's commit to a webhook."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from aiohttp import web
from cryptography.fernet import Fernet

from benchmarks.figures import Figure, at_most
from benchmarks.live import UNLIMITED, live
from benchmarks.stack import Stack, database, insert_finished
from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.sealing import Seal
from meshmetrics.alerts.store import AlertStore
from meshmetrics.database.pool import open_pool
from meshmetrics.database.store import Database

ROW = "alerts"
WORKFLOWS = 2000
RULES_EACH = 5
ROUNDS = 7


async def measure(*, quick: bool = False) -> list[Figure]:
    runs = 100_000 if quick else 400_000
    async with database(workflows=WORKFLOWS) as stack:
        await _prepare(stack, runs)
        return await _rounds(stack) + await _to_webhook(stack, 20 if quick else 100)


async def _prepare(stack: Stack, runs: int) -> None:
    """A week of counted runs, and the rules."""
    await insert_finished(stack.owner, runs, days=7)
    ids = [row["id"] for row in await stack.owner.fetch("select id from workflow_runs")]
    for n in range(0, len(ids), 20_000):
        await stack.store.count_runs(ids[n : n + 20_000])
    # A tenant may have 500: here one has them all.
    await stack.owner.execute("alter table workflow_alert_rules disable trigger user")
    await stack.owner.execute(
        "insert into workflow_alert_rules"
        " (project_id, name, workflow_slug, threshold, window_seconds)"
        " select project_id, 'r', slug, 0.8, (array[3600, 21600, 86400, 86400, 604800])[k]"
        " from workflow_definitions, generate_series(1, $1::integer) k",
        RULES_EACH,
    )
    await stack.owner.execute("vacuum analyze")


async def _rounds(stack: Stack) -> list[Figure]:
    async with open_pool(stack.dsn, size=2, transaction_pooler=False) as pool:
        store = AlertStore(Database(pool))
        await store.evaluate_alerts(None)  # makes the states
        same = [await _round(store, None) for _ in range(ROUNDS)]
        changed, touched = [], []
        ids = [row["id"] for row in await stack.owner.fetch("select id from workflow_definitions")]
        for _ in range(ROUNDS):
            await _one_run_each(stack)
            changed.append(await _round(store, None))
            await _one_run_each(stack)
            touched.append(await _round(store, ids))
    each = [await _one_by_one(stack) for _ in range(3)]
    return [
        at_most(ROW, "a round, 10,000 rules, nothing new", median(same) * 1000, 250, "ms"),
        at_most(ROW, "… with a new run of every workflow", median(changed) * 1000, 250, "ms"),
        at_most(ROW, "… and told which 2,000 changed", median(touched) * 1000, 250, "ms"),
        Figure(ROW, "their windows alone, a call for each rule", median(each) * 1000, "ms"),
    ]


async def _round(store: AlertStore, touched: list[UUID] | None) -> float:
    began = time.perf_counter()
    found = await store.evaluate_alerts(touched)
    took = time.perf_counter() - began
    if found.evaluated != WORKFLOWS * RULES_EACH:
        raise RuntimeError(f"{found.evaluated} rules were looked at")
    return took


async def _one_by_one(stack: Stack) -> float:
    """What one would write first: for each rule a function that counts its window."""
    began = time.perf_counter()
    await stack.owner.fetch(
        "select sum(c.failures) from workflow_alert_rules r"
        " join workflow_definitions d using (project_id)"
        " cross join lateral meshmetrics.alert_count("
        "  array[d.id], now() - make_interval(secs => r.window_seconds), 'infinity') c"
        " where d.slug = r.workflow_slug"
    )
    return time.perf_counter() - began


async def _one_run_each(stack: Stack) -> None:
    rows = await stack.owner.fetch(
        "insert into workflow_runs (project_id, workflow_id, status, finished_at)"
        " select project_id, id, 'succeeded', now() from workflow_definitions returning id"
    )
    await stack.store.count_runs([row["id"] for row in rows])


async def _to_webhook(stack: Stack, notices: int) -> list[Figure]:
    """One workflow that fails and succeeds in turn, each of which its rule tells of."""
    key = Fernet.generate_key().decode()
    async with _receiver() as (port, came):
        place = await _place(stack, Seal(key), f"http://127.0.0.1:{port}/")
        chance = random.Random(1)
        async with live(
            stack,
            limits=UNLIMITED,
            MESHMETRICS_ALERT_KEYS=key,
            MESHMETRICS_ALERT_HTTP="true",
            MESHMETRICS_ALERT_PORTS=str(port),
            MESHMETRICS_ALERT_NETWORKS="127.0.0.1/32",
            MESHMETRICS_ALERT_GROUP_WAIT="0",
            MESHMETRICS_ALERT_MESSAGES_PER_HOUR="10000",
        ) as running:
            await running.streaming()
            took = []
            for number in range(notices):
                await asyncio.sleep(chance.uniform(0.0, 2.0))
                status = "succeeded" if number % 2 else "failed"
                run = await stack.owner.fetchval(
                    "insert into workflow_runs (project_id, workflow_id, status)"
                    " values ($1, $2, 'running') returning id",
                    *place,
                )
                await stack.owner.execute(
                    "update workflow_runs set status = $2, finished_at = now() where id = $1",
                    *(run, status),
                )
                committed = time.perf_counter()
                took.append(await asyncio.wait_for(came.get(), 30) - committed)
    cuts = quantiles(took, n=100, method="inclusive")
    return [
        at_most(ROW, f"commit → webhook received, {name}", cuts[cut] * 1000, 2000, "ms")
        for name, cut in (("p50", 49), ("p99", 98))
    ]


async def _place(stack: Stack, seal: Seal, url: str) -> tuple[UUID, UUID]:
    """Project and workflow of a rule that opens and closes with every run."""
    place = await stack.owner.fetchrow(
        "insert into workflow_definitions (project_id, slug, version, name, definition, status)"
        " select id, 'told', 1, 'told', '{}', 'published' from projects returning project_id, id"
    )
    if place is None:
        raise RuntimeError("there is no project")
    await stack.owner.execute(
        "insert into workflow_alert_channels"
        " (project_id, name, kind, sealed_target, sealed_secret)"
        " values ($1, 'c', 'webhook', $2, $3)",
        *(place["project_id"], seal.seal(url), seal.seal(new_secret())),
    )
    await stack.owner.execute(
        "update workflow_alert_rules set channel_ids = '{}'"  # these tell nobody
    )
    await stack.owner.execute(
        "insert into workflow_alert_rules (project_id, name, workflow_slug, metric, consecutive,"
        " recovery_runs, reopen_within_seconds)"
        " values ($1, 'told', 'told', 'consecutive_failures', 1, 1, 0)",
        place["project_id"],
    )
    return place["project_id"], place["id"]


@asynccontextmanager
async def _receiver() -> AsyncIterator[tuple[int, asyncio.Queue[float]]]:
    """A port, and when requests came there."""
    came: asyncio.Queue[float] = asyncio.Queue()

    async def take(_: web.Request) -> web.Response:
        came.put_nowait(time.perf_counter())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner: Any = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], came
    finally:
        await runner.cleanup()
