"""The state of the stream: the listener writes it, sweeps and readiness read it."""

from __future__ import annotations

import asyncio


class Stream:
    """The state of the Realtime stream. Times are `time.monotonic`."""

    def __init__(self) -> None:
        self.up_since: float | None = None
        """Since when changes flow, according to Realtime; None while they do not."""
        self.last_event: float | None = None
        self.left = False
        """Whether the listener has unsubscribed because too many runs end."""
        self.replacing = asyncio.Event()
        """Set to replace the session: a sweep found it dead, or the daemon is stopping."""

    def silent_for(self, now: float) -> float:
        """Seconds without an event in the current session; 0 without a session."""
        if self.up_since is None:
            return 0.0
        return now - max(self.up_since, self.last_event or 0.0)

    def replace(self) -> None:
        """Request a new session instead of the current one."""
        self.replacing.set()
