"""The walk over `workflow_runs` that sweeps and the back-fill share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from meshmetrics.counting.counter import Counter, Source
from meshmetrics.counting.model import Position
from meshmetrics.counting.store import CountingStore

FIRST_ID = UUID(int=0)
BEGINNING = Position(datetime(1, 1, 2, tzinfo=UTC), FIRST_ID)
"""Earlier than every run."""
FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than every run, including runs whose writer set updated_at explicitly."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a walk. Its runs are counted."""

    found: tuple[UUID, ...]
    changed: int
    scanned: int
    reached: Position
    last: bool


async def walk(
    store: CountingStore,
    counter: Counter,
    start: Position,
    until: datetime,
    batch: int,
    source: Source,
    *,
    whole: bool = False,
) -> AsyncIterator[Step]:
    """Walk from `start` to `until`, `batch` rows per step, and count what is uncounted.

    Unless `whole` is set, the first full step that passes the database's clock is the last one:
    beyond it are only runs whose writer set `updated_at` explicitly, and every sweep would walk
    all of them again until their time comes. Runs after that step are left to the deep sweep.

    While one step is counted, the next one is read: under load, reading is a fifth of the work,
    and it needs no lock.
    """
    position = start
    step = await store.uncounted_runs(position, until, batch)
    while True:
        current = step
        position = current.reached or position
        last = current.scanned < batch or not (
            whole or position.updated_at <= await store.database.now()
        )
        if last:
            changed = await counter.count(current.run_ids, source=source)
        else:
            next_step = asyncio.ensure_future(store.uncounted_runs(position, until, batch))
            try:
                changed = await counter.count(current.run_ids, source=source)
            except BaseException:
                next_step.cancel()
                await asyncio.gather(next_step, return_exceptions=True)
                raise
            # Await only now: the counted runs are published even if reading the next step fails.
            step = await next_step
        yield Step(current.run_ids, changed, current.scanned, position, last)
        if last:
            return
