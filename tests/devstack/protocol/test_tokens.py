"""Tokens of joins: bad ones, new ones, and those that run out."""

from __future__ import annotations

import re

import asyncpg
import jwt
import pytest

from tests.devstack.protocol.conftest import Connect
from tests.devstack.protocol.target import Target
from tests.devstack.protocol.test_changes import entry, insert
from tests.devstack.protocol.wire import trouble

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", r"InvalidJWTToken: Token has expired 6\d seconds ago"),
        ("malformed", "MalformedJWT: The token provided is not a valid JWT"),
        ("forged", "JwtSignatureError: Failed to validate JWT signature"),
        ("no role", "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        ("no exp", "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
    ],
)
async def test_a_bad_token_refuses_the_join(
    open_wire: Connect, target: Target, topic: str, kind: str, reason: str
) -> None:
    token = {
        "expired": target.token("authenticated", expires_in=-60),
        "malformed": "abc",
        "forged": target.token("authenticated", secret="not the server's, but long enough too"),
        "no role": jwt.encode({"exp": 2_000_000_000}, target.jwt_secret),
        "no exp": jwt.encode({"role": "authenticated"}, target.jwt_secret),
    }[kind]
    client = await open_wire()
    await client.send(topic, "phx_join", {"config": {}, "access_token": token})
    status, response = await client.reply()
    assert status == "error"
    assert re.fullmatch(reason, response["reason"])


async def test_a_publishable_key_is_no_token_so_that_of_the_socket_counts(
    open_wire: Connect, topic: str
) -> None:
    client = await open_wire()
    await client.join(topic, "sb_publishable_abc")


async def test_a_token_that_runs_out_closes_the_channel_but_not_the_socket(
    open_wire: Connect,
    target: Target,
    sql: asyncpg.Connection,
    version: int,
    topic: str,
    row_id: int,
) -> None:
    client = await open_wire(version)
    short = target.token("service_role", expires_in=2)
    await client.subscribe(topic, short, entry("protocol_open"))
    message = (await client.payload("system"))["message"]
    assert re.fullmatch(r"Token has expired [01] seconds ago", message)
    assert await client.payload("phx_close") == {}
    await insert(sql, "protocol_open", row_id)
    await client.heartbeat()


async def test_a_new_token_in_time_keeps_the_channel(
    open_wire: Connect, target: Target, topic: str
) -> None:
    client, other = await open_wire(), await open_wire()
    await client.join(topic, target.token("authenticated", expires_in=2))
    await other.join(topic, target.token("authenticated", expires_in=3))
    await client.send(topic, "access_token", {"access_token": target.token("authenticated")})
    # The other's end is later than the first token's would have been.
    assert (await other.payload("system"))["status"] == "error"
    await client.send(topic, "phx_leave", {})
    assert await client.reply() == ("ok", {})


@pytest.mark.parametrize(
    "kind",
    # The words for a forged one were not recorded.
    ["expired", "malformed", pytest.param("forged", marks=pytest.mark.local_server)],
)
async def test_a_bad_new_token_closes_the_channel(
    open_wire: Connect, target: Target, version: int, topic: str, kind: str
) -> None:
    token, words = {
        "expired": (target.token(expires_in=-89), r"Token has expired \d+ seconds ago"),
        "malformed": ("abc", "The token provided is not a valid JWT"),
        "forged": (
            target.token(secret="not the server's, but long enough too"),
            "Failed to validate JWT signature",
        ),
    }[kind]
    client = await open_wire(version)
    join = await client.join(topic)
    await client.send(topic, "access_token", {"access_token": token}, join_ref=join)
    told = await client.payload("system")
    assert re.fullmatch(words, told["message"])
    assert told == trouble(topic, told["message"])
    await client.expect(topic, "phx_close", {}, join, join_ref=join)
    await client.heartbeat()


async def test_the_same_token_does_not_subscribe_again(
    open_wire: Connect, target: Target, sql: asyncpg.Connection, topic: str, row_id: int
) -> None:
    client = await open_wire()
    await client.subscribe(topic, target.service_key, entry("protocol_open"))
    await client.send(topic, "access_token", {"access_token": target.service_key})
    for n in range(3):
        await insert(sql, "protocol_open", row_id + n * 1_000_000)
        assert (await client.change())["type"] == "INSERT"


@pytest.mark.parametrize("token", [None, "sb_publishable_abc", "the same"])
async def test_some_new_tokens_change_nothing(
    open_wire: Connect, target: Target, topic: str, token: str | None
) -> None:
    client = await open_wire()
    mine = target.token("authenticated")
    await client.join(topic, mine, broadcast={"ack": True})
    pushed = mine if token == "the same" else token
    await client.send(topic, "access_token", {"access_token": pushed})
    await client.send(topic, "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    assert await client.reply() == ("ok", {})
