"""Broadcasts over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.test_broadcast import message
from tests.devstack.protocol.test_private import PRIVATE

pytestmark = pytest.mark.slow

BLANK = {"errors": {"messages": ["can't be blank"]}}


class Poster:
    def __init__(self, target: Target, client: httpx.AsyncClient) -> None:
        self._target = target
        self._client = client

    async def __call__(
        self, body: Any, token: str | None = None, path: str = "/realtime/v1/api/broadcast"
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self._target.service_key}"}
        headers["apikey"] = self._target.service_key
        return await self._client.post(self._target.url + path, json=body, headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def post(target: Target) -> AsyncIterator[Poster]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield Poster(target, client)


def batch(topic: str, *payloads: Any, **more: Any) -> dict[str, Any]:
    name = topic.removeprefix("realtime:")
    return {"messages": [{"topic": name, "event": "hi", "payload": p, **more} for p in payloads]}


async def test_a_batch_reaches_both_versions_as_json_in_order(
    open_wire: Connect, post: Poster, version: int, topic: str
) -> None:
    client = await open_wire(version)
    await client.join(topic)
    response = await post(batch(topic, *({"i": i} for i in range(10))))
    assert (response.status_code, response.text) == (202, "")
    for i in range(10):
        await client.expect(topic, "broadcast", message({"i": i}))


async def test_one_message_can_be_posted_to_its_own_address(
    open_wire: Connect, post: Poster, target: Target, topic: str
) -> None:
    client = await open_wire()
    room = "realtime:run:t1:" + topic.removeprefix("realtime:")
    await client.join(room, target.tenant("t1"), **PRIVATE)
    name = room.removeprefix("realtime:").replace(":", "%3A")
    path = f"/realtime/v1/api/broadcast/{name}/events/hi?private=true"
    assert (await post({"a": 1}, path=path)).status_code == 202
    await client.expect(room, "broadcast", message({"a": 1}))


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, BLANK),
        ({"messages": []}, BLANK),
        (
            {"messages": [{"topic": "a", "event": "b"}]},
            {"errors": {"messages": [{"payload": ["can't be blank"]}]}},
        ),
        (
            {"messages": [{"topic": "a", "event": "b", "payload": [1]}]},
            {"errors": {"messages": [{"payload": ["is invalid"]}]}},
        ),
        (
            {"messages": [{"topic": "a", "event": "b", "payload": "x"}]},
            {"errors": {"messages": [{"payload": ["is invalid"]}]}},
        ),
        (
            {"messages": [{"topic": "a", "event": "b", "payload": {"k": "z" * 3_200_000}}]},
            {"errors": {"messages": [{"payload": ["Payload size exceeds tenant limit"]}]}},
        ),
    ],
    ids=["no messages", "empty", "no payload", "a list", "a string", "too large"],
)
async def test_a_malformed_batch_is_refused_with_the_reasons(
    post: Poster, body: Any, answer: Any
) -> None:
    response = await post(body)
    assert (response.status_code, response.json()) == (422, answer)


async def test_a_body_that_is_too_large_is_refused(post: Poster) -> None:
    response = await post(batch("a", {"k": "z" * 9_000_000}))
    assert (response.status_code, response.text) == (413, "Request Entity Too Large")


async def test_a_bad_token_is_refused(post: Poster, target: Target) -> None:
    for token in ("abc", target.token("service_role", expires_in=-60)):
        response = await post(batch("a", {}), token)
        assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})


async def test_a_private_message_reaches_the_private_topic_alone(
    open_wire: Connect, post: Poster, target: Target, version: int, topic: str
) -> None:
    room = "realtime:run:t1:" + topic.removeprefix("realtime:")
    private, public = await open_wire(version), await open_wire(version)
    await private.join(room, target.tenant("t1"), private=True)
    await public.join(room)
    assert (await post(batch(room, {"a": 1}, private=True))).status_code == 202
    await private.expect(room, "broadcast", message({"a": 1}))
    await public.heartbeat()


async def test_a_private_message_without_permission_is_accepted_and_dropped(
    open_wire: Connect, post: Poster, target: Target, topic: str
) -> None:
    room = "realtime:run:t1:" + topic.removeprefix("realtime:")
    client = await open_wire()
    await client.join(room, target.tenant("t1"), private=True)
    for token in (target.tenant("t2"), target.token(), target.tenant("t1", can_write="false")):
        response = await post(batch(room, {"n": "dropped"}, private=True), token)
        assert response.status_code == 202
    await post(batch(room, {"n": "wanted"}, private=True), target.tenant("t1"))
    await client.expect(room, "broadcast", message({"n": "wanted"}))


async def test_a_batch_above_the_rate_never_passes(post: Poster, topic: str) -> None:
    response = await post(batch(topic, *({"i": i} for i in range(101))))
    assert response.status_code == 429
    assert response.json() == {
        "message": "Too many messages to broadcast, please reduce the batch size"
    }
