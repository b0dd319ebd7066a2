"""A simulated MeshHook engine, for the demo and for tests: it makes runs and ends them.

It writes as the real one does: a run is inserted as running, each step leaves its events, and the
last event is written in one transaction with the run's end. A step that fails is tried five times,
an event each, and then the run stays `running` for ever. Only projects that say so also pause,
cancel and resume runs and have them fail by their status.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from meshmetrics.devstack.engine.history import (
    ATTEMPTS,
    CALL,
    MAP,
    outcome,
    populate,
    random_uuid,
    step_failed,
)
from meshmetrics.devstack.engine.workflows import (
    SimulatedProject,
    SimulatedWorkflow,
    simulated_projects,
)

PAUSED = 0.03
"""The share of runs that are paused on the way."""
BACK_OFF = (0.05, 0.1, 0.2, 0.4)
"""Seconds between the attempts at a step: a tenth of the real executor's."""
RESUMED = 0.3
"""The share of failed runs that are resumed."""
BREAK_PERIOD = timedelta(minutes=3)
BROKEN_FROM, BROKEN_TO = 0.1, 0.5
"""The part of each period in which the workflow that breaks is broken: early, so that
it soon breaks and recovers."""


AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up
    asyncpg.InterfaceError,  # the connection was lost
    asyncpg.InternalClientError,  # in the middle of something
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run ended, and the engine saw its commit at `committed_at` (of the loop's clock)."""

    run_id: UUID
    workflow_id: UUID
    status: str
    committed_at: float


class Engine:
    """Makes projects with a past, then runs their workflows until stopped.

    The same seed makes the same projects, past and decisions; only their timing differs.
    """

    def __init__(
        self,
        dsn: str,
        *,
        seed: int = 1,
        rate: float = 5.0,
        break_period: timedelta = BREAK_PERIOD,
        on_ended: Callable[[Ended], None] | None = None,
    ) -> None:
        """`rate`: runs begun a second. `break_period`: how long the workflow that breaks takes
        from one break to the next. `on_ended` is called after each commit that ended a run."""
        self.projects: tuple[SimulatedProject, ...] = simulated_projects(seed)
        self.started = 0
        """Runs begun by `run`."""
        self.finished = 0
        """Of those, how many are at an end now: one that is resumed is not."""
        self.left_open = 0
        """How many it left `running` for ever, because a step failed."""
        self.resumed = 0
        """How many times one was resumed."""
        self._dsn = dsn
        self._seed = seed
        self._rate = rate
        self._break_period = break_period.total_seconds()
        self._on_ended = on_ended
        self._stop = asyncio.Event()
        self._began = 0.0

    async def populate(self, days: int = 30) -> int:
        """Make the projects, and `days` of finished runs up to now; return how many runs.

        Where they are already there, nothing is done and 0 returned.
        """
        return await populate(self._dsn, self.projects, self._seed, days)

    async def run(self, stop: asyncio.Event) -> None:
        """Begin runs at the rate, and end them, until `stop` is set.

        Then no more begin, and those under way end at once. A database that is away is waited
        for; if it is away at the end, the runs under way are left running.
        """
        self._stop = stop
        loop = asyncio.get_running_loop()
        random = Random(f"{self._seed}/live")
        choices = [(p, w) for p in self.projects for w in p.workflows]
        weights = [workflow.runs_per_day for _, workflow in choices]
        self._began = due = loop.time()
        async with (
            asyncpg.create_pool(self._dsn, min_size=1, max_size=8) as pool,
            asyncio.TaskGroup() as runs,
        ):
            while True:
                due += random.expovariate(self._rate)
                await self._pause(due - loop.time())
                if stop.is_set():
                    break
                project, workflow = random.choices(choices, weights)[0]
                # A source of its own for each run: what it decides does not hang on which of
                # them was quicker.
                decisions = Random(random.getrandbits(64))
                runs.create_task(self._one_run(pool, project, workflow, decisions))

    async def _one_run(
        self,
        pool: asyncpg.Pool,
        project: SimulatedProject,
        workflow: SimulatedWorkflow,
        random: Random,
    ) -> None:
        with suppress(*AWAY):
            await self._live(pool, project, workflow, random)

    async def _live(
        self,
        pool: asyncpg.Pool,
        project: SimulatedProject,
        workflow: SimulatedWorkflow,
        random: Random,
    ) -> None:
        run_id = random_uuid(random)
        version = 1 if workflow.new_version_days_ago is None else 2
        workflow_id = project.workflow_id(workflow, version)
        await self._write(
            pool,
            "insert into public.workflow_runs (id, project_id, workflow_id, status)"
            " values ($1, $2, $3, 'running') on conflict do nothing",
            *(run_id, project.id, workflow_id),
        )
        self.started += 1
        await self._event(pool, run_id, "run_created", {"headers": {}, "body": {}})
        await self._event(pool, run_id, "step_started", {"node": MAP})
        await self._event(pool, run_id, "step_succeeded", {"node": MAP, "next": CALL["id"]})
        await self._event(pool, run_id, "step_started", {"node": CALL})
        await self._pause(random.uniform(0.1, 2.0))
        if project.writes_statuses:
            await self._live_with_statuses(pool, workflow, run_id, workflow_id, random)
        elif random.random() < self._success_now(workflow):
            await self._succeed(pool, run_id, workflow_id)
        else:
            await self._fail_step(pool, run_id)

    async def _succeed(self, pool: asyncpg.Pool, run_id: UUID, workflow_id: UUID) -> None:
        await self._event(pool, run_id, "http_attempted", {"node": CALL, "status": 200})
        await self._event(pool, run_id, "step_succeeded", {"node": CALL, "next": None})
        await self._write(
            pool,
            "with ended as (update public.workflow_runs set status = 'succeeded',"
            " finished_at = now() where id = $1 and status = 'running' returning id)"
            " insert into public.workflow_events (run_id, type, payload)"
            " select id, 'run_completed', '{}' from ended",
            run_id,
        )
        self._note_ended(run_id, workflow_id, "succeeded")

    async def _fail_step(self, pool: asyncpg.Pool, run_id: UUID) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            await self._event(pool, run_id, "http_attempted", {"node": CALL, "status": 500})
            await self._event(pool, run_id, "step_failed", step_failed(attempt))
            if attempt < ATTEMPTS:
                await self._pause(BACK_OFF[attempt - 1])
        self.left_open += 1

    def _note_ended(self, run_id: UUID, workflow_id: UUID, status: str) -> None:
        self.finished += 1
        if self._on_ended is not None:
            now = asyncio.get_running_loop().time()
            self._on_ended(Ended(run_id, workflow_id, status, now))

    async def _live_with_statuses(
        self,
        pool: asyncpg.Pool,
        workflow: SimulatedWorkflow,
        run_id: UUID,
        workflow_id: UUID,
        random: Random,
    ) -> None:
        if random.random() < PAUSED:
            await self._set_status(pool, run_id, "paused")
            await self._pause(random.uniform(1.0, 5.0))
            await self._set_status(pool, run_id, "running")
            await self._pause(random.uniform(0.1, 2.0))
        while True:
            status = outcome(workflow, self._success_now(workflow), random)
            await self._write(
                pool,
                "update public.workflow_runs set status = $2, finished_at = now() where id = $1",
                *(run_id, status),
            )
            self._note_ended(run_id, workflow_id, status)
            # Resuming it would only fail again.
            hopeless = workflow.breaks and self.broken
            if status != "failed" or random.random() > RESUMED or hopeless:
                return
            await self._pause(random.uniform(1.0, 5.0))
            if self._stop.is_set():
                return
            await self._set_status(pool, run_id, "running")
            self.finished -= 1
            self.resumed += 1
            await self._pause(random.uniform(0.1, 2.0))

    def _success_now(self, workflow: SimulatedWorkflow) -> float:
        if workflow.breaks and self.broken:
            return 0.0
        return workflow.success

    @property
    def broken(self) -> bool:
        """Whether the workflow that breaks is broken just now."""
        return BROKEN_FROM <= self._phase < BROKEN_TO

    @property
    def turns_in(self) -> float:
        """Seconds until it breaks, or while it is broken until it recovers."""
        phase = self._phase
        turn = BROKEN_TO if self.broken else BROKEN_FROM if phase < BROKEN_FROM else 1 + BROKEN_FROM
        return (turn - phase) * self._break_period

    @property
    def _phase(self) -> float:
        """How far the present period is, from 0 to 1."""
        if not self._began:
            return 0.0
        elapsed = asyncio.get_running_loop().time() - self._began
        return elapsed / self._break_period % 1

    async def _set_status(self, pool: asyncpg.Pool, run_id: UUID, status: str) -> None:
        await self._write(
            pool,
            "update public.workflow_runs set status = $2, finished_at = null where id = $1",
            *(run_id, status),
        )

    async def _event(
        self, pool: asyncpg.Pool, run_id: UUID, kind: str, payload: dict[str, Any]
    ) -> None:
        """Written again after an outage it may be there twice, as the real engine's may."""
        await self._write(
            pool,
            "insert into public.workflow_events (run_id, type, payload) values ($1, $2, $3)",
            *(run_id, kind, json.dumps(payload)),
        )

    async def _write(self, pool: asyncpg.Pool, sql: str, *arguments: object) -> None:
        """One statement, one transaction; retried while the database is away, unless the
        engine stops. Each is idempotent."""
        while True:
            try:
                await pool.execute(sql, *arguments)
            except AWAY:
                if self._stop.is_set():
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def _pause(self, seconds: float) -> None:
        """Wait that long, or until the engine stops."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
