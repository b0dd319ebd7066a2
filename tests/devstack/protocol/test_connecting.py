"""Who gets a websocket, and with what words the others are refused."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.devstack.protocol.target import Target, serving
from tests.devstack.protocol.wire import Wire, wire

pytestmark = pytest.mark.slow


async def refusal(url: str, **options: Any) -> tuple[int, bytes]:
    """Status and body of a refused connection."""
    with pytest.raises(InvalidStatus) as raised:
        async with connect(url, **options):
            pass
    response = raised.value.response
    return response.status_code, bytes(response.body or b"")


@pytest.mark.parametrize("vsn", ["1.0", "3.0.0", "abc"])
async def test_an_unknown_version_is_refused(target: Target, vsn: str) -> None:
    url = f"{target.websocket_url}?apikey={target.token()}&vsn={vsn}"
    assert await refusal(url) == (403, b"")


async def test_no_version_is_version_one(target: Target) -> None:
    async with connect(f"{target.websocket_url}?apikey={target.token()}") as connection:
        await Wire(connection, 1).heartbeat()


async def test_other_parameters_do_not_matter(target: Target, version: int) -> None:
    url = f"{target.websocket_url}?apikey={target.token()}&vsn={version}.0.0&log_level=info"
    async with connect(url) as connection:
        await Wire(connection, version).heartbeat()


async def test_the_key_may_come_in_a_header(target: Target, version: int) -> None:
    headers = {"x-api-key": target.token()}
    url = f"{target.websocket_url}?vsn={version}.0.0"
    async with connect(url, additional_headers=headers) as connection:
        await Wire(connection, version).heartbeat()


async def test_a_missing_key_is_refused(target: Target) -> None:
    assert await refusal(f"{target.websocket_url}?vsn=1.0.0") == (
        401,
        b'{"error":"API key is missing"}',
    )


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("expired", b"Token has expired"),
        ("malformed", b"The token provided is not a valid JWT"),
        ("forged", b"Failed to validate JWT signature"),
        ("no role", b"Fields `role` and `exp` are required in JWT"),
        ("no exp", b"Fields `role` and `exp` are required in JWT"),
    ],
)
async def test_a_bad_key_is_refused(target: Target, kind: str, error: bytes) -> None:
    token = {
        "expired": target.token(expires_in=-60),
        "malformed": "abc",
        "forged": target.token(secret="not the server's secret, but long enough"),
        "no role": jwt.encode({"exp": 2_000_000_000}, target.jwt_secret),
        "no exp": jwt.encode({"role": "anon"}, target.jwt_secret),
    }[kind]
    url = f"{target.websocket_url}?apikey={token}&vsn=2.0.0"
    assert await refusal(url) == (401, b'{"error":"' + error + b'"}')


@pytest.mark.local_server
async def test_a_websocket_can_be_refused_with_any_status(target: Target) -> None:
    url = f"{target.websocket_url}?apikey={target.token()}&vsn=1.0.0"
    target.server.faults.connect_error = (404, "Tenant not found")
    try:
        assert await refusal(url) == (404, b'{"error":"Tenant not found"}')
    finally:
        target.server.faults.connect_error = None


@pytest.mark.local_server
async def test_the_refusal_takes_its_time(target: Target) -> None:
    import asyncio

    from meshmetrics.devstack.realtime import Timing

    timing = Timing(refused_connect=30.0)
    async with serving(target.database_url, timing=timing) as slow:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(refusal(f"{slow.websocket_url}?vsn=1.0.0"), 0.2)


async def test_a_connection_lasts_while_it_is_used(target: Target, version: int) -> None:
    async with wire(target, version) as client:
        await client.heartbeat()
        await client.heartbeat()
