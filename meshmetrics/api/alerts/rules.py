"""The operations on alert rules."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import ValidationError

from meshmetrics.alerts.rule import OF_OPEN_RUNS, RuleFields
from meshmetrics.api.alerts.paging import AfterRow, LongLimit, Project
from meshmetrics.api.alerts.rows import PREVIEW_RUNS, RULES, Rows, rows_of
from meshmetrics.api.alerts.rule_schemas import (
    NewRule,
    Preview,
    Rule,
    RuleChange,
    RuleFailure,
    RuleStates,
    Silence,
    WouldOpen,
)
from meshmetrics.api.http.dependencies import Api, Signed
from meshmetrics.api.http.problems import explain, wrong

PREVIEW_INCIDENTS = 1000

router = APIRouter()


async def _with_states(rows: Rows, rules: list[dict[str, Any]]) -> list[Rule]:
    ids = [rule["id"] for rule in rules]
    states, counts = await rows.states(ids), await rows.state_counts(ids)
    return [
        Rule(**rule, states=states.get(rule["id"], []), state_counts=counts.get(rule["id"], {}))
        for rule in rules
    ]


@router.get("/rules")
async def rules(
    api: Api,
    who: Signed,
    project_id: Project = None,
    limit: LongLimit = 500,
    after: AfterRow = None,
) -> list[Rule]:
    """Rules, oldest first, with their states."""
    async with rows_of(api.reader, who) as rows:
        return await _with_states(rows, await rows.oldest(RULES, project_id, limit, after))


@router.post("/rules", status_code=201)
async def add_rule(api: Api, who: Signed, rule: NewRule) -> Rule:
    """Create a rule. It is evaluated within half a minute, and whenever its workflows change."""
    async with rows_of(api.reader, who) as rows:
        return (await _with_states(rows, [await rows.add(RULES, rule.model_dump())]))[0]


@router.post("/rules/preview")
async def preview(api: Api, who: Signed, rule: NewRule) -> Preview:
    """How often this rule would have opened in the last 30 days, and when."""
    fields = rule.model_dump(mode="json", exclude={"project_id"})
    async with rows_of(api.reader, who) as rows:
        found = await rows.preview(rule.project_id, fields)
    incidents = [WouldOpen(**row) for row in found]
    incidents.sort(key=lambda i: i.opened_at)
    runs = {row["workflow_slug"]: row["runs"] for row in found}
    complete = sum(runs.values()) < PREVIEW_RUNS
    history = rule.metric not in OF_OPEN_RUNS
    count, incidents = len(incidents), incidents[-PREVIEW_INCIDENTS:]
    return Preview(count=count, incidents=incidents, complete=complete, history=history)


@router.get("/rule-failures")
async def rule_failures(api: Api, who: Signed, project_id: Project = None) -> list[RuleFailure]:
    """Projects whose rules cannot be evaluated, and why: they open and close no incidents until the
    next attempt succeeds. Normally none; 200 at most."""
    async with rows_of(api.reader, who) as rows:
        return await rows.failures(project_id)


@router.get("/rules/{rule_id}")
async def rule(api: Api, who: Signed, rule_id: UUID) -> Rule:
    """One rule, with its states."""
    async with rows_of(api.reader, who) as rows:
        return (await _with_states(rows, [await rows.one(RULES, rule_id)]))[0]


@router.get("/rules/{rule_id}/states")
async def rule_states(
    api: Api,
    who: Signed,
    rule_id: UUID,
    limit: LongLimit = 100,
    after: Annotated[
        str | None, Query(max_length=10_000, description="`next` of the page before")
    ] = None,
) -> RuleStates:
    """The state of a rule for each workflow."""
    if after is not None and "\0" in after:
        raise wrong("after", after, "the `next` of the page before")
    async with rows_of(api.reader, who) as rows:
        await rows.one(RULES, rule_id)
        found = await rows.states_of(rule_id, limit + 1, after)
    following = found[limit - 1].workflow_slug if len(found) > limit else None
    return RuleStates(states=found[:limit], next=following)


@router.patch("/rules/{rule_id}")
async def change_rule(api: Api, who: Signed, rule_id: UUID, change: RuleChange) -> Rule:
    """Change the fields that the body has; the others stay."""
    fields = change.model_dump(exclude_unset=True)
    async with rows_of(api.reader, who) as rows:
        old = await rows.one(RULES, rule_id)
        old_fields = {name: old[name] for name in RuleFields.model_fields}
        if fields.get("metric", old["metric"]) != old["metric"]:  # another scale
            fields = {
                "threshold": None,
                "comparison": None,
                "recovery_threshold": None,
                "deadline_seconds": None,
                **fields,
            }
        try:
            whole = RuleFields.model_validate({**old_fields, **fields})
        except ValidationError as error:
            raise explain([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from None
        values = {name: getattr(whole, name) for name in fields}
        return (await _with_states(rows, [await rows.change(RULES, rule_id, values)]))[0]


@router.delete("/rules/{rule_id}", status_code=204)
async def remove_rule(api: Api, who: Signed, rule_id: UUID) -> None:
    """Delete a rule; its open incidents end within half a minute."""
    async with rows_of(api.reader, who) as rows:
        await rows.remove(RULES, rule_id)


@router.post("/rules/{rule_id}/silence")
async def silence(api: Api, who: Signed, rule_id: UUID, period: Silence) -> Rule:
    """Keep the notices of a rule back: incidents go on, and the deliveries list shows them."""
    values = {"silenced_until": period.until, "silence_reason": period.reason}
    async with rows_of(api.reader, who) as rows:
        return (await _with_states(rows, [await rows.change(RULES, rule_id, values)]))[0]
