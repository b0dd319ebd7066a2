"""How the server misbehaves. Every field may be changed while it runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from meshmetrics.devstack.realtime.pgoutput import RowChange


@dataclass(slots=True)
class Faults:
    """What goes wrong at present; by default nothing. Times are in seconds.

    One-off faults (cut every connection, send a raw frame, an error or a close to channels) are
    methods of RealtimeServer.
    """

    drop: float | Callable[[RowChange], bool] = 0.0
    """The share of changes that get lost, or a function that picks them."""
    delay: float = 0.0
    """How long every change is held back."""
    reorder: float = 0.0
    """Each change is held back for a random time up to this: later ones overtake it."""
    repeat: int = 0
    """How many more times every change is sent."""
    silent: bool = False
    """No changes any more; all else goes on, heartbeats included."""
    ignore_heartbeats: bool = False
    """Phoenix heartbeats get no reply. Websocket pings do."""
    hang: bool = False
    """Nothing is answered or sent, sockets stay open and new ones are not accepted."""
    refuse: bool = False
    """New connections are cut before any answer."""
    close_on_connect: bool = False
    """New connections are accepted and closed at once."""
    connect_error: tuple[int, str] | None = None
    """New websockets are refused with this HTTP status and message, say 404 "Tenant not found"."""
    http: int | Literal["hang"] | None = None
    """The answer to every HTTP broadcast: a status such as 429 or 500, or none at all."""
    seed: int = 0
    """Of all that is random here, so that a run can be repeated."""
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def loses(self, change: RowChange) -> bool:
        """Whether this change gets lost."""
        if self.silent:
            return True
        if callable(self.drop):
            return self.drop(change)
        return self.drop > 0 and self._random.random() < self.drop

    def copies(self) -> list[float]:
        """After how long a change is sent, once for each time that it is."""
        return [
            self.delay + (self._random.uniform(0, self.reorder) if self.reorder else 0.0)
            for _ in range(1 + self.repeat)
        ]
