"""Looks at the rules that changed workflows touch, and at all of them on a timer; and tells of what
was acknowledged, wherever that was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

import structlog

from meshmetrics.alerts.store import AlertStore
from meshmetrics.database.errors import is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, wait_for_event
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

GAP_SECONDS = 1.0
"""Between rounds for changed workflows, at least: what changes meanwhile is looked at together."""
LOOK_SECONDS = 1.0
"""Between looks for acknowledgements, while there is nothing else to do. Any daemon's API takes
them, and only this one broadcasts."""
MOST_TOUCHED = 5000
"""More changed workflows than this are a round over everything."""
CHORES_SECONDS = 3600.0

Announce = Callable[[dict[str, Any]], None]


class Evaluator(Service):
    """Windows slide and silence is a signal too, so a round over all rules comes every `interval`
    seconds; a workflow that changed is looked at at once, if the last round was a second ago.

    What it was told is only where to look: it forgets nothing that matters when it is restarted.
    Acknowledgements are looked for every `LOOK_SECONDS`, or with the next round.
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
        """Look until stopped."""
        self.started.set()
        whole_at = chores_at = 0.0
        while not self.stopping.is_set():
            now = time.monotonic()
            touched, self._touched = self._touched, set()
            self._wake.clear()
            whole = now >= whole_at or len(touched) > MOST_TOUCHED
            looking = whole or bool(touched)
            try:
                if looking:
                    await self._round(None if whole else touched)
                    whole_at = now + self._interval if whole else whole_at
                self._tell(await self._store.claim_acknowledgements())
                if now >= chores_at:
                    await self._store.maintain_alerts()
                    chores_at = now + CHORES_SECONDS
            except Exception as error:
                self._touched |= touched
                if not is_transient(error):
                    raise
                log.warning("alert.round_failed", error=describe(error))
            if looking and await self.pause(GAP_SECONDS):
                return
            wait = min(LOOK_SECONDS, whole_at - time.monotonic())
            await wait_for_event(self._wake, max(0.0, wait))

    async def _round(self, touched: set[UUID] | None) -> None:
        began = time.perf_counter()
        found = await self._store.evaluate_alerts(None if touched is None else list(touched))
        self._telemetry.alert_round_seconds.observe(time.perf_counter() - began)
        self._telemetry.alert_evaluations.inc(found.evaluated)
        self._tell(found.notices)
        if found.notices:
            self._notified()

    def _tell(self, notices: Sequence[dict[str, Any]]) -> None:
        for notice in notices:
            kind = str(notice["kind"])
            self._telemetry.alert_notices.labels(kind).inc()
            log.info(
                "alert.noticed",
                kind=kind,
                project_id=notice["project_id"],
                rule_id=notice["rule"]["id"],
                incident_id=notice["incident_id"],
            )
            self._announce(notice)
