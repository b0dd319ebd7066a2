"""One Realtime session after another → inbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import structlog

from meshmetrics.runtime.service import STABLE_SECONDS, Service, full_jitter
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.keys import SecretKeys
from meshmetrics.stream import client_log
from meshmetrics.stream.inbox import Arrival, Inbox
from meshmetrics.stream.run_rate import Flow
from meshmetrics.stream.session import Session, SessionEndedError, SessionTimes
from meshmetrics.stream.state import Stream

log = structlog.get_logger()

BACKOFF_BASE = 0.5
AWAY_SECONDS = 1.0
"""How often, while the stream is left, the rate of runs is looked at."""
SURE_SECONDS = 1.0
"""What ended before we were back is counted by then: no event is expected of it."""
REFUSED_FACTOR = 4
"""How much longer pauses may be after a refusal: asking more often makes it no better."""
_REFUSALS = (
    "HTTP 401",
    "HTTP 403",
    "HTTP 429",
    "Unauthorized",
    "RateLimit",
    "TooMany",
    "too many",
    "Token",
    "JWT",
)


class Listener(Service):
    """Keeps a session with Realtime and puts every event's run into the inbox.

    At every session that comes up, and at every one that is lost, it asks for a sweep: for what
    happened meanwhile, and because the stream's state decides how often sweeps are due.

    While the flow is heavy it leaves the stream. Quick sweeps find every run sooner then, and what
    Realtime takes from the database to tell of each change is more than all counting.
    """

    name = "listener"

    def __init__(
        self,
        url: str,
        keys: SecretKeys,
        inbox: Inbox,
        stream: Stream,
        flow: Flow,
        sweep_wanted: asyncio.Event,
        telemetry: Telemetry,
        *,
        times: SessionTimes,
        backoff_cap: float = 30.0,
        slot_active: Callable[[], Awaitable[bool]] | None = None,
        on_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`slot_active`: whether Realtime really reads the database's changes; None: take its word
        for it. `on_up` is called whenever changes flow again."""
        super().__init__()
        self._slot_active = slot_active
        self._on_up = on_up
        self._url = url
        self._keys = keys
        self._inbox = inbox
        self._stream = stream
        self._flow = flow
        self._sweep_wanted = sweep_wanted
        self._telemetry = telemetry
        self._times = times
        self._backoff_cap = backoff_cap
        self._private = False
        self._odd_logged = 0.0
        self._odd_since_logged = 0

    def stop(self) -> None:
        """End the session, and return."""
        super().stop()
        self._stream.replace()

    async def run(self) -> None:
        """Listen until stopped."""
        client_log.install()
        client_log.on_odd_frame.set(self._odd)
        self.started.set()
        failures = 0
        async with httpx.AsyncClient() as http:
            while not self.stopping.is_set():
                if self._flow.heavy.is_set():
                    await self._stay_away()
                    continue
                began = time.monotonic()
                ended = await self._one_session(http)
                lasted = time.monotonic() - began
                if ended is None:
                    continue
                failures = 1 if lasted >= STABLE_SECONDS else failures + 1
                wait = self._pause_after(ended, failures)
                log.warning(
                    "stream.lost",
                    reason=ended.reason,
                    text=ended.text[:200],
                    lasted_ms=lasted * 1000,
                    attempt=failures,
                    retry_in_ms=wait * 1000,
                )
                self._telemetry.stream_lost.labels(ended.reason).inc()
                self._sweep_wanted.set()
                await self.pause(wait)
        self._set_left(False, expect_after=0.0)  # nobody works here any more

    async def _one_session(self, http: httpx.AsyncClient) -> SessionEndedError | None:
        """Run one session to its end; None if it ended because we wanted it to."""
        session = Session(
            self._url,
            self._keys.current,
            http,
            private=self._private,
            times=self._times,
            on_hint=self._hint,
            on_odd=self._odd,
            slot_active=self._slot_active,
        )
        self._stream.replacing.clear()
        running = asyncio.create_task(session.run(self._up), name="session")
        unwanted = asyncio.create_task(self._stream.replacing.wait())
        useless = asyncio.create_task(self._flow.heavy.wait())
        try:
            await asyncio.wait({running, unwanted, useless}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        finally:
            self._stream.up_since = None
            self._telemetry.stream_up.set(0)
            for task in (running, unwanted, useless):
                task.cancel()
        error = None if running.cancelled() else running.exception()
        if self.stopping.is_set() or self._flow.heavy.is_set():
            return None
        self._set_left(False, expect_after=0.0)
        if running.cancelled():
            return SessionEndedError("silent")
        if isinstance(error, SessionEndedError):
            return error
        raise error or RuntimeError("a session returned")

    async def _stay_away(self) -> None:
        """Until runs end slowly enough again, or we are stopping."""
        self._set_left(True, expect_after=float("inf"))
        self._sweep_wanted.set()
        log.info("stream.left", runs_per_second=self._flow.rate())
        while not self._flow.calm() and not await self.pause(AWAY_SECONDS):
            pass
        log.info("stream.joining", runs_per_second=self._flow.rate())

    def _set_left(self, left: bool, *, expect_after: float) -> None:
        if left != self._stream.left:
            self._stream.left = left
            self._telemetry.stream_left.set(left)
            self._inbox.expect_from(time.monotonic() + expect_after)

    def _pause_after(self, ended: SessionEndedError, failures: int) -> float:
        """Seconds to wait before the next session."""
        self._private = self._private or "PrivateOnly" in ended.text
        if "HTTP 401" in ended.text:
            another = self._keys.refused(self._keys.current)
            if another and failures < len(self._keys):  # one that was not tried yet
                return full_jitter(failures, base=BACKOFF_BASE, cap=self._backoff_cap)
        if any(word in ended.text for word in _REFUSALS):
            cap = REFUSED_FACTOR * self._backoff_cap
            return cap / 4 + full_jitter(failures, base=self._backoff_cap / 4, cap=cap * 3 / 4)
        return full_jitter(failures, base=BACKOFF_BASE, cap=self._backoff_cap)

    def _up(self) -> None:
        self._stream.up_since = time.monotonic()
        self._set_left(False, expect_after=SURE_SECONDS)
        self._telemetry.stream_up.set(1)
        self._telemetry.stream_sessions.inc()
        self._on_up()
        self._sweep_wanted.set()
        log.info("stream.session_started", private=self._private)

    def _hint(self, run_id: UUID, arrival: Arrival) -> None:
        self._inbox.put(run_id, arrival)
        self._stream.heard(arrival.received, time.time(), arrival.committed)
        self._telemetry.stream_lag.set(self._stream.lag(arrival.received))
        self._telemetry.events.inc()
        self._telemetry.last_event.set_to_current_time()

    def _odd(self, kind: str) -> None:
        """Count what was not understood; log it, but not a line each when there are many."""
        self._telemetry.odd_events.labels(kind).inc()
        self._odd_since_logged += 1
        now = time.monotonic()
        if now - self._odd_logged >= 1.0:
            log.warning("stream.odd", kind=kind, count=self._odd_since_logged)
            self._odd_logged, self._odd_since_logged = now, 0
