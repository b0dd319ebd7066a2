"""A subscriber's copy of its project's rates: a snapshot that broadcasts keep up to date."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from meshmetrics.devstack.demo.stats import Totals

WINDOW: Final = timedelta(hours=24)
"""The period of the rates. Minute buckets are stored for longer."""
LATEST: Final = 40
"""How many of a workflow's last outcomes are remembered."""


@dataclass(slots=True)
class Workflow:
    """A workflow as users see it: all its versions together."""

    name: str
    minutes: dict[datetime, Totals] = field(default_factory=dict)
    latest: deque[str] = field(default_factory=lambda: deque(maxlen=LATEST))
    """Its last outcomes, the newest last."""
    last_failure_at: datetime | None = None

    def within(self, now: datetime) -> Totals:
        """The runs of the window that ends now. Forgets older ones."""
        begin = now - WINDOW
        for minute in [m for m in self.minutes if m < begin]:
            del self.minutes[minute]
        return Totals(
            sum(t.success for t in self.minutes.values()),
            sum(t.failure for t in self.minutes.values()),
            sum(t.canceled for t in self.minutes.values()),
        )

    def add(self, minute: datetime, success: int, failure: int, canceled: int) -> None:
        """Apply one minute's difference."""
        old = self.minutes.get(minute, Totals())
        self.minutes[minute] = Totals(
            old.success + success, old.failure + failure, old.canceled + canceled
        )
        for outcome, count in (("success", success), ("canceled", canceled), ("failure", failure)):
            self.latest.extend([outcome] * count)
            for _ in range(-count):  # a resumed run is no longer counted
                self._remove_latest(outcome)

    def _remove_latest(self, outcome: str) -> None:
        for index in range(len(self.latest) - 1, -1, -1):
            if self.latest[index] == outcome:
                del self.latest[index]
                return


@dataclass(slots=True)
class Version:
    """One version's row of workflow_run_metrics."""

    slug: str
    revision: int
    totals: Totals


class ProjectRates:
    """The rates of one project as its member sees them."""

    def __init__(self) -> None:
        self.workflows: dict[str, Workflow] = {}
        self.versions: dict[UUID, Version] = {}

    @property
    def counted(self) -> int:
        """All runs in the counters."""
        return sum(version.totals.runs for version in self.versions.values())

    def apply(self, message: Mapping[str, Any]) -> bool:
        """Apply a `rates` message. False if it does not continue the current revisions: then
        refetch."""
        follows = True
        for item in message["workflows"]:
            version = self.versions.get(UUID(item["workflow_id"]))
            if version is None:
                follows = False
            elif version.revision == item["base_revision"] < item["revision"]:
                self._apply_to(version, item)
            elif version.revision < item["revision"]:
                follows = False
        return follows

    def _apply_to(self, version: Version, item: Mapping[str, Any]) -> None:
        version.revision = item["revision"]
        version.totals = totals_of(item)
        workflow = self.workflows[version.slug]
        for delta in item["deltas"]:
            minute = datetime.fromisoformat(delta["minute"])
            workflow.add(minute, delta["success"], delta["failure"], delta["canceled"])
        if item["last_failure_at"]:
            workflow.last_failure_at = datetime.fromisoformat(item["last_failure_at"])

    async def fetch(self, connection: asyncpg.Connection, user_id: UUID) -> None:
        """Read it all as that user would through the API: its role, its claims, one snapshot.
        Row-level security decides which rows are visible."""
        claims = json.dumps({"role": "authenticated", "sub": str(user_id)})
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(
                "select set_config('role', 'authenticated', true),"
                " set_config('request.jwt.claims', $1, true)",
                claims,
            )
            definitions = await connection.fetch(_DEFINITIONS)
            buckets = await connection.fetch(_BUCKETS, WINDOW)
            latest = await connection.fetch(_LATEST, LATEST)
        self.versions = {
            row["id"]: Version(row["slug"], row["revision"], totals_of(row)) for row in definitions
        }
        self.workflows = {row["slug"]: Workflow(row["name"]) for row in definitions}
        for row in definitions:
            workflow = self.workflows[row["slug"]]
            times = (workflow.last_failure_at, row["last_failure_at"])
            workflow.last_failure_at = max((t for t in times if t), default=None)
        for row in buckets:
            minutes = self.workflows[self.versions[row["workflow_id"]].slug].minutes
            old = minutes.get(row["bucket_start"], Totals())
            new = totals_of(row)
            minutes[row["bucket_start"]] = Totals(
                old.success + new.success, old.failure + new.failure, old.canceled + new.canceled
            )
        for row in latest:
            self.workflows[row["slug"]].latest.append(row["outcome"])


def totals_of(item: Mapping[str, Any] | asyncpg.Record) -> Totals:
    """The counts of a row, or of a workflow in a message."""
    return Totals(item["success_count"], item["failure_count"], item["canceled_count"])


_DEFINITIONS = """
select d.id, d.slug, d.name, coalesce(m.revision, 0) as revision,
  coalesce(m.success_count, 0) as success_count, coalesce(m.failure_count, 0) as failure_count,
  coalesce(m.canceled_count, 0) as canceled_count, m.last_failure_at
from public.workflow_definitions d
left join public.workflow_run_metrics m on m.workflow_id = d.id
order by d.slug, d.version
"""
_BUCKETS = """
select workflow_id, bucket_start, success_count, failure_count, canceled_count
from public.workflow_run_buckets
where grain = 'minute' and bucket_start >= now() - $1::interval
"""
_LATEST = """
select slug, outcome
from public.workflow_metrics_recent(most => $1)
order by finished_at
"""
