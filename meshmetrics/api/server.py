"""The HTTP server: health, readiness, Prometheus metrics, the REST API and the dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from meshmetrics.api.alerts import mail_links
from meshmetrics.api.alerts import routes as alerts
from meshmetrics.api.alerts.channels import AlertsApi
from meshmetrics.api.connections import BoundedConnection
from meshmetrics.api.dashboard import Dashboard
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.middleware import frame
from meshmetrics.api.metrics import overview_routes as screens
from meshmetrics.api.metrics.routes import router
from meshmetrics.runtime.service import FatalError, Service
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

DESCRIPTION = """\
How reliable MeshHook's workflows are: how many runs succeeded and failed, now and over time.

Every request carries a user's Supabase access token, and returns only what that user may see. Times
are RFC 3339. A rate is success / (success + failure), and comes with its Wilson 95 % interval.\
"""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of each part in words, and whether the daemon is ready."""

    ready: bool
    parts: dict[str, str] = field(default_factory=dict)


def create_app(
    readiness: Callable[[], Awaitable[Readiness]],
    telemetry: Telemetry,
    *,
    metrics_token: str | None = None,
    metrics_api: MetricsApi | None = None,
    alerts_api: AlertsApi | None = None,
    cors_origins: Sequence[str] = (),
    dashboard: Dashboard | None = None,
) -> FastAPI:
    """The application. It always serves `/healthz`, `/readyz`, `/metrics` and `/api/docs`.

    `metrics_api` adds `/api/metrics`; together with `alerts_api` also `/api/alerts`. `dashboard`
    adds the dashboard at `/`. `metrics_token`: the bearer token that `/metrics` requires; None:
    none. `cors_origins`: other origins whose pages may call the API.
    """
    app = FastAPI(
        title="meshmetrics",
        version=version("meshmetrics"),
        description=DESCRIPTION,
        openapi_url=None,  # `frame` serves the document and its page
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: (
            route.name
        ),  # typed clients name their methods after it
    )
    frame(app, telemetry, cors_origins=cors_origins)
    if metrics_api is not None:
        app.state.metrics_api = metrics_api
        # Fixed paths come before paths with parameters.
        app.include_router(screens.router)
        app.include_router(router)
    if metrics_api is not None and alerts_api is not None:
        app.state.alerts_api = alerts_api
        app.include_router(alerts.router)
        app.include_router(mail_links.router)
    if dashboard is not None:
        dashboard.mount(app)

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Returns 200 while the process runs."""
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["operation"],
        response_model=dict[str, Any],
        responses={503: {"description": "Not ready", "model": dict[str, Any]}},
    )
    async def readyz() -> JSONResponse:
        """Returns 200 if everything works, else 503, with the state of each part."""
        state = await readiness()
        return JSONResponse(
            {"ready": state.ready, **state.parts},
            status_code=200 if state.ready else 503,
            headers={"Cache-Control": "no-store"},
        )

    @app.get(
        "/metrics",
        tags=["operation"],
        response_class=PlainTextResponse,
        responses={401: {"description": "The bearer token is missing or wrong", "content": {}}},
    )
    async def metrics(request: Request) -> Response:
        """The metrics in Prometheus' text format."""
        if metrics_token is not None:
            authorization = request.headers.get("authorization", "")
            if not secrets.compare_digest(
                authorization.encode(), f"Bearer {metrics_token}".encode()
            ):
                return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)

    return app


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: the supervisor decides when and in which order to stop."""
        yield


class HttpServer(Service):
    """Serves an application until stopped."""

    name = "http"
    restart = False

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__()
        self._app = app
        self._host = host
        self._configured_port = port
        self.port: int | None = None
        """The port it listens on, once started."""

    async def run(self) -> None:
        """Serve until stopped. Raises FatalError if it cannot listen on the address."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._configured_port), family=family)
        except OSError as error:
            raise FatalError(
                f"cannot listen on {self._host} port {self._configured_port} ({error.strerror}):"
                " set MESHMETRICS_HTTP_HOST and MESHMETRICS_HTTP_PORT to an address of this"
                " machine and a free port"
            ) from None
        # Connections inherit it. Without it the end of a response waits 40 ms for the
        # acknowledgement of its beginning; asyncio sets it only on sockets that it creates.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                self._app,
                http=BoundedConnection,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",  # the supervisor starts what the application needs
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        stopping = asyncio.create_task(self._stop_with_us(server))
        try:
            log.info("http.listening", host=self._host, port=self.port)
            self.started.set()
            await server.serve(sockets=[listener])
        finally:
            stopping.cancel()
            listener.close()

    async def _stop_with_us(self, server: uvicorn.Server) -> None:
        await self.stopping.wait()
        server.should_exit = True
