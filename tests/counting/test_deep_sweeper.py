"""Deep sweeps: they find what lies behind the checkpoint, and rest between their steps."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from meshmetrics.counting import deep_sweeper
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.deep_sweeper import DeepSweeper
from meshmetrics.counting.model import Position, Uncounted
from meshmetrics.database.store import Database
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from tests.support import Workflow, eventually, insert_run
from tests.support.counting import FaultyStore, all_counted, working


def sweeps(telemetry: Telemetry) -> float:
    value = telemetry.registry.get_sample_value("meshmetrics_sweeps_total", {"kind": "deep"})
    return value or 0.0


async def ledger(owner: asyncpg.Connection) -> int:
    count: int = await owner.fetchval("select count(*) from meshmetrics.counted_runs")
    return count


async def test_what_lies_behind_the_checkpoint_of_the_other_sweeps_is_found(
    faulty: FaultyStore,
    counter: Counter,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    old = await owner.fetchval("select now() - interval '20 hours'")
    await insert_run(owner, workflow, "succeeded", updated_at=old, finished_at=old)
    await owner.execute("update meshmetrics.checkpoint set updated_at = now() where name = 'sweep'")
    deep = DeepSweeper(faulty, counter, telemetry, interval=0.05, batch=100)
    async with working(deep):
        await eventually(lambda: all_counted(owner))
        await eventually(lambda: sweeps(telemetry) >= 1)
    assert await ledger(owner) == 1


class SlowStore(FaultyStore):
    """Every look takes this long."""

    seconds = 0.05

    async def uncounted_runs(self, after: Position, until: object, max_scanned: int) -> Uncounted:
        await asyncio.sleep(self.seconds)
        return await super().uncounted_runs(after, until, max_scanned)  # type: ignore[arg-type]


async def test_each_step_is_followed_by_a_rest_of_four_times_its_length(
    worker_dsn: str,
    inbox: Inbox,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        await insert_run(owner, workflow, "succeeded")
    async with asyncpg.create_pool(worker_dsn, min_size=0, max_size=3) as pool:
        store = SlowStore(Database(pool))
        counter = Counter(store, inbox, lambda *_, **__: None, telemetry)
        deep = DeepSweeper(store, counter, telemetry, interval=0.01, batch=2)
        rests: list[float] = []

        async def pause(seconds: float) -> bool:
            rests.append(seconds)
            return sweeps(telemetry) >= 1

        monkeypatch.setattr(deep, "pause", pause)
        await deep.run()
    before, *between, after = rests
    assert before == 0.01
    # Two steps are not the last; the first looks twice, for itself and for the next one.
    first, second = (rest / (4 * store.seconds) for rest in between)
    assert first > 1.99
    assert second > 0.99
    assert max(between) <= deep_sweeper.MAX_REST
    assert after <= 0.01
    assert await all_counted(owner)


async def test_a_step_that_waited_for_its_database_is_not_rested_for_without_end(
    faulty: FaultyStore,
    counter: Counter,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deep_sweeper, "REST", 10**9)
    monkeypatch.setattr(deep_sweeper, "MAX_REST", 0.01)
    for _ in range(5):
        await insert_run(owner, workflow, "succeeded")
    async with working(DeepSweeper(faulty, counter, telemetry, interval=0.01, batch=2)):
        await eventually(lambda: all_counted(owner))


async def test_stopping_ends_a_rest_at_once(
    faulty: FaultyStore,
    counter: Counter,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deep_sweeper, "REST", 10**9)
    monkeypatch.setattr(deep_sweeper, "MAX_REST", 3600.0)
    for _ in range(5):
        await insert_run(owner, workflow, "succeeded")
    async with working(DeepSweeper(faulty, counter, telemetry, interval=0.01, batch=2)):
        await eventually(lambda: counted_two(owner))
    assert await ledger(owner) == 2  # it was at rest behind its first step
    assert sweeps(telemetry) == 0


async def counted_two(owner: asyncpg.Connection) -> bool:
    return await ledger(owner) == 2
