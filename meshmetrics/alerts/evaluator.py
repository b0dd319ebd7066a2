"""Evaluates the rules that changed workflows touch, and all of them on a timer, and broadcasts what
happened; acknowledgements too, whichever daemon's API took them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import structlog

from meshmetrics.alerts.notice import Notice
from meshmetrics.alerts.store import AlertStore
from meshmetrics.database.errors import is_transient
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

Announce = Callable[[Notice], None]


class Evaluator(Service):
    """Windows slide and silence is a signal too, so a round over all rules comes every `interval`
    seconds; rules on a workflow that changed are evaluated at once, if the last round was a second
    ago.

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

    def touch(self, workflow_ids: Iterable[UUID]) -> None:
        """These workflow versions changed. Never waits, never raises."""
        self._touched.update(workflow_ids)
        self._wake.set()

    def stop(self) -> None:
        """Finish the round under way, and return."""
        super().stop()
        self._wake.set()

    async def run(self) -> None:
        """Evaluate until stopped."""
        self.started.set()
        whole_at = chores_at = 0.0
        while not self.stopping.is_set():
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
        found = await self._store.evaluate_alerts(None if touched is None else list(touched))
        self._telemetry.alert_round_seconds.observe(time.perf_counter() - began)
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
