"""The database has the defaults and bounds of alert rules that the model states."""

from __future__ import annotations

import json
from typing import Any, get_args

import asyncpg
import pytest
from pydantic.fields import FieldInfo

from meshmetrics.alerts.rule import RuleFields
from tests.alerts.conftest import make_rule
from tests.support import make_project

COMPUTED = {"comparison", "threshold"}
"""Their defaults depend on the metric: the database has those of `success_rate`."""
FITTING: dict[str, dict[str, Any]] = {
    "no_data_after_seconds": {"metric": "no_runs"},
    "recovery_threshold": {"metric": "failure_count"},
    "threshold": {"metric": "failure_count"},
}
"""What else a rule needs so that a field may have any value within its bounds."""


async def test_defaults_are_the_same(owner: asyncpg.Connection) -> None:
    project = await make_project(owner)
    rule_id = await owner.fetchval(
        "insert into public.workflow_alert_rules (project_id, name) values ($1, 'r') returning id",
        project.id,
    )
    row = await owner.fetchrow("select * from public.workflow_alert_rules where id = $1", rule_id)
    assert row is not None
    model = RuleFields(name="r").model_dump()
    assert {name: row[name] for name in model} == model


async def test_the_previews_defaults_are_the_same(owner: asyncpg.Connection) -> None:
    source = await owner.fetchval(
        "select prosrc from pg_proc where proname = 'workflow_alert_preview'"
    )
    defaults = json.loads(source.split("jsonb := '")[1].split("'")[0])
    model = RuleFields(name="r").model_dump()
    assert defaults == {name: model[name] for name in defaults}


def bounds(field: FieldInfo) -> tuple[float, float] | None:
    found = {type(m).__name__: m for m in field.metadata}
    return (found["Ge"].ge, found["Le"].le) if {"Ge", "Le"} <= found.keys() else None


NUMBERS = [name for name, field in RuleFields.model_fields.items() if bounds(field)]


@pytest.mark.parametrize("name", NUMBERS)
async def test_bounds_are_the_same(owner: asyncpg.Connection, name: str) -> None:
    project = await make_project(owner)
    found = bounds(RuleFields.model_fields[name])
    assert found is not None
    low, high = found
    fitting = FITTING.get(name, {})
    for value in (low, high):
        await make_rule(owner, project, **{**fitting, name: value})
    for value in (low - 1, high + 1):
        with pytest.raises(asyncpg.CheckViolationError):
            await make_rule(owner, project, **{**fitting, name: value})


@pytest.mark.parametrize("name", ["severity", "scope", "metric", "comparison", "method"])
async def test_words_are_the_same(owner: asyncpg.Connection, name: str) -> None:
    annotation = RuleFields.model_fields[name].annotation
    options = {o for o in get_args(annotation) if isinstance(o, str)} or {
        o for part in get_args(annotation) for o in get_args(part)
    }
    definitions = await owner.fetch(
        "select pg_get_constraintdef(oid) as text from pg_constraint"
        " where conrelid = 'public.workflow_alert_rules'::regclass and contype = 'c'"
        f" and conname like 'workflow_alert_rules_{name}_check'"
    )
    [definition] = definitions
    words = {part.split("'")[0] for part in definition["text"].split("'")[1::2]}
    assert words == options
