"""What is known of the stream: written by the listener, read by whoever judges it."""

from __future__ import annotations

import asyncio


class Stream:
    """The state of the Realtime stream. Times are `time.monotonic`."""

    def __init__(self) -> None:
        self.up_since: float | None = None
        """Since when changes flow, as Realtime says; None while it does not say so."""
        self.last_event: float | None = None
        self.left = False
        """Whether we listen to none of our own will, because runs end too fast for it."""
        self.replacing = asyncio.Event()
        """Set when somebody found the session dead without its saying so."""

    def silent_for(self, now: float) -> float:
        """Seconds without an event in the present session; 0 while there is none."""
        if self.up_since is None:
            return 0.0
        return now - max(self.up_since, self.last_event or 0.0)

    def replace(self) -> None:
        """Ask for a new session in place of the present one."""
        self.replacing.set()
