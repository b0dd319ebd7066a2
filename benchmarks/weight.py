"""Row "weight on the engine": what 8 connections lose when their runs are counted.

Each inserts a run and ends it, in two transactions, as fast as it can. The load comes from pgbench.
Variants take turns in short rounds, so that the machine's moods hit all of them alike.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from statistics import median

from realtime import AsyncRealtimeClient
from realtime.types import RealtimePostgresChangesListenEvent

from benchmarks.figures import Figure, at_least
from benchmarks.live import DAY, live
from benchmarks.stack import Stack, database
from meshmetrics.local.postgres_binaries import find_binaries, installed_in_system
from meshmetrics.local.realtime import RealtimeServer, mint

ROW = "weight"
CLIENTS = 8

SCRIPT = """\\set n random(1, {workflows})
insert into public.workflow_runs (project_id, workflow_id)
  select project_id, id from bench_workflows where n = :n returning id \\gset
update public.workflow_runs set status = 'succeeded', finished_at = now() where id = :id;
"""

TRIGGER = """
create table bench_counters (workflow_id uuid, status text, count bigint,
  primary key (workflow_id, status));
create function bench_count() returns trigger language plpgsql as $$
begin
  insert into bench_counters values (new.workflow_id, new.status, 1)
  on conflict (workflow_id, status) do update set count = bench_counters.count + 1;
  return null;
end $$;
create trigger bench_count after update of status on public.workflow_runs
  for each row when (old.status = 'running') execute function bench_count();
"""

Variant = Callable[[Stack], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _nothing(_: Stack) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _daemon(stack: Stack) -> AsyncIterator[None]:
    async with live(stack) as running:
        await running.streaming()
        yield


@asynccontextmanager
async def _listener(stack: Stack) -> AsyncIterator[None]:
    """Realtime, and a client that hears every change and does nothing: what Realtime itself takes
    from the engine, as it stands on the same cores here."""
    secret = secrets.token_urlsafe(32)
    realtime = RealtimeServer(database_dsn=stack.dsn, jwt_secret=secret)
    await realtime.start()
    client = AsyncRealtimeClient(
        f"{realtime.url}/realtime/v1", mint(secret, "service_role", expires_in=DAY)
    )
    ready = asyncio.Event()
    channel = client.channel("bench")
    channel.on_postgres_changes(
        RealtimePostgresChangesListenEvent.All,
        lambda _: None,
        table="workflow_runs",
        schema="public",
    ).on_system(lambda _: ready.set())
    try:
        await channel.subscribe()
        await asyncio.wait_for(ready.wait(), 30)
        yield
    finally:
        await client.close()
        await realtime.stop()


@asynccontextmanager
async def _trigger(stack: Stack) -> AsyncIterator[None]:
    await stack.owner.execute(TRIGGER)
    try:
        yield
    finally:
        await stack.owner.execute("drop function bench_count cascade; drop table bench_counters")


@asynccontextmanager
async def _view(stack: Stack) -> AsyncIterator[None]:
    """A materialized view, refreshed concurrently as often as it can be, at most once a second."""
    await stack.owner.execute(
        "create materialized view bench_view as select workflow_id, status, count(*)"
        " from public.workflow_runs group by 1, 2;"
        "create unique index on bench_view (workflow_id, status)"
    )

    async def refresh() -> None:
        while True:
            await stack.owner.execute("refresh materialized view concurrently bench_view")
            await asyncio.sleep(1)

    refreshing = asyncio.create_task(refresh())
    try:
        yield
    finally:
        refreshing.cancel()
        await asyncio.wait({refreshing})
        await stack.owner.execute("drop materialized view bench_view")


VARIANTS: dict[str, Variant] = {
    "without": _nothing,
    "Realtime and a bare listener": _listener,
    "daemon counting live": _daemon,
    "counting trigger": _trigger,
    "view refreshed concurrently": _view,
}


async def measure(*, quick: bool = False) -> list[Figure]:
    seconds, rounds = (3, 1) if quick else (10, 3)
    figures = []
    for kind, workflows in (("one hot workflow", 1), ("200 workflows", 200)):
        rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
        async with database(workflows=workflows, durable=True) as stack:
            await stack.owner.execute(
                "create table bench_workflows as select row_number() over ()::integer as n, id,"
                " project_id from public.workflow_definitions;"
                "create unique index on bench_workflows (n); analyze bench_workflows"
            )
            await _load(stack, workflows, 2)  # warm
            for _ in range(rounds):
                for name, variant in VARIANTS.items():
                    async with variant(stack):
                        rates[name].append(await _load(stack, workflows, seconds))
        bare = median(rates["without"])
        figures.append(Figure(ROW, f"{kind}: without", bare, "transactions/s"))
        for name in list(VARIANTS)[1:]:
            ratio = median(rates[name]) / bare
            if name == "daemon counting live":
                figures.append(at_least(ROW, f"{kind}: {name} ÷ without", ratio, 0.95))
            else:
                figures.append(Figure(ROW, f"{kind}: {name} ÷ without", ratio, "×"))
        counting = median(rates["daemon counting live"])
        listening = median(rates["Realtime and a bare listener"])
        figures.append(Figure(ROW, f"{kind}: daemon ÷ bare listener", counting / listening, "×"))
    return figures


async def _load(stack: Stack, workflows: int, seconds: int) -> float:
    """Transactions a second that the engine got through."""
    pgbench = find_binaries(max(installed_in_system())) / "pgbench"
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "engine.sql"
        script.write_text(SCRIPT.format(workflows=workflows))
        process = await asyncio.create_subprocess_exec(
            *(str(pgbench), "--no-vacuum", "--client", str(CLIENTS), "--time", str(seconds)),
            *("--protocol", "prepared", "--file", str(script), stack.dsn),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    match = re.search(r"tps = ([\d.]+)", output.decode())
    if process.returncode or match is None:
        raise RuntimeError(f"pgbench failed: {errors.decode()[-400:]}")
    return float(match[1]) * 2  # a script is two transactions
