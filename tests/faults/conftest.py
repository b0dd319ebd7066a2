"""Faults under load. After each: exact counts, and live again by itself.

Quick by default; MESHMETRICS_TEST_SOAK=1 (`make soak`) makes the same tests long, 0.1 a tenth of
the way.
MESHMETRICS_TEST_SEED chooses their random decisions.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.auditing.verify import verify
from meshmetrics.database.store import Database
from meshmetrics.devstack.engine.engine import AWAY
from meshmetrics.devstack.realtime import Limits, RealtimeServer, Timing
from tests.daemon.conftest import JWT_SECRET, Running, World, world
from tests.faults.zygote import Zygote
from tests.sql.plain import assert_counted
from tests.support import Workflow, eventually, finish_run, insert_run, make_project, make_workflow
from tests.support.databases import DatabaseClone

__all__ = ["world"]

N = TypeVar("N", int, float)

SOAK = float(os.environ.get("MESHMETRICS_TEST_SOAK") or 0)
SEED = int(os.environ.get("MESHMETRICS_TEST_SEED", "1"))


def scaled(quick: N, soak: N) -> N:
    """One number for every day, another for the long run."""
    return type(quick)(quick + SOAK * (soak - quick))


def make_realtime(database: DatabaseClone, **options: Any) -> RealtimeServer:
    """A Realtime that is quick and takes what it gets, unless `options` say otherwise."""
    options.setdefault("timing", Timing.quick())
    options.setdefault("limits", Limits(events_per_second=1e9, changes_per_second=1e9))
    return RealtimeServer(database_dsn=database.owner_dsn, jwt_secret=JWT_SECRET, **options)


@pytest.fixture
async def realtime(database: DatabaseClone) -> AsyncIterator[RealtimeServer]:
    server = make_realtime(database)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def workflows(world: World) -> list[Workflow]:
    """The world's workflow and more, in two projects."""
    other = await make_project(world.owner)
    more = [await make_workflow(world.owner, other) for _ in range(4)]
    return [world.workflow, *more]


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    mother = Zygote(tmp_path)
    await mother.start()
    yield mother
    await mother.close()


async def exact(dsn: str, within: float = 30.0) -> None:
    """Wait until counters and buckets equal a plain group by, and `verify` finds nothing wrong."""

    async def equal() -> bool:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except AWAY:
            return False
        try:
            await assert_counted(connection)
            return True
        finally:
            connection.terminate()

    await eventually(equal, within, what="exact counts")
    pool = await asyncpg.create_pool(dsn, min_size=0, max_size=2)
    try:
        report = await verify(AuditStore(Database(pool)))
        assert (report.drift, report.set_aside) == (0, 0), report.differences
    finally:
        pool.terminate()


async def live(world: World, running: Running, within: float = 20.0) -> None:
    """Wait until the stream is up and brings the event of what ends, which is counted."""
    await eventually(lambda: running.up, within, what="the stream being up")
    before = running.value("events_received_total")

    async def announced() -> bool:
        await counted_by(world.database.owner_dsn, world.workflow, 10)
        return running.value("events_received_total") > before

    await eventually(announced, within, what="an event of the stream")


async def counted_by(dsn: str, workflow: Workflow, within: float) -> None:
    """End a run, and wait until it is counted."""
    connection = await asyncpg.connect(dsn)
    try:
        run = await insert_run(connection, workflow)
        await finish_run(connection, run)

        async def is_counted() -> bool:
            there: bool = await connection.fetchval(
                "select exists (select from meshmetrics.counted_runs where run_id = $1)", run
            )
            return there

        await eventually(is_counted, within, what="the run being counted")
    finally:
        connection.terminate()
