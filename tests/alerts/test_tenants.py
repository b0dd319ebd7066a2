"""What a tenant can do with another's alerts, asking the database itself: nothing."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, finish, make_channel, make_rule
from tests.alerts.test_rounds import NOW
from tests.support import Project, Workflow, acting_as, make_project

TABLES = ("rules", "channels", "states", "incidents", "events", "deliveries")
Refused = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def stranger(owner: asyncpg.Connection) -> Project:
    """Somebody else, who has a project too."""
    return await make_project(owner)


@pytest.fixture
async def everything(
    owner: asyncpg.Connection,
    store: CountingStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
) -> Project:
    """A project with a row in each table."""
    await make_rule(owner, project)
    await make_channel(owner, project)
    await finish(owner, store, workflow, NOW, *["failed"] * 3)
    await evaluate()
    return project


@pytest.mark.parametrize("table", TABLES)
async def test_only_members_see_a_row(
    owner: asyncpg.Connection, everything: Project, stranger: Project, table: str
) -> None:
    count = f"select count(id) from public.workflow_alert_{table}"
    if table == "states":
        count = count.replace("id", "rule_id", 1)
    async with acting_as(owner, everything.owner):
        assert await owner.fetchval(count) > 0
    async with acting_as(owner, stranger.owner):
        assert await owner.fetchval(count) == 0
    with pytest.raises(Refused):
        async with acting_as(owner, None, role="anon"):
            await owner.fetchval(count)


@pytest.mark.parametrize("column", ["sealed_target", "sealed_secret", "sealed_old_secret"])
async def test_nobody_reads_a_sealed_column(
    owner: asyncpg.Connection, everything: Project, column: str
) -> None:
    table = "public.workflow_alert_channels"
    for statement in (
        f"select {column} from {table}",
        f"select id from {table} where {column} like 'a%'",
        f"select id from {table} order by {column}",
        f"update {table} set name = {column}",
        f"update {table} set name = 'x' returning {column}",
        f"delete from {table} returning {column}",
    ):
        with pytest.raises(Refused):
            async with acting_as(owner, everything.owner):
                await owner.execute(statement)


async def test_nobody_writes_into_another_project(
    owner: asyncpg.Connection, everything: Project, stranger: Project
) -> None:
    channel = await owner.fetchval("select id from public.workflow_alert_channels")
    adding = {
        "workflow_alert_rules (project_id, name)": (everything.id, "mine"),
        "workflow_alert_channels (project_id, name, kind, sealed_target)": (
            *(everything.id, "mine", "webhook", "x"),
        ),
        "workflow_alert_deliveries (project_id, channel_id, kind)": (
            *(everything.id, channel, "test"),
        ),
    }
    for target, values in adding.items():
        places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
        with pytest.raises(Refused):
            async with acting_as(owner, stranger.owner):
                await owner.execute(f"insert into public.{target} values ({places})", *values)
    # Another's channel through a project of one's own: no test, and it cannot be told from none.
    for guess in (channel, uuid4()):
        with pytest.raises(Refused, match="row-level security"):
            async with acting_as(owner, stranger.owner):
                await owner.execute(
                    "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
                    " values ($1, $2, 'test')",
                    stranger.id,
                    guess,
                )
    for statement in (
        "update public.workflow_alert_rules set enabled = false",
        "delete from public.workflow_alert_rules",
        "update public.workflow_alert_channels set sealed_target = 'x'",
        "delete from public.workflow_alert_channels",
        "update public.workflow_alert_incidents set acknowledged_at = now()",
        "update public.workflow_alert_deliveries set replay_requested_at = now()",
    ):
        async with acting_as(owner, stranger.owner):
            done = await owner.execute(statement)
        assert done.endswith(" 0")


async def test_members_write_none_of_what_the_daemon_finds(
    owner: asyncpg.Connection, everything: Project, stranger: Project
) -> None:
    for statement in (
        "update public.workflow_alert_states set state = 'ok'",
        "update public.workflow_alert_incidents set closed_at = now()",
        "delete from public.workflow_alert_incidents",
        "delete from public.workflow_alert_events",
        "update public.workflow_alert_deliveries set status = 'sent'",
        "update public.workflow_alert_deliveries set notice = '{}'",
        "delete from public.workflow_alert_deliveries",
        "update public.workflow_alert_rules set project_id = project_id",
        "update public.workflow_alert_channels set sealed_old_secret = 'x'",
        "select * from meshmetrics.evaluate_alerts(null, null)",
    ):
        with pytest.raises(Refused):
            async with acting_as(owner, everything.owner):
                await owner.execute(statement)
    # An acknowledgement is in one's own name.
    with pytest.raises(Refused):
        async with acting_as(owner, everything.owner):
            await owner.execute(
                "update public.workflow_alert_incidents set acknowledged_at = now(),"
                " acknowledged_by = $1",
                stranger.owner,
            )
