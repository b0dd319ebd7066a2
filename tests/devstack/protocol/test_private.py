"""Private channels: the policies on realtime.messages decide who reads and who writes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.test_broadcast import message
from tests.devstack.protocol.wire import trouble

pytestmark = pytest.mark.slow

PRIVATE: dict[str, Any] = {"private": True, "broadcast": {"ack": True, "self": True}}


@pytest.fixture
def room(topic: str) -> str:
    """A private topic of tenant t1."""
    return "realtime:run:t1:" + topic.removeprefix("realtime:")


def refused(topic: str) -> dict[str, Any]:
    name = topic.removeprefix("realtime:")
    reason = f"Unauthorized: You do not have permissions to read from this Channel topic: {name}"
    return {"status": "error", "response": {"reason": reason}}


async def test_a_member_joins_sends_and_receives(
    open_wire: Connect, target: Target, version: int, room: str
) -> None:
    client = await open_wire(version)
    join = await client.join(room, target.tenant("t1"), **PRIVATE)
    ref = await client.send(room, "broadcast", message({"a": 1}), join_ref=join)
    await client.expect(room, "broadcast", message({"a": 1}))
    ok = {"status": "ok", "response": {}}
    await client.expect(room, "phx_reply", ok, ref, join_ref=join)


async def test_the_service_may_join_everything(
    open_wire: Connect, target: Target, version: int, room: str
) -> None:
    client = await open_wire(version)
    await client.join(room, target.service_key, private=True)


@pytest.mark.parametrize("who", ["another tenant", "anonymous"])
async def test_others_are_refused(
    open_wire: Connect, target: Target, version: int, room: str, who: str
) -> None:
    client = await open_wire(version)
    token = target.tenant("t2") if who == "another tenant" else target.token()
    payload = {"config": {"private": True}, "access_token": token}
    ref = await client.send(room, "phx_join", payload)
    await client.expect(room, "phx_reply", refused(room), ref, join_ref=ref)


async def test_a_join_without_a_token_has_the_rights_of_the_socket(
    open_wire: Connect, target: Target, room: str
) -> None:
    anonymous, member = await open_wire(), await open_wire(1, target.tenant("t1"))
    await member.join(room, private=True)
    ref = await anonymous.send(room, "phx_join", {"config": {"private": True}})
    await anonymous.expect(room, "phx_reply", refused(room), ref)


async def test_who_may_only_read_is_neither_heard_nor_answered(
    open_wire: Connect, target: Target, version: int, room: str
) -> None:
    reader, member = await open_wire(version), await open_wire(version)
    await member.join(room, target.tenant("t1"), private=True)
    join = await reader.join(room, target.tenant("t1", can_write="false"), **PRIVATE)
    await reader.send(room, "broadcast", message({"a": 1}), join_ref=join)
    await reader.heartbeat()
    await member.heartbeat()


async def test_a_token_of_another_tenant_ends_the_channel(
    open_wire: Connect, target: Target, version: int, room: str
) -> None:
    client = await open_wire(version)
    join = await client.join(room, target.tenant("t1"), **PRIVATE)
    await client.send(room, "access_token", {"access_token": target.tenant("t2")}, join_ref=join)
    words = "You do not have permissions to read from this Channel topic: "
    told = trouble(room, words + room.removeprefix("realtime:"))
    await client.expect(room, "system", told, join_ref=join)
    await client.expect(room, "phx_close", {}, join, join_ref=join)
    await client.heartbeat()


async def test_public_and_private_topics_of_one_name_are_apart(
    open_wire: Connect, target: Target, version: int, room: str
) -> None:
    public, private = await open_wire(version), await open_wire(version)
    await public.join(room, broadcast={"ack": True})
    await private.join(room, target.tenant("t1"), **PRIVATE)
    await public.send(room, "broadcast", message({"from": "public"}))
    assert await public.reply() == ("ok", {})
    await private.send(room, "broadcast", message({"from": "private"}))
    await private.expect(room, "broadcast", message({"from": "private"}))
    await public.heartbeat()
