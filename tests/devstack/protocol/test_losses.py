"""What the real server loses in silence, ours loses too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio

from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.devstack.realtime import Limits, Timing
from meshmetrics.devstack.realtime.database import Connection, Database
from tests.devstack.protocol.target import TABLES, Target, make_source, serving
from tests.devstack.protocol.test_changes import entry, insert
from tests.devstack.protocol.wire import Wire, subscribed, wire
from tests.support import eventually

pytestmark = [pytest.mark.local_server, pytest.mark.slow]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def mortal() -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres to stop and start."""
    async with EmbeddedPostgres() as server:
        await make_source(server.dsn())
        async with owner(server) as sql:
            await sql.execute(TABLES)
        yield server


@asynccontextmanager
async def owner(server: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn())
    yield connection
    await connection.close()


async def until_changes_flow(client: Wire, server: EmbeddedPostgres, base: int) -> int:
    """Insert until a change comes; how many inserts it took."""
    async with owner(server) as sql:
        for n in range(200):
            await insert(sql, "protocol_open", base + n)
            try:
                async with asyncio.timeout(0.3):
                    found = (await client.change())["record"]["id"]
            except TimeoutError:
                continue
            assert found >= base
            return n
    raise AssertionError("no change came any more")


async def test_when_the_publication_changes_every_channel_is_subscribed_again(
    mortal: EmbeddedPostgres, row_id: int
) -> None:
    async with serving(mortal.dsn()) as target, wire(target) as client, owner(mortal) as sql:
        await client.subscribe("realtime:again", target.service_key, entry("protocol_open"))
        await sql.execute("create table public.protocol_late (id bigint primary key)")
        await sql.execute("alter publication supabase_realtime add table public.protocol_late")
        assert await client.payload("system") == subscribed("realtime:again")
        await insert(sql, "protocol_open", row_id)
        assert (await client.change())["record"]["id"] == row_id
        await sql.execute("drop table public.protocol_late")
        assert await client.payload("system") == subscribed("realtime:again")


async def test_a_long_backlog_drains_slowly_and_its_events_are_late(
    mortal: EmbeddedPostgres, row_id: int
) -> None:
    limits = Limits(events_per_second=1e9, backlog_bytes=1, backlog_changes_per_second=200)
    async with serving(mortal.dsn(), limits=limits) as target, wire(target) as client:
        await client.subscribe("realtime:late", target.service_key, entry("protocol_open"))
        async with owner(mortal) as sql:
            for n in range(4):  # transactions that fill a poll each
                await sql.execute(
                    "insert into public.protocol_open (id)"
                    " select $1::bigint + 100 * $2 + i from generate_series(0, 99) i",
                    row_id,
                    n,
                )
        began = asyncio.get_running_loop().time()
        for n in range(400):
            assert (await client.change())["record"]["id"] == row_id + n
        assert asyncio.get_running_loop().time() - began > 1.0


async def test_after_a_restart_of_postgres_changes_come_again_but_not_those_of_the_gap(
    mortal: EmbeddedPostgres, row_id: int
) -> None:
    async with serving(mortal.dsn()) as target, wire(target) as client:
        await client.subscribe("realtime:r", target.service_key, entry("protocol_open"))
        base = row_id * 1_000_000
        await until_changes_flow(client, mortal, base)
        await mortal.stop()
        await client.heartbeat()
        await mortal.start()
        await until_changes_flow(client, mortal, base + 1000)
        # No frame told of it, and the socket never noticed.
        await client.heartbeat()


