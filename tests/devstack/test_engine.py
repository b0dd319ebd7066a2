"""The simulated engine: a believable past, and a present that writes as the real one does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest

from meshmetrics.devstack.engine.engine import Ended, Engine
from meshmetrics.devstack.engine.history import history
from meshmetrics.devstack.engine.workflows import simulated_projects
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.devstack.schema import create_source
from tests.support import acting_as, eventually

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    """The engine at work; at the end it is told to stop and waited for."""
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


STATUSES = tuple(replace(p, writes_statuses=True) for p in simulated_projects(1))
"""Both projects with an engine that writes every status."""


def with_statuses(dsn: str, **options: Any) -> Engine:
    engine = Engine(dsn, **options)
    engine.projects = STATUSES
    return engine


async def test_its_past_is_a_month_of_runs_of_a_dozen_workflows(
    owner: asyncpg.Connection, owner_dsn: str
) -> None:
    made = await Engine(owner_dsn).populate()
    runs = await owner.fetchrow(
        "select count(*), count(*) filter (where finished_at is not null or r.status = 'running')"
        "  as consistently, min(finished_at), max(finished_at),"
        " count(distinct date_trunc('day', finished_at, 'UTC')) as days,"
        " count(distinct d.slug) as workflows, count(distinct d.id) as versions,"
        " bool_and(r.updated_at = finished_at and started_at < finished_at)"
        "  filter (where finished_at is not null) as consistent"
        " from public.workflow_runs r join public.workflow_definitions d on d.id = workflow_id"
    )
    assert runs is not None
    assert runs["count"] == runs["consistently"] == made > 20_000
    assert runs["days"] in (30, 31)
    assert (runs["workflows"], runs["versions"]) == (12, 13)
    assert runs["consistent"]
    assert runs["max"] - runs["min"] < timedelta(days=30)
    statuses = await owner.fetch(
        "select p.name, array_agg(distinct r.status order by r.status)"
        " from public.workflow_runs r join public.projects p on p.id = r.project_id group by 1"
    )
    assert {row[0]: row[1] for row in statuses} == {
        "Northwind Retail": ["running", "succeeded"],
        "Helios Energy": ["canceled", "failed", "succeeded"],
    }
    left = await owner.fetchrow(
        "select count(*) as runs, min(e.events), max(e.events), bool_and(e.failed) as failed"
        " from public.workflow_runs r cross join lateral ("
        "  select count(*) as events, bool_and(type = 'step_failed') as failed"
        "  from public.workflow_events where run_id = r.id) e where r.status = 'running'"
    )
    assert left is not None
    assert left["runs"] > 500
    assert (left["min"], left["max"], left["failed"]) == (5, 5, True)


async def test_each_of_its_two_users_sees_one_project(
    owner: asyncpg.Connection, owner_dsn: str
) -> None:
    engine = Engine(owner_dsn)
    await engine.populate(days=1)
    for project in engine.projects:
        async with acting_as(owner, project.owner):
            seen = await owner.fetchval("select array_agg(name) from public.projects")
        assert seen == [project.name]


async def test_populating_again_adds_nothing(owner: asyncpg.Connection, owner_dsn: str) -> None:
    made = await Engine(owner_dsn).populate(days=2)
    assert await Engine(owner_dsn).populate(days=2) == 0
    assert await owner.fetchval("select count(*) from public.workflow_runs") == made


def test_the_same_seed_makes_the_same_past() -> None:
    def past(seed: int) -> object:
        return history(simulated_projects(seed), Random(seed), NOW, 3)

    assert past(1) == past(1)
    assert past(1) != past(2)


EVENTS = "select array_agg(type order by id) as types from public.workflow_events where run_id = $1"
BEGUN = ["run_created", "step_started", "step_succeeded", "step_started"]


async def test_by_default_it_writes_what_the_real_engine_writes_and_nothing_else(
    owner: asyncpg.Connection, owner_dsn: str
) -> None:
    engine = Engine(owner_dsn, rate=100)
    engine.projects = (simulated_projects(1)[0],)
    await engine.populate(days=0)
    async with running(engine):
        await eventually(lambda: engine.left_open >= 3 and engine.finished >= 20, within=30)
    runs = await owner.fetch("select id, status, finished_at from public.workflow_runs")
    assert {row["status"] for row in runs} == {"running", "succeeded"}
    for run in runs:
        types = await owner.fetchval(EVENTS, run["id"])
        if run["status"] == "succeeded":
            assert run["finished_at"] is not None
            assert types == [*BEGUN, "http_attempted", "step_succeeded", "run_completed"]
        else:
            assert run["finished_at"] is None
            assert types == [*BEGUN, *["http_attempted", "step_failed"] * 5]
    left = sum(run["status"] == "running" for run in runs)
    assert (left, len(runs) - left) == (engine.left_open, engine.finished)
    failure = await owner.fetchval(
        "select payload from public.workflow_events where type = 'step_failed' order by id limit 1"
    )
    assert json.loads(failure) == {
        "node": {"id": "call", "type": "http_call"},
        "attempt": 1,
        "error": "Error: HTTP 500",
    }


async def test_a_run_is_inserted_as_running_and_ended_in_another_transaction(
    owner: asyncpg.Connection, owner_dsn: str
) -> None:
    engine = with_statuses(owner_dsn, rate=100)
    await engine.populate(days=0)
    async with running(engine):
        await eventually(
            lambda: owner.fetchval(
                "select exists (select from public.workflow_runs where status = 'running')"
            ),
            what="a run under way",
        )
        await eventually(lambda: engine.finished >= 50, what="50 runs at an end")
    # updated_at is the time of the transaction that wrote last, created_at of that which began.
    rows = await owner.fetch("select created_at < updated_at as apart from public.workflow_runs")
    assert len(rows) == engine.started
    assert all(row["apart"] for row in rows)


async def test_when_it_is_stopped_every_run_is_at_an_end_and_was_counted(
    owner: asyncpg.Connection, owner_dsn: str
) -> None:
    ended: dict[object, str] = {}

    def note(run: Ended) -> None:
        ended[run.run_id] = run.status

    engine = with_statuses(owner_dsn, rate=100, on_ended=note)
    await engine.populate(days=0)
    async with running(engine):
        # A failed run is resumed after some seconds at most.
        await eventually(lambda: engine.resumed >= 2, within=30, what="resumed runs")
        await eventually(
            lambda: owner.fetchval(
                "select exists (select from public.workflow_runs where status = 'paused')"
            ),
            what="a paused run",
        )
    rows = await owner.fetch(
        "select id, status from public.workflow_runs where finished_at is not null"
    )
    assert len(rows) == engine.finished == engine.started
    assert {row["id"]: row["status"] for row in rows} == ended


async def test_one_workflow_breaks_and_mends_itself(owner_dsn: str) -> None:
    engine = Engine(owner_dsn, break_period=timedelta(seconds=1))
    await engine.populate(days=0)
    async with running(engine):
        await eventually(lambda: engine.broken)
        await eventually(lambda: not engine.broken)


@pytest.mark.parametrize("broken", [True, False])
async def test_while_it_is_broken_its_runs_fail(
    owner_dsn: str, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(Engine, "broken", broken)
    statuses: list[str] = []
    (relay,) = (
        project.workflow_id(workflow, 1)
        for project in simulated_projects(1)
        for workflow in project.workflows
        if workflow.breaks
    )
    engine = with_statuses(
        owner_dsn,
        seed=1,
        rate=100,
        on_ended=lambda e: statuses.append(e.status) if e.workflow_id == relay else None,
    )
    await engine.populate(days=0)
    async with running(engine):
        await eventually(lambda: len(statuses) >= 20)
    mostly = max(set(statuses), key=statuses.count)
    assert mostly == ("failed" if broken else "succeeded")


async def test_it_goes_on_after_the_database_was_away(own_postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(own_postgres.dsn())
    await create_source(connection)
    await connection.close()
    engine = with_statuses(own_postgres.dsn(), rate=50)
    await engine.populate(days=0)
    async with running(engine):
        await eventually(lambda: engine.finished >= 10)
        await own_postgres.restart("immediate")
        before = engine.started
        await eventually(lambda: engine.started >= before + 50)
    connection = await asyncpg.connect(own_postgres.dsn())
    there = await connection.fetchval(
        "select count(*) from public.workflow_runs where finished_at is not null"
    )
    await connection.close()
    assert there == engine.finished == engine.started


async def test_it_stops_though_the_database_is_away(own_postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(own_postgres.dsn())
    await create_source(connection)
    await connection.close()
    engine = Engine(own_postgres.dsn(), rate=50)
    await engine.populate(days=0)
    async with running(engine):
        await eventually(lambda: engine.finished >= 10)
        await own_postgres.stop("immediate")
