"""backfill by hand: resumable, beside a running daemon, and with an idea of what is left."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.commands.backfill import backfill
from meshmetrics.counting.store import CountingStore
from tests.commands.conftest import ROOT, Command
from tests.conftest import Connect
from tests.daemon.conftest import World
from tests.daemon.process import environment
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
    world: World, store: CountingStore
) -> None:
    totals: list[int] = []
    scanned: list[int] = []
    ended = await backfill(
        store,
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


async def test_it_goes_on_where_it_was_stopped(world: World, store: CountingStore) -> None:
    stop = asyncio.Event()
    settings = world.settings(backfill_batch=500)
    first = await backfill(store, settings, stop, on_progress=lambda _: stop.set())
    assert not first.done
    totals: list[int] = []
    second = await backfill(store, settings, asyncio.Event(), on_start=totals.append)
    assert second.done
    assert first.scanned + second.scanned == RUNS
    assert totals[0] < RUNS
    await world.counted()


async def test_several_share_the_work(world: World, store: CountingStore) -> None:
    """Two by hand, and the daemon's own: together they look at little more than there is."""
    settings = world.settings(backfill_batch=100)
    async with world.running(backfill_batch=100) as running:
        both = await asyncio.gather(
            backfill(store, settings, asyncio.Event()),
            backfill(store, settings, asyncio.Event()),
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
    assert "read 3,000 runs" in result.out
    await world.counted()
    assert "nothing to do" in (await command("backfill")).out


async def test_the_command_stops_at_ctrl_c_and_says_how_to_go_on(
    world: World, store: CountingStore
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
    assert b"run it again to continue" in out
    assert (await backfill(store, world.settings(), asyncio.Event())).done
    await world.counted()


@pytest.fixture
async def unsighted(world: World) -> AsyncIterator[str]:
    """The owner of the function that looks for open transactions may not see them."""
    role = f"unsighted_{uuid4().hex[:8]}"
    await world.owner.execute(
        f"create role {role}; grant usage on schema meshmetrics to {role};"
        f"alter function meshmetrics.oldest_transaction(interval) owner to {role};"
        "grant execute on function meshmetrics.oldest_transaction(interval) to public"
    )
    yield role
    await world.owner.execute(f"reassign owned by {role} to postgres")
    await world.owner.execute(f"drop owned by {role}; drop role {role}")


async def test_it_says_what_it_waits_for_until_when_and_what_ends_the_wait(
    world: World, store: CountingStore, unsighted: str
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    with capture_logs() as lines:
        working = asyncio.create_task(
            backfill(
                store,
                world.settings(sweep_overlap=600),
                asyncio.Event(),
                on_wait=said.put_nowait,
            )
        )
        text = await asyncio.wait_for(said.get(), 30)
        assert not working.done()
        installed = (await store.read_checkpoint("sweep")).position.updated_at
        ends = installed + timedelta(seconds=600)
        assert text.startswith(f"waiting until {ends:%Y-%m-%d %H:%M:%S} UTC: ")
        assert f"grant pg_read_all_stats to {unsighted};" in text
        await world.owner.execute(f"grant pg_read_all_stats to {unsighted}")
        assert (await asyncio.wait_for(working, 30)).done
    assert said.empty()
    [line] = [line for line in lines if line["event"] == "backfill.waiting"]
    assert line["until"] == ends
    assert line["remedy"] == f"grant pg_read_all_stats to {unsighted}"
    assert "MESHMETRICS_SWEEP_OVERLAP (600 s)" in line["reason"]


async def test_it_says_which_transaction_it_waits_for(
    world: World, store: CountingStore, connect: Connect
) -> None:
    await world.owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() + interval '1 minute'"
        " where name = 'sweep'"
    )
    engine = await connect(world.database.owner_dsn)
    stop = asyncio.Event()
    said: list[str] = []

    def wait(text: str) -> None:
        said.append(text)
        stop.set()

    async with engine.transaction():
        began = await engine.fetchval("select now()")
        ended = await backfill(store, world.settings(), stop, on_wait=wait)
    assert not ended.done
    assert said == [
        f"waiting: a transaction that began at {began:%Y-%m-%d %H:%M:%S} UTC is open, and may still"
        " add runs. The back-fill goes on when it ends"
    ]


async def test_the_command_says_it_on_the_terminal(world: World, unsighted: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meshmetrics", "backfill",
        env=environment(world.settings(sweep_overlap=600), PYTHONPATH=ROOT),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readuntil(b"pg_read_all_stats to "), 30)
        assert b"waiting until " in line
        await world.owner.execute(f"grant pg_read_all_stats to {unsighted}")
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await world.counted()


async def somebody_waits(world: World) -> bool:
    waiting: bool = await world.owner.fetchval(
        "select exists (select from pg_locks where locktype = 'relation' and not granted"
        " and database = (select oid from pg_database where datname = current_database()))"
    )
    return waiting
