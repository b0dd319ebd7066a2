"""The official Python client, the one the daemon uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from realtime import (
    RealtimeAcknowledgementStatus,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)
from supabase import AsyncClient, acreate_client

from tests.devstack.protocol.target import Target, serving
from tests.devstack.protocol.test_changes import insert
from tests.devstack.protocol.wire import PATIENCE

pytestmark = pytest.mark.slow

States = RealtimeSubscribeStates
Events = RealtimePostgresChangesListenEvent
Client = Callable[[str], Awaitable[AsyncClient]]


class Heard:
    """What callbacks were given, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *values: Any) -> None:
        self._queue.put_nowait(values[0] if len(values) == 1 else values)

    async def next(self) -> Any:
        return await asyncio.wait_for(self._queue.get(), PATIENCE)

    async def until(self, wanted: Any) -> Any:
        """The first that is, or begins with, `wanted`."""
        while True:
            value = await self.next()
            if value == wanted or (isinstance(value, tuple) and value[0] == wanted):
                return value


@pytest_asyncio.fixture(loop_scope="session")
async def connect(target: Target) -> AsyncIterator[Client]:
    """Makes clients by key."""
    clients: list[AsyncClient] = []

    async def make(key: str) -> AsyncClient:
        clients.append(await acreate_client(target.url, key))
        return clients[-1]

    yield make
    for client in clients:
        await client.realtime.close()


@pytest.fixture
def name(topic: str) -> str:
    """A private topic of tenant t1, as clients name it."""
    return "run:t1:" + topic.removeprefix("realtime:")


async def test_it_gets_changes_with_filter_and_select(
    connect: Client, target: Target, sql: asyncpg.Connection, name: str, row_id: int
) -> None:
    client = await connect(target.service_key)
    states, system, changes = Heard(), Heard(), Heard()
    channel = client.channel(name).on_system(system)
    channel.on_postgres_changes(
        Events.All,
        changes,
        table="protocol_open",
        schema="public",
        filter=f"id=eq.{row_id}",
        select=["state"],
    )
    await channel.subscribe(states)
    assert await states.next() == (States.SUBSCRIBED, None)
    told = await system.next()
    assert (told.extension, told.status) == ("postgres_changes", "ok")
    await insert(sql, "protocol_open", -row_id)
    await insert(sql, "protocol_open", row_id)
    change = await changes.next()
    assert change["data"]["type"] == "INSERT"
    assert change["data"]["record"] == {"id": row_id, "state": "queued"}
    await sql.execute("update public.protocol_open set state = 'b' where id = $1", row_id)
    change = await changes.next()
    assert (change["data"]["type"], change["data"]["record"]["state"]) == ("UPDATE", "b")
    await sql.execute("delete from public.protocol_open where id = $1", row_id)
    assert (await changes.next())["data"]["old_record"] == {"id": row_id}


async def test_a_wrong_entry_is_a_channel_error(connect: Client, target: Target, name: str) -> None:
    client = await connect(target.service_key)
    states = Heard()
    channel = client.channel(name)
    channel.on_postgres_changes(Events.All, Heard(), table="nope", schema="public")
    await channel.subscribe(states)
    await states.until(States.SUBSCRIBED)
    await states.until(States.CHANNEL_ERROR)


async def test_a_member_uses_a_private_channel(
    connect: Client, target: Target, sql: asyncpg.Connection, name: str
) -> None:
    client = await connect(target.tenant("t1"))
    states, hi, sent = Heard(), Heard(), Heard()
    config: Any = {"config": {"private": True, "broadcast": {"ack": True, "self": True}}}
    channel = client.channel(name, config)
    channel.on_broadcast("hi", hi).on_broadcast("ev", sent)
    await channel.subscribe(states)
    await states.until(States.SUBSCRIBED)
    await channel.send_broadcast("hi", {"a": 1})
    assert (await hi.next())["payload"] == {"a": 1}
    acknowledged = Heard()
    pushed = await channel.push(
        "broadcast", {"type": "broadcast", "event": "hi", "payload": {"a": 2}}
    )
    pushed.receive(RealtimeAcknowledgementStatus.Ok, acknowledged)
    await acknowledged.next()
    await sql.execute("select realtime.send('{\"a\": 3}', 'ev', $1, true)", name)
    assert (await sent.next())["payload"]["a"] == 3
    await channel.unsubscribe()
    await states.until(States.CLOSED)


async def test_a_stranger_is_refused(connect: Client, target: Target, name: str) -> None:
    client = await connect(target.token())
    states = Heard()
    config: Any = {"config": {"private": True}}
    await client.channel(name, config).subscribe(states)
    _, error = await states.until(States.CHANNEL_ERROR)
    assert "You do not have permissions to read from this Channel topic" in str(error)


async def test_a_new_token_is_taken_over_and_changes_go_on(
    connect: Client, target: Target, sql: asyncpg.Connection, name: str, row_id: int
) -> None:
    client = await connect(target.token())
    await client.realtime.set_auth(target.tenant("t1"))
    system, changes = Heard(), Heard()
    channel = client.channel(name).on_system(system)
    channel.on_postgres_changes(Events.Insert, changes, table="protocol_rls", schema="public")
    await channel.subscribe()
    await system.next()
    await client.realtime.set_auth(target.tenant("t2"))
    await system.next()
    await sql.execute("insert into public.protocol_rls (id, tenant) values ($1, 't1')", row_id)
    await sql.execute("insert into public.protocol_rls (id, tenant) values ($1, 't2')", -row_id)
    assert (await changes.next())["data"]["record"]["id"] == -row_id


async def test_presence_syncs(connect: Client, target: Target, name: str) -> None:
    client = await connect(target.token())
    states, synced = Heard(), Heard()
    config: Any = {"config": {"presence": {"key": "k", "enabled": True}}}
    channel = client.channel(name, config)
    channel.on_presence_sync(lambda: synced(channel.presence_state()))
    await channel.subscribe(states)
    await states.until(States.SUBSCRIBED)
    await channel.track({"st": 1})
    state: dict[str, Any] = {}
    while "k" not in state:
        state = await synced.next()
    assert state["k"][0]["st"] == 1


@pytest.mark.local_server
async def test_it_reconnects_and_gets_changes_again(
    target: Target, sql: asyncpg.Connection, name: str, row_id: int
) -> None:
    system, changes = Heard(), Heard()
    async with serving(target.database_url) as own:
        client = await acreate_client(own.url, own.service_key)
        channel = client.channel(name).on_system(system)
        channel.on_postgres_changes(Events.Insert, changes, table="protocol_open", schema="public")
        await channel.subscribe()
        await system.next()
        await own.server.disconnect(1012)
        await system.next()
        await insert(sql, "protocol_open", row_id)
        assert (await changes.next())["data"]["record"]["id"] == row_id
        await client.realtime.close()
