"""supabase-js, the client of the dashboard, in both versions of the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.devstack.protocol.javascript import JavaScript, install, javascript
from tests.devstack.protocol.target import Target, serving
from tests.devstack.protocol.test_changes import entry, insert

pytestmark = pytest.mark.slow

PRIVATE: dict[str, Any] = {"private": True, "broadcast": {"self": True, "ack": True}}


@pytest.fixture(scope="session", autouse=True)
def modules() -> None:
    install()


@pytest.fixture(params=["1.0.0", ""], ids=["v1", "v2"])
def vsn(request: pytest.FixtureRequest) -> str:
    """The version asked for; the library's own is 2.0.0."""
    version: str = request.param
    return version


@pytest_asyncio.fixture(loop_scope="session")
async def client(target: Target, vsn: str) -> AsyncIterator[JavaScript]:
    """An anonymous client."""
    async with javascript(target, target.token(), vsn) as client:
        yield client


@pytest.fixture
def name(topic: str) -> str:
    """A private topic of tenant t1, as clients name it."""
    return "run:t1:" + topic.removeprefix("realtime:")


async def test_it_gets_changes_with_filter_and_select(
    client: JavaScript, target: Target, sql: asyncpg.Connection, name: str, row_id: int
) -> None:
    client.do("setAuth", token=target.service_key)
    await client.event("auth")
    wanted = entry("protocol_open", filter=f"id=eq.{row_id}", select=["state"])
    client.do("channel", id=1, topic=name, config={}, changes=[wanted])
    await client.event("status", id=1, status="SUBSCRIBED")
    system = await client.event("system", id=1)
    assert system["payload"]["message"] == "Subscribed to PostgreSQL"
    await insert(sql, "protocol_open", -row_id)
    await insert(sql, "protocol_open", row_id)
    payload = (await client.event("change", id=1))["payload"]
    assert (payload["eventType"], payload["new"]) == ("INSERT", {"id": row_id, "state": "queued"})
    assert payload["errors"] is None
    await sql.execute("update public.protocol_open set state = 'b' where id = $1", row_id)
    payload = (await client.event("change", id=1))["payload"]
    assert (payload["eventType"], payload["new"], payload["old"]) == (
        "UPDATE",
        {"id": row_id, "state": "b"},
        {"id": row_id},
    )
    await sql.execute("delete from public.protocol_open where id = $1", row_id)
    payload = (await client.event("change", id=1))["payload"]
    assert (payload["eventType"], payload["old"]) == ("DELETE", {"id": row_id})


async def test_a_member_uses_a_private_channel(
    client: JavaScript, target: Target, name: str
) -> None:
    client.do("setAuth", token=target.tenant("t1"))
    await client.event("auth")
    client.do("channel", id=1, topic=name, config=PRIVATE, broadcasts=["hi"])
    await client.event("status", id=1, status="SUBSCRIBED")
    client.do("send", id=1, event="hi", payload={"a": 1})
    assert (await client.event("sent", id=1))["result"] == "ok"
    assert (await client.event("broadcast", id=1))["payload"] == {"a": 1}
    client.do("remove", id=1)
    assert (await client.event("removed", id=1))["result"] == "ok"
    await client.event("status", id=1, status="CLOSED")


async def test_a_stranger_is_refused_and_gets_in_with_a_better_token(
    client: JavaScript, target: Target, name: str
) -> None:
    client.do("channel", id=1, topic=name, config=PRIVATE)
    status = await client.event("status", id=1, status="CHANNEL_ERROR")
    assert "You do not have permissions to read from this Channel topic" in status["error"]
    client.do("remove", id=1)
    await client.event("removed", id=1)
    client.do("setAuth", token=target.tenant("t1"))
    await client.event("auth")
    client.do("channel", id=2, topic=name, config=PRIVATE)
    await client.event("status", id=2, status="SUBSCRIBED")


async def test_bytes_travel_in_version_two(target: Target, name: str) -> None:
    async with javascript(target, target.service_key) as client:
        client.do("channel", id=1, topic=name, config=PRIVATE, broadcasts=["bin"])
        await client.event("status", id=1, status="SUBSCRIBED")
        client.do("send", id=1, event="bin", bytes=[0, 1, 255])
        assert (await client.event("broadcast", id=1))["payload"] == {"bytes": [0, 1, 255]}


async def test_realtime_send_reaches_it(
    client: JavaScript, target: Target, sql: asyncpg.Connection, name: str
) -> None:
    client.do("setAuth", token=target.tenant("t1"))
    await client.event("auth")
    client.do("channel", id=1, topic=name, config=PRIVATE, broadcasts=["ev"])
    await client.event("status", id=1, status="SUBSCRIBED")
    await sql.execute("select realtime.send('{\"a\": 1}', 'ev', $1, true)", name)
    event = await client.event("broadcast", id=1)
    assert event["payload"] == {"a": 1, "id": event["meta"]["id"]}


async def test_its_posts_reach_the_channel(client: JavaScript, target: Target, name: str) -> None:
    client.do("setAuth", token=target.tenant("t1"))
    await client.event("auth")
    client.do("channel", id=1, topic=name, config=PRIVATE, broadcasts=["hi"])
    await client.event("status", id=1, status="SUBSCRIBED")
    client.do("httpSend", id=1, event="hi", payload={"a": 2})
    assert (await client.event("posted", id=1))["result"] == {"success": True}
    assert (await client.event("broadcast", id=1))["payload"] == {"a": 2}


async def test_presence_syncs(client: JavaScript, name: str) -> None:
    config = {"presence": {"key": "k", "enabled": True}}
    client.do("channel", id=1, topic=name, config=config, presence=True)
    await client.event("status", id=1, status="SUBSCRIBED")
    client.do("track", id=1, payload={"st": 1})
    assert (await client.event("tracked", id=1))["result"] == "ok"
    state: dict[str, Any] = {}
    while "k" not in state:
        state = (await client.event("presence", id=1))["state"]
    assert state["k"][0]["st"] == 1


@pytest.mark.local_server
async def test_it_reconnects_and_gets_changes_again(
    target: Target, vsn: str, sql: asyncpg.Connection, name: str, row_id: int
) -> None:
    async with (
        serving(target.database_url) as own,
        javascript(own, own.service_key, vsn) as client,
    ):
        client.do("channel", id=1, topic=name, config={}, changes=[entry("protocol_open")])
        await client.event("system", id=1)
        await own.server.disconnect(1012)
        await client.event("system", id=1)
        await insert(sql, "protocol_open", row_id)
        change = await client.event("change", id=1)
        assert change["payload"]["new"]["id"] == row_id
