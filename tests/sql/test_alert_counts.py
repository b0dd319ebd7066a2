"""Counting the runs of many windows in one pass, against counting them one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.support import Workflow, insert_run, make_project, make_workflow

FOREVER = datetime.max.replace(tzinfo=UTC)
Found = dict[int, tuple[int, int]]


@pytest.fixture
async def flows(owner: asyncpg.Connection) -> list[Workflow]:
    project = await make_project(owner)
    return [await make_workflow(owner, project, "orders", version=n) for n in (1, 2, 3)]


async def asked(
    owner: asyncpg.Connection, questions: list[tuple[list[UUID], datetime, datetime | None]]
) -> Found:
    """What the function says of each question; None: until the end of time."""
    rows = [
        (number, workflow, since, until)
        for number, (ids, since, until) in enumerate(questions)
        for workflow in ids
    ]
    found = await owner.fetch(
        "select c.* from (select array_agg(n) as n, array_agg(w) as w, array_agg(f) as f,"
        "  array_agg(coalesce(u, 'infinity')) as u"
        "  from unnest($1::int[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])"
        "   q (n, w, f, u)) q"
        " cross join lateral meshmetrics.alert_counts(q.n, q.w, q.f, q.u) c",
        *(list(column) for column in zip(*rows, strict=True)),
    )
    return {row["question"]: (row["successes"], row["failures"]) for row in found}


async def test_many_windows_are_counted_as_each_on_its_own(
    owner: asyncpg.Connection, store: CountingStore, flows: list[Workflow]
) -> None:
    chance = Random(4)
    now = datetime.now(UTC)
    # Minutes are kept for two days, so windows begin on both sides of that; and beyond 40 days.
    ages = [chance.choice([0.02, 1, 4, 45]) * chance.random() for _ in range(300)]
    runs = [
        (
            chance.choice(flows).id,
            chance.choice(["succeeded", "failed", "canceled"]),
            now - timedelta(days=age),
        )
        for age in ages
    ]
    by_id = {flow.id: flow for flow in flows}
    ids = [await insert_run(owner, by_id[w], status, finished_at=at) for w, status, at in runs]
    await store.count_runs(ids)
    times = [at for _, _, at in runs]
    edges = [at.replace(second=0, microsecond=0) for at in times] + [
        at.replace(hour=0, minute=0, second=0, microsecond=0) for at in times
    ]
    begins = [*chance.sample(times, 60), *chance.sample(edges, 60)]
    begins += [at + timedelta(microseconds=1) for at in begins]
    questions = [
        (
            [flow.id for flow in chance.sample(flows, chance.randint(1, 3))],
            since,
            chance.choice([None, None, since + timedelta(hours=chance.random() * 48)]),
        )
        for since in begins
    ]
    expected = {}
    for number, (of, since, until) in enumerate(questions):
        inside = [
            status
            for workflow, status, at in runs
            if workflow in of and since <= at <= (until or FOREVER)
        ]
        counts = inside.count("succeeded"), inside.count("failed")
        if any(counts):
            expected[number] = counts
    found = await asked(owner, questions)
    assert {number: counts for number, counts in found.items() if any(counts)} == expected
    assert len(expected) > 150


async def test_no_question_is_no_answer(owner: asyncpg.Connection) -> None:
    assert await owner.fetch("select * from meshmetrics.alert_counts('{}', '{}', '{}', '{}')") == []
    assert await owner.fetch("select * from meshmetrics.alert_counts(null, null, null, null)") == []
