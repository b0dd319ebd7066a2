"""Bounds of each connection to the HTTP server: how long a client may take to send a request and to
take its answer, and how many may be connected."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a further request, to the end of the head."""
BODY_SECONDS = 15.0
"""From the end of the head to the end of the body."""
STALL_SECONDS = 30.0
"""How long a client may take nothing of an answer that waits for it."""
MAX_CONNECTIONS = 500
"""Below the 1,024 open files that many systems allow a process. One more, and the connection that
has waited longest for its client is closed."""


class BoundedConnection(H11Protocol):
    """A connection that is closed when its client does not keep going."""

    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    waiting_since: float | None = None
    """Time of the loop since when the client owes us bytes; None while we owe it an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._owes(HEAD_SECONDS)
        if len(self.connections) > MAX_CONNECTIONS:
            _close_the_longest_waiting(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owes(None)
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.conn.their_state
        super().data_received(data)
        self._look(before)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look(None)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_SECONDS, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _look(self, before: object) -> None:
        """Set the timer that the state of the connection asks for."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            if before is not h11.SEND_BODY:
                self._owes(BODY_SECONDS)
        elif state is not h11.IDLE:
            self._owes(None)  # it is our turn
        elif self._timer is None:
            # A further request. Between two requests uvicorn's own keep-alive timer runs as well.
            self._owes(HEAD_SECONDS)

    def _owes(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.waiting_since = None
        if seconds is not None:
            self.waiting_since = self.loop.time()
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


def _close_the_longest_waiting(newest: BoundedConnection) -> None:
    waiting = [
        (one.waiting_since, one)
        for one in newest.connections
        if isinstance(one, BoundedConnection) and one.waiting_since is not None
    ]
    _, longest = min(waiting, key=lambda pair: pair[0])
    longest.connections.discard(longest)  # at once: more connections may come in this turn
    longest._give_up()
