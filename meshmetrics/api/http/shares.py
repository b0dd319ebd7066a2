"""How many of the pool's connections one caller may use at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from meshmetrics.api.http.problems import RETRY, Problem

MAX_WAITING = 16
"""Requests of one caller that wait for their turn. The dashboard sends about ten at a time."""
WAIT_SECONDS = 10.0


class Shares:
    """A share of connections for each caller. A caller's further requests wait for its own, so they
    never delay those of others."""

    def __init__(
        self, each: int, *, waiting: int = MAX_WAITING, seconds: float = WAIT_SECONDS
    ) -> None:
        """`each`: connections of one caller at the same time."""
        self._each = each
        self._waiting = waiting
        self._seconds = seconds
        self._callers: dict[UUID, tuple[asyncio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def of(self, caller: UUID) -> AsyncIterator[None]:
        """Hold one connection's share, once it is this request's turn.

        Raises Problem (429) where too many of the caller's requests wait, or one waits too long.
        """
        turn, present = self._callers.setdefault(caller, (asyncio.Semaphore(self._each), []))
        if len(present) >= self._each + self._waiting:
            raise Problem(
                429,
                f"{self._each} of your requests at a time are worked on, and {self._waiting} wait:"
                " send fewer at once",
                headers=RETRY,
            )
        present.append(None)
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await turn.acquire()
            except TimeoutError:
                raise Problem(
                    429, "your other requests take too long: send fewer at once", headers=RETRY
                ) from None
            try:
                yield
            finally:
                turn.release()
        finally:
            present.pop()
            if not present:
                del self._callers[caller]
