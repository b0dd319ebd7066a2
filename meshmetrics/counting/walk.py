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
"""Later than every run, those included whose writer set updated_at himself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a walk, its runs counted."""

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
    """Walk from `start` to `until`, `batch` rows a step, counting what is uncounted.

    Unless it is to be `whole`, the first full step that comes past the database's clock is the
    last one: there lie only runs whose writer set `updated_at` himself, and every sweep would walk
    all of them again until their time comes. What is behind that step is the deep sweep's.

    While a full step is counted the next one is looked up: where there is much to count, looking
    is a fifth of the work and needs no lock.
    """
    position = start
    step = await store.uncounted_runs(position, until, batch)
    while True:
        here = step
        position = here.reached or position
        last = here.scanned < batch or not (
            whole or position.updated_at <= await store.database.now()
        )
        if last:
            changed = await counter.count(here.run_ids, source=source)
        else:
            looking = asyncio.ensure_future(store.uncounted_runs(position, until, batch))
            try:
                changed = await counter.count(here.run_ids, source=source)
            except BaseException:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                raise
            # Not before: what is counted is published, whatever becomes of the looking.
            step = await looking
        yield Step(here.run_ids, changed, here.scanned, position, last)
        if last:
            return
