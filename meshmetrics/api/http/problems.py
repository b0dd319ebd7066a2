"""Errors as `application/problem+json` (RFC 9457), naming the parameter and what it takes."""

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

# The parameters of the SQL functions, as the REST API calls them.
_NAMES = {
    "from_at": "from",
    "to_at": "to",
    "zone": "tz",
    "version_mode": "versions",
    "sort_by": "sort",
    "max_rows": "limit",
}
_TITLES = {
    400: "Not understood",
    401: "Not signed in",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible now",
    413: "Request too large",
    422: "A parameter is wrong",
    429: "Too many requests",
    431: "Request headers too large",
    500: "Internal error",
    503: "Not available now",
}


MAX_ERRORS = 20
"""Most wrong parameters that one answer explains."""
NOT_SHOWN = "(not shown)"


class WrongParameter(BaseModel):
    """One parameter that is wrong."""

    parameter: str = Field(description="What it is called")
    given: str | None = Field(description="What was given; null where it is missing")
    takes: str = Field(description="What it takes")


class ProblemDocument(BaseModel):
    """The body of every error (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="`about:blank`: the status says what kind of problem it is")
    title: str
    status: int
    detail: str = Field(description="What is wrong, and what to do about it")
    request_id: str | None = Field(description="Names this request in the logs")
    errors: list[WrongParameter] = Field(description="The parameters that are wrong, if any")


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so, and it is an answer)
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


def wrong(parameter: str, given: str | None, takes: str) -> Problem:
    """A parameter that is wrong: 422."""
    parameter, given = _shown(parameter, 100), None if given is None else _shown(given, 200)
    error = WrongParameter(parameter=parameter, given=given, takes=takes)
    said = "missing" if given is None else repr(given)
    return Problem(422, f"{parameter} is {said}: it takes {takes}", errors=[error])


_hide = redactor()


def _shown(text: str, most: int) -> str:
    """What a caller sent, as far as an answer repeats it: short, without what looks like a secret,
    and as characters that JSON in UTF-8 can have."""
    text = _hide(text[: most * 4]).encode(errors="backslashreplace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def document(problem: Problem, request_id: str | None) -> bytes:
    """The body of the answer."""
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
    """The answer as a response."""
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
    """Handler of what the framework refuses: no such path, no such method."""
    headers = dict(error.headers or {})
    return answer(
        Problem(error.status_code, str(error.detail), headers=headers), _request_id(request)
    )


async def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Handler of parameters that do not fit their declaration."""
    return answer(explain(error.errors()), _request_id(request))


def explain(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What Pydantic found, as one problem. A place begins with `query` or `body`: left out."""
    problems = [_explain(details) for details in errors[:MAX_ERRORS]]
    return Problem(
        422,
        "; ".join(p.detail for p in problems),
        errors=[e for p in problems for e in p.errors],
    )


def _explain(details: Mapping[str, Any]) -> Problem:
    place = [str(part) for part in details["loc"][1:]] or [str(details["loc"][0])]
    kind, message, given = details["type"], str(details["msg"]), details["input"]
    if kind == "extra_forbidden":
        # It may be a secret under a misspelt name.
        return wrong(place[0], NOT_SHOWN, "nothing: there is no such parameter")
    if kind == "missing":
        return wrong(place[0], None, "a value")
    if kind == "unfit":  # to the other fields: the input is all of them
        name = str(details["ctx"]["parameter"])
        return wrong(name, str(given.get(name)), message)
    takes = message.removeprefix("Value error, ").removeprefix("Input should be ")
    if details["loc"][0] == "body" and not isinstance(given, (int, float, type(None))):
        given = NOT_SHOWN  # bodies hold secrets, and not always in the right place
    return wrong(place[0], str(given), takes)


def from_database(error: BaseException) -> Problem | None:
    """What a reader is told of an error of the database; None where it is our own fault."""
    if isinstance(error, asyncpg.InvalidParameterValueError):
        try:
            said = json.loads(error.detail or "")
            name = _NAMES.get(said["parameter"], said["parameter"])
            return wrong(name, said["given"], _rename(said["takes"]))
        except (ValueError, KeyError, TypeError):
            return None
    if isinstance(error, asyncpg.QueryCanceledError):
        return Problem(
            503, "it took too long: ask for a shorter period or fewer workflows", headers=RETRY
        )
    if is_transient(error):
        return Problem(503, "the database cannot answer now", headers=RETRY)
    return None


RETRY = {"Retry-After": "2"}


def _rename(text: str) -> str:
    for ours, theirs in _NAMES.items():
        text = text.replace(ours, theirs)
    return text


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an operation declares of its errors."""
    return {
        status: {
            "description": _TITLES[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }
