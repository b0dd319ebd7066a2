"""Who gets which change: policies for inserts and updates, everybody for deletes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.test_changes import entry, insert
from tests.devstack.protocol.wire import Wire

pytestmark = pytest.mark.slow


class Watchers:
    """The four points of view on one table."""

    def __init__(self, clients: dict[str, Wire]) -> None:
        self._clients = clients

    async def saw(self, sql: asyncpg.Connection, marker: int) -> dict[str, list[str]]:
        """What each got until the delete of a row that all of them hear of."""
        await sql.execute("insert into public.protocol_rls (id, tenant) values ($1, 'x')", marker)
        await sql.execute("delete from public.protocol_rls where id = $1", marker)
        seen: dict[str, list[str]] = {}
        for name, client in self._clients.items():
            seen[name] = []
            while True:
                change = await client.change()
                if change["type"] == "DELETE" and change["old_record"] == {"id": marker}:
                    break
                if change.get("record", {}).get("id") != marker:
                    seen[name].append(change["type"])
        return seen


@pytest_asyncio.fixture(loop_scope="session")
async def watchers(target: Target, open_wire: Connect, topic: str) -> AsyncIterator[Watchers]:
    tokens = {
        "service": target.service_key,
        "t1": target.tenant("t1"),
        "t2": target.tenant("t2"),
        "anon": target.token(),
    }
    tables = ("protocol_rls", "protocol_rls_full", "protocol_no_policy", "protocol_open")
    clients = {}
    for name, token in tokens.items():
        clients[name] = await open_wire()
        await clients[name].subscribe(topic, token, *map(entry, tables))
    yield Watchers(clients)


async def test_without_row_security_everybody_with_a_grant_gets_everything(
    watchers: Watchers, sql: asyncpg.Connection, row_id: int
) -> None:
    await insert(sql, "protocol_open", row_id)
    assert await watchers.saw(sql, -row_id) == {
        "service": ["INSERT"],
        "t1": ["INSERT"],
        "t2": ["INSERT"],
        "anon": ["INSERT"],
    }


@pytest.mark.parametrize("table", ["protocol_rls", "protocol_rls_full"])
async def test_a_policy_decides_by_the_row_as_it_is_now(
    watchers: Watchers, sql: asyncpg.Connection, row_id: int, table: str
) -> None:
    await insert(sql, table, row_id)
    assert await watchers.saw(sql, -row_id) == {
        "service": ["INSERT"],
        "t1": ["INSERT"],
        "t2": [],
        "anon": [],
    }
    await sql.execute(f"update public.{table} set tenant = 't2' where id = $1", row_id)
    assert await watchers.saw(sql, -row_id) == {
        "service": ["UPDATE"],
        "t1": [],
        "t2": ["UPDATE"],
        "anon": [],
    }


async def test_without_a_policy_only_the_service_gets_anything(
    watchers: Watchers, sql: asyncpg.Connection, row_id: int
) -> None:
    await insert(sql, "protocol_no_policy", row_id)
    assert await watchers.saw(sql, -row_id) == {
        "service": ["INSERT"],
        "t1": [],
        "t2": [],
        "anon": [],
    }


@pytest.mark.parametrize("table", ["protocol_rls", "protocol_rls_full", "protocol_no_policy"])
async def test_everybody_gets_a_delete_but_of_the_row_only_the_key(
    open_wire: Connect,
    target: Target,
    sql: asyncpg.Connection,
    topic: str,
    row_id: int,
    table: str,
) -> None:
    await insert(sql, table, row_id)
    clients = [await open_wire() for _ in range(3)]
    for client, token in zip(
        clients, (target.service_key, target.tenant("t2"), target.token()), strict=True
    ):
        await client.subscribe(topic, token, entry(table, "DELETE"))
    await sql.execute(f"delete from public.{table} where id = $1", row_id)
    for client in clients:
        assert (await client.change())["old_record"] == {"id": row_id}


async def test_column_grants_limit_what_is_shown(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    client = await open_wire()
    await client.subscribe(topic, target.tenant("t1"), entry("protocol_open"))
    await sql.execute("revoke select on public.protocol_open from authenticated")
    try:
        await sql.execute("grant select (id, state) on public.protocol_open to authenticated")
        await insert(sql, "protocol_open", row_id)
        change = await client.change()
        assert change["record"] == {"id": row_id, "state": "queued"}
        assert [c["name"] for c in change["columns"]] == ["id", "state"]
        await sql.execute("revoke select (id, state) on public.protocol_open from authenticated")
        await sql.execute("update public.protocol_open set n = 5 where id = $1", row_id)
        assert await client.change() == {
            "schema": "public",
            "table": "protocol_open",
            "type": "UPDATE",
            "record": {},
            "columns": [],
            "errors": ["Error 401: Unauthorized"],
            "commit_timestamp": None,
            "old_record": {},
        }
    finally:
        await sql.execute("grant select on public.protocol_open to authenticated")


@pytest.mark.local_server  # not recorded, and older versions of the real server differ
async def test_a_policy_that_fails_on_somebodys_claims_harms_nobody_else(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    await sql.execute(
        "create policy fragile on public.protocol_no_policy to authenticated"
        " using (id <> 0 and (auth.jwt() ->> 'tenant')::int = 1)"
    )
    try:
        broken, good = await open_wire(), await open_wire()
        events = [entry("protocol_no_policy"), entry("protocol_open")]
        await broken.subscribe(topic, target.tenant("no number"), *events)
        await good.subscribe(topic, target.tenant("1"), *events)
        await insert(sql, "protocol_no_policy", row_id)
        await insert(sql, "protocol_open", row_id)
        assert (await good.change())["table"] == "protocol_no_policy"
        assert (await broken.change())["table"] == "protocol_open"
        assert (await good.change())["table"] == "protocol_open"
        for n in range(5):
            await insert(sql, "protocol_no_policy", -row_id - n * 1_000_000)
            assert (await good.change())["table"] == "protocol_no_policy"
    finally:
        await sql.execute("drop policy fragile on public.protocol_no_policy")
