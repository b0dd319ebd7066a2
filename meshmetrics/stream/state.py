"""The state of the stream: the listener writes it, sweeps and readiness read it."""

from __future__ import annotations

import asyncio

BEHIND_SECONDS = 2.0
"""An event that comes later than this after its commit shows a stream that is behind: Realtime's
poller sleeps half a second at most."""
STALE_SECONDS = 60.0
"""What the last event showed of the lag is no longer known after so long without another."""


class Stream:
    """The state of the Realtime stream. Times are `time.monotonic`."""

    def __init__(self) -> None:
        self.up_since: float | None = None
        """Since when changes flow; None while they do not."""
        self.last_event: float | None = None
        self.clock_offset = 0.0
        """Seconds that the database's clock is ahead of ours."""
        self.unsubscribed = False
        """Whether the listener has unsubscribed because too many runs finish."""
        self.replacing = asyncio.Event()
        """Set to replace the session: a sweep found it dead, or the daemon is stopping."""
        self._lag = 0.0

    def heard(self, received: float, unix: float, committed: float | None) -> None:
        """An event arrived. `unix`: now by our clock; `committed`: by the database's, if known."""
        self.last_event = received
        if committed is not None:
            self._lag = max(0.0, unix + self.clock_offset - committed)

    def lag(self, now: float) -> float:
        """Seconds from a change's commit to its event, as the last event showed; 0 if unknown."""
        if self.up_since is None or self.last_event is None or self.last_event < self.up_since:
            return 0.0
        return self._lag if now - self.last_event < STALE_SECONDS else 0.0

    def behind(self, now: float) -> bool:
        """Whether events are so late that sweeps must not rely on them."""
        return self.lag(now) > BEHIND_SECONDS

    def silent_for(self, now: float) -> float:
        """Seconds without an event in the current session; 0 without a session."""
        if self.up_since is None:
            return 0.0
        return now - max(self.up_since, self.last_event or 0.0)

    def replace(self) -> None:
        """Request a new session instead of the current one."""
        self.replacing.set()
