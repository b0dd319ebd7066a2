"""Problems: what a caller reads about an invalid parameter, wherever it was found."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meshmetrics.api.http.problems import explain, from_database


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", min_length=0, max_length=5)
    slug: str = Field("a", pattern="^a*$")
    count: int = Field(1, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    kind: Literal["rate", "runs"] = "rate"
    ids: Annotated[list[UUID], Field(max_length=2)] = []
    on: bool = False


TAKES = [
    ("name", "toolong", "at most 5 characters"),
    ("name", 1, "text"),
    ("slug", "b", "text that matches ^a*$"),
    ("count", 0, "a number that is at least 1"),
    ("count", 10, "a number that is at most 9"),
    ("count", "x", "a whole number"),
    ("count", 1.5, "a whole number"),
    ("count", [], "a whole number"),
    ("count", "9" * 5000, "a smaller number"),
    ("share", 0, "a number greater than 0.0"),
    ("share", 1, "a number less than 1.0"),
    ("share", "x", "a number"),
    ("share", float("nan"), "a finite number"),
    ("kind", "x", "'rate' or 'runs'"),
    ("ids", ["x"], "a UUID"),
    ("ids", [UUID(int=0)] * 3, "at most 2 items"),
    ("ids", "x", "a list"),
    ("on", "perhaps", "true or false"),
    ("on", [], "true or false"),
    ("other", 1, "nothing: there is no such parameter"),
]


@pytest.mark.parametrize(("name", "value", "takes"), TAKES)
def test_what_pydantic_refuses_is_explained_in_our_words(name: str, value: Any, takes: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({name: value})
    problem = explain([{**e, "loc": ("body", *e["loc"])} for e in caught.value.errors()[:1]])
    (error,) = problem.errors
    assert (error.parameter, error.takes) == (name, takes)


def refusal(parameter: str, given: str | None, takes: str) -> asyncpg.PostgresError:
    error = asyncpg.InvalidParameterValueError("refused")
    error.detail = json.dumps({"parameter": parameter, "given": given, "takes": takes})
    return error


@pytest.mark.parametrize(
    ("parameter", "name"), [("from_at", "from"), ("max_rows", "limit"), ("bucket", "bucket")]
)
def test_a_refusal_of_a_function_names_the_apis_parameter(parameter: str, name: str) -> None:
    problem = from_database(refusal(parameter, "x", "1 to 500"))
    assert problem is not None
    assert [(e.parameter, e.given, e.takes) for e in problem.errors] == [(name, "x", "1 to 500")]


def test_the_text_of_a_refusal_is_not_edited() -> None:
    text = "a zone name such as to_at/from_at"
    problem = from_database(refusal("zone", None, text))
    assert problem is not None
    assert (problem.errors[0].parameter, problem.errors[0].takes) == ("tz", text)
