"""postgres_changes: what a change looks like on the wire."""

from __future__ import annotations

import json
import re
from typing import Any

import asyncpg
import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.wire import Wire
from tests.support import eventually

pytestmark = pytest.mark.slow

COLUMNS = [
    {"name": "id", "type": "int8"},
    {"name": "tenant", "type": "text"},
    {"name": "state", "type": "text"},
    {"name": "payload", "type": "jsonb"},
    {"name": "n", "type": "int4"},
    {"name": "updated_at", "type": "timestamptz"},
]
INSERT = "insert into public.{} (id, tenant, state, payload, n) values ($1, 't1', $2, $3, 1)"
PAYLOAD = {"a": [1, None, "é"]}


def entry(table: str, event: str = "*", **more: Any) -> dict[str, Any]:
    return {"event": event, "schema": "public", "table": table, **more}


async def insert(
    sql: asyncpg.Connection, table: str, row_id: int, state: str = "queued", payload: Any = PAYLOAD
) -> None:
    await sql.execute(INSERT.format(table), row_id, state, json.dumps(payload))


async def until_polled(sql: asyncpg.Connection) -> None:
    """All that was committed up to now has been read from the slot."""
    lsn = await sql.fetchval("select pg_current_wal_lsn()")

    async def read() -> bool:
        done: bool = await sql.fetchval(
            "select bool_and(confirmed_flush_lsn >= $1::pg_lsn) from pg_replication_slots"
            " where database = current_database()",
            lsn,
        )
        return done

    await eventually(read, what="the log read to its end")


def record(row_id: int, **more: Any) -> dict[str, Any]:
    return {"id": row_id, "tenant": "t1", "state": "queued", "payload": PAYLOAD, "n": 1, **more}


@pytest.fixture
def service(target: Target) -> str:
    return target.service_key


