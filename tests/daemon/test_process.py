"""The daemon as a process: signals, exit codes, and what an operator reads."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from meshmetrics.devstack.postgres.server import EmbeddedPostgres, free_port
from meshmetrics.devstack.schema import create_source
from tests.daemon.conftest import World
from tests.daemon.process import Process, environment, process
from tests.support import eventually, finish_run, insert_run
from tests.support.databases import DatabaseClone

pytestmark = pytest.mark.slow

ROOT = str(Path(__file__).parents[2])


@asynccontextmanager
async def daemon(world: World, directory: Path, **variables: str) -> AsyncIterator[Process]:
    """A daemon process that is ready."""
    env = environment(world.settings(), PYTHONPATH=ROOT, **variables)
    async with process(directory, env, "run") as running:
        await running.has_logged("stream.session_started")
        yield running


@asynccontextmanager
async def load(world: World, lanes: int = 4) -> AsyncIterator[None]:
    """Engines that insert runs and end them, a few hundred a second together."""

    async def engine(status: str) -> None:
        connection = await asyncpg.connect(world.database.owner_dsn)
        try:
            while True:
                run = await insert_run(connection, world.workflow)
                await finish_run(connection, run, status)
                await asyncio.sleep(0.005)
        finally:
            connection.terminate()

    statuses = ("succeeded", "failed", "canceled", "succeeded")
    tasks = [asyncio.create_task(engine(s)) for s in statuses[:lanes]]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def counted_runs(world: World) -> int:
    count: int = await world.owner.fetchval("select count(*) from meshmetrics.counted_runs")
    return count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_under_load_a_signal_ends_it_within_five_seconds_and_nothing_is_lost(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    async with load(world):
        async with daemon(world, tmp_path) as running:
            await eventually(lambda: counted_above(world, 50), 20)
            began = time.monotonic()
            running.process.send_signal(number)
            assert await running.ended(within=5.0) == 0, running.everything()
            assert time.monotonic() - began < 5.0
        assert running.lines[-1]["event"] == "daemon.stopped"
        assert not running.logged("service.drain_timeout")
        before = await counted_runs(world)
        await asyncio.sleep(0.2)  # the engines go on, and nobody counts
        assert await counted_runs(world) == before
    async with daemon(world, tmp_path):
        await eventually(world.counted, 20)


async def counted_above(world: World, count: int) -> bool:
    return await counted_runs(world) > count


async def test_killed_at_any_moment_it_loses_nothing(world: World, tmp_path: Path) -> None:
    async with load(world):
        for rounds in range(1, 4):
            async with daemon(world, tmp_path, MESHMETRICS_LEASE_TTL="1") as running:
                count = await counted_runs(world)
                await eventually(lambda: counted_above(world, count + 20), 20)  # noqa: B023
                await asyncio.sleep(0.05 * rounds)
                running.process.kill()
                await running.ended()
    async with daemon(world, tmp_path, MESHMETRICS_LEASE_TTL="1"):
        await eventually(world.counted, 20)


async def test_a_stopped_daemon_is_replaced_by_the_standby_at_once(
    world: World, tmp_path: Path
) -> None:
    ttl = {"MESHMETRICS_LEASE_TTL": "30"}  # so that nobody waits for it to run out
    async with daemon(world, tmp_path, **ttl) as first:
        env = environment(world.settings(), PYTHONPATH=ROOT, **ttl)
        async with process(tmp_path, env, "run") as second:
            await second.has_logged("lease.standby")
            assert (await get(second, "/readyz")).status_code == 200
            first.process.terminate()
            await second.has_logged("lease.taken", within=10)
            await second.has_logged("stream.session_started")
            await finish_run(world.owner, await insert_run(world.owner, world.workflow))
            await eventually(world.counted)
            second.process.terminate()
            assert await second.ended() == 0


async def test_a_database_that_answers_nothing_does_not_keep_it_alive(
    world: World, tmp_path: Path
) -> None:
    env = {"MESHMETRICS_SHUTDOWN": "1"}
    async with daemon(world, tmp_path, **env) as running:
        held = await world.owner.fetchval("select holder_name from meshmetrics.lease")
        assert str(running.process.pid) in held
        await world.owner.execute("begin")
        try:
            # Neither the lease can be given back nor anything counted while these are locked.
            await world.owner.execute("lock table meshmetrics.lease in access exclusive mode")
            running.process.terminate()
            await running.ended(within=5.0)
        finally:
            await world.owner.execute("rollback")


BLOCKED = """
import time, meshmetrics.daemon.daemon, meshmetrics.cli
async def run(self, stop):
    await stop.wait()
    time.sleep(60)
