"""Row "weight on the engine": what 8 connections lose when their runs are counted.

Each inserts a run and ends it, in two transactions, as fast as it can. The load comes from pgbench.
Variants take turns in short rounds, so that the machine's moods hit all of them alike.

Daemon and Realtime take their share of the same cores here; in use they have machines of their own.
So each variant is measured twice: by transactions a second, and by the processor time that
Postgres, all its processes together, spends on a transaction: what counting costs the database.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
from realtime import AsyncRealtimeClient
from realtime.types import RealtimePostgresChangesListenEvent

from benchmarks.figures import Figure, at_least
from benchmarks.live import DAY, live
from benchmarks.stack import Stack, database
from meshmetrics.devstack.postgres.binaries import find_binaries, installed_in_system
from meshmetrics.devstack.realtime import RealtimeServer, Timing, mint

ROW = "weight"
CLIENTS = 8
WARM_SECONDS = 4
"""Load before each measured one: what counts has to find its pace."""

SCRIPT = """\\set n random(1, {workflows})
insert into public.workflow_runs (project_id, workflow_id, status)
  select project_id, id, 'running' from bench_workflows where n = :n returning id \\gset
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

RPC = """
create table bench_rpc (workflow_id uuid, status text, count bigint,
  primary key (workflow_id, status));
create function bench_count_run(run uuid) returns void language sql as $$
  insert into bench_rpc select workflow_id, status, 1 from public.workflow_runs where id = run
  on conflict (workflow_id, status) do update set count = bench_rpc.count + 1
$$;
"""

Counted = Callable[[], Awaitable[int]]
"""How many runs a variant has counted."""
Variant = Callable[[Stack], AbstractAsyncContextManager[Counted | None]]


@asynccontextmanager
async def _nothing(_: Stack) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _daemon(stack: Stack, timing: Timing | None = None) -> AsyncIterator[Counted]:
    async def counted() -> int:
        total: int = await stack.owner.fetchval(
            "select coalesce(sum(success_count), 0)::bigint from public.workflow_run_metrics"
        )
        return total

    async with live(stack, timing=timing) as running:
        await running.streaming()
        await running.caught_up()
        yield counted


@asynccontextmanager
async def _bare(stack: Stack) -> AsyncIterator[None]:
    """Realtime, and a client that hears every change and does nothing: what Realtime itself takes
    from the engine, as it stands on the same cores here."""
    async with _listening(stack, RealtimePostgresChangesListenEvent.All, lambda _: None):
        yield


@asynccontextmanager
async def _rpc(stack: Stack) -> AsyncIterator[Counted]:
    """What one would write first: a listener that has each event counted, one after another."""
    await stack.owner.execute(RPC)
    waiting: asyncio.Queue[str] = asyncio.Queue()

    def hear(payload: Any) -> None:
        record = payload["data"]["record"]
        if record["status"] != "running":
            waiting.put_nowait(record["id"])

    async def count() -> None:
        connection = await asyncpg.connect(stack.dsn)
        try:
            while True:
                await connection.execute("select bench_count_run($1)", UUID(await waiting.get()))
        finally:
            connection.terminate()

    async def counted() -> int:
        total: int = await stack.owner.fetchval(
            "select coalesce(sum(count), 0)::bigint from bench_rpc"
        )
        return total

    counting = asyncio.create_task(count())
    try:
        async with _listening(stack, RealtimePostgresChangesListenEvent.Update, hear):
            yield counted
    finally:
        counting.cancel()
        await asyncio.wait({counting})
        await stack.owner.execute("drop function bench_count_run; drop table bench_rpc")


