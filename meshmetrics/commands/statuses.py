"""Maps a status of the engine's to an outcome."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from meshmetrics.commands.connecting import CommandError
from meshmetrics.counting.counter import quiet_counter
from meshmetrics.counting.store import CountingStore
from meshmetrics.settings.fields import Settings

OUTCOMES = ("success", "failure", "canceled", "open")


async def map_status(
    store: CountingStore,
    settings: Settings,
    status: str,
    outcome: str,
    on_progress: Callable[[int], None],
) -> int:
    """Map `status` to `outcome`, then count all its runs again; return how many changed.

    A daemon that counts a run meanwhile uses the new mapping too, so the result is the same.
    `on_progress` is called with the number counted so far.

    Raises CommandError for an unknown outcome or status.
    """
    if outcome not in OUTCOMES:
        raise CommandError(f"`{outcome}` is not an outcome", f"use one of {', '.join(OUTCOMES)}")
    known = {row.status: row for row in await store.statuses()}
    if status not in known:
        raise CommandError(
            f"no run has the status `{status}`",
            f"statuses are {', '.join(sorted(known))}",
        )
    await store.map_status(status, outcome)
    counter = quiet_counter(store, settings.count_batch)
    changed = scanned = 0
    after = UUID(int=0)
    while run_ids := await store.runs_of_status(status, after, settings.backfill_batch):
        changed += await counter.count(run_ids, source="backfill")
        scanned += len(run_ids)
        after = run_ids[-1]
        on_progress(scanned)
    return changed