meshmetrics.daemon.daemon.Daemon.run = run
meshmetrics.cli.main(["run"])
"""


async def test_even_with_its_event_loop_blocked_it_ends_in_time(
    world: World, tmp_path: Path
) -> None:
    env = environment(world.settings(), PYTHONPATH=ROOT, MESHMETRICS_SHUTDOWN="1")
    async with process(tmp_path, env, program=("-c", BLOCKED)) as running:
        await running.has_logged("daemon.started")
        running.process.terminate()
        assert await running.ended(within=5.0) == 1


async def get(running: Process, path: str, **headers: str) -> httpx.Response:
    port = (await running.has_logged("http.listening"))["port"]
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}{path}", headers=headers)


async def test_no_log_line_and_no_metric_holds_a_secret_or_a_row(
    world: World, tmp_path: Path
) -> None:
    settings = world.settings(metrics_token="the-metrics-token")
    env = environment(settings, PYTHONPATH=ROOT, MESHMETRICS_LOG_LEVEL="debug")
    async with process(tmp_path, env, "run") as running:
        await running.has_logged("stream.session_started")
        await finish_run(world.owner, await insert_run(world.owner, world.workflow))
        await running.has_logged("run.counted")
        world.realtime.push("postgres_changes", {"record": "what a row holds"})
        await running.has_logged("stream.odd")
        metrics = await get(running, "/metrics", Authorization="Bearer the-metrics-token")
        assert (await get(running, "/metrics")).status_code == 401
        running.process.terminate()
        await running.ended()
    assert 'meshmetrics_runs_counted_total{source="event"}' in metrics.text
    for text in (running.everything(), metrics.text):
        for secret in [*settings.secrets(), "what a row holds"]:
            assert secret not in text
    assert {line["level"] for line in running.lines} <= {"debug", "info", "warning"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is missing: it takes"),
        ({"MESHMETRICS_HTTP_PORT": "many"}, "MESHMETRICS_HTTP_PORT is 'many': it takes"),
        ({"SUPABASE_URL": "nowhere"}, "SUPABASE_URL is not an http:// or https:// URL"),
    ],
    ids=str,
)
async def test_a_wrong_setting_ends_it_at_once_with_a_readable_message(
    world: World, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    env = environment(world.settings(), PYTHONPATH=ROOT, **variables)
    async with process(tmp_path, env, "run") as running:
        assert await running.ended() == 2
    assert said in running.text
    assert "Traceback" not in running.text
    assert running.lines == []


async def test_a_database_that_is_not_there_ends_it_clearly(world: World, tmp_path: Path) -> None:
    dsn = world.database.server.dsn("nosuchdatabase")
    env = environment(world.settings(), PYTHONPATH=ROOT, DATABASE_URL=dsn)
    async with process(tmp_path, env, "run") as running:
        assert await running.ended() == 1
    [line] = running.logged("daemon.failed")
    assert "check user, password and database name in DATABASE_URL" in line["error"]
    assert "Traceback" not in running.everything()


async def test_a_port_that_is_taken_ends_it_clearly(world: World, tmp_path: Path) -> None:
    env = environment(
        world.settings(), PYTHONPATH=ROOT, MESHMETRICS_HTTP_PORT=str(world.realtime.port)
    )
    async with process(tmp_path, env, "run") as running:
        assert await running.ended() == 1
    [line] = running.logged("daemon.failed")
    assert "MESHMETRICS_HTTP_PORT" in line["error"]


async def test_a_database_that_is_not_migrated_is_migrated_at_start_or_named(
    world: World, source_database: DatabaseClone, tmp_path: Path
) -> None:
    env = environment(world.settings(), PYTHONPATH=ROOT, DATABASE_URL=source_database.owner_dsn)
    async with process(tmp_path, env, "run") as running:  # MESHMETRICS_MIGRATE=false
        assert await running.ended() == 1
    assert "run `meshmetrics migrate`" in running.logged("daemon.failed")[0]["error"]
    async with process(tmp_path, {**env, "MESHMETRICS_MIGRATE": "true"}, "run") as running:
        await running.has_logged("lease.taken")
        assert running.logged("migrate.done")


async def test_an_unknown_setting_is_warned_of(world: World, tmp_path: Path) -> None:
    async with daemon(world, tmp_path, MESHMETRICS_HTTP_PROT="1") as running:
        [line] = running.logged("settings.unknown")
    assert "did you mean MESHMETRICS_HTTP_PORT?" in line["text"]


async def test_a_database_that_comes_up_later_is_waited_for_and_one_that_restarts_survived(
    world: World, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    await connect_and(own_postgres, "postgres", "create database meshhook")
    connection = await asyncpg.connect(own_postgres.dsn("meshhook"))
    await create_source(connection)
    await connection.close()
    await own_postgres.stop()
    env = environment(
        world.settings(migrate=True), PYTHONPATH=ROOT, DATABASE_URL=own_postgres.dsn("meshhook")
    )
    async with process(tmp_path, env, "run") as running:
        await running.has_logged("database.unreachable")
        assert (await get(running, "/healthz")).status_code == 200
        assert (await get(running, "/readyz")).json()["database"] == "unreachable"
        await own_postgres.start()
        await running.has_logged("lease.taken")
        await own_postgres.restart("immediate")
        connection = await asyncpg.connect(own_postgres.dsn("meshhook"))
        other = World(world.database, world.realtime, connection, world.workflow)
        await copy_workflow(world, connection)
        await finish_run(connection, await insert_run(connection, world.workflow))
        await eventually(other.counted, 20)
        await eventually(lambda: is_reachable(running))
        await connection.close()
        running.process.terminate()
        assert await running.ended() == 0


async def is_reachable(running: Process) -> bool:
    return bool((await get(running, "/readyz")).json()["database"] == "ok")


async def connect_and(server: EmbeddedPostgres, database: str, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn(database))
    await connection.execute(statement)
    await connection.close()


async def copy_workflow(world: World, into: asyncpg.Connection) -> None:
    """The world's workflow, in another database."""
    for table in ("auth.users", "public.projects", "public.workflow_definitions"):
        rows = await world.owner.fetch(f"select to_jsonb(t)::text from {table} t")
        for row in rows:
            await into.execute(
                f"insert into {table} select * from jsonb_populate_record(null::{table}, $1)",
                row[0],
            )


async def test_migrate_brings_a_database_up_to_date_and_then_has_nothing_to_do(
    source_database: DatabaseClone, tmp_path: Path
) -> None:
    env = environment(PYTHONPATH=ROOT, DATABASE_URL=source_database.owner_dsn)
    for _ in range(2):
        async with process(tmp_path, env, "migrate") as running:
            assert await running.ended() == 0, running.everything()
    env["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{free_port()}/x"
    async with process(tmp_path, env, "migrate") as running:
        assert await running.ended() == 1
    assert "cannot be reached" in running.text
