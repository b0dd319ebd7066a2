"""Behind a pooler, as Supabase has them: the same counts, and nothing kept in a session."""

from __future__ import annotations

import asyncio
from typing import Literal

import asyncpg
import pytest

from tests.daemon.conftest import BY_EVENTS, World
from tests.support import eventually, finish_run, insert_run
from tests.support.pgbouncer import pgbouncer

pytestmark = pytest.mark.slow


async def hammer(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        while True:
            await connection.execute("select 1")
    finally:
        connection.terminate()


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_the_daemon_works_behind_a_pooler(
    world: World, mode: Literal["session", "transaction"]
) -> None:
    # In session mode every connection of the daemon keeps a server's; in transaction mode they
    # share two, so that a statement prepared on one is executed on the other.
    size = 10 if mode == "session" else 2
    async with (
        pgbouncer(world.database, mode, pool_size=size) as dsn,
        world.running(database_url=dsn, pooler=mode, **BY_EVENTS) as running,
    ):
        # Others share the pooler, so that two statements of ours in a row meet different servers.
        others = [asyncio.create_task(hammer(dsn)) for _ in range(3)]
        for status in ("succeeded", "failed", "canceled") * 5:
            await finish_run(world.owner, await insert_run(world.owner, world.workflow), status)
        await eventually(world.counted)
        await eventually(lambda: running.value("runs_counted_total", source="event") >= 1)
        assert (await running.get("/readyz")).status_code == 200
        for other in others:
            assert not other.done()
            other.cancel()
        for name in ("listener", "sweeper", "counter", "publisher", "leader", "backfill"):
            assert running.value("service_failures_total", service=name) == 0
