"""Broadcasts changes through Realtime: merged per project, prompt, fair, and rate-limited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import structlog

from meshmetrics.broadcast.budget import Budget
from meshmetrics.broadcast.messages import request
from meshmetrics.broadcast.outbox import Message, Outbox
from meshmetrics.counting.model import Change
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, full_jitter, wait_for_event
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

RESEND_MARGIN = timedelta(minutes=5)
"""How long before it last renewed its lease a daemon may have counted without broadcasting. A
Realtime that refused broadcasts for longer has lost its subscribers too; they refetch on return."""
_RETRIABLE = {401, 403, 404, 408, 425, 429}
"""Client errors that do not depend on the content of the messages."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that Realtime accepted, for observers. Seconds since its oldest count, and since
    its oldest commit (by the Unix clocks of two machines) if that is known."""

    project_id: UUID
    changes: tuple[Change, ...]
    since_counted: float
    since_committed: float | None


class Publisher(Service):
    """Broadcasts a change immediately if its project has been quiet, else at the project's maximum
    rate. Over all projects it stays within the budget, and projects take turns.

    Unsent changes are merged, at most one per workflow, and retried. After a crash the next start
    sends everything counted since `resend_since`.
    """

    name = "publisher"
    drain_seconds = 1.5

    def __init__(
        self,
        store: CountingStore,
        client: httpx.AsyncClient,
        url: str,
        telemetry: Telemetry,
        *,
        per_second: float = 50.0,
        project_per_second: float = 4.0,
        resend_since: datetime | None = None,
        on_sent: Callable[[Sent], None] | None = None,
        retry_cap: float = 10.0,
    ) -> None:
        """`client` authenticates every request; `url` is Supabase's."""
        super().__init__()
        self._store = store
        self._client = client
        self._endpoint = f"{url}/realtime/v1/api/broadcast"
        self._telemetry = telemetry
        self._outbox = Outbox(1 / project_per_second)
        self._resend_since = resend_since
        self._on_sent = on_sent
        self._retry_cap = retry_cap
        self._budget = Budget(per_second, time.monotonic())
        self._wake = asyncio.Event()
        self._back = asyncio.Event()

    def publish(
        self, changes: Sequence[Change], *, counted: float, committed: float | None
    ) -> None:
        """Queue changes. Never waits, never raises.

        A project that workflows left receives the event `removed` with their ids, and no
        counts.
        """
        removed: dict[UUID, list[UUID]] = {}
        for change in changes:
            if change.moved_from is not None:
                self._outbox.move(change.workflow_id, change.moved_from, change.project_id)
                removed.setdefault(change.moved_from, []).append(change.workflow_id)
            self._outbox.add(change, counted, committed)
        for project_id, workflow_ids in removed.items():
            self.announce(project_id, "removed", {"workflow_ids": list(map(str, workflow_ids))})
        self._wake.set()

    def announce(self, project_id: UUID, event: str, payload: dict[str, Any]) -> None:
        """Queue an event other than `rates` for a project's channel. It is sent before changes,
        within the same budget; if too many are queued, the oldest is dropped. Never waits, never
        raises."""
        self._outbox.add_event(project_id, event, payload)
        self._wake.set()

    def retry_now(self) -> None:
        """Realtime is back: do not wait for the end of a back-off."""
        self._back.set()

    def stop(self) -> None:
        """Send what is unsent once, and return."""
        super().stop()
        self._wake.set()
        self._back.set()

    async def run(self) -> None:
        """Send until stopped."""
        self.started.set()
        if self._resend_since is not None:
            changes = await self._store.changed_since(self._resend_since)
            self._resend_since = None
            now = time.monotonic()
            self.publish(changes, counted=now, committed=None)
            log.info("broadcast.resent", workflows=len(changes))
        failures = 0
        while True:
            self._wake.clear()
            wait = self._wait()
            if wait is None and self.stopping.is_set():
                return
            if wait is None or wait > 0:
                await wait_for_event(self._wake, wait)
                continue
            if await self._send(self._take()):
                failures = 0
            elif self.stopping.is_set():
                log.warning("broadcast.left", projects=self._outbox.projects)
                return
            else:
                failures += 1
                self._back.clear()
                await wait_for_event(
                    self._back, full_jitter(failures, base=0.5, cap=self._retry_cap)
                )

    def _wait(self) -> float | None:
        """Seconds until something may be sent; None if nothing is unsent."""
        now = time.monotonic()
        self._telemetry.broadcast_pending.set(self._outbox.projects)
        due = self._outbox.due(hurried=self.stopping.is_set())
        if due is None:
            return None
        room = self._budget.available(now)
        self._telemetry.broadcast_rate.set(self._budget.rate)
        return self._budget.wait() if room < 1 else max(0.0, due - now)

    def _take(self) -> list[Message]:
        """A message for each project whose turn it is, as far as the budget goes."""
        now = time.monotonic()
        room = self._budget.available(now)
        return self._outbox.take(room, now, hurried=self.stopping.is_set())

    async def _send(self, messages: list[Message]) -> bool:
        """Send in one request, and return whether Realtime accepted it. If not, queue it again."""
        self._budget.spend(len(messages))
        try:
            status = await self._post(messages)
        except httpx.HTTPError as error:
            log.warning("broadcast.failed", messages=len(messages), error=describe(error))
            status = 0
        self._telemetry.broadcast_requests.labels(str(status or "unreachable")).inc()
        if 200 <= status < 300:
            self._note_sent(messages)
            return True
        if 400 <= status < 500 and status not in _RETRIABLE:
            if len(messages) > 1:  # one of them is at fault: send each alone
                results = [await self._send([one]) for one in messages]
                return all(results)
            self._telemetry.broadcast_dropped.inc(max(1, len(messages[0].changes)))
            log.error("broadcast.refused", status=status, project_id=str(messages[0].project_id))
            return True
        if status == 429:
            self._budget.refused()
        if status:
            log.warning("broadcast.failed", messages=len(messages), status=status)
        self._outbox.put_back(messages)
        return False

    async def _post(self, messages: list[Message]) -> int:
        response = await self._client.post(
            self._endpoint,
            content=request(one.text for one in messages),
            headers={"Content-Type": "application/json"},
        )
        return response.status_code

    def _note_sent(self, messages: list[Message]) -> None:
        self._telemetry.broadcast_messages.inc(len(messages))
        now, unix = time.monotonic(), time.time()
        for one in messages:
            if not one.changes:
                continue
            since_counted = now - one.counted
            self._telemetry.counted_to_broadcast.observe(since_counted)
            since_committed = None if one.committed is None else unix - one.committed
            if since_committed is not None:
                self._telemetry.commit_to_broadcast.observe(max(0.0, since_committed))
            if self._on_sent is not None:
                self._on_sent(
                    Sent(one.project_id, tuple(one.changes), since_counted, since_committed)
                )
