"""Presence, as far as the clients need it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.wire import Wire

pytestmark = pytest.mark.slow


async def join(client: Wire, topic: str, key: str) -> str:
    config = {"presence": {"enabled": True, "key": key}}
    ref = await client.send(topic, "phx_join", {"config": config})
    assert (await client.reply())[0] == "ok"
    return ref


def without_refs(payload: Any) -> Any:
    if isinstance(payload, dict):
        return {k: without_refs(v) for k, v in payload.items() if k != "phx_ref"}
    return [without_refs(v) for v in payload] if isinstance(payload, list) else payload


async def several(client: Wire, count: int) -> dict[str, Any]:
    """The next frames by event: reply and difference come in either order."""
    found = {}
    for _ in range(count):
        frame = await client.next()
        event, payload = frame[3:] if client.version == 2 else (frame["event"], frame["payload"])
        found[event] = without_refs(payload)
    return found


async def test_presence_is_a_state_and_then_differences(
    open_wire: Connect, version: int, topic: str
) -> None:
    alice, bob = await open_wire(version), await open_wire(version)
    join_alice = await join(alice, topic, "alice")
    await alice.expect(topic, "presence_state", {}, join_ref=join_alice)
    track = {"type": "presence", "event": "track", "payload": {"st": "on"}}
    await alice.send(topic, "presence", track, join_ref=join_alice)
    online = {"alice": {"metas": [{"st": "on"}]}}
    assert await several(alice, 2) == {
        "phx_reply": {"status": "ok", "response": {}},
        "presence_diff": {"joins": online, "leaves": {}},
    }
    await join(bob, topic, "bob")
    assert without_refs(await bob.payload("presence_state")) == online
    await alice.send(topic, "presence", {"type": "presence", "event": "untrack"})
    await several(alice, 2)
    gone = {"joins": {}, "leaves": online}
    assert without_refs(await bob.payload("presence_diff")) == gone


async def test_who_disconnects_leaves(open_wire: Connect, version: int, topic: str) -> None:
    alice, bob = await open_wire(version), await open_wire(version)
    for client, key in ((alice, "alice"), (bob, "bob")):
        await join(client, topic, key)
        await client.payload("presence_state")
    await alice.send(topic, "presence", {"event": "track", "payload": {"st": 1}})
    await several(alice, 2)
    await bob.payload("presence_diff")
    await alice.close()
    leaves = (await bob.payload("presence_diff"))["leaves"]
    assert without_refs(leaves) == {"alice": {"metas": [{"st": 1}]}}


async def test_without_presence_nothing_is_told(
    open_wire: Connect, version: int, topic: str
) -> None:
    client = await open_wire(version)
    await client.join(topic, presence={"enabled": False, "key": ""})
    await client.heartbeat()
