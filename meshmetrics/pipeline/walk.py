"""The walk over `workflow_runs` that sweeps and the back-fill share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from meshmetrics.model import Position
from meshmetrics.pipeline.counter import Counter, Source
from meshmetrics.store import Store

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
    store: Store, counter: Counter, start: Position, until: datetime, batch: int, source: Source
) -> AsyncIterator[Step]:
    """Walk from `start` to `until`, `batch` rows a step, counting what is uncounted."""
    position = start
    last = False
    while not last:
        step = await store.uncounted_runs(position, until, batch)
        changed = await counter.count(step.run_ids, source=source) if step.run_ids else 0
        position = step.reached or position
        last = step.scanned < batch
        yield Step(step.run_ids, changed, step.scanned, position, last)
