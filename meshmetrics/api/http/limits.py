"""Limits: the size of one request, and the rate of one caller."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshmetrics.api.http.problems import Problem, answer
from meshmetrics.runtime.token_bucket import TokenBucket

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_CALLERS = 10_000
TOO_LARGE = f"the maximum body size is {MAX_BODY_BYTES:,} bytes"


class CallerBudget:
    """A token bucket per caller: a burst of requests, then a sustained rate.

    A new caller beyond `MAX_CALLERS` evicts the one that has been quiet for the longest.
    """

    def __init__(
        self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[object, TokenBucket] = OrderedDict()

    def take(self, caller: object) -> None:
        """Count one request. Raises Problem (429) if it exceeds the limit."""
        now = self._clock()
        bucket = self._buckets.pop(caller, None) or TokenBucket(self._per_second, self._burst, now)
        self._buckets[caller] = bucket
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not bucket.available(now):
            raise Problem(
                429,
                f"the limit is {self._per_second:g} requests per second,"
                f" with a burst of {self._burst}",
                headers={"Retry-After": str(math.ceil(bucket.wait()))},
            )
        bucket.spend(1)


class RequestLimits:
    """Refuses headers and bodies that are larger than the API ever needs."""

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
    if size > MAX_HEADER_BYTES:
        return Problem(431, f"the maximum size of URL and headers is {MAX_HEADER_BYTES:,} bytes")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MAX_BODY_BYTES):
            return Problem(413, TOO_LARGE, headers={"Connection": "close"})
    return None


def _counting(receive: Receive) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            # The framework passes on its own exception, and no other, while it reads a body.
            raise HTTPException(413, TOO_LARGE, headers={"Connection": "close"})
        return message

    return counted
