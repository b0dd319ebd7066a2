"""Row "reading": summary, series over all and one workflow, over HTTP with token and row-level
security, beside the same answers by `count(*) filter (…)` over workflow_runs at request time.

200 workflows, 90 days, a run in every quarter of an hour of each, zone Asia/Kathmandu. The runs are
counted in the order they finished in, 1,000 at a time, so that the buckets lie in the table as they
do where runs are counted as they end.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median, quantiles

import asyncpg
import httpx

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.stack import Stack, database
from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.server import HttpServer, Readiness, create_app
from meshmetrics.database.pool import open_pool
from meshmetrics.devstack.realtime.tokens import mint
from meshmetrics.runtime.telemetry import Telemetry

ROW = "reading"
SECRET = "a secret that is for benchmarks only"
ZONE = "Asia/Kathmandu"
BATCH = 1000

COUNTS = ", ".join(
    f"count(*) filter (where status = '{status}' and {at}) as {status}_{name}"
    for name, at in (("now", "at >= $1"), ("before", "at < $1"))
    for status in ("succeeded", "failed", "canceled")
)
RUNS = (
    "(select *, coalesce(finished_at, updated_at) as at from public.workflow_runs) r"
    " where at >= $1 - interval '90 days' and at < now()"
)
LOCAL_DAY = f"date_trunc('day', at at time zone '{ZONE}')"
# The same answers from the runs: all that a page shows, in as few statements as will do.
PLAIN = {
    "summary": (f"select workflow_id, {COUNTS} from {RUNS} group by 1",),
    "series over all": (
        f"select {COUNTS} from {RUNS}",
        f"select {LOCAL_DAY}, {COUNTS} from {RUNS} and at >= $1 group by 1 order by 1",
    ),
    "one workflow": (
        "select count(*) filter (where status = 'succeeded'),"
        " count(*) filter (where status = 'failed'), count(*) filter (where status = 'canceled')"
        " from public.workflow_runs where workflow_id = $2 and $1::timestamptz is not null",
        f"select {COUNTS} from {RUNS} and workflow_id = $2",
        f"select {LOCAL_DAY}, {COUNTS} from {RUNS} and at >= $1 and workflow_id = $2"
        " group by 1 order by 1",
    ),
}


async def measure(*, quick: bool = False) -> list[Figure]:
    days, times = (10, 20) if quick else (90, 200)
    figures = []
    async with database(workflows=200) as stack:
        await _fill(stack, days)
        user, workflow = await _who(stack)
        token = mint(SECRET, "authenticated", sub=user)
        chart = f"?range=90d&tz={ZONE}&bucket=day"
        paths = {
            "summary": "/api/metrics/workflows/summary?range=90d&limit=200",
            "series over all": f"/api/metrics/workflows/history{chart}",
            "one workflow": f"/api/metrics/workflow/{workflow}{chart}",
        }
        async with _client(stack, token) as client:
            for what, path in paths.items():
                ours = await _over_http(client, path, times)
                plain = await _plain(stack, user, workflow, PLAIN[what], 5 if quick else 9)
                p95 = quantiles(ours, n=20)[-1]
                figures += [
                    Figure(ROW, f"{what}: over HTTP, p50", median(ours), "ms"),
                    at_most(ROW, f"{what}: over HTTP, p95", p95, 50, "ms"),
                    Figure(ROW, f"{what}: count(*) filter, without HTTP", median(plain), "ms"),
                    at_least(ROW, f"{what}: times faster", median(plain) / median(ours), 10),
                ]
    return figures


async def _fill(stack: Stack, days: int) -> None:
    async with stack.owner.transaction():
        await stack.owner.execute("alter table public.workflow_runs disable trigger user")
        await stack.owner.execute(
            "insert into public.workflow_runs"
            " (project_id, workflow_id, status, started_at, finished_at, updated_at)"
            " select w.project_id, w.id, case when random() < 0.05 then 'failed'"
            "   when random() < 0.05 then 'canceled' else 'succeeded' end, q.at, q.at, q.at"
            " from generate_series(now() - make_interval(days => $1), now(), '15 minutes') q (at)"
            " cross join public.workflow_definitions w",
            days,
        )
        await stack.owner.execute("alter table public.workflow_runs enable trigger user")
    await stack.owner.execute("vacuum analyze public.workflow_runs")
    batches = await stack.owner.fetch(
        "select array_agg(id) as ids from ("
        "  select id, (row_number() over (order by finished_at, id) - 1) / $1 as batch"
        "  from public.workflow_runs) r group by batch order by batch",
        BATCH,
    )
    for row in batches:
        await stack.store.count_runs(row["ids"])
    await stack.owner.execute("vacuum analyze")
    await stack.owner.execute("checkpoint")


async def _who(stack: Stack) -> tuple[str, str]:
    row = await stack.owner.fetchrow(
        "select p.owner, d.id from public.workflow_definitions d"
        " join public.projects p on p.id = d.project_id order by d.slug limit 1"
    )
    if row is None:
        raise RuntimeError("there is no workflow")
    return str(row["owner"]), str(row["id"])


@asynccontextmanager
async def _client(stack: Stack, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, served from this process by a real server."""

    async def ready() -> Readiness:
        return Readiness(True)

    async with open_pool(stack.dsn, size=4, transaction_pooler=False) as pool:
        api = MetricsApi(
            Authenticator(SECRET, None),
            Reader(pool, statement_timeout=30),
            Cursors(SECRET),
            CallerBudget(1e6, 1_000_000),
        )
        server = HttpServer(create_app(ready, Telemetry(), metrics_api=api), "127.0.0.1", 0)
        serving = asyncio.create_task(server.run())
        await server.started.wait()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ) as client:
            yield client
        server.stop()
        await serving


async def _over_http(client: httpx.AsyncClient, path: str, times: int) -> list[float]:
    """Milliseconds of each request, from sending it to having its whole body."""
    found = []
    for n in range(times + 8):  # the first ones plan
        began = time.perf_counter()
        response = await client.get(path)
        took = (time.perf_counter() - began) * 1000
        response.raise_for_status()
        if n >= 8:
            found.append(took)
    return found


async def _plain(
    stack: Stack, user: str, workflow: str, statements: tuple[str, ...], times: int
) -> list[float]:
    """Milliseconds of each answer from the runs, as the same tenant, on an open connection."""
    connection = await asyncpg.connect(stack.dsn)
    since = await connection.fetchval("select now() - interval '90 days'")
    found = []
    for n in range(times + 1):
        async with connection.transaction(readonly=True):
            await connection.execute(
                "select set_config('role', 'authenticated', true),"
                f" set_config('request.jwt.claims', '{json.dumps({'sub': user})}', true)"
            )
            began = time.perf_counter()
            for statement in statements:
                arguments = (since, workflow) if "$2" in statement else (since,)
                await connection.fetch(statement, *arguments)
            took = (time.perf_counter() - began) * 1000
        if n:
            found.append(took)
    await connection.close()
    return found
