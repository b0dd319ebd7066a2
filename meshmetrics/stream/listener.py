"""Maintains a Realtime session, and puts its hints into the inbox."""

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
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.session import Session, SessionEndedError, SessionTimes
from meshmetrics.stream.state import Stream

log = structlog.get_logger()

BACKOFF_BASE = 0.5
RATE_CHECK_SECONDS = 1.0
"""How often the rate of runs is checked while unsubscribed."""
SETTLE_SECONDS = 1.0
"""Runs that ended before a session began are counted by then: no event of theirs is expected."""
REFUSED_FACTOR = 4
"""How much longer the back-off is after a refusal: frequent retries do not help."""
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
    """Maintains a session with Realtime, and puts every event's run into the inbox.

    It requests a sweep whenever a session starts or is lost: for the runs meanwhile, and because
    the stream's state decides how often sweeps run.

    While the run rate is too high it unsubscribes. Quick sweeps then find every run sooner, and
    Realtime would load the database more to report each change than all counting does.
    """

    name = "listener"

    def __init__(
        self,
        url: str,
        keys: SecretKeys,
        inbox: Inbox,
        stream: Stream,
        run_rate: RunRate,
        sweep_requested: asyncio.Event,
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
        self._run_rate = run_rate
        self._sweep_requested = sweep_requested
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
                if self._run_rate.heavy.is_set():
                    await self._stay_unsubscribed()
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
                self._sweep_requested.set()
                await self.pause(wait)
        self._set_unsubscribed(False, expect_after=0.0)  # this daemon no longer uses the stream

    async def _one_session(self, http: httpx.AsyncClient) -> SessionEndedError | None:
        """Run one session to its end; None if we ended it on purpose."""
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
        replaced = asyncio.create_task(self._stream.replacing.wait())
        overloaded = asyncio.create_task(self._run_rate.heavy.wait())
        try:
            await asyncio.wait({running, replaced, overloaded}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        finally:
            self._stream.up_since = None
            self._telemetry.stream_up.set(0)
            for task in (running, replaced, overloaded):
                task.cancel()
        error = None if running.cancelled() else running.exception()
        if self.stopping.is_set() or self._run_rate.heavy.is_set():
            return None
        self._set_unsubscribed(False, expect_after=0.0)
        if running.cancelled():
            return SessionEndedError("silent")
        if isinstance(error, SessionEndedError):
            return error
        raise error or RuntimeError("a session returned")

    async def _stay_unsubscribed(self) -> None:
        """Stay unsubscribed until fewer runs end, or until stopping."""
        self._set_unsubscribed(True, expect_after=float("inf"))
        self._sweep_requested.set()
        log.info("stream.left", runs_per_second=self._run_rate.rate())
        while not self._run_rate.calm() and not await self.pause(RATE_CHECK_SECONDS):
            pass
        log.info("stream.joining", runs_per_second=self._run_rate.rate())

    def _set_unsubscribed(self, unsubscribed: bool, *, expect_after: float) -> None:
        if unsubscribed != self._stream.unsubscribed:
            self._stream.unsubscribed = unsubscribed
            self._telemetry.stream_left.set(unsubscribed)
            self._inbox.expect_from(time.monotonic() + expect_after)

    def _pause_after(self, ended: SessionEndedError, failures: int) -> float:
        """Seconds to wait before the next session."""
        self._private = self._private or "PrivateOnly" in ended.text
        if "HTTP 401" in ended.text:
            another = self._keys.refused(self._keys.current)
            if another and failures < len(self._keys):  # not every key was tried yet
                return full_jitter(failures, base=BACKOFF_BASE, cap=self._backoff_cap)
        if any(word in ended.text for word in _REFUSALS):
            cap = REFUSED_FACTOR * self._backoff_cap
            return cap / 4 + full_jitter(failures, base=self._backoff_cap / 4, cap=cap * 3 / 4)
        return full_jitter(failures, base=BACKOFF_BASE, cap=self._backoff_cap)

    def _up(self) -> None:
        self._stream.up_since = time.monotonic()
        self._set_unsubscribed(False, expect_after=SETTLE_SECONDS)
        self._telemetry.stream_up.set(1)
        self._telemetry.stream_sessions.inc()
        self._on_up()
        self._sweep_requested.set()
        log.info("stream.session_started", private=self._private)

    def _hint(self, run_id: UUID, arrival: Arrival) -> None:
        self._inbox.put(run_id, arrival)
        self._stream.heard(arrival.received, time.time(), arrival.committed)
        self._telemetry.stream_lag.set(self._stream.lag(arrival.received))
        self._telemetry.events.inc()
        self._telemetry.last_event.set_to_current_time()

    def _odd(self, kind: str) -> None:
        """Count an unparsable frame or event, and log at most one line per second."""
        self._telemetry.odd_events.labels(kind).inc()
        self._odd_since_logged += 1
        now = time.monotonic()
        if now - self._odd_logged >= 1.0:
            log.warning("stream.odd", kind=kind, count=self._odd_since_logged)
            self._odd_logged, self._odd_since_logged = now, 0
