"""The demo's parts in this process, on one stack that all tests here share.

The last test stops the engine and the daemon; the others leave the stack as they found it.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from meshmetrics.devstack.demo.display import LinesDisplay
from meshmetrics.devstack.demo.running import Running
from meshmetrics.devstack.demo.stack import stack
from meshmetrics.devstack.tasks import end
from tests.support import eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Demo:
    """A demo whose engine runs."""

    running: Running
    lines: io.StringIO
    """What it writes where there is no screen."""
    engine: asyncio.Task[None]
    stop_engine: asyncio.Event

    async def stream_up(self) -> bool:
        await self.running.refresh()
        return self.running.daemon.stream_up


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with stack(1, lambda _: None, days=1) as it:
        running = Running(it, seed=1, rate=20, break_period=timedelta(minutes=1))
        demo = Demo(running, io.StringIO(), asyncio.create_task(asyncio.sleep(0)), asyncio.Event())
        display = LinesDisplay(demo.lines)

        async def show() -> None:
            while True:
                display.show(running.view())
                await asyncio.sleep(display.interval)

        async def past_is_counted() -> bool:
            return await it.counted() == running.past

        tasks = [asyncio.create_task(watcher.run()) for watcher in running.watchers]
        try:
            await eventually(lambda: all(w.joined for w in running.watchers), 30, what="joined")
            await eventually(past_is_counted, 60, what="the past counted")
            await running.watch_what_breaks()
            demo.engine = asyncio.create_task(running.run_engine(demo.stop_engine))
            tasks.append(asyncio.create_task(show()))
            yield demo
        finally:
            demo.stop_engine.set()
            await demo.engine
            await end(*tasks)


async def test_while_realtime_is_stopped_sweeps_count_and_members_still_see_it(demo: Demo) -> None:
    running = demo.running
    await eventually(demo.stream_up, 30, what="the stream up")
    await running.toggle_realtime()
    assert not running.realtime_up
    await eventually(lambda: not any(w.joined for w in running.watchers), what="channels lost")
    before, finished = running.shown, running.engine.finished

    async def counted_and_shown() -> bool:
        await running.count()
        return running.counted > finished and running.shown > max(before, finished)

    await eventually(counted_and_shown, 30, what="runs counted without Realtime")

    await running.toggle_realtime()
    await eventually(demo.stream_up, 60, what="the stream up again")
    await eventually(lambda: all(w.joined for w in running.watchers), 30, what="joined again")
    heard = running.broadcasts
    await eventually(lambda: running.broadcasts > heard, 30, what="broadcasts again")


async def test_the_workflow_breaks_and_its_webhook_reports_it(demo: Demo) -> None:
    opened = "✕ opened    Payment webhook relay: 3 failures in a row"
    await eventually(lambda: opened in demo.lines.getvalue(), 90, what="the webhook")
    written = demo.lines.getvalue()
    assert re.search(r"^alert: Payment webhook relay breaks in \d+ s; ", written, re.M)
    log = demo.running.stack.receiver.log.read_text()
    assert opened in log
    assert "wrong signature" not in log


async def test_drift_is_what_an_audit_finds_and_what_the_engine_did_not_do(demo: Demo) -> None:
    running = demo.running
    demo.stop_engine.set()
    await demo.engine
    await running.settle(asyncio.Event(), lambda _: None)
    ended = running.engine.finished + running.engine.left_open
    await running.count()
    assert running.counted == ended
    # A run that this test ended: counted correctly, so the audit finds nothing.
    await running.stack.owner.execute(
        "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
        " select project_id, id, 'succeeded', now() from public.workflow_definitions limit 1"
    )

    async def one_more() -> bool:
        await running.count()
        return running.counted == ended + 1

    await eventually(one_more, 40, what="the run counted")
    result = await running.result()
    assert result.finished + result.left_open == ended
    assert result.counted == ended + 1
    assert result.drift == 1

    await running.stack.owner.execute(
        "update public.workflow_run_buckets set success_count = success_count + 1"
        " where (workflow_id, grain, bucket_start) = (select workflow_id, grain, bucket_start"
        " from public.workflow_run_buckets where grain = 'quarter' order by bucket_start limit 1)"
    )
    result = await running.result()
    assert result.counted == ended + 1
    assert result.drift >= 2
