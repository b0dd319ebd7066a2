"""What a rule would have done: the same as the daemon would have, at every run's end."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.alerts.conftest import make_rule
from tests.alerts.plain import Alert, Rule, Run, columns
from tests.support import Project, Workflow, acting_as

MOST_RUNS = 20_000

Opening = tuple[datetime, datetime | None]


async def previewed(
    owner: asyncpg.Connection, project: Project, wanted: dict[str, Any]
) -> list[Opening]:
    """When it would have opened and closed, asked as the tenant."""
    async with acting_as(owner, project.owner):
        await owner.execute("set local statement_timeout = '5s'")  # as the REST API has it
        rows = await owner.fetch(
            "select opened_at, closed_at from public.workflow_alert_preview($1, $2, $3)",
            json.dumps(wanted, default=str),
            project.id,
            MOST_RUNS,
        )
    return [(row["opened_at"], row["closed_at"]) for row in rows]


async def insert_runs(owner: asyncpg.Connection, workflow: Workflow, runs: list[Run]) -> None:
    await owner.executemany(
        "insert into public.workflow_runs"
        " (project_id, workflow_id, status, started_at, finished_at) values ($1, $2, $3, $4, $4)",
        [
            (workflow.project_id, workflow.id, "succeeded" if run.good else "failed", run.at)
            for run in runs
        ],
    )


@pytest.mark.parametrize(
    "rule",
    [
        Rule(),
        Rule(method="plain", threshold=0.8, min_runs=1, window=timedelta(hours=1)),
        Rule(consecutive=0, window_min_runs=0, recovery_runs=2),
        Rule(consecutive=2, threshold=0.5, recovery_runs=2, window_min_runs=5),
    ],
    ids=["defaults", "plain", "no row", "quick"],
)
async def test_it_opens_and_closes_when_the_daemon_would_have(
    owner: asyncpg.Connection, project: Project, workflow: Workflow, rule: Rule
) -> None:
    chance = random.Random(7)
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
    alert = Alert(rule)
    expected: list[Opening] = []
    failing = 0.02
    for _ in range(400):
        now += timedelta(seconds=chance.randrange(1, 7200))
        if chance.random() < 0.05:
            failing = chance.choice([0.02, 0.2, 0.9])
        alert.runs.append(Run(now, chance.random() >= failing))
        was_open = alert.incident is not None
        alert.evaluate(now)
        if alert.incident is not None and not was_open:
            expected.append((now, None))
        elif alert.incident is None and was_open:
            expected[-1] = (expected[-1][0], now)
    await insert_runs(owner, workflow, alert.runs)
    assert len(expected) > 1
    assert await previewed(owner, project, columns(rule)) == expected


async def test_what_is_left_out_of_a_rule_is_the_default(
    owner: asyncpg.Connection, project: Project, workflow: Workflow
) -> None:
    now = datetime.now(UTC) - timedelta(days=1)
    runs = [Run(now + timedelta(minutes=n), n % 63 >= 3) for n in range(500)]
    await insert_runs(owner, workflow, runs)
    rule_id = await make_rule(owner, project)
    whole = await owner.fetchval(
        "select to_jsonb(r) from public.workflow_alert_rules r where id = $1", rule_id
    )
    found = await previewed(owner, project, {})
    assert found == await previewed(owner, project, json.loads(whole))
    assert len(found) > 3


async def test_twenty_thousand_failed_runs_are_looked_at_within_the_time_a_request_has(
    owner: asyncpg.Connection, project: Project, workflow: Workflow
) -> None:
    """Whoever makes a rule does so because a workflow fails: an incident that never closes."""
    first = datetime.now(UTC) - timedelta(days=14)
    runs = [Run(first + timedelta(minutes=n), False) for n in range(MOST_RUNS)]
    await insert_runs(owner, workflow, runs)
    assert len(await previewed(owner, project, {})) == 1
