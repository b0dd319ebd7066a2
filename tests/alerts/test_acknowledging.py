"""An acknowledgement, whichever daemon's API took it, is broadcast once to every screen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.alerts.notice import Notice
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, finish, make_rule
from tests.conftest import Connect
from tests.support import Project, Workflow, make_project, make_workflow

Incident = Callable[[Workflow], Awaitable[UUID]]

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
ACKNOWLEDGE = (
    "update public.workflow_alert_incidents"
    " set acknowledged_at = clock_timestamp(), acknowledged_by = gen_random_uuid() where id = $1"
)


@pytest.fixture
def incident(owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate) -> Incident:
    """Opens one of a workflow."""

    async def incident(workflow: Workflow) -> UUID:
        await finish(owner, store, workflow, NOW, "failed", "failed", "failed")
        (notice,) = await evaluate(None, [workflow.id])
        return UUID(notice["incident_id"])

    return incident


def incidents_of(notices: tuple[Notice, ...]) -> list[UUID]:
    assert {n.kind for n in notices} <= {"acknowledged"}
    return [n.incident_id for n in notices]


async def test_an_acknowledgement_is_broadcast_once_and_another_one_again(
    owner: asyncpg.Connection,
    alerts: AlertStore,
    project: Project,
    workflow: Workflow,
    incident: Incident,
) -> None:
    await make_rule(owner, project)
    opened = await incident(workflow)
    assert await alerts.claim_acknowledgements() == ()
    await owner.execute(ACKNOWLEDGE, opened)
    (notice,) = await alerts.claim_acknowledgements()
    assert (notice.kind, notice.incident_id) == ("acknowledged", opened)
    assert notice.project_id == project.id
    assert await alerts.claim_acknowledgements() == ()
    await owner.execute(ACKNOWLEDGE, opened)
    assert incidents_of(await alerts.claim_acknowledgements()) == [opened]


async def test_an_incident_that_opens_again_is_unacknowledged(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
    incident: Incident,
) -> None:
    await make_rule(owner, project)
    opened = await incident(workflow)
    await owner.execute(ACKNOWLEDGE, opened)
    await alerts.claim_acknowledgements()
    await finish(owner, store, workflow, NOW + timedelta(minutes=1), *["succeeded"] * 10)
    assert [n["kind"] for n in await evaluate()] == ["resolved"]
    await finish(owner, store, workflow, NOW + timedelta(minutes=2), *["failed"] * 3)
    assert [n["kind"] for n in await evaluate()] == ["reopened"]
    assert await alerts.claim_acknowledgements() == ()
    await owner.execute(ACKNOWLEDGE, opened)
    assert incidents_of(await alerts.claim_acknowledgements()) == [opened]


async def test_many_daemons_at_once_tell_of_it_once(
    owner: asyncpg.Connection,
    connect: Connect,
    worker_dsn: str,
    project: Project,
    workflow: Workflow,
    incident: Incident,
) -> None:
    await make_rule(owner, project)
    await owner.execute(ACKNOWLEDGE, await incident(workflow))
    daemons = [await connect(worker_dsn) for _ in range(6)]
    call = "select notices from meshmetrics.claim_acknowledgements()"
    answers = await asyncio.gather(*(daemon.fetchval(call) for daemon in daemons))
    assert sorted(len(json.loads(answer)) for answer in answers) == [0, 0, 0, 0, 0, 1]


async def test_an_incident_that_is_being_written_delays_no_other(
    owner: asyncpg.Connection,
    alerts: AlertStore,
    connect: Connect,
    owner_dsn: str,
    project: Project,
    workflow: Workflow,
    incident: Incident,
) -> None:
    await make_rule(owner, project)
    opened = await incident(workflow)
    await owner.execute(ACKNOWLEDGE, opened)
    other = await connect(owner_dsn)
    transaction = other.transaction()
    await transaction.start()
    await other.execute(ACKNOWLEDGE, opened)
    async with asyncio.timeout(5):
        assert await alerts.claim_acknowledgements() == ()
    await transaction.commit()
    assert incidents_of(await alerts.claim_acknowledgements()) == [opened]


async def test_no_project_gets_more_than_four_at_a_time(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project, incident: Incident
) -> None:
    await make_rule(owner, project)
    busy = [
        await incident(await make_workflow(owner, project, f"flow-{n}", name=f"Flow {n}"))
        for n in range(5)
    ]
    stranger = await make_project(owner)
    await make_rule(owner, stranger)
    other = await incident(await make_workflow(owner, stranger, "orders", name="Orders"))
    for one in [*busy, other]:
        await owner.execute(ACKNOWLEDGE, one)
    assert incidents_of(await alerts.claim_acknowledgements()) == [*busy[:4], other]
    assert incidents_of(await alerts.claim_acknowledgements()) == [busy[4]]
