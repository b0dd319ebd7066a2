"""Daemons that are killed, stopped and frozen at any moment, and the ones that stand by."""

from __future__ import annotations

import asyncio
import random
import signal

import httpx
import pytest

from tests.daemon.conftest import World
from tests.daemon.process import environment
from tests.faults.conftest import SEED, counted_by, exact, scaled
from tests.faults.load import engine
from tests.faults.zygote import Daemon, Zygote
from tests.support import Workflow, eventually

pytestmark = pytest.mark.slow

ROUNDS = scaled(20, 200)


async def started(world: World, zygote: Zygote, **settings: float) -> Daemon:
    return await zygote.fork(environment(world.settings(**settings)))


async def works(daemon: Daemon, within: float = 20.0) -> None:
    await daemon.has_logged("stream.session_started", within=within)


async def stands_by(daemon: Daemon) -> None:
    """It stands by; or it works already, where the one that did was starved for longer than its
    lease lasts."""

    def has_asked() -> bool:
        return bool(daemon.logged("lease.standby") or daemon.logged("lease.taken"))

    await eventually(has_asked, 20, what="a daemon standing by")


async def takeover(*daemons: Daemon) -> tuple[Daemon, Daemon]:
    """The one of the two that took the lease, and the other."""
    one, other = daemons

    def taken() -> bool:
        return bool(one.logged("lease.taken") or other.logged("lease.taken"))

    await eventually(taken, 10, what="a daemon taking over")
    return (one, other) if one.logged("lease.taken") else (other, one)


@pytest.mark.timeout(30 + 10 * ROUNDS)
async def test_killed_at_random_moments_under_load_it_loses_nothing(
    world: World, zygote: Zygote, workflows: list[Workflow]
) -> None:
    choices = random.Random(SEED)
    dsn = world.database.owner_dsn
    holder = await started(world, zygote, lease_ttl=1)
    await works(holder)
    standby = await started(world, zygote, lease_ttl=1)
    async with engine(dsn, workflows, SEED):
        for number in range(ROUNDS):
            await stands_by(standby)
            await asyncio.sleep(choices.uniform(0, 0.6))
            await holder.killed()
            if number % 5 == 4:  # both at once
                await standby.killed()
                standby = await started(world, zygote, lease_ttl=1)
            holder, standby = await takeover(standby, await started(world, zygote, lease_ttl=1))
        await works(holder)
        await counted_by(dsn, world.workflow, 10)
    await exact(dsn)


async def test_the_standby_takes_over_within_ten_seconds(
    world: World, zygote: Zygote, workflows: list[Workflow]
) -> None:
    """With the time to live that is the default."""
    ttl = type(world.settings()).model_fields["lease_ttl"].default
    dsn = world.database.owner_dsn
    holder = await started(world, zygote, lease_ttl=ttl)
    await works(holder)
    standby = await started(world, zygote, lease_ttl=ttl)
    await standby.has_logged("lease.standby")
    async with engine(dsn, workflows, SEED):
        await asyncio.sleep(0.3)
        await holder.killed()
        await counted_by(dsn, world.workflow, within=10)
        assert standby.logged("lease.taken")
    await exact(dsn)


async def test_a_clean_stop_hands_over_at_once(
    world: World, zygote: Zygote, workflows: list[Workflow]
) -> None:
    """The lease would last for half a minute: nobody waits for that."""
    dsn = world.database.owner_dsn
    holder = await started(world, zygote, lease_ttl=30)
    await works(holder)
    async with engine(dsn, workflows, SEED):
        for _ in range(scaled(2, 20)):
            standby = await started(world, zygote, lease_ttl=30)
            await standby.has_logged("lease.standby")
            holder.signal(signal.SIGTERM)
            await standby.has_logged("lease.taken", within=10)
            await holder.ended()
            assert holder.logged("lease.released")
            await counted_by(dsn, world.workflow, within=10)
            holder = standby
    await exact(dsn)


async def test_a_holder_that_was_frozen_wakes_up_and_does_no_harm(
    world: World, zygote: Zygote, workflows: list[Workflow]
) -> None:
    choices = random.Random(SEED)
    dsn = world.database.owner_dsn
    holder = await started(world, zygote, lease_ttl=1)
    await works(holder)
    standby = await started(world, zygote, lease_ttl=1)
    await standby.has_logged("lease.standby")
    async with engine(dsn, workflows, SEED):
        for number in range(scaled(3, 30)):
            # Both change places each time: so often has each taken, lost and stood by before.
            before = number // 2
            await asyncio.sleep(choices.uniform(0, 0.5))
            holder.signal(signal.SIGSTOP)
            try:
                await standby.has_logged("lease.taken", before + 1, within=10)
                await counted_by(dsn, world.workflow, within=10)
            finally:
                holder.signal(signal.SIGCONT)
            await holder.has_logged("lease.lost", before + 1)
            holder, standby = standby, holder
            await standby.has_logged("lease.standby", 1 + (number + 1) // 2)
    await exact(dsn)


@pytest.mark.parametrize("replicas", [2, 4])
async def test_all_replicas_serve_and_one_of_them_works(
    world: World, zygote: Zygote, workflows: list[Workflow], replicas: int
) -> None:
    dsn = world.database.owner_dsn
    daemons = [await started(world, zygote, lease_ttl=1) for _ in range(replicas)]
    async with engine(dsn, workflows, SEED), httpx.AsyncClient() as client:

        async def states() -> list[str]:
            found = []
            for daemon in daemons:
                port = (await daemon.has_logged("http.listening"))["port"]
                answer = await client.get(f"http://127.0.0.1:{port}/readyz")
                assert answer.status_code == 200, answer.text
                found.append(answer.json()["lease"])
            return found

        async def settled() -> bool:
            found = await states()
            held = [daemon for daemon, state in zip(daemons, found, strict=True) if state == "held"]
            assert len(held) == 1
            name = f":{held[0].pid}"
            others = [state for state in found if state != "held"]
            assert all(s.startswith("standby for") and s.endswith(name) for s in others)
            return True

        await eventually(settled, 20)
        while len(daemons) > 1:
            found = await states()
            holder = daemons.pop(found.index("held"))
            if len(daemons) % 2:
                await holder.killed()
            else:
                holder.signal(signal.SIGTERM)
                await holder.ended()
            await eventually(settled, 10)
            await counted_by(dsn, world.workflow, within=10)
    await exact(dsn)