async def test_a_poller_that_is_cut_off_in_the_middle_of_something_begins_anew(
    mortal: EmbeddedPostgres, row_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asyncpg raises then is no error of a connection to it."""
    cut = asyncio.Event()
    acquire = Database.acquire

    @asynccontextmanager
    async def once_cut(self: Database) -> AsyncIterator[Connection]:
        if not cut.is_set():
            cut.set()
            raise asyncpg.InternalClientError("cannot switch to state 12")
        async with acquire(self) as connection:
            yield connection

    async with serving(mortal.dsn()) as target, wire(target) as client:
        await client.subscribe("realtime:r", target.service_key, entry("protocol_open"))
        base = row_id * 1_000_000
        await until_changes_flow(client, mortal, base)
        monkeypatch.setattr(Database, "acquire", once_cut)
        await until_changes_flow(client, mortal, base + 1000)
        assert cut.is_set()


async def test_after_a_long_outage_old_subscriptions_are_dead_and_new_ones_work(
    mortal: EmbeddedPostgres, row_id: int
) -> None:
    timing = replace(Timing.quick(), give_up=0.3)
    base = row_id * 1_000_000
    async with (
        serving(mortal.dsn(), timing=timing) as target,
        wire(target) as old,
        wire(target) as new,
    ):
        await old.subscribe("realtime:r", target.service_key, entry("protocol_open"))
        await until_changes_flow(old, mortal, base)
        await mortal.stop()
        await eventually(lambda: target.server.subscribers == 0, what="given up")
        await mortal.start()
        await new.subscribe("realtime:r", target.service_key, entry("protocol_open"))
        await until_changes_flow(new, mortal, base + 1000)
        await old.heartbeat()


async def test_messages_of_the_database_come_again_after_a_restart_of_postgres(
    mortal: EmbeddedPostgres,
) -> None:
    async with serving(mortal.dsn()) as target, wire(target) as client:
        await client.join("realtime:m")
        await mortal.restart()
        async with owner(mortal) as sql, asyncio.timeout(20):
            while True:
                await sql.execute("select realtime.send('{}', 'e', 'm', false)")
                try:
                    async with asyncio.timeout(0.3):
                        assert (await client.payload("broadcast"))["event"] == "e"
                    break
                except TimeoutError:
                    continue


async def test_where_no_slot_can_be_made_it_says_subscribed_and_sends_nothing(
    row_id: int,
) -> None:
    async with EmbeddedPostgres(settings={"wal_level": "replica"}) as server:
        await make_source(server.dsn())
        async with owner(server) as sql, serving(server.dsn()) as target, wire(target) as client:
            await sql.execute(TABLES)
            await client.subscribe("realtime:r", target.service_key, entry("protocol_open"))
            await insert(sql, "protocol_open", row_id)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.next()


async def test_what_is_committed_while_a_cold_server_starts_to_poll_is_lost(
    target: Target, sql: asyncpg.Connection, row_id: int
) -> None:
    timing = replace(Timing.quick(), cold_start=0.5)
    async with serving(target.database_url, timing=timing) as cold, wire(cold) as client:
        config = {"postgres_changes": [entry("protocol_open")]}
        payload = {"config": config, "access_token": cold.service_key}
        slots = await count_slots(sql)
        await client.send("realtime:c", "phx_join", payload)
        assert (await client.reply())[0] == "ok"

        async def slot_made() -> bool:
            return await count_slots(sql) > slots

        await eventually(slot_made)
        await insert(sql, "protocol_open", row_id)
        assert (await client.payload("system"))["status"] == "ok"
        await insert(sql, "protocol_open", -row_id)
        assert (await client.change())["record"]["id"] == -row_id


async def test_while_nobody_listens_the_log_is_read_at_the_pace_of_idleness(
    target: Target, sql: asyncpg.Connection, row_id: int
) -> None:
    """So it falls behind, and is read on as soon as somebody listens again."""
    timing, limits = replace(Timing.quick(), poll=0.5), Limits(changes_per_poll=1)
    names = "select slot_name from pg_replication_slots"
    async with (
        serving(target.database_url, timing=timing, limits=limits) as slow,
        wire(slow) as client,
        wire(slow) as next_one,
    ):
        others = {row["slot_name"] for row in await sql.fetch(names)}
        await client.subscribe("realtime:first", slow.service_key, entry("protocol_open"))
        [slot] = {row["slot_name"] for row in await sql.fetch(names)} - others
        await client.send("realtime:first", "phx_leave", {})
        assert (await client.reply())[0] == "ok"
        for n in range(12):
            await insert(sql, "protocol_open", row_id * 100 + n)
        written = await sql.fetchval("select pg_current_wal_lsn()::text")

        async def read_on() -> bool:
            read: bool = await sql.fetchval(
                "select confirmed_flush_lsn >= $2::text::pg_lsn from pg_replication_slots"
                " where slot_name = $1",
                slot,
                written,
            )
            return read

        await asyncio.sleep(1)  # two or three of the twelve
        assert not await read_on()
        await next_one.subscribe("realtime:second", slow.service_key, entry("protocol_open"))
        await eventually(read_on)


async def count_slots(sql: asyncpg.Connection) -> int:
    count: int = await sql.fetchval("select count(*) from pg_replication_slots")
    return count


async def test_a_server_that_stops_says_so(target: Target) -> None:
    async with serving(target.database_url) as short, wire(short) as client:
        await client.join("realtime:x")
        await short.server.stop()
        assert await client.closed() == 1012


async def test_a_server_that_is_killed_does_not(target: Target) -> None:
    async with serving(target.database_url) as short, wire(short) as client:
        await client.join("realtime:x")
        await short.server.kill()
        assert await client.closed() == 1006


async def test_a_server_comes_back_on_its_port(
    target: Target, sql: asyncpg.Connection, row_id: int
) -> None:
    async with serving(target.database_url) as short:
        async with wire(short) as client:
            await client.subscribe("realtime:x", short.service_key, entry("protocol_open"))
            await short.server.kill()
            await client.closed()
        await insert(sql, "protocol_open", row_id)
        await short.server.start()
        async with wire(short) as client:
            await client.subscribe("realtime:x", short.service_key, entry("protocol_open"))
            await insert(sql, "protocol_open", -row_id)
            assert (await client.change())["record"]["id"] == -row_id


async def test_a_port_that_is_taken_and_an_address_that_is_not_loopback_are_refused(
    target: Target,
) -> None:
    with pytest.raises(OSError, match="address already in use"):
        async with serving(target.database_url, port=target.server.port):
            pass
    with pytest.raises(ValueError, match="loopback only"):
        async with serving(target.database_url, host="0.0.0.0"):
            pass
    with pytest.raises(RuntimeError, match="runs already"):
        await target.server.start()


async def test_it_starts_and_waits_while_postgres_is_down(
    mortal: EmbeddedPostgres, row_id: int
) -> None:
    await mortal.stop()
    try:
        async with serving(mortal.dsn()) as target, wire(target) as client:
            await client.join("realtime:public")
            config = {"postgres_changes": [entry("protocol_open")]}
            payload = {"config": config, "access_token": target.service_key}
            await client.send("realtime:c", "phx_join", payload)
            assert (await client.reply())[0] == "ok"
            await mortal.start()
            assert (await client.payload("system"))["status"] == "ok"
            await until_changes_flow(client, mortal, row_id * 1_000_000)
    finally:
        await mortal.start()
