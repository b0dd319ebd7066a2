"""Realtime stopped and started while runs end, as the key does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshmetrics.devstack.demo.running import Running
from meshmetrics.devstack.demo.stack import stack
from tests.support import eventually


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    async with stack(1, lambda _: None) as it:
        running = Running(it, seed=1, rate=20)
        watching = [asyncio.create_task(watcher.run()) for watcher in running.watchers]
        stop = asyncio.Event()
        engine = None
        try:
            await eventually(lambda: all(w.joined for w in running.watchers), 30, what="joined")

            async def past_is_counted() -> bool:
                return await it.counted() == running.past

            await eventually(past_is_counted, 60, what="the past counted")
            engine = asyncio.create_task(running.run_engine(stop))
            yield running
        finally:
            stop.set()
            if engine is not None:
                await engine
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def test_while_realtime_is_stopped_sweeps_count_and_members_still_see_it() -> None:
    async with running() as demo:

        async def stream_up() -> bool:
            await demo.ask()
            return demo.daemon.stream_up

        await eventually(stream_up, 30, what="the stream up")
        await demo.toggle_realtime()
        assert not demo.realtime_up
        await eventually(lambda: not any(w.joined for w in demo.watchers), what="channels lost")
        before, finished = demo.shown, demo.engine.finished

        async def counted_and_shown() -> bool:
            await demo.count()
            return demo.counted > finished and demo.shown > max(before, finished)

        await eventually(counted_and_shown, 30, what="runs counted without Realtime")

        await demo.toggle_realtime()
        await eventually(stream_up, 60, what="the stream up again")
        await eventually(lambda: all(w.joined for w in demo.watchers), 30, what="joined again")
        heard = demo.broadcasts
        await eventually(lambda: demo.broadcasts > heard, 30, what="broadcasts again")
