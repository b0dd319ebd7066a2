"""A token bucket: a sustained rate, and a burst above it."""

from __future__ import annotations


class TokenBucket:
    """Refills by `rate` tokens per second up to `burst`, with which it starts.

    `rate` and `burst` may be changed at any time. Times are in seconds, on any monotonic clock.
    """

    __slots__ = ("_refilled_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._refilled_at = now

    def available(self, now: float) -> int:
        """The whole tokens that may be spent now."""
        elapsed = max(0.0, now - self._refilled_at)
        self._refilled_at = now
        self._tokens = min(self.burst, self._tokens + self.rate * elapsed)
        return int(self._tokens + 1e-9)

    def spend(self, tokens: int) -> None:
        """Remove tokens; more than there are leaves a debt."""
        self._tokens -= tokens

    def empty(self) -> None:
        """Remove all tokens."""
        self._tokens = 0.0

    def wait(self) -> float:
        """Seconds from the last `available` until there is a whole token."""
        return max(0.0, (1.0 - self._tokens) / self.rate)
