"""1,500 half-sent requests were never closed."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack

import httpx
import pytest

from meshmetrics.api import connections
from meshmetrics.api.server import HttpServer
from tests.api.conftest import Service
from tests.attacks.conftest import assert_unharmed, figure

HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
HALF_A_BODY = b"POST /api/alerts/rules HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"


@pytest.mark.parametrize("half", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["none", "head", "body"])
async def test_half_sent_requests_are_closed_and_others_are_served(
    service: Service, monkeypatch: pytest.MonkeyPatch, half: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "BODY_SECONDS", 1.0)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 50)
    server = HttpServer(service.app, "127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    await server.started.wait()

    async def health() -> None:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5)
            assert answer.status_code == 200

    try:
        async with AsyncExitStack() as stack:
            quiet = await figure(health)
            readers = []
            for _ in range(150):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                stack.callback(writer.close)
                writer.write(half)
                readers.append(reader)
            assert_unharmed(quiet, await figure(health))
            async with asyncio.timeout(10):
                for reader in readers:
                    with contextlib.suppress(ConnectionResetError):
                        await reader.read()
    finally:
        server.stop()
        await asyncio.wait_for(running, 5)
