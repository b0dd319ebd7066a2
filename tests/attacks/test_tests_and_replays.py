"""50,000 test notices in 1.2 s kept B's waiting for 80 s. The quota is the database's: neither REST
nor PostgREST nor SQL is a way around it."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import pytest

from tests.api.conftest import Service, signed
from tests.support import Project, acting_as

TEST = (
    "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
    " select $1, $2, 'test' from generate_series(1, $3::integer)"
)
REPLAY = (
    "update public.workflow_alert_deliveries"
    " set replay_requested_at = now() + make_interval(secs => $2) where project_id = $1"
)


async def channel_of(owner: asyncpg.Connection, project: Project) -> UUID:
    found: UUID = await owner.fetchval(
        "insert into public.workflow_alert_channels (project_id, name, kind, sealed_target)"
        " values ($1, 'a channel', 'webhook', 'x') returning id",
        project.id,
    )
    return found


async def test_a_project_has_30_tests_an_hour_over_rest(
    service: Service, owner: asyncpg.Connection, a: Project, b: Project
) -> None:
    channels = {p.id: await channel_of(owner, p) for p in (a, b)}

    async def test(project: Project) -> tuple[int, str]:
        path = f"/api/alerts/channels/{channels[project.id]}/test"
        answer = await service.client.post(path, headers=signed(project.owner))
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) > 0
        return answer.status_code, answer.json().get("detail", "")

    assert [(await test(a))[0] for _ in range(30)] == [202] * 30
    assert await test(a) == (429, "a project may ask for 30 tests an hour")
    # Another channel, or the same one made anew, is no way around it.
    channels[a.id] = await channel_of(owner, a)
    assert (await test(a))[0] == 429
    assert (await test(b))[0] == 202
    await owner.execute("update meshmetrics.alert_quotas set since = since - interval '61 minutes'")
    assert (await test(a))[0] == 202


async def test_sql_is_no_way_around_it(owner: asyncpg.Connection, a: Project, b: Project) -> None:
    channel, other = await channel_of(owner, a), await channel_of(owner, b)
    async with acting_as(owner, a.owner):
        with pytest.raises(asyncpg.PostgresError, match="30 tests an hour") as refused:
            async with owner.transaction():
                await owner.execute(TEST, a.id, channel, 50_000)
        assert refused.value.sqlstate == "PT429"  # PostgREST answers 429
        # Not at B's expense either.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with owner.transaction():
                await owner.execute(TEST, b.id, other, 1)
        await owner.execute(TEST, a.id, channel, 30)
    assert await owner.fetchval("select count(*) from workflow_alert_deliveries") == 30
    quotas = await owner.fetch("select project_id from meshmetrics.alert_quotas")
    assert [row["project_id"] for row in quotas] == [a.id]


async def test_a_project_has_100_replays_an_hour(owner: asyncpg.Connection, a: Project) -> None:
    await owner.execute(TEST, a.id, await channel_of(owner, a), 10)
    async with acting_as(owner, a.owner):
        for n in range(10):
            await owner.execute(REPLAY, a.id, n)
        with pytest.raises(asyncpg.PostgresError, match="100 replays an hour"):
            async with owner.transaction():
                await owner.execute(REPLAY, a.id, 11)


async def test_a_user_has_alerts_in_100_projects(owner: asyncpg.Connection, a: Project) -> None:
    projects = await owner.fetch(
        "insert into public.projects (owner, name) select $1, 'one of many'"
        " from generate_series(1, 100) returning id",
        a.owner,
    )
    await owner.executemany(
        "insert into public.workflow_alert_rules (project_id, name) values ($1, 'a rule')",
        [(row["id"],) for row in projects],
    )
    add = "insert into public.workflow_alert_rules (project_id, name) values ($1, 'a rule')"
    async with acting_as(owner, a.owner):
        await owner.execute(add, projects[0]["id"])
        with pytest.raises(asyncpg.ProgramLimitExceededError, match="in 100 projects"):
            async with owner.transaction():
                await owner.execute(add, a.id)
