"""How many messages Realtime may be sent: a token bucket whose rate adapts to HTTP 429."""

from __future__ import annotations

from meshmetrics.runtime.token_bucket import TokenBucket

RECOVERY_SECONDS = 60.0
"""How long the rate takes to recover from 0 to its maximum."""


class Budget:
    """Allows up to `rate` messages per second, and a burst of half a second's worth.

    Above its own limit Realtime disconnects the receivers. So each refusal halves the rate, which
    then recovers slowly. Times are in seconds, on any monotonic clock.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._max_rate = rate
        self._recovered_at = now
        self._bucket = TokenBucket(rate, _burst(rate), now)

    @property
    def rate(self) -> float:
        """The current limit of messages per second."""
        return self._bucket.rate

    def available(self, now: float) -> int:
        """How many messages may be sent now."""
        elapsed = max(0.0, now - self._recovered_at)
        self._recovered_at = now
        self._set_rate(min(self._max_rate, self.rate + self._max_rate * elapsed / RECOVERY_SECONDS))
        return self._bucket.available(now)

    def spend(self, messages: int) -> None:
        """Count messages that were sent."""
        self._bucket.spend(messages)

    def refused(self) -> None:
        """Halve the rate, because Realtime answered 429."""
        self._set_rate(max(min(1.0, self._max_rate), self.rate / 2))
        self._bucket.empty()

    def wait(self) -> float:
        """Seconds until the next message may be sent."""
        return self._bucket.wait()

    def _set_rate(self, rate: float) -> None:
        self._bucket.rate = rate
        self._bucket.burst = _burst(rate)


def _burst(rate: float) -> float:
    return max(1.0, rate / 2)
