"""Faults under load. After each: exact counts, and live again by itself.

Quick by default; MESHMETRICS_TEST_SOAK=1 (`make soak`) makes the same tests long.
MESHMETRICS_TEST_SEED chooses their random decisions.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from meshmetrics.local.engine import AWAY
from meshmetrics.operate.verify import verify
from meshmetrics.store_audit import AuditStore
from tests.daemon.conftest import World, realtime, world
from tests.faults.zygote import Zygote
from tests.sql.plain import assert_counted
from tests.support import Workflow, eventually, finish_run, insert_run, make_project, make_workflow

__all__ = ["realtime", "world"]

N = TypeVar("N", int, float)

SOAK = os.environ.get("MESHMETRICS_TEST_SOAK", "") not in ("", "0")
SEED = int(os.environ.get("MESHMETRICS_TEST_SEED", "1"))


def scaled(quick: N, soak: N) -> N:
    """One number for every day, another for the long run."""
    return soak if SOAK else quick


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
        report = await verify(AuditStore(pool))
        assert (report.drift, report.set_aside) == (0, 0), report.differences
    finally:
        pool.terminate()


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
