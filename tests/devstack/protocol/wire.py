"""A client that shows frames as they are: nothing is hidden, tolerated or repaired."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.devstack.protocol.target import Target

PATIENCE = 20.0
"""Seconds until a frame that should come counts as missing."""


class Wire:
    """One websocket of protocol version 1 or 2."""

    def __init__(self, connection: ClientConnection, version: int) -> None:
        self.version = version
        self._connection = connection
        self._ref = 0

    async def send(
        self, topic: str, event: str, payload: Any, *, join_ref: str | None = None
    ) -> str:
        """Send a frame; returns its ref."""
        self._ref += 1
        ref = str(self._ref)
        if event == "phx_join":
            join_ref = ref
        if self.version == 2:
            frame: Any = [join_ref, ref, topic, event, payload]
        else:
            frame = {"topic": topic, "event": event, "payload": payload, "ref": ref}
            if join_ref is not None:
                frame["join_ref"] = join_ref
        await self._connection.send(json.dumps(frame))
        return ref

    async def send_raw(self, data: str | bytes) -> None:
        await self._connection.send(data)

    async def next(self) -> Any:
        """The next frame: parsed JSON, or bytes."""
        data = await asyncio.wait_for(self._connection.recv(), PATIENCE)
        return data if isinstance(data, bytes) else json.loads(data)

    async def expect(
        self,
        topic: str,
        event: str,
        payload: Any,
        ref: str | None = None,
        join_ref: str | None = None,
    ) -> None:
        """The next frame is exactly this one (`join_ref` exists in version 2 only)."""
        frame = await self.next()
        if self.version == 2:
            assert frame == [join_ref, ref, topic, event, payload]
        else:
            assert frame == {"ref": ref, "event": event, "payload": payload, "topic": topic}

    async def reply(self) -> tuple[str, Any]:
        """The next frame is a reply: its status and response."""
        payload = await self.payload("phx_reply")
        return payload["status"], payload["response"]

    async def payload(self, event: str) -> Any:
        """The payload of the next frame, which is an `event`."""
        frame = await self.next()
        found, payload = frame[3:] if self.version == 2 else (frame["event"], frame["payload"])
        assert found == event, frame
        return payload

    async def join(self, topic: str, token: str | None = None, **config: Any) -> str:
        """Join and have it accepted; returns the join's ref."""
        payload: dict[str, Any] = {"config": config}
        if token is not None:
            payload["access_token"] = token
        ref = await self.send(topic, "phx_join", payload)
        status, response = await self.reply()
        assert status == "ok", response
        return ref

    async def subscribe(self, topic: str, token: str, *entries: dict[str, Any]) -> list[int]:
        """Join with postgres_changes and wait until they flow; returns the entries' ids."""
        config = {"postgres_changes": list(entries)}
        ref = await self.send(topic, "phx_join", {"config": config, "access_token": token})
        status, response = await self.reply()
        assert status == "ok", response
        await self.expect(topic, "system", subscribed(topic), join_ref=ref)
        return [entry["id"] for entry in response["postgres_changes"]]

    async def change(self) -> dict[str, Any]:
        """The payload's data of the next frame, which is a change."""
        data: dict[str, Any] = (await self.payload("postgres_changes"))["data"]
        return data

    async def heartbeat(self) -> None:
        """The server answers: everything it had for us before has been taken."""
        ref = await self.send("phoenix", "heartbeat", {})
        await self.expect("phoenix", "phx_reply", {"status": "ok", "response": {}}, ref)

    async def close(self) -> None:
        await self._connection.close()

    async def closed(self) -> int:
        """Wait for the end of the connection; returns the close code."""
        try:
            while True:
                await asyncio.wait_for(self._connection.recv(), PATIENCE)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006


def subscribed(topic: str) -> dict[str, str]:
    """The system message that says that changes flow from now on."""
    return {
        "message": "Subscribed to PostgreSQL",
        "status": "ok",
        "extension": "postgres_changes",
        "channel": topic.removeprefix("realtime:"),
    }


def trouble(topic: str, message: str, extension: str = "system") -> dict[str, str]:
    """A system message with status error."""
    return {
        "message": message,
        "status": "error",
        "extension": extension,
        "channel": topic.removeprefix("realtime:"),
    }


@asynccontextmanager
async def wire(
    target: Target, version: int = 1, token: str | None = None, **options: Any
) -> AsyncIterator[Wire]:
    """A connection of an anonymous client, or of who holds `token`."""
    url = f"{target.websocket_url}?apikey={token or target.token()}&vsn={version}.0.0"
    async with connect(url, max_size=None, compression=None, **options) as connection:
        yield Wire(connection, version)
