"""Joining, leaving, joining again, and frames that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target

pytestmark = pytest.mark.slow

NOTHING: dict[str, Any] = {"postgres_changes": []}
OK = {"status": "ok", "response": {}}
UNMATCHED = {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_a_join_is_answered_with_its_refs(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    ref = await client.send(topic, "phx_join", {"config": {}})
    reply = {"status": "ok", "response": NOTHING}
    await client.expect(topic, "phx_reply", reply, ref, join_ref=ref)


async def test_leaving_is_answered_and_then_closes_with_the_ref_of_the_join(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    join = await client.join(topic)
    ref = await client.send(topic, "phx_leave", {}, join_ref=join)
    await client.expect(topic, "phx_reply", OK, ref, join_ref=join)
    await client.expect(topic, "phx_close", {}, join, join_ref=join)


async def test_a_second_join_is_answered_and_then_closes_the_first(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    first = await client.join(topic)
    second = await client.send(topic, "phx_join", {"config": {}})
    reply = {"status": "ok", "response": NOTHING}
    await client.expect(topic, "phx_reply", reply, second, join_ref=second)
    await client.expect(topic, "phx_close", {}, first, join_ref=first)
    await client.heartbeat()


async def test_a_topic_can_be_joined_again_after_leaving(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    join = await client.join(topic)
    await client.send(topic, "phx_leave", {}, join_ref=join)
    await client.reply()
    await client.payload("phx_close")
    await client.join(topic)


@pytest.mark.parametrize("event", ["broadcast", "access_token"])
async def test_what_goes_to_a_topic_not_joined_is_refused(
    open_wire: Connect, version: int, topic: str, event: str
) -> None:
    client = await open_wire(version)
    ref = await client.send(topic, event, {}, join_ref="1")
    await client.expect(topic, "phx_reply", UNMATCHED, ref)


async def test_leaving_a_topic_not_joined_is_fine(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    await client.send(topic, "phx_leave", {})
    assert await client.reply() == ("ok", {})


async def test_a_topic_of_another_kind_is_refused_at_once(open_wire: Connect, version: int) -> None:
    client = await open_wire(version)
    ref = await client.send("foo:bar", "phx_join", {})
    # Nothing was joined, so there is no join to refer to.
    frame = await client.next()
    if version == 2:
        assert frame[1:] == [ref, "foo:bar", "phx_reply", UNMATCHED]
    else:
        assert (frame["ref"], frame["topic"], frame["payload"]) == (ref, "foo:bar", UNMATCHED)


async def test_a_join_without_a_name_is_refused(open_wire: Connect, version: int) -> None:
    client = await open_wire(version)
    await client.send("realtime:", "phx_join", {})
    assert await client.reply() == (
        "error",
        {"reason": "TopicNameRequired: You must provide a topic name"},
    )


async def test_a_config_of_the_wrong_kind_is_refused(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    config = {"broadcast": "x", "postgres_changes": "y", "presence": 7}
    await client.send(topic, "phx_join", {"config": config})
    status, response = await client.reply()
    assert status == "error"
    assert response["reason"].startswith("UnknownErrorOnChannel")


async def test_a_join_without_a_config_asks_for_a_schema_named_like_the_topic(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    await client.send(topic, "phx_join", {})
    status, response = await client.reply()
    name = topic.removeprefix("realtime:")
    assert status == "ok"
    assert [entry["schema"] for entry in response["postgres_changes"]] == [name]
    message = (await client.payload("system"))["message"]
    assert message.startswith("Unable to subscribe to changes with given parameters.")
    assert f"[event: *, schema: {name}, table: *, filters: [], select: nil]" in message


async def test_a_refused_join_holds_up_the_whole_socket(
    open_wire: Connect, target: Target, version: int, topic: str
) -> None:
    client, other = await open_wire(version), await open_wire(version)
    await client.join(topic)
    await other.join(topic, broadcast={"ack": True})
    refused = await client.send("realtime:run:t1:no", "phx_join", {"config": {"private": True}})
    beat = await client.send("phoenix", "heartbeat", {})
    await other.send(topic, "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    assert await other.reply() == ("ok", {})
    # The refusal comes before everything that had to wait for it.
    status, _ = await client.reply()
    assert status == "error"
    waited = [await client.next(), await client.next()]
    events = [f[3] if version == 2 else f["event"] for f in waited]
    refs = [f[1] if version == 2 else f["ref"] for f in waited]
    assert sorted(events) == ["broadcast", "phx_reply"]
    assert beat in refs
    assert refused not in refs


@pytest.mark.parametrize(
    "nonsense",
    # What the real server does with the others was not recorded.
    ["hello", *(pytest.param(t, marks=pytest.mark.local_server) for t in ("{}", "[]", "null"))],
)
async def test_nonsense_is_ignored(open_wire: Connect, version: int, nonsense: str) -> None:
    client = await open_wire(version)
    await client.send_raw(nonsense)
    await client.heartbeat()


async def test_frames_of_the_other_version_are_ignored(open_wire: Connect) -> None:
    one, two = await open_wire(1), await open_wire(2)
    await one.send_raw('[null, "1", "phoenix", "heartbeat", {}]')
    await one.heartbeat()
    await two.send_raw('{"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "9"}')
    await two.heartbeat()