def check_stamps(data: dict[str, Any]) -> dict[str, Any]:
    """Look at the two times and take them out."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data.pop("commit_timestamp"))
    for name in ("record", "old_record"):
        stamp = data.get(name, {}).pop("updated_at", None)
        assert stamp is None or re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}\+00:00", stamp
        )
    return data


async def test_a_row_comes_in_delete_update_and_insert_frames(
    open_wire: Connect, sql: asyncpg.Connection, service: str, version: int, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire(version)
    [number] = await client.subscribe(topic, service, entry("protocol_open"))
    await insert(sql, "protocol_open", row_id)
    frame = await client.next()
    if version == 2:
        assert frame[:4] == [None, None, topic, "postgres_changes"]
        payload = frame[4]
    else:
        assert (frame["ref"], frame["topic"], frame["event"]) == (None, topic, "postgres_changes")
        assert set(frame) == {"ref", "topic", "event", "payload"}
        payload = frame["payload"]
    assert payload["ids"] == [number]
    common = {"schema": "public", "table": "protocol_open", "columns": COLUMNS, "errors": None}
    assert check_stamps(payload["data"]) == {**common, "type": "INSERT", "record": record(row_id)}

    await sql.execute("update public.protocol_open set n = 2 where id = $1", row_id)
    assert check_stamps(await client.change()) == {
        **common,
        "type": "UPDATE",
        "record": record(row_id, n=2),
        "old_record": {"id": row_id},
    }
    await sql.execute("delete from public.protocol_open where id = $1", row_id)
    assert check_stamps(await client.change()) == {
        **common,
        "type": "DELETE",
        "old_record": {"id": row_id},
    }


async def test_replica_identity_full_shows_the_old_row(
    open_wire: Connect, sql: asyncpg.Connection, service: str, version: int, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire(version)
    await client.subscribe(topic, service, entry("protocol_full"))
    await insert(sql, "protocol_full", row_id)
    await client.change()
    await sql.execute("update public.protocol_full set n = 2 where id = $1", row_id)
    update = check_stamps(await client.change())
    assert update["record"] == record(row_id, n=2)
    assert update["old_record"] == record(row_id)
    await sql.execute("delete from public.protocol_full where id = $1", row_id)
    delete = check_stamps(await client.change())
    assert delete["old_record"] == record(row_id, n=2)
    assert "record" not in delete


async def test_one_frame_names_all_subscriptions_of_the_channel_that_it_matches(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    ids = await client.subscribe(
        topic,
        service,
        entry("protocol_open"),
        entry("protocol_open", "INSERT", filter=f"id=eq.{row_id}"),
        entry("protocol_open", "UPDATE"),
    )
    await insert(sql, "protocol_open", row_id)
    payload = await client.payload("postgres_changes")
    assert sorted(payload["ids"]) == sorted(ids[:2])


async def test_the_same_entry_has_the_same_id_on_every_connection(
    open_wire: Connect, service: str, version: int, topic: str
) -> None:
    first, second = await open_wire(version), await open_wire(version)
    wanted = entry("protocol_open", filter="n=gt.100")
    ids = await first.subscribe(topic, service, wanted, entry("protocol_full"))
    again = await second.subscribe(topic, service, wanted, entry("protocol_full"))
    assert ids == again
    assert len(set(ids)) == 2


async def test_a_transaction_comes_row_by_row_in_order(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_open"))
    base = row_id * 1_000_000
    async with sql.transaction():
        for n in range(3):
            await insert(sql, "protocol_open", base + n)
        await sql.execute("update public.protocol_open set n = 9 where id = $1", base + 2)
    changes = [await client.change() for _ in range(4)]
    assert [(c["type"], c["record"]["id"] - base) for c in changes] == [
        ("INSERT", 0),
        ("INSERT", 1),
        ("INSERT", 2),
        ("UPDATE", 2),
    ]
    assert len({c["commit_timestamp"] for c in changes}) == 1


async def test_an_untouched_large_value_is_left_out(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_open"))
    large = {"d": "x" * 40_000}
    await insert(sql, "protocol_open", row_id, payload=large)
    assert (await client.change())["record"]["payload"] == large
    await sql.execute("update public.protocol_open set n = 2 where id = $1", row_id)
    update = check_stamps(await client.change())
    assert update["record"] == {"id": row_id, "tenant": "t1", "state": "queued", "n": 2}


async def test_replica_identity_full_keeps_an_untouched_large_value(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_full"))
    large = {"d": "x" * 40_000}
    await insert(sql, "protocol_full", row_id, payload=large)
    await client.change()
    await sql.execute("update public.protocol_full set n = 2 where id = $1", row_id)
    assert (await client.change())["record"]["payload"] == large


async def test_odd_values_keep_their_meaning(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_open"))
    big = 9007199254740993 + 2 * row_id
    await sql.execute(
        "insert into public.protocol_open values"
        " ($1, 't1', null, '[1.5, 1000000000000000000000000000000]', null, 'infinity')",
        big,
    )
    change = await client.change()
    assert change["record"] == {
        "id": big,
        "tenant": "t1",
        "state": None,
        "payload": [1.5, 10**30],
        "n": None,
        "updated_at": "infinity",
    }


async def test_of_a_record_that_is_too_large_only_small_values_come(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_open"))
    await insert(sql, "protocol_open", row_id, payload={"d": "y" * 1_200_000})
    change = check_stamps(await client.change())
    assert change["errors"] == ["Error 413: Payload Too Large"]
    assert change["record"] == {"id": row_id, "tenant": "t1", "state": "queued", "n": 1}
    await sql.execute("update public.protocol_open set n = 8 where id = $1", row_id)
    change = check_stamps(await client.change())
    assert change["errors"] is None
    assert change["record"] == {"id": row_id, "tenant": "t1", "state": "queued", "n": 8}


async def test_a_large_record_comes_whole(
    open_wire: Connect, sql: asyncpg.Connection, service: str, version: int, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire(version)
    await client.subscribe(topic, service, entry("protocol_open"))
    large = {"d": "y" * 900_000}
    await insert(sql, "protocol_open", row_id, payload=large)
    assert (await client.change())["record"]["payload"] == large


async def test_truncate_and_rollback_send_nothing(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_full"))
    await insert(sql, "protocol_full", row_id, "first")
    assert (await client.change())["record"]["state"] == "first"
    await sql.execute("truncate public.protocol_full")
    await sql.execute("begin; insert into public.protocol_full (id) values (-1); rollback")
    await insert(sql, "protocol_full", row_id, "second")
    assert (await client.change())["record"]["state"] == "second"


async def test_a_table_without_a_key_gives_an_error(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    client: Wire = await open_wire()
    await client.subscribe(topic, service, entry("protocol_no_key"))
    await sql.execute("insert into public.protocol_no_key values ($1)", row_id)
    assert await client.change() == {
        "schema": "public",
        "table": "protocol_no_key",
        "type": "INSERT",
        "record": {},
        "columns": [],
        "errors": ["Error 400: Bad Request, no primary key"],
        "commit_timestamp": None,
    }


async def test_after_leaving_no_change_comes(
    open_wire: Connect, sql: asyncpg.Connection, service: str, topic: str, row_id: int
) -> None:
    leaver, stayer = await open_wire(), await open_wire()
    await leaver.subscribe(topic, service, entry("protocol_open"))
    await stayer.subscribe(topic, service, entry("protocol_open"))
    await leaver.send(topic, "phx_leave", {})
    await leaver.reply()
    await leaver.payload("phx_close")
    await insert(sql, "protocol_open", row_id)
    assert (await stayer.change())["record"]["id"] == row_id
    await leaver.heartbeat()
