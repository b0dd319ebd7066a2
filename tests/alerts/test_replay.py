"""The preview against the daemon: the same runs, moment by moment, through real rounds."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, finish, make_rule
from tests.sql.test_open_runs import event, settle
from tests.support import Project, Workflow, acting_as, insert_run, make_workflow

RULES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "quick": {"method": "plain", "threshold": 0.8, "min_runs": 1, "recovery_runs": 1},
    "by time alone": {
        "window_seconds": 3600,
        "window_min_runs": 0,
        "min_runs": 3,
        "method": "plain",
        "consecutive": 0,
        "recovery_runs": 2,
    },
    "the last three runs": {
        "window_seconds": 300,
        "window_min_runs": 3,
        "min_runs": 2,
        "threshold": 0.6,
        "method": "plain",
        "recovery_threshold": 0.7,
    },
    "failure rate": {
        "metric": "failure_rate",
        "comparison": "above",
        "threshold": 0.2,
        "recovery_runs": 2,
    },
    "a fix": {"comparison": "above", "threshold": 0.7, "method": "plain"},
    "many failures": {
        "metric": "failure_count",
        "comparison": "above",
        "threshold": 3,
        "window_seconds": 7200,
    },
    "few failures": {
        "metric": "failure_count",
        "comparison": "below",
        "threshold": 2,
        "window_seconds": 21600,
    },
    "in a row": {"metric": "consecutive_failures", "consecutive": 2, "recovery_runs": 2},
    "together": {"scope": "project", "threshold": 0.85, "method": "plain", "recovery_runs": 3},
}

# workflow -> (opened, closed, cause, succeeded and failed runs in the window that it opened for)
Incidents = dict[str, list[tuple[datetime, datetime | None, str, int, int]]]


class Watched:
    """What the notices of the daemon's rounds tell of each rule."""

    def __init__(self) -> None:
        self.incidents: dict[str, Incidents] = defaultdict(lambda: defaultdict(list))

    def see(self, notices: list[dict[str, Any]]) -> None:
        for notice in notices:
            slug = notice["workflow"]["slug"] if notice["workflow"] else ""
            found = self.incidents[notice["rule"]["id"]][slug]
            at, measured = datetime.fromisoformat(notice["at"]), notice["measured"]
            if notice["kind"] in ("opened", "reopened", "flapping", "no_data"):
                counts = measured["success_count"], measured["failure_count"]
                found.append((at, None, notice["cause"], *counts))
            elif notice["kind"] == "resolved":
                assert notice["close_reason"] == "recovered"
                opened, none, cause, good, bad = found[-1]
                assert none is None
                found[-1] = (opened, at, cause, good, bad)


async def previewed(owner: asyncpg.Connection, project: Project, rule: dict[str, Any]) -> Incidents:
    async with acting_as(owner, project.owner):
        rows = await owner.fetch(
            "select * from public.workflow_alert_preview($1, $2, 20000)",
            json.dumps(rule),
            project.id,
        )
    found: Incidents = defaultdict(list)
    for row in rows:
        counts = row["success_count"], row["failure_count"]
        found[row["workflow_slug"]].append(
            (row["opened_at"], row["closed_at"], row["cause"], *counts)
        )
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_replayed_moment_by_moment_the_daemon_opens_and_closes_what_the_preview_shows(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, project: Project, seed: int
) -> None:
    chance = random.Random(seed)
    flows = [await make_workflow(owner, project, f"flow-{n}") for n in range(5)]
    rules = {
        name: str(await make_rule(owner, project, repeat_every_seconds=0, **columns))
        for name, columns in RULES.items()
    }
    failing = {flow.id: chance.choice([0.02, 0.3, 0.6]) for flow in flows}
    watched = Watched()
    now = datetime.now(UTC) - timedelta(days=25)
    for _ in range(140):
        now += timedelta(seconds=chance.choice([1, 60, 600, 1800, 7200, 20000]) * chance.random())
        now += timedelta(microseconds=1)
        ended = []
        for flow in chance.sample(flows, chance.randint(1, 3)):
            if chance.random() < 0.1:
                failing[flow.id] = chance.choice([0.0, 0.02, 0.5, 0.95])
            for _ in range(chance.choice([1, 1, 1, 2, 5])):  # at the same time, too
                status = "failed" if chance.random() < failing[flow.id] else "succeeded"
                status = "canceled" if chance.random() < 0.05 else status
                ended.append(await insert_run(owner, flow, status, started_at=now, finished_at=now))
        await store.count_runs(ended)
        touched = await owner.fetch(
            "select distinct workflow_id from public.workflow_runs"
            " where id = any ($1) and status <> 'canceled'",
            ended,
        )
        watched.see(await evaluate(now, [row["workflow_id"] for row in touched]))
    closing = set()
    for name, rule_id in rules.items():
        expected = watched.incidents[rule_id]
        assert await previewed(owner, project, RULES[name]) == expected, name
        if any(closed for of in expected.values() for _, closed, *_ in of):
            closing.add(name)
    assert len(closing) >= len(RULES) - 1  # the histories are long enough to show something


