"""What surrounds every operation: errors, limits, logs, cross-origin rules, documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from meshmetrics.api.http.docs_page import CONTENT_SECURITY_POLICY, documentation
from meshmetrics.api.http.limits import RequestLimits
from meshmetrics.api.http.problems import (
    Problem,
    ProblemDocument,
    WrongParameter,
    on_http_error,
    on_invalid,
    on_problem,
)
from meshmetrics.api.http.request_log import Observe
from meshmetrics.runtime.telemetry import Telemetry


def frame(app: FastAPI, telemetry: Telemetry, *, cors_origins: Sequence[str] = ()) -> None:
    """Add it to `app`. Browsers may call the API only from these origins and its own."""
    app.exception_handler(Problem)(on_problem)
    app.exception_handler(HTTPException)(on_http_error)
    app.exception_handler(RequestValidationError)(on_invalid)
    # The last one added is the outermost: errors of the others are logged, and pages of other
    # origins can read them.
    app.add_middleware(RequestLimits)
    app.add_middleware(Observe, telemetry=telemetry)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "X-Request-ID"],
            expose_headers=["ETag", "Retry-After", "X-Request-ID", "Content-Disposition"],
            max_age=600,
        )

    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it

    @app.get("/api/openapi.json", include_in_schema=False)
    async def document() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(documentation(app.openapi()), headers=headers)


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The document with our error schemas instead of the framework's."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemDocument, WrongParameter):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    return document
