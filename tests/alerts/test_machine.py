"""The state machine of rules against a plain model of it, step for step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, make_channel, make_rule
from tests.alerts.plain import Alert, Rule, Run, columns
from tests.support import insert_run, make_project, make_workflow

pytestmark = pytest.mark.slow

# A burst of runs with one outcome, time that goes by, or the n-th run's outcome turned round.
BURST = st.tuples(st.just("runs"), st.integers(1, 12), st.booleans())
PAUSE = st.tuples(st.just("pause"), st.integers(1, 40), st.just(True))
TURN = st.tuples(st.just("turn"), st.integers(0, 60), st.booleans())
STEPS = st.lists(st.one_of(BURST, BURST, BURST, PAUSE, TURN), min_size=4, max_size=22)
RULES = st.builds(
    Rule,
    threshold=st.sampled_from([0.5, 0.8, 0.95]),
    window=st.sampled_from([timedelta(hours=1), timedelta(hours=24)]),
    window_min_runs=st.sampled_from([0, 5, 20]),
    min_runs=st.sampled_from([1, 5]),
    method=st.sampled_from(["wilson", "plain"]),
    consecutive=st.sampled_from([0, 2, 3]),
    recovery_runs=st.sampled_from([2, 10]),
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rule=RULES, steps=STEPS)
async def test_rules_move_as_the_plain_model_says(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    rule: Rule,
    steps: list[Any],
) -> None:
    project = await make_project(owner)
    workflow = await make_workflow(owner, project)
    rule_id = await make_rule(owner, project, **columns(rule))
    await make_channel(owner, project)
    plain = Alert(rule)
    # It ends before now: what lies in the future is no matter here.
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=47)
    ids: list[Any] = []
    for kind, number, good in steps:
        if kind == "pause":
            now += timedelta(minutes=15 * number)
        elif kind == "turn":
            if number < len(ids):
                await owner.execute(
                    "update public.workflow_runs set status = $2 where id = $1",
                    ids[number],
                    "succeeded" if good else "failed",
                )
                await store.count_runs([ids[number]])
                plain.runs[number].good = good
        else:
            for _ in range(number):
                now += timedelta(minutes=1, seconds=7)
                status = "succeeded" if good else "failed"
                ids.append(await insert_run(owner, workflow, status, finished_at=now))
                plain.runs.append(Run(now, good))
            await store.count_runs(ids[-number:])
        now += timedelta(seconds=10)
        before = len(plain.notices)
        plain.evaluate(now)
        notices = await evaluate(now, [workflow.id])
        assert [n["kind"] for n in notices] == plain.notices[before:]
        state = await owner.fetchrow(
            "select * from public.workflow_alert_states where rule_id = $1", rule_id
        )
        assert state is not None
        assert state["state"] == plain.state
        seen = plain.window(now)
        if not notices:
            shown = (state["success_count"], state["failure_count"])
            assert shown == (sum(r.good for r in seen), sum(not r.good for r in seen))
        assert (state["incident_id"] is None) == (plain.incident is None)
    incidents = await owner.fetchval(
        "select count(*) from public.workflow_alert_incidents where rule_id = $1", rule_id
    )
    everything = [*plain.past, *([plain.incident] if plain.incident else [])]
    assert incidents == len(everything)
    kinds = await owner.fetch(
        "select kind, held_for from public.workflow_alert_deliveries where project_id = $1"
        " order by created_at",
        project.id,
    )
    assert [k["kind"] for k in kinds] == plain.notices
    assert all(k["held_for"] == "digest" for k in kinds if k["kind"] == "reopened")
    assert not any(k["held_for"] for k in kinds if k["kind"] in ("opened", "flapping", "reminder"))
