"""Errors as `application/problem+json` (RFC 9457), with the parameter and what it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from meshmetrics.database.errors import is_transient
from meshmetrics.runtime.logs import redactor

MEDIA_TYPE = "application/problem+json"

# The REST API's name of each parameter that the SQL functions call otherwise.
_API_NAMES = {
    "from_at": "from",
    "to_at": "to",
    "zone": "tz",
    "version_mode": "versions",
    "sort_by": "sort",
    "max_rows": "limit",
}
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request too large",
    422: "Invalid parameter",
    429: "Too many requests",
    431: "Request headers too large",
    500: "Internal error",
    503: "Service unavailable",
}
# What a parameter takes, by the type of Pydantic's error and its context.
_TAKES = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "an object",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number that is at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "json_invalid": "valid JSON",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number that is at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "missing": "a value",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": "text",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length} items",
    "uuid_parsing": "a UUID",
    "uuid_type": "a UUID",
    "value_error": "{error}",
}


MAX_ERRORS = 20
"""Most wrong parameters that one answer explains."""
NOT_SHOWN = "(not shown)"


class WrongParameter(BaseModel):
    """One invalid parameter."""

    parameter: str = Field(description="Name of the parameter")
    given: str | None = Field(description="The value sent; null if it is missing")
    takes: str = Field(description="The values that it takes")


class ProblemDocument(BaseModel):
    """The body of every error (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="`about:blank`: the status identifies the kind of problem")
    title: str
    status: int
    detail: str = Field(description="What is wrong, and how to fix it")
    request_id: str | None = Field(description="The id of this request in the logs")
    errors: list[WrongParameter] = Field(description="The invalid parameters, if any")


class Problem(Exception):  # noqa: N818 (the name in RFC 9457; it is a response, too)
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[WrongParameter] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}


def wrong(parameter: str, value: str | None, takes: str) -> Problem:
    """An invalid parameter: 422. `value` None: it is missing."""
    parameter, value = _shown(parameter, 100), None if value is None else _shown(value, 200)
    error = WrongParameter(parameter=parameter, given=value, takes=takes)
    shown = "missing" if value is None else repr(value)
    return Problem(422, f"{parameter} is {shown}: it takes {takes}", errors=[error])


_hide = redactor()


def _shown(text: str, most: int) -> str:
    """What a caller sent, as far as an answer repeats it: short, without what looks like a secret,
    and as characters that JSON in UTF-8 can have."""
    text = _hide(text[: most * 4]).encode(errors="backslashreplace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def document(problem: Problem, request_id: str | None) -> bytes:
    """The body of the response."""
    return (
        ProblemDocument(
            type="about:blank",
            title=_TITLES.get(problem.status, "Error"),
            status=problem.status,
            detail=problem.detail,
            request_id=request_id,
            errors=list(problem.errors),
        )
        .model_dump_json()
        .encode()
    )


def answer(problem: Problem, request_id: str | None) -> Response:
    """The problem as a response."""
    return Response(
        document(problem, request_id),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def _request_id(request: Request) -> str | None:
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found


async def on_problem(request: Request, error: Problem) -> Response:
    """Handler of `Problem`."""
    return answer(error, _request_id(request))


async def on_http_error(request: Request, error: HTTPException) -> Response:
    """Handler of the framework's own errors: no such path, no such method."""
    headers = dict(error.headers or {})
    return answer(
        Problem(error.status_code, str(error.detail), headers=headers), _request_id(request)
    )


async def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Handler of parameters that do not match their declaration."""
    return answer(explain(error.errors()), _request_id(request))


def explain(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Pydantic's errors as one problem. Each `loc` begins with `query` or `body`."""
    problems = [_explain(details) for details in errors[:MAX_ERRORS]]
    return Problem(
        422,
        "; ".join(p.detail for p in problems),
        errors=[e for p in problems for e in p.errors],
    )


def _explain(details: Mapping[str, Any]) -> Problem:
    loc, kind, value = details["loc"], details["type"], details["input"]
    name = str(loc[1] if len(loc) > 1 else loc[0])
    if kind == "extra_forbidden":
        # It may be a secret under a misspelt name.
        return wrong(name, NOT_SHOWN, _TAKES.get(kind, "nothing: there is no such parameter"))
    if kind == "missing":
        return wrong(name, None, _TAKES[kind])
    if kind == "unfit":  # it contradicts other fields, so the input is the whole body
        name = str(details["ctx"]["parameter"])
        return wrong(name, str(value.get(name)), str(details["msg"]))
    template = _TAKES.get(kind)
    takes = template.format(**details.get("ctx", {})) if template else str(details["msg"])
    if loc[0] == "body" and not isinstance(value, (int, float, type(None))):
        value = NOT_SHOWN  # bodies contain secrets, and not always in the right place
    return wrong(name, str(value), takes)


def from_database(error: BaseException) -> Problem | None:
    """The caller's answer to a database error; None if the error is a bug of ours."""
    if isinstance(error, asyncpg.InvalidParameterValueError):
        try:
            detail = json.loads(error.detail or "")
            name = _API_NAMES.get(detail["parameter"], detail["parameter"])
            return wrong(name, detail["given"], detail["takes"])
        except (ValueError, KeyError, TypeError):
            return None
    if isinstance(error, asyncpg.QueryCanceledError):
        return Problem(
            503,
            "the query timed out: choose a shorter period or fewer workflows",
            headers=RETRY,
        )
    if is_transient(error):
        return Problem(503, "the database is not available now", headers=RETRY)
    return None


RETRY = {"Retry-After": "2"}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """An operation's error responses, for OpenAPI."""
    return {
        status: {
            "description": _TITLES[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }
