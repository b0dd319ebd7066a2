"""Runs the daemon's back-fill as a command, with progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from meshmetrics.counting.backfill import Backfill
from meshmetrics.counting.counter import quiet_counter
from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """Whether the back-fill is done, and how many runs this command read."""

    done: bool
    scanned: int


async def backfill(
    store: CountingStore,
    settings: Settings,
    stop: asyncio.Event,
    *,
    on_start: Callable[[int], None] = lambda _: None,
    on_progress: Callable[[int], None] = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> BackfillResult:
    """Count the runs from before meshmetrics, from the last checkpoint, until done or `stop`. Safe
    beside a running daemon: both share the checkpoint.

    It calls `on_start` with the estimated number of runs left, `on_progress` with the number read
    so far, and `on_wait` with the reason if it has to wait.
    """
    checkpoint = await store.read_checkpoint("backfill")
    if checkpoint.done:
        return BackfillResult(True, 0)
    until = (await store.read_checkpoint("sweep")).position.updated_at
    on_start(await store.estimate_runs(checkpoint.position.updated_at, until))
    scanned = 0

    def progress(count: int, _: Position) -> None:
        nonlocal scanned
        scanned = count
        on_progress(count)

    service = Backfill(
        store,
        quiet_counter(store, settings.count_batch),
        Telemetry(),
        batch=settings.backfill_batch,
        overlap=settings.sweep_overlap,
        settle_pause=1.0,
        on_progress=progress,
        on_wait=on_wait,
    )
    stopping = asyncio.create_task(_stop_with(stop, service))
    try:
        await service.run()
    finally:
        stopping.cancel()
    return BackfillResult((await store.read_checkpoint("backfill")).done, scanned)


async def _stop_with(stop: asyncio.Event, service: Backfill) -> None:
    await stop.wait()
    service.stop()
