"""The simulated engine's past: its projects, and runs with their rhythm, noise and bad days."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from meshmetrics.devstack.engine.workflows import SimulatedProject, SimulatedWorkflow

ATTEMPTS = 5
"""How often the executor tries a step."""
MAP = {"id": "map", "type": "transform"}
CALL = {"id": "call", "type": "http_call"}
"""The two steps of every simulated workflow."""
BAD_DAY = 0.06
"""The chance of a workflow having a bad day."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that ended, or that the engine left `running` when its step failed for good."""

    id: UUID
    project_id: UUID
    workflow_id: UUID
    status: str
    started_at: datetime
    finished_at: datetime
    """When it ended, or when its last step failed."""


def history(
    projects: tuple[SimulatedProject, ...], random: Random, now: datetime, days: int
) -> list[PastRun]:
    """The runs that ended in the `days` before `now`, the oldest first."""
    runs = [
        run
        for project in projects
        for workflow in project.workflows
        for run in _of_workflow(project, workflow, random, now, days)
    ]
    runs.sort(key=lambda run: run.finished_at)
    return runs


def _of_workflow(
    project: SimulatedProject, workflow: SimulatedWorkflow, random: Random, now: datetime, days: int
) -> Iterator[PastRun]:
    begin = now - timedelta(days=days)
    hours, weekdays = workflow.rhythm
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight <= now:
        bad_hours = _bad_hours(random)
        expected = workflow.runs_per_day * weekdays[midnight.weekday()]
        for _ in range(_about(expected, random)):
            hour = random.choices(range(24), hours)[0]
            finished = midnight + timedelta(hours=hour, seconds=random.uniform(0, 3600))
            success = workflow.success * (0.35 if hour in bad_hours else 1.0)
            status = written(project, outcome(workflow, success, random))
            duration = timedelta(seconds=workflow.seconds * random.uniform(0.5, 2.0))
            run_id = random_uuid(random)
            if not begin <= finished <= now:
                continue
            since = workflow.new_version_days_ago
            old = since is not None and finished < now - timedelta(days=since)
            yield PastRun(
                run_id,
                project.id,
                project.workflow_id(workflow, 1 if old or since is None else 2),
                status,
                finished - duration,
                finished,
            )
        midnight += timedelta(days=1)


def _bad_hours(random: Random) -> range:
    if random.random() > BAD_DAY:
        return range(0)
    begin = random.randrange(0, 20)
    return range(begin, begin + random.randrange(2, 9))


def _about(expected: float, random: Random) -> int:
    """A count that scatters around `expected` as independent events do, roughly."""
    return max(0, round(random.gauss(expected, expected**0.5)))


def outcome(workflow: SimulatedWorkflow, success: float, random: Random) -> str:
    """How a run ends, as a status, when `success` of those not canceled succeed."""
    if random.random() < workflow.canceled:
        return "canceled"
    return "succeeded" if random.random() < success else "failed"


def written(project: SimulatedProject, status: str) -> str:
    """What the project's engine leaves in a run that ends this way."""
    if project.writes_statuses:
        return status
    return "running" if status == "failed" else "succeeded"


def step_failures(run: PastRun) -> Iterator[tuple[UUID, datetime, str, str]]:
    """The events of the five attempts at a step, the last when the run was left: records of
    workflow_events (run_id, ts, type, payload)."""
    for attempt in range(1, ATTEMPTS + 1):
        at = run.finished_at - timedelta(seconds=3 * (ATTEMPTS - attempt))
        yield run.id, at, "step_failed", json.dumps(step_failed(attempt))


def step_failed(attempt: int) -> dict[str, Any]:
    """The payload of the event that the real executor writes for a failed attempt."""
    return {"node": CALL, "attempt": attempt, "error": "Error: HTTP 500"}


def random_uuid(random: Random) -> UUID:
    return UUID(int=random.getrandbits(128), version=4)


async def populate(dsn: str, projects: tuple[SimulatedProject, ...], seed: int, days: int) -> int:
    """Make the projects and their past, unless they are there; return how many runs were made."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            if not await _make_projects(connection, projects, days):
                return 0
            # The last minute is left free: there, so soon before live runs, a back-fill waits for
            # transactions that may still be under way.
            now = await connection.fetchval("select now() - interval '1 minute'")
            # Some tenths of a second of arithmetic: not in the loop.
            runs = await asyncio.to_thread(history, projects, Random(seed), now, days)
            await connection.copy_records_to_table(
                "workflow_runs",
                schema_name="public",
                columns=[
                    *("id", "project_id", "workflow_id", "status", "started_at"),
                    *("finished_at", "created_at", "updated_at"),
                ],
                records=[
                    (
                        *(run.id, run.project_id, run.workflow_id, run.status, run.started_at),
                        *(
                            (None, run.started_at, run.started_at)
                            if run.status == "running"
                            else (run.finished_at, run.started_at, run.finished_at)
                        ),
                    )
                    for run in runs
                ],
            )
            await connection.copy_records_to_table(
                "workflow_events",
                schema_name="public",
                columns=["run_id", "ts", "type", "payload"],
                records=[
                    event for run in runs if run.status == "running" for event in step_failures(run)
                ],
            )
        await connection.execute("analyze public.workflow_runs, public.workflow_events")
        return len(runs)
    finally:
        await connection.close()


async def _make_projects(
    connection: asyncpg.Connection, projects: tuple[SimulatedProject, ...], days: int
) -> bool:
    made = False
    for project in projects:
        await connection.execute(
            "insert into auth.users (id, email) values ($1, $2) on conflict do nothing",
            *(project.owner, project.owner_email),
        )
        done = await connection.execute(
            "insert into public.projects (id, owner, name) values ($1, $2, $3)"
            " on conflict do nothing",
            *(project.id, project.owner, project.name),
        )
        made = made or done == "INSERT 0 1"
        for workflow in project.workflows:
            newest = 1 if workflow.new_version_days_ago is None else 2
            for version in range(1, newest + 1):
                await connection.execute(
                    "insert into public.workflow_definitions"
                    " (id, project_id, slug, version, name, definition, status, created_at)"
                    " values ($1, $2, $3, $4, $5, '{}', $6, now() - $7::interval)"
                    " on conflict do nothing",
                    *(project.workflow_id(workflow, version), project.id, workflow.slug),
                    *(version, workflow.name),
                    "published" if version == newest else "archived",
                    timedelta(days=days if version == 1 else workflow.new_version_days_ago or 0),
                )
    return made
