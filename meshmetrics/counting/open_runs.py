"""Inspects the runs that have not ended: how many are open, overdue, or abandoned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.model import OpenCounts
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

SHORTEST = 2.0
"""Minimum seconds from the end of one inspection to the next."""
LONGEST = 600.0
"""Maximum seconds: a long inspection may have waited for an unavailable database."""
REST = 120
"""The pause after an inspection, in lengths of the inspection: less than 1 % of one core."""
SETTLED_AT_ONCE = 20_000
"""Maximum abandoned runs per inspection."""
DEADLINES_AT_ONCE = 20
"""Maximum workflows per inspection whose deadlines are recomputed."""
ANNOUNCED_EVERY = 10.0
"""Minimum seconds between two messages to one project: these counts change with every run."""
ANNOUNCED_AT_ONCE = 10
"""Maximum projects per inspection: the budget for broadcasts is mainly for rates."""
WORKFLOWS_PER_MESSAGE = 50
"""These fit into one Realtime message, whatever the length of their slugs."""


class Announce(Protocol):
    """Accepts an event for a project's broadcast channel. Never waits, never raises."""

    def __call__(self, project_id: UUID, event: str, payload: dict[str, Any]) -> None: ...


class OpenRunsInspector(Service):
    """Counts open and overdue runs, and counts each abandoned run as a failure.

    The table is the source of truth: every inspection compares its rows with what the last one
    stored, so the next inspection finds what this one or a crash missed.
    """

    name = "open_runs"

    def __init__(
        self,
        store: CountingStore,
        counter: Counter,
        announce: Announce,
        telemetry: Telemetry,
        *,
        abandoned_after: float,
        shortest: float = SHORTEST,
        rest: float = REST,
    ) -> None:
        """`abandoned_after`: seconds after a failed step in which nothing may follow; 0: no run is
        ever abandoned, and existing abandonments are withdrawn."""
        super().__init__()
        self._store = store
        self._counter = counter
        self._announce = announce
        self._telemetry = telemetry
        self._abandoned_after = timedelta(seconds=abandoned_after)
        self._shortest = shortest
        self._rest = rest
        # With a short abandoned_after, abandoned runs are found soon even after a long inspection.
        self._longest = max(shortest, min(LONGEST, abandoned_after or LONGEST))
        self._unannounced: dict[UUID, dict[UUID, OpenCounts]] = {}
        self._announced: dict[UUID, float] = {}

    async def run(self) -> None:
        """Inspect until stopped."""
        self.started.set()
        pause = 0.0
        while not await self.pause(pause):
            began = time.monotonic()
            await self.inspect()
            took = time.monotonic() - began
            self._telemetry.open_runs_seconds.observe(took)
            pause = min(self._longest, max(self._shortest, self._rest * took))

    async def inspect(self) -> None:
        """Inspect all open runs once, and announce what changed."""
        run_ids = await self._store.find_abandoned(self._abandoned_after, SETTLED_AT_ONCE)
        if run_ids:
            changed = await self._counter.settle_abandoned(run_ids, self._abandoned_after)
            log.info("open_runs.settled", runs=changed)
        await self._store.refresh_deadlines(DEADLINES_AT_ONCE)
        found = await self._store.count_open_runs()
        self._telemetry.open_runs.set(found.open)
        self._telemetry.overdue_runs.set(found.overdue)
        self._telemetry.abandoned_runs.set(found.abandoned)
        for counts in found.changed:
            self._unannounced.setdefault(counts.project_id, {})[counts.workflow_id] = counts
        self._announce_changes(time.monotonic())

    def _announce_changes(self, now: float) -> None:
        """Announce what changed in the projects that have waited longest, each at most every
        ANNOUNCED_EVERY seconds."""
        latest = now - ANNOUNCED_EVERY
        self._announced = {p: at for p, at in self._announced.items() if at > latest}
        due = [project for project in self._unannounced if project not in self._announced]
        for project_id in due[:ANNOUNCED_AT_ONCE]:
            self._announced[project_id] = now
            workflows = list(self._unannounced.pop(project_id).values())
            for first in range(0, len(workflows), WORKFLOWS_PER_MESSAGE):
                part = workflows[first : first + WORKFLOWS_PER_MESSAGE]
                self._announce(project_id, "open", payload(project_id, part))


def payload(project_id: UUID, workflows: Sequence[OpenCounts]) -> dict[str, Any]:
    """The broadcast event `open`: the counts as they are now, for the workflows that changed."""
    return {
        "v": 1,
        "project_id": str(project_id),
        "sent_at": datetime.now(UTC).isoformat(),
        "workflows": [
            {
                "workflow_id": str(counts.workflow_id),
                "slug": counts.slug,
                "open": counts.open,
                "oldest_open_at": None
                if counts.oldest_open_at is None
                else counts.oldest_open_at.isoformat(),
                "overdue": counts.overdue,
                "abandoned": counts.abandoned,
            }
            for counts in workflows
        ],
    }
