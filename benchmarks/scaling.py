"""`python -m benchmarks.scaling`: what one daemon and one database carry, and what a replica costs.

Writes the tables of docs/scaling.md. Everything shares the machine's cores, the load included, so
the rates are the least that such a machine does; what is used up at each is what to look at.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from uuid import UUID

import asyncpg

from benchmarks.live import UNLIMITED, Live, live
from benchmarks.overload import Watch
from benchmarks.stack import Stack, database
from meshmetrics.auditing.store import AuditStore
from meshmetrics.devstack.demo.daemon import DaemonProcess

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"
RATES = (100, 500, 2000, 5000, 10_000)
"""Runs that end a second."""
TRANSACTIONS = 250
"""A second, at most: above it one transaction ends several runs."""
LANES = 4
REPLICAS = (1, 2, 4)
SETTLE_SECONDS = 120
QUIET_SECONDS = 20
"""After the start, until sweeps have slowed down."""
TICK = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


async def backends(owner: asyncpg.Connection) -> list[int]:
    """The Postgres processes that work for daemons."""
    rows = await owner.fetch(
        "select pid from pg_stat_activity where application_name = 'meshmetrics'"
    )
    return [row["pid"] for row in rows]


async def end_runs(dsn: str, ids: list[UUID], rate: int, watch: Watch) -> None:
    """End these at that rate, each lane in a connection of its own, evenly over time."""
    step = max(1, rate // TRANSACTIONS)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def lane(first: int) -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for start in range(first * step, len(ids), LANES * step):
                await asyncio.sleep(max(0.0, began + start / rate - loop.time()))
                part = ids[start : start + step]
                await connection.execute(
                    "update public.workflow_runs set status = 'succeeded', finished_at = now()"
                    " where id = any ($1)",
                    part,
                )
                for run in part:
                    watch.ended(run)
        finally:
            await connection.close()

    await asyncio.gather(*(lane(number) for number in range(LANES)))


async def carry(stack: Stack, running: Live, rate: int, seconds: float) -> str:
    """One line of the table: so many runs a second, for so many seconds."""
    rows = await stack.owner.fetch(
        "insert into public.workflow_runs (workflow_id, project_id, status)"
        " select w.id, w.project_id, 'running' from generate_series(1, $1::integer) i"
        " join (select *, row_number() over () as n from public.workflow_definitions) w"
        "  on w.n = 1 + i % 200 returning id",
        int(rate * seconds),
    )
    await stack.owner.execute("vacuum analyze public.workflow_runs")
    before = await running.metrics()
    pids = await backends(stack.owner)
    daemon, database_ = cpu_seconds(running.daemon.pid), sum(map(cpu_seconds, pids))
    watch = Watch()
    watching = asyncio.create_task(watch.run(stack.dsn))
    began = time.perf_counter()
    await end_runs(stack.dsn, [row["id"] for row in rows], rate, watch)
    took = time.perf_counter() - began
    watch.last = True
    async with asyncio.timeout(SETTLE_SECONDS):
        await watching
        while (await running.metrics()).counted() - before.counted() < len(rows):
            await asyncio.sleep(0.05)
    settled = time.perf_counter() - began
    daemon = cpu_seconds(running.daemon.pid) - daemon
    pids = sorted({*pids, *await backends(stack.owner)})
    database_ = sum(map(cpu_seconds, pids)) - database_
    after = await running.metrics()
    calls = after.get("count_seconds_count") - before.get("count_seconds_count")
    lags = quantiles(watch.lags, n=100)
    return (
        f"| {rate:,} | {len(rows) / took:,.0f} | {lags[49] * 1000:,.0f} | {lags[98] * 1000:,.0f}"
        f" | {len(rows) / calls:,.1f} | {daemon / settled:.0%} | {database_ / settled:.0%} |"
    )


async def replicas(stack: Stack, running: Live, count: int, seconds: float) -> str:
    """One line of the table: so many daemons while nothing happens."""
    async with AsyncExitStack() as others:
        daemons = [running.daemon]
        for number in range(count - 1):
            directory = running.daemon.log.parent / f"standby-{count}-{number}"
            directory.mkdir()
            daemon = DaemonProcess(running.daemon._settings, directory)
            others.push_async_callback(daemon.stop)
            await daemon.start()
            daemons.append(daemon)
        await asyncio.sleep(2)
        pids = await backends(stack.owner)
        before = [cpu_seconds(daemon.pid) for daemon in daemons]
        before_database = sum(map(cpu_seconds, pids))
        await asyncio.sleep(seconds)
        used = [
            (cpu_seconds(daemon.pid) - was) / seconds
            for daemon, was in zip(daemons, before, strict=True)
        ]
        database_ = (sum(map(cpu_seconds, pids)) - before_database) / seconds
        standby = f"{sum(used[1:]) / (count - 1):.1%}" if count > 1 else "none"
        memory = resident_mb(daemons[-1].pid)
        return (
            f"| {count} | {used[0]:.1%} | {standby} | {database_:.1%} | {len(pids)}"
            f" | {memory:,.0f} |"
        )


async def measure(seconds: float) -> dict[str, list[str]]:
    """The lines of both tables."""
    async with (
        database(workflows=200) as stack,
        live(stack, limits=UNLIMITED, MESHMETRICS_LEASE_TTL="6") as running,
    ):
        await running.streaming()
        await asyncio.sleep(QUIET_SECONDS)
        waiting = [await replicas(stack, running, count, seconds) for count in REPLICAS]
        carried = [await carry(stack, running, rate, seconds) for rate in RATES]
        drift = [d for d in await AuditStore(stack.store.database).audit() if d.kind != "set_aside"]
        if drift:
            raise RuntimeError(f"not exact in the end: {drift[:3]}")
    return {"rates": carried, "replicas": waiting}


def write(tables: dict[str, list[str]]) -> None:
    """Put the lines between their marks on the page."""
    text = PAGE.read_text()
    for name, lines in tables.items():
        head, tail = text.split(f"<!-- {name} -->\n", 1)
        columns, rest = re.findall(r"(?s)^((?:[^\n]*\n){2})(.*)", tail)[0]
        rest = rest[rest.index("<!-- end -->") :]
        text = f"{head}<!-- {name} -->\n{columns}" + "\n".join(lines) + f"\n{rest}"
    PAGE.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each line")
    parser.add_argument("--write", action="store_true", help="write docs/scaling.md")
    arguments = parser.parse_args()
    tables = asyncio.run(measure(arguments.seconds))
    for lines in tables.values():
        print("\n".join(lines))
    if arguments.write:
        write(tables)


if __name__ == "__main__":
    main()
