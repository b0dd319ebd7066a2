"""The decoder, on what a real Postgres sends, and on bytes that nobody should send."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.devstack.realtime.pgoutput import DecodeError, Decoder, RowChange
from tests.support.databases import DatabaseClone

Read = Callable[[], Awaitable[list[RowChange]]]

TABLES = """
create table public.plain (id int primary key, name text, big text);
create table public.whole (id int primary key, name text, big text);
alter table public.whole replica identity full;
alter table public.plain alter big set storage external;
alter table public.whole alter big set storage external;
create publication things for table public.plain, public.whole;
"""
BIG = "x" * 20_000


@pytest.fixture
async def connection(source_database: DatabaseClone) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(source_database.owner_dsn)
    await connection.execute(TABLES)
    yield connection
    await connection.close()


@pytest.fixture
async def read(connection: asyncpg.Connection) -> Read:
    """What happened since the last time."""
    slot = "decoder_" + (await connection.fetchval("select md5(random()::text)"))
    await connection.execute(
        "select pg_create_logical_replication_slot($1, 'pgoutput', true)", slot
    )

    async def read() -> list[RowChange]:
        rows = await connection.fetch(
            "select data from pg_logical_slot_get_binary_changes($1, null, null,"
            " 'proto_version', '1', 'publication_names', 'things')",
            slot,
        )
        decoder = Decoder()
        return [change for row in rows if (change := decoder.decode(row["data"])) is not None]

    return read


async def test_an_insert_has_every_column_as_text(
    connection: asyncpg.Connection, read: Read
) -> None:
    await connection.execute("insert into public.plain values (1, 'é', null)")
    [change] = await read()
    assert (change.action, change.new, change.old) == (
        "INSERT",
        {"id": "1", "name": "é", "big": None},
        None,
    )
    assert (change.relation.schema, change.relation.table) == ("public", "plain")
    assert [(c.name, c.type_oid) for c in change.relation.columns] == [
        ("id", 23),
        ("name", 25),
        ("big", 25),
    ]
    assert abs(datetime.now(UTC) - change.committed_at) < timedelta(minutes=1)


async def test_an_update_lacks_an_untouched_large_value_and_the_old_row(
    connection: asyncpg.Connection, read: Read
) -> None:
    await connection.execute("insert into public.plain values (1, 'a', $1)", BIG)
    await connection.execute("update public.plain set name = 'b'")
    _, change = await read()
    assert (change.action, change.new, change.old) == ("UPDATE", {"id": "1", "name": "b"}, None)


async def test_an_update_of_the_key_has_the_old_key(
    connection: asyncpg.Connection, read: Read
) -> None:
    await connection.execute("insert into public.plain values (1, 'a', 'b')")
    await connection.execute("update public.plain set id = 2")
    _, change = await read()
    assert change.old == {"id": "1"}
    assert change.new == {"id": "2", "name": "a", "big": "b"}


async def test_replica_identity_full_gives_the_old_row_and_the_large_value(
    connection: asyncpg.Connection, read: Read
) -> None:
    await connection.execute("insert into public.whole values (1, 'a', $1)", BIG)
    await connection.execute("update public.whole set name = 'b'")
    _, change = await read()
    assert change.old == {"id": "1", "name": "a", "big": BIG}
    assert change.new == {"id": "1", "name": "b", "big": BIG}


async def test_a_delete_has_the_key_alone(connection: asyncpg.Connection, read: Read) -> None:
    await connection.execute("insert into public.plain values (1, 'a', 'b')")
    await connection.execute("delete from public.plain")
    _, change = await read()
    assert (change.action, change.new, change.old) == ("DELETE", None, {"id": "1"})


async def test_truncate_and_rolled_back_transactions_are_no_changes(
    connection: asyncpg.Connection, read: Read
) -> None:
    await connection.execute("begin; insert into public.plain values (1); rollback")
    await connection.execute("truncate public.plain")
    assert await read() == []


async def test_a_column_added_on_the_way_is_there_from_then_on(
    connection: asyncpg.Connection, read: Read
) -> None:
    await connection.execute("insert into public.plain values (1)")
    await connection.execute("alter table public.plain add extra text default 'e'")
    await connection.execute("insert into public.plain values (2)")
    first, second = await read()
    assert first.new is not None
    assert second.new is not None
    assert "extra" not in first.new
    assert second.new["extra"] == "e"


@given(st.binary(min_size=0, max_size=60))
def test_malformed_bytes_raise_nothing_but_a_decode_error(noise: bytes) -> None:
    decoder = Decoder()
    for message in (noise, b"R" + noise, b"I" + noise, b"B" + noise):
        with contextlib.suppress(DecodeError):
            decoder.decode(message)


def test_a_row_before_its_relation_is_an_error() -> None:
    with pytest.raises(DecodeError, match="before its relation"):
        Decoder().decode(b"I" + bytes(4) + b"N" + bytes(2))
