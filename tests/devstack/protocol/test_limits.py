"""The limits, set low on a server of its own where reaching the defaults would take long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from meshmetrics.devstack.realtime import Limits, Timing
from tests.devstack.protocol.target import Target, serving
from tests.devstack.protocol.test_broadcast import message
from tests.devstack.protocol.test_changes import entry, insert, until_polled
from tests.devstack.protocol.test_http import batch
from tests.devstack.protocol.wire import trouble, wire

pytestmark = [pytest.mark.local_server, pytest.mark.slow]

Serve = Callable[..., Awaitable[Target]]


@pytest_asyncio.fixture(loop_scope="session")
async def serve(target: Target) -> AsyncIterator[Serve]:
    """Starts further servers on the same database."""
    async with AsyncExitStack() as stack:

        async def serve_one(**limits: Any) -> Target:
            server = serving(target.database_url, limits=Limits(**limits))
            return await stack.enter_async_context(server)

        yield serve_one


async def refusal(target: Target) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as raised:
        async with connect(f"{target.websocket_url}?apikey={target.token()}"):
            pass
    return raised.value.response.status_code, bytes(raised.value.response.body or b"")


async def test_a_connection_has_so_many_channels(serve: Serve) -> None:
    async with wire(await serve(channels_per_connection=2)) as client:
        await client.join("realtime:1")
        await client.join("realtime:2")
        await client.send("realtime:3", "phx_join", {"config": {}})
        assert await client.reply() == (
            "error",
            {"reason": "ChannelRateLimitReached: Too many channels"},
        )
        # Joining one of them again is no third channel.
        await client.join("realtime:2")


async def test_so_many_users_and_then_no_more_connections(serve: Serve) -> None:
    target = await serve(users=1)
    async with wire(target) as early, wire(target) as first:
        await first.join("realtime:u")
        assert await refusal(target) == (429, b'{"error":"Too many connected users"}')
        await early.send("realtime:u", "phx_join", {"config": {}})
        assert await early.reply() == (
            "error",
            {"reason": "ConnectionRateLimitReached: Too many connected users"},
        )


async def test_so_many_joins_a_second_on_average(serve: Serve) -> None:
    target = await serve(joins_per_second=2, average_over=1000)
    async with wire(target) as client:
        for n in range(2001):
            await client.join(f"realtime:{n % 50}")
            if n >= 50:
                await client.payload("phx_close")
        await client.send("realtime:x", "phx_join", {"config": {}})
        assert await client.reply() == (
            "error",
            {"reason": "ClientJoinRateLimitReached: Too many joins per second"},
        )
        assert await client.closed() == 1000
    assert await refusal(target) == (429, b'{"error":"Too many joins per second"}')


async def test_above_the_rate_the_receivers_of_broadcasts_are_thrown_out(serve: Serve) -> None:
    target = await serve(events_per_second=1, average_over=40)
    async with wire(target) as sender, wire(target) as receiver:
        await sender.join("realtime:fl")
        join = await receiver.join("realtime:fl")
        for n in range(40):
            await sender.send("realtime:fl", "broadcast", message({"n": n}))
        # Each message counts twice: once sent, once received.
        for n in range(21):
            await receiver.expect("realtime:fl", "broadcast", message({"n": n}))
        told = trouble("realtime:fl", "Too many messages per second")
        await receiver.expect("realtime:fl", "system", told)
        await receiver.expect("realtime:fl", "phx_close", {}, join)
        await receiver.heartbeat()
        await sender.heartbeat()


async def test_a_batch_over_http_counts_on_top_of_the_average(serve: Serve) -> None:
    target = await serve()
    headers = {"Authorization": f"Bearer {target.service_key}"}
    url = f"{target.url}/realtime/v1/api/broadcast"
    async with httpx.AsyncClient(headers=headers) as client:

        async def post(count: int) -> int:
            body = batch("room", *({"i": i} for i in range(count)))
            return (await client.post(url, json=body)).status_code

        assert await post(10) == 202
        assert await post(100) == 429
        assert await post(60) == 202
        assert await post(95) == 202


async def test_above_the_rate_changes_vanish_without_a_word(
    serve: Serve, sql: asyncpg.Connection, row_id: int
) -> None:
    target = await serve(events_per_second=1, average_over=2)
    base = row_id * 1_000_000
    async with wire(target) as client:
        await client.subscribe("realtime:r", target.service_key, entry("protocol_open"))
        async with sql.transaction():
            for n in range(20):
                await insert(sql, "protocol_open", base + n)
        # A burst comes whole, and what follows it does not.
        for n in range(20):
            assert (await client.change())["record"]["id"] == base + n
        await insert(sql, "protocol_open", base + 100)
        lost_until = base + 101
        while True:
            await insert(sql, "protocol_open", lost_until)
            try:
                async with asyncio.timeout(0.3):
                    found = (await client.change())["record"]["id"]
                break
            except TimeoutError:
                lost_until += 1
        # The average fell with time; nothing of what was lost came later.
        assert found > base + 100
        await client.heartbeat()


async def test_of_a_huge_transaction_nothing_comes(
    serve: Serve, sql: asyncpg.Connection, row_id: int
) -> None:
    target = await serve(rows_per_transaction=50)
    base = row_id * 1_000_000
    async with wire(target) as client:
        await client.subscribe("realtime:r", target.service_key, entry("protocol_open"))
        async with sql.transaction():
            for n in range(60):
                await insert(sql, "protocol_open", base + n)
        await until_polled(sql)
        await insert(sql, "protocol_open", base + 999)
        assert (await client.change())["record"]["id"] == base + 999


async def test_a_silent_socket_is_closed_and_one_that_beats_is_not(target: Target) -> None:
    timing = replace(Timing.quick(), silence=0.4)
    async with (
        serving(target.database_url, timing=timing) as short,
        wire(short) as silent,
        wire(short) as beating,
    ):
        await silent.join("realtime:x")
        closing = asyncio.create_task(silent.closed())
        while not closing.done():
            await beating.heartbeat()
            await asyncio.wait({closing}, timeout=0.1)
        assert closing.result() == 1000
        await beating.heartbeat()


async def test_a_refused_join_takes_its_time(target: Target) -> None:
    timing = replace(Timing.quick(), refused_join=1.0)
    async with serving(target.database_url, timing=timing) as slow, wire(slow) as client:
        await client.send("realtime:", "phx_join", {})
        await client.send("phoenix", "heartbeat", {})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.next(), 0.3)


async def test_a_connection_that_does_not_get_rid_of_its_frames_is_cut_off(target: Target) -> None:
    timing = replace(Timing.quick(), refused_join=20.0)
    limits = Limits(waiting_frames=10)
    async with (
        serving(target.database_url, timing=timing, limits=limits) as own,
        wire(own) as stuck,
        wire(own) as sender,
    ):
        await stuck.join("realtime:w")
        await sender.join("realtime:w")
        await stuck.send("realtime:", "phx_join", {})
        cut = asyncio.create_task(stuck.closed())
        while not cut.done():
            await sender.send("realtime:w", "broadcast", message({}))
            await sender.heartbeat()
        assert cut.result() == 1006
