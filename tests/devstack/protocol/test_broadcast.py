"""Broadcasts over the websocket, in JSON and in binary, and out of the database."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.wire import Wire

pytestmark = pytest.mark.slow


def message(payload: Any, event: str = "hi") -> dict[str, Any]:
    return {"type": "broadcast", "event": event, "payload": payload}


def push(join: str, ref: str, topic: str, event: str, body: bytes, *, is_json: bool) -> bytes:
    """A binary broadcast as supabase-js writes it."""
    parts = [join.encode(), ref.encode(), topic.encode(), event.encode(), b""]
    head = bytes([3, *map(len, parts), 1 if is_json else 0])
    return head + b"".join(parts) + body


def binary(topic: str, event: str, meta: bytes, body: bytes, *, is_json: bool) -> bytes:
    """A binary broadcast as receivers of version 2 get it."""
    lengths = [len(topic.encode()), len(event.encode()), len(meta)]
    return bytes([4, *lengths, 1 if is_json else 0]) + topic.encode() + event.encode() + meta + body


@pytest.mark.parametrize("to_self", [False, True])
@pytest.mark.parametrize("ack", [False, True])
async def test_self_and_ack_decide_what_the_sender_gets(
    open_wire: Connect, version: int, topic: str, to_self: bool, ack: bool
) -> None:
    sender, receiver = await open_wire(version), await open_wire(version)
    await receiver.join(topic)
    join = await sender.join(topic, broadcast={"self": to_self, "ack": ack})
    ref = await sender.send(topic, "broadcast", message({"k": 1}), join_ref=join)
    if to_self:
        await sender.expect(topic, "broadcast", message({"k": 1}))
    if ack:
        reply = {"status": "ok", "response": {}}
        await sender.expect(topic, "phx_reply", reply, ref, join_ref=join)
    await sender.heartbeat()
    await receiver.expect(topic, "broadcast", message({"k": 1}))


async def test_a_broadcast_reaches_both_versions(
    open_wire: Connect, version: int, topic: str
) -> None:
    sender, one, two = await open_wire(version), await open_wire(1), await open_wire(2)
    for client in (sender, one, two):
        await client.join(topic)
    await sender.send(topic, "broadcast", message({"k": "é"}))
    await one.expect(topic, "broadcast", message({"k": "é"}))
    await two.expect(topic, "broadcast", message({"k": "é"}))


async def test_binary_json_reaches_version_two_in_binary_and_version_one_as_json(
    open_wire: Connect, topic: str
) -> None:
    sender, one, two = await open_wire(2), await open_wire(1), await open_wire(2)
    await one.join(topic)
    await two.join(topic)
    join = await sender.join(topic, broadcast={"ack": True})
    await sender.send_raw(push(join, "77", topic, "hello", b'{"x":1}', is_json=True))
    reply = {"status": "ok", "response": {}}
    await sender.expect(topic, "phx_reply", reply, "77", join_ref=join)
    await one.expect(topic, "broadcast", message({"x": 1}, "hello"))
    assert await two.next() == binary(topic, "hello", b"", b'{"x":1}', is_json=True)


async def test_bytes_reach_version_two_only(open_wire: Connect, topic: str) -> None:
    sender, one, two = await open_wire(2), await open_wire(1), await open_wire(2)
    await one.join(topic)
    await two.join(topic)
    join = await sender.join(topic)
    await sender.send_raw(push(join, "77", topic, "hello", b"\0\1\xff", is_json=False))
    assert await two.next() == binary(topic, "hello", b"", b"\0\1\xff", is_json=False)
    await one.heartbeat()


async def test_a_payload_that_is_too_large_is_refused_where_it_is_acknowledged(
    open_wire: Connect, version: int, topic: str
) -> None:
    sender, receiver = await open_wire(version), await open_wire(version)
    await receiver.join(topic)
    join = await sender.join(topic, broadcast={"ack": True})
    ref = await sender.send(topic, "broadcast", message({"k": "z" * 3_200_000}), join_ref=join)
    reply = {"status": "error", "response": "payload_size_exceeded"}
    await sender.expect(topic, "phx_reply", reply, ref, join_ref=join)
    await receiver.heartbeat()


async def test_a_frame_that_is_too_large_ends_the_connection(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    await client.join(topic)
    await client.send(topic, "broadcast", message({"k": "z" * 5_200_000}))
    assert await client.closed() == 1009


async def receive_sent(client: Wire, topic: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Event, meta and payload of the next frame, which `realtime.send` caused."""
    frame = await client.next()
    if client.version == 1:
        assert (frame["topic"], frame["event"], frame["ref"]) == (topic, "broadcast", None)
        payload = frame["payload"]
        assert payload["type"] == "broadcast"
        return payload["event"], payload["meta"], payload["payload"]
    assert isinstance(frame, bytes)
    kind, topic_length, event_length, meta_length, encoding = frame[:5]
    assert (kind, encoding) == (4, 1)
    rest, parts = frame[5:], []
    for length in (topic_length, event_length, meta_length):
        parts.append(rest[:length])
        rest = rest[length:]
    assert parts[0].decode() == topic
    return parts[1].decode(), json.loads(parts[2]), json.loads(rest)


SEND = "select realtime.send($1::jsonb, 'ev', $2, $3)"


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_realtime_send_reaches_the_topic_with_the_messages_id(
    open_wire: Connect,
    target: Target,
    sql: asyncpg.Connection,
    version: int,
    topic: str,
    private: bool,
) -> None:
    client = await open_wire(version)
    await client.join(topic, target.service_key, private=private)
    await sql.execute(SEND, '{"a": 1}', topic.removeprefix("realtime:"), private)
    event, meta, payload = await receive_sent(client, topic)
    assert (event, payload) == ("ev", {"a": 1, "id": meta["id"]})


async def test_realtime_send_keeps_private_and_public_apart_and_follows_the_transaction(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str
) -> None:
    client = await open_wire()
    name = topic.removeprefix("realtime:")
    await client.join(topic, target.service_key, private=True)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(SEND, '{"n": "rolled back"}', name, True)
    await transaction.rollback()
    await sql.execute(SEND, '{"n": "public"}', name, False)
    await sql.execute(SEND, '{"n": "other"}', name + "x", True)
    await sql.execute(SEND, '{"n": "wanted"}', name, True)
    _, _, payload = await receive_sent(client, topic)
    assert payload["n"] == "wanted"


async def test_a_client_can_ask_to_hear_that_messages_of_the_database_flow(
    open_wire: Connect, target: Target, version: int, topic: str
) -> None:
    client = await open_wire(version)
    config = {"private": True, "broadcast": {"replication_ready": True}}
    ref = await client.join(topic, target.service_key, **config)
    system = {
        "message": "Replication connection established",
        "status": "ok",
        "extension": "system",
        "channel": topic.removeprefix("realtime:"),
    }
    await client.expect(topic, "system", system, join_ref=ref)


async def test_replay_is_for_private_channels(open_wire: Connect, version: int, topic: str) -> None:
    client = await open_wire(version)
    former = await client.join(topic)
    config = {"broadcast": {"replay": {"since": 0, "limit": 3}}}
    ref = await client.send(topic, "phx_join", {"config": config})
    reason = "UnableToReplayMessages: Replay is not allowed for public channels"
    reply = {"status": "error", "response": {"reason": reason}}
    await client.expect(topic, "phx_reply", reply, ref, join_ref=ref)
    await client.expect(topic, "phx_close", {}, former, join_ref=former)
