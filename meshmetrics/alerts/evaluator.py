"""Evaluates the rules that changed workflows touch, and all of them on a timer, and broadcasts what
happened; acknowledgements too, whichever daemon's API took them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from meshmetrics.alerts.model import AlertProject
from meshmetrics.alerts.notice import Notice
from meshmetrics.alerts.store import AlertStore
from meshmetrics.database.errors import is_of_the_work, is_too_long, is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, wait_for_event
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

GAP_SECONDS = 1.0
"""Minimum time between rounds for changed workflows: what changes meanwhile is one round."""
POLL_SECONDS = 1.0
"""Between polls for acknowledgements, while there is nothing else to do. Any daemon's API takes
them, and only this one broadcasts."""
MAX_TOUCHED = 5000
"""More changed workflows than this are a round over everything."""
CHORES_SECONDS = 3600.0
BATCH_PAIRS = 2500
"""Pairs of a rule and a workflow that are evaluated in one transaction: enough that the cost of a
call does not count. A project with more is evaluated alone."""
BATCH_PROJECTS = 200
BATCH_SECONDS = 2.0
"""Time budget of a batch, which takes about a tenth of that."""
ALONE_SECONDS = 10.0
"""Time budget of a project that is evaluated alone."""

Announce = Callable[[Notice], None]


class Evaluator(Service):
    """Windows slide and silence is a signal too, so a round over all rules comes every `interval`
    seconds; rules on a workflow that changed are evaluated at once, if the last round was a second
    ago.

    Small projects are evaluated in batches. A batch that fails is halved until the project that is
    at fault is alone; that one is backed off, and then tried alone. Projects that are large, or
    took too long, or failed before, are evaluated one at a time beside the batches, which never
    wait for them.

    The ids of changed workflows are hints, so a restart loses nothing that the next round over all
    rules does not find. Acknowledgements are polled every `POLL_SECONDS`, or with the next round.
    """

    name = "evaluator"

    def __init__(
        self,
        store: AlertStore,
        announce: Announce,
        notified: Callable[[], None],
        telemetry: Telemetry,
        *,
        interval: float,
    ) -> None:
        """`announce` broadcasts a notice; `notified` is called when there may be deliveries."""
        super().__init__()
        self._store = store
        self._announce = announce
        self._notified = notified
        self._telemetry = telemetry
        self._interval = interval
        self._touched: set[UUID] = set()
        self._wake = asyncio.Event()
        self._alone: dict[UUID, AlertProject] = {}
        self._alone_wake = asyncio.Event()
        self.failing = 0
        """Projects whose rules cannot be evaluated."""

    def touch(self, workflow_ids: Iterable[UUID]) -> None:
        """These workflow versions changed. Never waits, never raises."""
        self._touched.update(workflow_ids)
        self._wake.set()

    def stop(self) -> None:
        """Finish the batch under way, and return."""
        super().stop()
        self._wake.set()
        self._alone_wake.set()

    async def run(self) -> None:
        """Evaluate until stopped."""
        self.started.set()
        alone = asyncio.create_task(self._evaluate_alone())
        try:
            await self._rounds(alone)
            await asyncio.wait({alone}, timeout=self.drain_seconds / 2)
        finally:
            alone.cancel()
            self._set_failing(0)

    async def _rounds(self, beside: asyncio.Task[None]) -> None:
        whole_at = chores_at = 0.0
        while not self.stopping.is_set():
            if beside.done():
                beside.result()  # raises what ended it
            now = time.monotonic()
            touched, self._touched = self._touched, set()
            self._wake.clear()
            whole = now >= whole_at or len(touched) > MAX_TOUCHED
            due = whole or bool(touched)
            try:
                if due:
                    await self._round(None if whole else touched)
                    whole_at = now + self._interval if whole else whole_at
                self._broadcast(await self._store.claim_acknowledgements())
                if now >= chores_at:
                    await self._store.maintain_alerts()
                    chores_at = now + CHORES_SECONDS
            except Exception as error:
                self._touched |= touched
                if not is_transient(error):
                    raise
                log.warning("alert.round_failed", error=describe(error))
            if due and await self.pause(GAP_SECONDS):
                return
            wait = min(POLL_SECONDS, whole_at - time.monotonic())
            await wait_for_event(self._wake, max(0.0, wait))

    async def _round(self, touched: set[UUID] | None) -> None:
        began = time.perf_counter()
        projects = await self._store.alert_projects(None if touched is None else list(touched))
        small = []
        for project in projects:
            if project.pairs > BATCH_PAIRS or project.failures:
                self._leave_alone(project)
            else:
                small.append(project)
        for batch in batches(small):
            if self.stopping.is_set():
                return
            await self._evaluate_batch(batch)
        self._telemetry.alert_round_seconds.observe(time.perf_counter() - began)
        if touched is None:
            self._set_failing(await self._store.count_alert_failures())

    async def _evaluate_batch(self, batch: Sequence[AlertProject]) -> None:
        try:
            await self._evaluate(batch, BATCH_SECONDS)
        except Exception as error:
            if not is_of_the_work(error):
                raise
            if is_too_long(error):
                for project in batch:
                    self._leave_alone(project)
            elif len(batch) == 1:
                await self._back_off(batch[0], describe(error))
            else:
                middle = len(batch) // 2
                await self._evaluate_batch(batch[:middle])
                await self._evaluate_batch(batch[middle:])

    def _leave_alone(self, project: AlertProject) -> None:
        """Evaluate this project beside the batches."""
        known = self._alone.get(project.project_id, project)
        touched = None
        if known.touched is not None and project.touched is not None:
            touched = known.touched | project.touched
        self._alone[project.project_id] = replace(project, touched=touched)
        self._alone_wake.set()

    async def _evaluate_alone(self) -> None:
        while not self.stopping.is_set():
            if not self._alone:
                self._alone_wake.clear()
                await wait_for_event(self._alone_wake, None)
                continue
            # Of those that fail there may be many: they come after those that do not.
            project = self._alone.pop(min(self._alone, key=lambda i: self._alone[i].failures))
            try:
                await self._evaluate_one(project)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("alert.round_failed", error=describe(error))
                self._leave_alone(project)
                await self.pause(GAP_SECONDS)

    async def _evaluate_one(self, project: AlertProject) -> None:
        if project.excess is not None:
            await self._back_off(project, project.excess)
            return
        if project.failures:  # what changed while it was backed off is not known
            project = replace(project, touched=None)
        try:
            await self._evaluate([project], ALONE_SECONDS)
        except Exception as error:
            if not is_of_the_work(error):
                raise
            reason = describe(error)
            if is_too_long(error):
                reason = f"evaluating them takes longer than {ALONE_SECONDS:.0f} seconds"
            await self._back_off(project, reason)
            return
        if project.failures and await self._store.clear_alert_failure(project.project_id):
            log.info("alert.project_recovered", project_id=str(project.project_id))
            self._set_failing(await self._store.count_alert_failures())

    async def _back_off(self, project: AlertProject, reason: str) -> None:
        failures, retry_in = await self._store.record_alert_failure(project.project_id, reason)
        self._alone.pop(project.project_id, None)
        log.warning(
            "alert.project_failed",
            project_id=str(project.project_id),
            reason=reason,
            failures=failures,
            retry_in=retry_in.total_seconds(),
        )
        self._set_failing(await self._store.count_alert_failures())

    def _set_failing(self, projects: int) -> None:
        self.failing = projects
        self._telemetry.alert_projects_failing.set(projects)

    async def _evaluate(self, projects: Sequence[AlertProject], seconds: float) -> None:
        touched = [i for p in projects for i in p.touched or ()]
        whole = any(p.touched is None for p in projects)
        found = await self._store.evaluate_alerts(
            None if whole else touched, [p.project_id for p in projects], seconds=seconds
        )
        self._telemetry.alert_evaluations.inc(found.evaluated)
        self._broadcast(found.notices)
        if found.notices:
            self._notified()

    def _broadcast(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self._telemetry.alert_notices.labels(notice.kind).inc()
            log.info(
                "alert.noticed",
                kind=notice.kind,
                project_id=str(notice.project_id),
                rule_id=str(notice.rule.id),
                incident_id=str(notice.incident_id),
            )
            self._announce(notice)


def batches(projects: Iterable[AlertProject]) -> Iterator[list[AlertProject]]:
    """The projects, in order, as many together as one transaction takes."""
    batch: list[AlertProject] = []
    pairs = 0
    for project in projects:
        if batch and (pairs + project.pairs > BATCH_PAIRS or len(batch) == BATCH_PROJECTS):
            yield batch
            batch, pairs = [], 0
        batch.append(project)
        pairs += project.pairs
    if batch:
        yield batch
