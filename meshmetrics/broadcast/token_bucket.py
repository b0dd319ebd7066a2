"""How many messages may be sent now: a token bucket that narrows when Realtime says 429."""

from __future__ import annotations

RECOVERY_SECONDS = 60.0
"""How long it takes from nothing back to the full rate."""


class Budget:
    """Allows `rate` messages a second, half a second's worth of them at once.

    Above Realtime's own limit it is the receivers that are thrown out, so the rate is halved at
    every refusal, and grows back slowly. Times are in seconds, on any steady clock.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._full = rate
        self._last = now
        self.rate = rate
        self._tokens = self._burst

    @property
    def _burst(self) -> float:
        return max(1.0, self.rate / 2)

    def available(self, now: float) -> int:
        """How many messages may be sent at this moment."""
        elapsed = max(0.0, now - self._last)
        self._last = now
        self.rate = min(self._full, self.rate + self._full * elapsed / RECOVERY_SECONDS)
        self._tokens = min(self._burst, self._tokens + self.rate * elapsed)
        return int(self._tokens + 1e-9)

    def spend(self, messages: int) -> None:
        """So many were sent."""
        self._tokens -= messages

    def refused(self) -> None:
        """Realtime would not have them."""
        self.rate = max(min(1.0, self._full), self.rate / 2)
        self._tokens = 0.0

    def wait(self) -> float:
        """Seconds until the next message may be sent."""
        return max(0.0, (1.0 - self._tokens) / self.rate)
