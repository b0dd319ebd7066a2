"""What the server does when it is told to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.devstack.protocol.target import Target, serving
from tests.devstack.protocol.test_changes import entry, insert, until_polled
from tests.devstack.protocol.test_http import batch
from tests.devstack.protocol.wire import Wire, trouble, wire

pytestmark = [pytest.mark.local_server, pytest.mark.slow]

TOPIC = "realtime:f"


@pytest_asyncio.fixture(loop_scope="session")
async def faulty(target: Target) -> AsyncIterator[Target]:
    """A server to break."""
    async with serving(target.database_url) as faulty:
        yield faulty


@pytest_asyncio.fixture(loop_scope="session")
async def client(faulty: Target) -> AsyncIterator[Wire]:
    """A client of it that gets changes."""
    async with wire(faulty) as client:
        await client.subscribe(TOPIC, faulty.service_key, entry("protocol_open"))
        yield client


async def insert_many(sql: asyncpg.Connection, base: int, count: int) -> None:
    for n in range(count):
        await insert(sql, "protocol_open", base + n)


async def receive(client: Wire, base: int, until: int) -> list[int]:
    """The numbers of the rows that come, up to and with `until`."""
    found: list[int] = []
    while not found or found[-1] != until:
        found.append((await client.change())["record"]["id"] - base)
    return found


async def test_a_share_of_changes_can_be_dropped(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    base = row_id * 1_000_000
    faulty.server.faults.drop = 0.5
    await insert_many(sql, base, 40)
    await until_polled(sql)
    faulty.server.faults.drop = 0.0
    await insert(sql, "protocol_open", base + 40)
    found = await receive(client, base, 40)
    assert 5 < len(found) < 36


async def test_dropping_takes_what_the_function_picks(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    faulty.server.faults.drop = lambda change: change.action == "INSERT"
    await insert(sql, "protocol_open", row_id)
    await sql.execute("update public.protocol_open set n = 2 where id = $1", row_id)
    assert (await client.change())["type"] == "UPDATE"


async def test_changes_can_be_repeated(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    faulty.server.faults.repeat = 2
    await insert(sql, "protocol_open", row_id)
    changes = [await client.change() for _ in range(3)]
    assert changes[0] == changes[1] == changes[2]
    await client.heartbeat()


async def test_changes_can_be_late(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    faulty.server.faults.delay = 1.0
    await insert(sql, "protocol_open", row_id)
    await until_polled(sql)
    # A heartbeat is not late, so it overtakes the change.
    await client.heartbeat()
    assert (await client.change())["record"]["id"] == row_id


async def test_changes_can_come_out_of_order(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    base = row_id * 1_000_000
    faulty.server.faults.reorder = 0.2
    await insert_many(sql, base, 20)
    found = [(await client.change())["record"]["id"] - base for _ in range(20)]
    assert sorted(found) == list(range(20))
    assert found != sorted(found)


async def test_it_can_go_silent_with_its_heartbeats_fine(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    faulty.server.faults.silent = True
    await insert(sql, "protocol_open", row_id)
    await until_polled(sql)
    await client.heartbeat()
    faulty.server.faults.silent = False
    await insert(sql, "protocol_open", -row_id)
    assert (await client.change())["record"]["id"] == -row_id


async def test_it_can_ignore_heartbeats_alone(faulty: Target, client: Wire) -> None:
    faulty.server.faults.ignore_heartbeats = True
    await client.send("phoenix", "heartbeat", {})
    # A later join is answered, so the heartbeat was not merely late.
    await client.join("realtime:another")
    faulty.server.faults.ignore_heartbeats = False
    await client.heartbeat()


async def test_it_can_hang_with_its_sockets_open(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    faulty.server.faults.hang = True
    await client.send("phoenix", "heartbeat", {})
    await insert(sql, "protocol_open", row_id)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.next()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), wire(faulty):
            pass
    faulty.server.faults.hang = False
    await client.heartbeat()


async def test_all_can_be_disconnected_at_once(faulty: Target, client: Wire) -> None:
    async with wire(faulty) as other:
        await faulty.server.disconnect()
        assert await client.closed() == 1006
        assert await other.closed() == 1006
    async with wire(faulty) as again:
        await again.heartbeat()
        await faulty.server.disconnect(1001)
        assert await again.closed() == 1001


async def test_it_can_refuse_connections(faulty: Target) -> None:
    faulty.server.faults.refuse = True
    with pytest.raises((InvalidHandshake, InvalidMessage, ConnectionClosed, OSError)):
        async with wire(faulty):
            pass


async def test_it_can_accept_and_then_close(faulty: Target) -> None:
    faulty.server.faults.close_on_connect = True
    async with wire(faulty) as client:
        assert await client.closed() == 1000


async def test_any_text_can_be_sent(faulty: Target, client: Wire) -> None:
    faulty.server.send_raw("{broken", TOPIC)
    with pytest.raises(ValueError, match="Expecting"):
        await client.next()
    faulty.server.push("postgres_changes", {"ids": [1]}, TOPIC)
    assert await client.payload("postgres_changes") == {"ids": [1]}
    await client.heartbeat()


async def test_a_channel_can_fail_close_or_report_an_error(
    faulty: Target, client: Wire, sql: asyncpg.Connection, row_id: int
) -> None:
    await client.join("realtime:g")
    faulty.server.system_error("out of order", TOPIC)
    told = trouble(TOPIC, "out of order", "postgres_changes")
    await client.expect(TOPIC, "system", told)
    faulty.server.fail_channels(TOPIC)
    assert await client.payload("phx_error") == {}
    faulty.server.close_channels("realtime:g")
    assert await client.payload("phx_close") == {}
    # Both are forgotten.
    await insert(sql, "protocol_open", row_id)
    await until_polled(sql)
    await client.heartbeat()
    assert faulty.server.subscribers == 0


@pytest.mark.parametrize("status", [429, 500])
async def test_http_broadcasts_can_fail(faulty: Target, status: int) -> None:
    faulty.server.faults.http = status
    headers = {"Authorization": f"Bearer {faulty.service_key}"}
    async with httpx.AsyncClient(headers=headers) as http:
        url = f"{faulty.url}/realtime/v1/api/broadcast"
        assert (await http.post(url, json=batch("x", {}))).status_code == status
        faulty.server.faults.http = None
        assert (await http.post(url, json=batch("x", {}))).status_code == 202


async def test_http_broadcasts_can_hang(faulty: Target) -> None:
    faulty.server.faults.http = "hang"
    headers = {"Authorization": f"Bearer {faulty.service_key}"}
    async with httpx.AsyncClient(headers=headers, timeout=0.3) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(f"{faulty.url}/realtime/v1/api/broadcast", json=batch("x", {}))
