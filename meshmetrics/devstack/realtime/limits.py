"""How much the server takes, and how long it takes: defaults are those measured on the real one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, rates a second averaged over `average_over` seconds."""

    channels_per_connection: int = 100
    users: int = 200
    """Connections with at least one joined channel."""
    events_per_second: float = 100
    """Of broadcasts and of changes, counted separately; a change counts once for every
    subscription it matches, a broadcast once when sent and once for every receiver."""
    joins_per_second: float = 100
    average_over: float = 60
    payload_bytes: int = 3_000_000
    frame_bytes: int = 5_000_000
    body_bytes: int = 8_000_000
    record_bytes: int = 1_048_576
    changes_per_poll: int = 100
    changes_per_second: float = 2500
    """What the poller gets through when it is behind."""
    backlog_bytes: int = 16_000_000
    backlog_changes_per_second: float = 130
    """What it gets through when the slot is so far behind the log. Measured on the real server: 100
    to 160 with a backlog of 90 MB."""
    rows_per_transaction: int = 50_000
    """Of larger ones nothing arrives. Measured: 10,000 rows do, 100,000 do not."""
    waiting_frames: int = 100_000
    """A connection that lets more pile up is cut off."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    refused_connect: float = 2.0
    refused_join: float = 5.0
    """A refused join holds up the whole socket for that long."""
    silence: float = 66.0
    """A socket from which nothing came for that long is closed."""
    cold_start: float = 1.5
    """From the first subscription of all to "Subscribed to PostgreSQL"."""
    resubscribe: float = 2.0
    """From an `access_token` push to the renewed subscription."""
    poll: float = 0.5
    """The poller's sleep after a poll that did not fill up. The median latency is half of it."""
    reconnect: float = 5.0
    """The longest pause between two attempts to reach Postgres."""
    give_up: float = 120.0
    """After an outage of Postgres longer than this, existing subscriptions are dead for good."""
    publication: float = 60.0
    """Between comparisons of the publication's tables. A change subscribes all channels again."""
    linger: float = 600.0
    """How long the poller goes on without any subscription."""

    @classmethod
    def quick(cls) -> Timing:
        """The same behaviour with short waits, for tests that are not about the waits."""
        return cls(
            refused_connect=0.02,
            refused_join=0.05,
            cold_start=0.0,
            resubscribe=0.02,
            poll=0.02,
            reconnect=0.1,
            publication=0.2,
        )


class RateCounter:
    """Whether events exceed `limit` per second, on average over the last `over` seconds."""

    def __init__(
        self, limit: float, over: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._over = over
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, count: int = 1) -> None:
        second = int(self._clock())
        self._sum += count
        if self._seconds and self._seconds[-1][0] == second:
            count += self._seconds.pop()[1]
        self._seconds.append((second, count))

    def average(self) -> float:
        """Events per second, over the whole span even if the server started later."""
        oldest = self._clock() - self._over
        while self._seconds and self._seconds[0][0] < oldest:
            self._sum -= self._seconds.popleft()[1]
        return self._sum / self._over

    def exceeded(self, more: int = 0) -> bool:
        """Whether the average, and `more` events on top in one second, is over the limit."""
        return self.average() + more > self._limit