@asynccontextmanager
async def _listening(
    stack: Stack, event: RealtimePostgresChangesListenEvent, hear: Callable[[Any], None]
) -> AsyncIterator[None]:
    secret = secrets.token_urlsafe(32)
    realtime = RealtimeServer(database_dsn=stack.dsn, jwt_secret=secret)
    await realtime.start()
    client = AsyncRealtimeClient(
        f"{realtime.url}/realtime/v1", mint(secret, "service_role", expires_in=DAY)
    )
    ready = asyncio.Event()
    channel = client.channel("bench")
    channel.on_postgres_changes(
        event,
        hear,
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
    """Exact, and every commit of the same workflow waits for it."""
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


WITHOUT, BARE, DAEMON = "without", "Realtime and a bare listener", "daemon counting live"
LATER = "the same, when Realtime has stopped to read the log"
"""The daemon has left the stream by then: ten minutes later, here at once."""
VARIANTS: dict[str, Variant] = {
    WITHOUT: _nothing,
    BARE: _bare,
    DAEMON: _daemon,
    LATER: partial(_daemon, timing=replace(Timing(), linger=1.0)),
    "listener with an RPC per event": _rpc,
    "counting trigger": _trigger,
    "view refreshed concurrently": _view,
}


async def measure(*, quick: bool = False) -> list[Figure]:
    seconds, rounds = (3, 1) if quick else (10, 3)
    figures = []
    for kind, workflows in (("one hot workflow", 1), ("200 workflows", 200)):
        loads: dict[str, list[Load]] = {name: [] for name in VARIANTS}
        shares: dict[str, list[float]] = {name: [] for name in VARIANTS}
        async with database(workflows=workflows, durable=True) as stack:
            await stack.owner.execute(
                "create table bench_workflows as select row_number() over ()::integer as n, id,"
                " project_id from public.workflow_definitions;"
                "create unique index on bench_workflows (n); analyze bench_workflows"
            )
            for _ in range(rounds):
                for name, variant in VARIANTS.items():
                    async with variant(stack) as counted:
                        await _load(stack, workflows, WARM_SECONDS)
                        before = await _at_rest(counted) if counted else 0
                        load = await _load(stack, workflows, seconds)
                        loads[name].append(load)
                        if counted:
                            shares[name].append((await _at_rest(counted) - before) / load.runs)
        rates = {name: median(load.rate for load in of) for name, of in loads.items()}
        costs = {name: median(load.cost for load in of) for name, of in loads.items()}
        figures.append(Figure(ROW, f"{kind}: without", rates[WITHOUT], "transactions/s"))
        for name in list(VARIANTS)[1:]:
            ratio = rates[name] / rates[WITHOUT]
            what = f"{kind}: {name} ÷ without"
            figures.append(
                at_least(ROW, what, ratio, 0.95)
                if name == DAEMON
                else Figure(ROW, what, ratio, "×")
            )
        for name, of in shares.items():
            if of:
                what = f"{kind}: {name}, counted of the runs that ended"
                figures.append(Figure(ROW, what, median(of) * 100, "%"))
        figures.append(Figure(ROW, f"{kind}: without", costs[WITHOUT], "µs of Postgres"))
        for name in list(VARIANTS)[1:]:
            ratio = costs[WITHOUT] / costs[name]
            figures.append(Figure(ROW, f"{kind}: without ÷ {name}, µs of Postgres", ratio, "×"))
        beside = costs[BARE] / costs[DAEMON]
        figures.append(Figure(ROW, f"{kind}: bare listener ÷ daemon, µs of Postgres", beside, "×"))
    return figures


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine got through: runs, transactions a second, and microseconds of Postgres for
    each of these."""

    runs: int
    rate: float
    cost: float


async def _at_rest(counted: Counted) -> int:
    """How many it has counted once it has counted none for a second."""
    last = await counted()
    while True:
        await asyncio.sleep(1)
        now = await counted()
        if now == last:
            return now
        last = now


async def _load(stack: Stack, workflows: int, seconds: int) -> Load:
    pgbench = find_binaries(max(installed_in_system())) / "pgbench"
    began = _processor_seconds(stack)
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
    spent = _processor_seconds(stack) - began
    rate = re.search(r"tps = ([\d.]+)", output.decode())
    done = re.search(r"actually processed: (\d+)", output.decode())
    if process.returncode or rate is None or done is None:
        raise RuntimeError(f"pgbench failed: {errors.decode()[-400:]}")
    # A script is two transactions.
    return Load(int(done[1]), float(rate[1]) * 2, spent / (int(done[1]) * 2) * 1e6)


def _processor_seconds(stack: Stack) -> float:
    """Of all processes of the server until now, those that have ended included."""
    first = int((stack.server.data_dir / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name: state, parent, …, user, system, user and system of ended children.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat.parent.name) == first:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == first:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
