"""How much one request may be, and how many one caller may send."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshmetrics.api.http.problems import Problem, answer

MOST_HEADER_BYTES = 16 * 1024
MOST_BODY_BYTES = 64 * 1024
MOST_CALLERS = 10_000
TOO_LARGE = f"a body may be {MOST_BODY_BYTES:,} bytes"


class CallerBudget:
    """A token bucket for each caller: so many requests at once, and so many a second after that.

    Callers beyond `MOST_CALLERS` push out those not seen for the longest time.
    """

    def __init__(
        self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def take(self, caller: object) -> None:
        """Count one request. Raises Problem (429) when it is one too many."""
        now = self._clock()
        left, at = self._left.pop(caller, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._per_second)
        enough = left >= 1
        self._left[caller] = (left - 1 if enough else left, now)
        if len(self._left) > MOST_CALLERS:
            self._left.popitem(last=False)
        if not enough:
            wait = math.ceil((1 - left) / self._per_second)
            raise Problem(
                429,
                f"at most {self._burst} requests at once and {self._per_second:g} a second",
                headers={"Retry-After": str(wait)},
            )


class RequestLimits:
    """Refuses headers and bodies that are larger than anything the API takes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = _head_problem(scope)
        if problem is not None:
            request_id = scope.get("state", {}).get("request_id")
            await answer(problem, request_id)(scope, receive, send)
            return
        await self._app(scope, _counting(receive), send)


def _head_problem(scope: Scope) -> Problem | None:
    size = len(scope.get("query_string", b"")) + len(scope.get("raw_path") or b"")
    size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > MOST_HEADER_BYTES:
        return Problem(431, f"address and headers may be {MOST_HEADER_BYTES:,} bytes")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MOST_BODY_BYTES):
            return Problem(413, TOO_LARGE, headers={"Connection": "close"})
    return None


def _counting(receive: Receive) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BODY_BYTES:
            # The framework's own, which it lets pass where it reads a body.
            raise HTTPException(413, TOO_LARGE, headers={"Connection": "close"})
        return message

    return counted