async def test_the_daemon_finds_the_silence_that_the_preview_shows(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, project: Project
) -> None:
    chance = random.Random(1)
    rule = {"metric": "no_runs", "no_data_after_seconds": 3600}
    await make_rule(owner, project, repeat_every_seconds=0, **rule)
    flow = await make_workflow(owner, project, "flow")
    await make_workflow(owner, project, "new", version=1)  # never ran: nothing to preview
    watched = Watched()
    now = datetime.now(UTC) - timedelta(days=20)
    for number in range(60):
        last = now
        now += timedelta(seconds=chance.randrange(1, 7200))
        if number and now - last >= timedelta(hours=1):
            watched.see(await evaluate(last + timedelta(hours=1), [flow.id]))
        await finish(owner, store, flow, now, chance.choice(["succeeded", "failed", "canceled"]))
        watched.see(await evaluate(now, [flow.id]))
    watched.see(await evaluate(now + timedelta(hours=1), [flow.id]))
    (expected,) = watched.incidents.values()
    assert len(expected["flow"]) > 10
    counts = {slug: [i[:3] for i in of] for slug, of in expected.items()}
    found = await previewed(owner, project, rule)
    assert {slug: [i[:3] for i in of] for slug, of in found.items()} == counts


async def test_mapped_statuses_and_abandoned_runs_are_in_the_preview_as_in_the_daemons_rounds(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> None:
    rule_id = str(await make_rule(owner, project))
    await owner.execute(
        "alter table public.workflow_runs drop constraint workflow_runs_status_check"
    )
    for status, outcome in (("timed_out", "failure"), ("done", "success")):
        await owner.execute("select meshmetrics.map_status($1, $2)", status, outcome)
    hour = timedelta(hours=1)
    began = datetime.now(UTC) - 5 * hour
    await finish(owner, store, workflow, began, "done", "timed_out", "timed_out")
    abandoned = await insert_run(owner, workflow, started_at=began, created_at=began)
    last_sign = await event(owner, abandoned, "step_failed", hour)
    going_on = await insert_run(owner, workflow, started_at=began, created_at=began)
    assert await settle(store) == 1
    assert (await owner.fetchval("select status from workflow_runs where id = $1", going_on)) == (
        "running"
    )
    watched = Watched()
    watched.see(await evaluate(last_sign, [workflow.id]))
    expected = {workflow.slug: [(last_sign, None, "consecutive", 1, 3)]}
    assert watched.incidents[rule_id] == expected
    assert await previewed(owner, project, {}) == expected


async def test_another_tenants_project_has_no_preview(
    owner: asyncpg.Connection, store: CountingStore, project: Project, workflow: Workflow
) -> None:
    await finish(owner, store, workflow, datetime.now(UTC) - timedelta(hours=1), *["failed"] * 3)
    stranger = Project(project.id, owner=project.id)  # a user that is no member
    assert len(await previewed(owner, project, {})) == 1
    for rule in ({}, {"metric": "no_runs", "no_data_after_seconds": 60}):
        assert await previewed(owner, stranger, rule) == {}
