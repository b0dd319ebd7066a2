"""backfill by hand: resumable, beside a running daemon, and with an idea of what is left."""

from __future__ import annotations

import asyncio
import signal
import sys

import asyncpg
import pytest

from meshmetrics.operate.backfill import backfill
from meshmetrics.store_audit import AuditStore
from tests.daemon.conftest import World
from tests.daemon.process import environment
from tests.operate.conftest import ROOT, Command
from tests.support import eventually

RUNS = 3000


@pytest.fixture(autouse=True)
async def history(world: World) -> None:
    """3,000 runs from before meshmetrics was installed."""
    await world.owner.execute(
        "insert into workflow_runs (project_id, workflow_id, status, finished_at, updated_at)"
        " select $1, $2, (array['succeeded', 'failed', 'canceled'])[1 + n % 3], at, at from"
        f" (select n, now() - interval '1 hour' - n * interval '7 minutes' as at"
        f"  from generate_series(1, {RUNS}) n) s",
        world.workflow.project_id,
        world.workflow.id,
    )
    await world.owner.execute("analyze public.workflow_runs")
    await world.owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() - interval '1 minute'"
        " where name = 'sweep'"
    )


async def done(owner: asyncpg.Connection) -> bool:
    finished: bool = await owner.fetchval(
        "select done from meshmetrics.checkpoint where name = 'backfill'"
    )
    return finished


async def test_it_tells_how_many_are_left_and_how_far_it_is(
    world: World, audits: AuditStore
) -> None:
    totals: list[int] = []
    scanned: list[int] = []
    ended = await backfill(
        audits,
        world.settings(backfill_batch=500),
        asyncio.Event(),
        on_start=totals.append,
        on_progress=scanned.append,
    )
    assert (ended.done, ended.scanned) == (True, RUNS)
    assert 0.8 * RUNS < totals[0] < 1.2 * RUNS
    assert scanned[:3] == [500, 1000, 1500]
    await world.counted()
    assert await done(world.owner)


async def test_it_goes_on_where_it_was_stopped(world: World, audits: AuditStore) -> None:
    stop = asyncio.Event()
    settings = world.settings(backfill_batch=500)
    first = await backfill(audits, settings, stop, on_progress=lambda _: stop.set())
    assert not first.done
    totals: list[int] = []
    second = await backfill(audits, settings, asyncio.Event(), on_start=totals.append)
    assert second.done
    assert first.scanned + second.scanned == RUNS
    assert totals[0] < RUNS
    await world.counted()


async def test_several_share_the_work(world: World, audits: AuditStore) -> None:
    """Two by hand, and the daemon's own: together they look at little more than there is."""
    settings = world.settings(backfill_batch=100)
    async with world.running(backfill_batch=100) as running:
        both = await asyncio.gather(
            backfill(audits, settings, asyncio.Event()),
            backfill(audits, settings, asyncio.Event()),
        )
        assert [ended.done for ended in both] == [True, True]
        await eventually(lambda: running.value("backfill_done") == 1)
        await eventually(world.counted)
    assert await done(world.owner)


async def test_the_command_counts_all_and_then_has_nothing_to_do(
    world: World, command: Command
) -> None:
    result = await command("backfill")
    assert result.status == 0, result
    assert "looked at 3,000 runs" in result.out
    await world.counted()
    assert "nothing to do" in (await command("backfill")).out


async def test_the_command_stops_at_ctrl_c_and_says_how_to_go_on(
    world: World, audits: AuditStore
) -> None:
    """The counting lock is held meanwhile, so that it cannot be done before."""
    await world.owner.execute("begin; select meshmetrics.counting_lock()")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meshmetrics", "backfill",
        env=environment(world.settings(backfill_batch=100), PYTHONPATH=ROOT),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await eventually(lambda: somebody_waits(world), 30)
        process.send_signal(signal.SIGINT)
        await world.owner.execute("commit")
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 1
    assert b"run it again to go on from here" in out
    assert (await backfill(audits, world.settings(), asyncio.Event())).done
    await world.counted()


async def somebody_waits(world: World) -> bool:
    waiting: bool = await world.owner.fetchval(
        "select exists (select from pg_locks where locktype = 'advisory' and not granted"
        " and database = (select oid from pg_database where datname = current_database()))"
    )
    return waiting
