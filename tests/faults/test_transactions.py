"""Transactions that are open for longer than sweeps wait, and commit behind the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import Connect
from tests.daemon.conftest import World
from tests.faults.conftest import SEED, exact, scaled
from tests.faults.load import engine
from tests.support import Workflow, eventually, finish_run, insert_run

pytestmark = pytest.mark.slow

BLIND = (
    "do $$ begin create role blind; exception when duplicate_object then null; end $$;"
    "alter function meshmetrics.oldest_transaction owner to blind;"
    "grant execute on function meshmetrics.oldest_transaction to public;"
    "grant usage on schema meshmetrics to blind;"
)
"""The owner of the functions then sees no other session's transactions: the overlap applies."""


async def swept(running: Callable[[], float], times: float) -> None:
    """So many sweeps more."""
    before = running()
    await eventually(lambda: running() >= before + times, 30, what="sweeps")


@pytest.mark.parametrize("blind", [False, True], ids=["seen", "not seen"])
async def test_what_commits_behind_the_sweeps_is_counted_though_no_event_tells_of_it(
    world: World, workflows: list[Workflow], connect: Connect, blind: bool
) -> None:
    """Sweeps that see the transaction wait for it with their checkpoint; for those that do not,
    the deep sweep comes by."""
    slow = await connect(world.database.owner_dsn)
    if blind:
        await world.owner.execute(BLIND)
    world.realtime.faults.drop = 1.0
    async with (
        world.running(
            sweep_max=0.2, sweep_overlap=1, deep_sweep_interval=2, sweep_quick=0.05
        ) as running,
        engine(world.database.owner_dsn, workflows, SEED),
    ):

        def sweeps() -> float:
            return running.value("sweeps_total", kind="regular")

        for _ in range(scaled(2, 20)):
            transaction = slow.transaction()
            await transaction.start()
            began = await slow.fetchval("select now()")
            runs = [await insert_run(slow, workflow) for workflow in workflows]
            for run in runs:
                await finish_run(slow, run, "failed")
            await swept(sweeps, 4)
            if blind:
                await eventually(lambda: past(world.owner, began), 30)  # noqa: B023
            await transaction.commit()
            await eventually(lambda: all_in_ledger(world.owner, runs), 30)  # noqa: B023
    await exact_without_daemon(world)


async def past(owner: asyncpg.Connection, moment: datetime) -> bool:
    """Whether the sweeps' checkpoint lies behind that moment."""
    at = await owner.fetchval("select updated_at from meshmetrics.checkpoint where name = 'sweep'")
    return bool(at > moment)


async def all_in_ledger(owner: asyncpg.Connection, runs: list[UUID]) -> bool:
    there = await owner.fetchval(
        "select count(*) from meshmetrics.counted_runs where run_id = any ($1)", runs
    )
    return bool(there == len(runs))


async def exact_without_daemon(world: World) -> None:
    """What the stopped daemon left to the next one, it counts; then all is exact."""
    world.realtime.faults.drop = 0.0
    async with world.running():
        await exact(world.database.owner_dsn)


async def test_a_sweep_that_sees_the_transaction_keeps_its_checkpoint_before_it(
    world: World, connect: Connect
) -> None:
    slow = await connect(world.database.owner_dsn)
    async with world.running(sweep_max=0.1) as running:
        async with slow.transaction():
            began = await slow.fetchval("select now()")
            await finish_run(slow, await insert_run(slow, world.workflow))
            await swept(lambda: running.value("sweeps_total", kind="regular"), 5)
            assert not await past(world.owner, began)
        await exact(world.database.owner_dsn)
