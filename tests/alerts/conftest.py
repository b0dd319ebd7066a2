"""Rules, channels and rounds on a database of the test's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.alerts.notice import read_notices
from meshmetrics.alerts.store import AlertStore
from meshmetrics.alerts.wording import headline, lines
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.store import Database
from tests.alerts.receiver import Receiver, receiving
from tests.support import Project, Workflow, insert_run, make_project, make_workflow


@pytest.fixture
async def project(owner: asyncpg.Connection) -> Project:
    """A tenant's project."""
    return await make_project(owner)


@pytest.fixture
async def workflow(owner: asyncpg.Connection, project: Project) -> Workflow:
    """A workflow in it."""
    return await make_workflow(owner, project, "orders", name="Orders")


async def make_rule(connection: asyncpg.Connection, project: Project, **columns: Any) -> UUID:
    """A rule; any column by name."""
    values = {"project_id": project.id, "name": "Orders fail", **columns}
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    rule_id: UUID = await connection.fetchval(
        f"insert into public.workflow_alert_rules ({', '.join(values)}) values ({places})"
        " returning id",
        *values.values(),
    )
    return rule_id


async def make_channel(
    connection: asyncpg.Connection, project: Project, kind: str = "webhook", **columns: Any
) -> UUID:
    """A channel; its target is what is given, sealed or not."""
    values = {
        "project_id": project.id,
        "name": "a channel",
        "kind": kind,
        "sealed_target": "target",
        **columns,
    }
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    channel_id: UUID = await connection.fetchval(
        f"insert into public.workflow_alert_channels ({', '.join(values)}) values ({places})"
        " returning id",
        *values.values(),
    )
    return channel_id


async def finish(
    owner: asyncpg.Connection,
    store: CountingStore,
    workflow: Workflow,
    at: datetime,
    *statuses: str,
) -> list[UUID]:
    """Runs that ended a second after each other from `at` on, and are counted."""
    ids = [
        await insert_run(owner, workflow, status, finished_at=at + timedelta(seconds=n))
        for n, status in enumerate(statuses)
    ]
    await store.count_runs(ids)
    return ids


async def states(owner: asyncpg.Connection) -> list[str]:
    """How the rules stand, by workflow."""
    rows = await owner.fetch(
        "select state from public.workflow_alert_states order by workflow_slug"
    )
    return [row["state"] for row in rows]


Evaluate = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def evaluate(worker: asyncpg.Connection) -> Evaluate:
    """One round as of a time; returns the notices. Each is read and worded on the way, and is the
    same JSON afterwards: so every test of a rule tests that, too."""

    async def evaluate(
        as_of: datetime | None = None, workflows: list[UUID] | None = None
    ) -> list[dict[str, Any]]:
        row = await worker.fetchrow(
            "select * from meshmetrics.evaluate_alerts($1, $2)", as_of, workflows
        )
        assert row is not None
        notices: list[dict[str, Any]] = json.loads(row["notices"])
        for written, notice in zip(notices, read_notices(row["notices"]), strict=True):
            assert json.dumps(notice.document(), sort_keys=True) == json.dumps(
                written, sort_keys=True
            )
            assert headline(notice)
            assert lines(notice)
        return notices

    return evaluate


@pytest.fixture
async def alerts(worker_dsn: str) -> AsyncIterator[AlertStore]:
    pool = await asyncpg.create_pool(worker_dsn, min_size=0, max_size=5)
    yield AlertStore(Database(pool))
    pool.terminate()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
