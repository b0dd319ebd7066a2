"""A stream that fails in every way there is, while runs go on ending: exact, and back by itself.

tests/daemon/test_stream.py has each hazard alone; here they come under load, and last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from meshmetrics.devstack.realtime import RealtimeServer
from tests.daemon.conftest import Running, World
from tests.faults.conftest import SEED, counted_by, exact, live, scaled
from tests.faults.load import engine
from tests.support import Workflow, eventually

pytestmark = pytest.mark.slow

LASTS = scaled(1.5, 60.0)
"""Seconds for which a fault lasts."""

Fault = Callable[[RealtimeServer, Running], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def killed(server: RealtimeServer, _: Running) -> AsyncIterator[None]:
    await server.kill()
    yield
    await server.start()


@asynccontextmanager
async def hung(server: RealtimeServer, _: Running) -> AsyncIterator[None]:
    server.faults.hang = True
    yield
    server.faults.hang = False


@asynccontextmanager
async def refusing(server: RealtimeServer, _: Running) -> AsyncIterator[None]:
    server.faults.refuse = True
    await server.disconnect()
    yield
    server.faults.refuse = False


@asynccontextmanager
async def accepting_then_closing(server: RealtimeServer, running: Running) -> AsyncIterator[None]:
    server.faults.close_on_connect = True
    await server.disconnect()
    yield
    server.faults.close_on_connect = False


@asynccontextmanager
async def dropping_a_third(server: RealtimeServer, _: Running) -> AsyncIterator[None]:
    server.faults.drop = 1 / 3
    yield
    server.faults.drop = 0.0


@asynccontextmanager
async def repeating(server: RealtimeServer, _: Running) -> AsyncIterator[None]:
    server.faults.repeat, server.faults.reorder = 3, 0.2
    yield
    server.faults.repeat, server.faults.reorder = 0, 0.0


@asynccontextmanager
async def silent_for_good(server: RealtimeServer, running: Running) -> AsyncIterator[None]:
    """The session that is there gets nothing any more, heartbeats and probes go on; only a new
    one would get changes."""
    lost = running.value("stream_lost_total", reason="silent")
    server.faults.silent = True
    await eventually(lambda: running.value("stream_lost_total", reason="silent") > lost, 20)
    server.faults.silent = False
    yield


@asynccontextmanager
async def restarting_again_and_again(server: RealtimeServer, _: Running) -> AsyncIterator[None]:
    for _n in range(scaled(5, 100)):
        await server.disconnect(1012)
        await asyncio.sleep(LASTS / 10)
    yield


FAULTS: dict[str, Fault] = {
    "killed": killed,
    "hung": hung,
    "refusing": refusing,
    "accepting, then closing": accepting_then_closing,
    "dropping a third": dropping_a_third,
    "repeating and reordering": repeating,
    "silent for good": silent_for_good,
    "restarting again and again": restarting_again_and_again,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_exact_and_back_by_itself_with_a_realtime_that_is(
    world: World, workflows: list[Workflow], fault: Fault
) -> None:
    dsn = world.database.owner_dsn
    async with world.running() as running:
        async with engine(dsn, workflows, SEED) as load, fault(world.realtime, running):
            done = load.done
            await asyncio.sleep(LASTS)
            assert load.done > done  # the engine does not care
            await counted_by(dsn, world.workflow, within=10)
        await exact(dsn)
        await live(world, running)
