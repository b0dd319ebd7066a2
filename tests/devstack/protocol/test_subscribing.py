"""What can be asked of postgres_changes, and how wrong wishes are answered."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.test_changes import entry, insert
from tests.devstack.protocol.wire import Wire, subscribed, trouble

pytestmark = pytest.mark.slow

CHECK = (
    "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for"
    " the given connect parameters: [event: *, schema: public, table: {}, filters: [], select: nil]"
)
EXCEPTION = (
    "Unable to subscribe to changes with given parameters. An exception happened so please check"
    " your connect parameters: [event: *, schema: public, table: protocol_open, filters: [{}],"
    " select: nil]. Exception: ERROR {}"
)


async def join(client: Wire, target: Target, topic: str, *entries: dict[str, Any]) -> str:
    """Join, which always succeeds, and whatever is wrong with the entries."""
    config = {"postgres_changes": list(entries)}
    payload = {"config": config, "access_token": target.service_key}
    ref = await client.send(topic, "phx_join", payload)
    status, response = await client.reply()
    assert status == "ok"
    without_ids = [{k: v for k, v in e.items() if k != "id"} for e in response["postgres_changes"]]
    assert without_ids == list(entries)
    return ref


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (entry("protocol_unpublished"), CHECK.format("protocol_unpublished")),
        (entry("nope"), CHECK.format("nope")),
        (
            entry("protocol_open", filter="nope=eq.1"),
            EXCEPTION.format(
                '{"nope", "eq", "1", false}',
                "P0001 (raise_exception) invalid column for filter nope",
            ),
        ),
        (
            entry("protocol_open", filter="n=eq.abc"),
            EXCEPTION.format(
                '{"n", "eq", "abc", false}',
                '22P02 (invalid_text_representation) invalid input syntax for type integer: "abc"',
            ),
        ),
        (
            entry("protocol_open", filter="n=foo.1"),
            'Error parsing `filter` params: ["foo", "1"]',
        ),
    ],
    ids=["unpublished", "unknown table", "unknown column", "wrong value", "unknown operator"],
)
async def test_a_wrong_entry_is_told_in_a_system_message(
    open_wire: Connect,
    target: Target,
    version: int,
    topic: str,
    wrong: dict[str, Any],
    message: str,
) -> None:
    client = await open_wire(version)
    ref = await join(client, target, topic, wrong)
    told = trouble(topic, message, "postgres_changes")
    await client.expect(topic, "system", told, join_ref=ref)


async def test_one_wrong_entry_kills_all_entries_of_its_channel(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    dead, alive = await open_wire(), await open_wire()
    await join(dead, target, topic, entry("protocol_open"), entry("nope"))
    assert (await dead.payload("system"))["status"] == "error"
    await alive.subscribe(topic, target.service_key, entry("protocol_open"))
    await insert(sql, "protocol_open", row_id)
    assert (await alive.change())["record"]["id"] == row_id
    await dead.heartbeat()


async def test_select_limits_columns_to_those_and_the_key(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    client = await open_wire()
    await client.subscribe(topic, target.service_key, entry("protocol_full", select=["state"]))
    await insert(sql, "protocol_full", row_id)
    change = await client.change()
    assert change["record"] == {"id": row_id, "state": "queued"}
    assert change["columns"] == [{"name": "id", "type": "int8"}, {"name": "state", "type": "text"}]
    await sql.execute("update public.protocol_full set state = 'b' where id = $1", row_id)
    change = await client.change()
    assert change["record"] == {"id": row_id, "state": "b"}
    assert change["old_record"] == {"id": row_id, "state": "queued"}


async def test_an_entry_without_a_table_is_for_the_whole_schema(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    client = await open_wire()
    await client.subscribe(topic, target.service_key, {"event": "*", "schema": "public"})
    await insert(sql, "protocol_open", row_id)
    await insert(sql, "protocol_full", row_id)
    tables = [(await client.change())["table"] for _ in range(2)]
    assert tables == ["protocol_open", "protocol_full"]


async def test_an_event_limits_to_its_kind(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    client = await open_wire()
    await client.subscribe(topic, target.service_key, entry("protocol_open", "DELETE"))
    await insert(sql, "protocol_open", row_id)
    await sql.execute("update public.protocol_open set n = 2 where id = $1", row_id)
    await sql.execute("delete from public.protocol_open where id = $1", row_id)
    assert (await client.change())["type"] == "DELETE"


ROWS = [("alpha", 1), ("beta", 5), ("gamma", 9), (None, None)]


@pytest.mark.parametrize(
    ("condition", "passing"),
    [
        ("n=eq.5", [5]),
        ("n=neq.5", [1, 9]),
        ("n=lt.5", [1]),
        ("n=lte.5", [1, 5]),
        ("n=gt.5", [9]),
        ("n=gte.5", [5, 9]),
        ("n=in.(1,9)", [1, 9]),
        ("state=like.%a", [1, 5, 9]),
        ("state=like.b%", [5]),
        ("state=ilike.B%", [5]),
        ("state=match.^(al|ga)", [1, 9]),
        ("state=imatch.^AL", [1]),
        ("n=is.null", [None]),
        ("n=isdistinct.5", [1, 9, None]),
        ("n=not.eq.5", [1, 9]),
        ("n=not.in.(1,9)", [5]),
        ("state=not.like.b%", [1, 9]),
        ("n=not.is.null", [1, 5, 9]),
        ("n=not.isdistinct.5", [5]),
        ("n=gt.1,n=lt.9", [5]),
    ],
)
async def test_a_filter_lets_the_right_rows_through(
    open_wire: Connect,
    target: Target,
    sql: asyncpg.Connection,
    topic: str,
    row_id: int,
    condition: str,
    passing: list[int | None],
) -> None:
    client = await open_wire()
    # One transaction's rows come together: the last tells that the others had their chance.
    await client.subscribe(
        topic,
        target.service_key,
        entry("protocol_open", filter=condition),
        entry("protocol_open", "DELETE"),
    )
    base = row_id * 1_000_000
    async with sql.transaction():
        for number, (state, n) in enumerate(ROWS):
            await sql.execute(
                "insert into public.protocol_open (id, state, n) values ($1, $2, $3)",
                base + number,
                state,
                n,
            )
        await sql.execute("delete from public.protocol_open where id = $1", base)
    found = []
    while (change := await client.change())["type"] == "INSERT":
        found.append(change["record"]["n"])
    assert found == passing


async def test_a_filter_on_a_column_that_did_not_come_lets_nothing_through(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    client = await open_wire()
    await client.subscribe(topic, target.service_key, entry("protocol_open", filter="state=eq.a"))
    await insert(sql, "protocol_open", row_id, "a")
    await client.change()
    # The key is all that a delete tells, so the filter cannot be judged.
    await sql.execute("delete from public.protocol_open where id = $1", row_id)
    await insert(sql, "protocol_open", row_id, "a")
    assert (await client.change())["type"] == "INSERT"


async def test_a_new_token_subscribes_again(
    open_wire: Connect,
    target: Target,
    sql: asyncpg.Connection,
    version: int,
    topic: str,
    row_id: int,
) -> None:
    client = await open_wire(version)
    await client.subscribe(topic, target.service_key, entry("protocol_open"))
    ref = "1"
    renewed = target.token("service_role", jti="another")
    await client.send(topic, "access_token", {"access_token": renewed}, join_ref=ref)
    await client.expect(topic, "system", subscribed(topic), join_ref=ref)
    await insert(sql, "protocol_open", row_id)
    assert (await client.change())["record"]["id"] == row_id
