"""An engine that never has enough: every way in which a run can begin, change and end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from meshmetrics.devstack.engine.engine import AWAY
from tests.support import Workflow, finish_run, insert_run, resume_run

KINDS = {"ends": 6, "ended": 2, "resumed": 2, "moved": 1, "many": 1, "begun": 1}
"""What happens to a run, and how often."""
STATUSES = ("succeeded", "succeeded", "failed", "canceled")


class Load:
    """How much it has done."""

    def __init__(self) -> None:
        self.done = 0
        self.away = 0
        """How often the database was away in the middle of something."""


@asynccontextmanager
async def engine(
    dsn: str, workflows: Sequence[Workflow], seed: int, *, lanes: int = 3, pause: float = 0.004
) -> AsyncIterator[Load]:
    """Runs of these workflows for as long as the context lasts.

    A database that is away is waited for. `pause`: seconds between a lane's statements. The same
    seed makes the same decisions. Counted runs are never deleted, so that a plain group by says
    what the counts must be.
    """
    load = Load()
    tasks = [
        asyncio.create_task(_lane(dsn, workflows, random.Random(f"{seed}/{n}"), load, pause))
        for n in range(lanes)
    ]
    try:
        yield load
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _lane(
    dsn: str, workflows: Sequence[Workflow], choices: random.Random, load: Load, pause: float
) -> None:
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (*AWAY, TimeoutError):
            load.away += 1
            await asyncio.sleep(0.05)
            continue
        try:
            while True:
                await _something(connection, choices.choice(workflows), choices)
                load.done += 1
                await asyncio.sleep(pause)
        except AWAY:
            load.away += 1
        finally:
            connection.terminate()


async def _something(
    connection: asyncpg.Connection, workflow: Workflow, choices: random.Random
) -> None:
    status = choices.choice(STATUSES)
    match choices.choices(
        ["ends", "ended", "resumed", "moved", "many", "begun"], [6, 2, 2, 1, 1, 1]
    ):
        case ["ended"]:
            ago = timedelta(minutes=choices.choice([0, 1, 20, 3000]))
            await insert_run(connection, workflow, status, finished_at=datetime.now(UTC) - ago)
        case ["many"]:
            async with connection.transaction():
                for _ in range(choices.randint(2, 30)):
                    await _ended(connection, workflow, choices.choice(STATUSES))
        case ["begun"]:
            run = await insert_run(connection, workflow)
            if choices.random() < 0.5:
                await connection.execute("delete from public.workflow_runs where id = $1", run)
        case [kind]:
            run = await _ended(connection, workflow, status)
            if kind == "resumed":
                await resume_run(connection, run)
                if choices.random() < 0.8:
                    await finish_run(connection, run, choices.choice(STATUSES))
            elif kind == "moved":
                at = datetime.now(UTC) - timedelta(hours=choices.randint(1, 50))
                await finish_run(connection, run, status, finished_at=at)


async def _ended(connection: asyncpg.Connection, workflow: Workflow, status: str) -> UUID:
    run = await insert_run(connection, workflow)
    await finish_run(connection, run, status)
    return run
