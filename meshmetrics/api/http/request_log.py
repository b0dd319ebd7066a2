"""Measures and logs every request: one line per request."""

from __future__ import annotations

import re
import time
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshmetrics.api.http.problems import Problem, answer
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

HEADER = b"x-request-id"
_VALID_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
QUIET = {"/healthz", "/readyz", "/metrics"}
"""Probes and scrapers send these every few seconds: they are logged only at level debug."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Observe:
    """Gives a request its id (the valid `X-Request-ID` sent, or a new one), times it, and logs it
    when it ends.

    An unhandled error is logged with its traceback and answered with 500.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (HEADER, request_id.encode())]
                if scope["path"].startswith("/api/"):
                    # Tenants' data is in no cache, not even in the browser's. Clients may still
                    # keep an answer and its ETag themselves.
                    headers = [(n, v) for n, v in headers if n.lower() != b"cache-control"]
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        failure: Exception | None = None
        self._telemetry.http_in_flight.inc()
        try:
            await self._app(scope, receive, send_named)
        except Exception as error:
            failure = error
            if status == 0:
                problem = Problem(500, "internal error; the server's logs have the details")
                await answer(problem, request_id)(scope, receive, send_named)
            else:
                raise  # cut off a response that has begun, so that it is not mistaken for complete
        finally:
            self._telemetry.http_in_flight.dec()
            self._note(scope, status, time.perf_counter() - began, request_id, failure)

    def _note(
        self, scope: Scope, status: int, seconds: float, request_id: str, failure: Exception | None
    ) -> None:
        route = getattr(scope.get("route"), "path", None) or "unknown"
        method = scope["method"] if scope["method"] in METHODS else "other"
        cut_off = status == 0 and failure is None  # the client disconnected
        shown = "499" if cut_off else str(status or 500)
        self._telemetry.http_seconds.labels(method, route, shown).observe(seconds)
        if failure is not None or status >= 500:
            self._telemetry.http_errors.labels(route).inc()
        fields = {
            "method": method,
            "route": route,
            "status": int(shown),
            "took_ms": seconds * 1000,
            "request_id": request_id,
            "caller": scope.get("state", {}).get("caller"),
        }
        if failure is not None:
            log.error("http.request", **fields, exc_info=failure)
        elif status >= 500 and route not in QUIET:
            log.warning("http.request", **fields)
        elif route in QUIET:
            log.debug("http.request", **fields)
        else:
            log.info("http.request", **fields)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == HEADER and _VALID_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex
