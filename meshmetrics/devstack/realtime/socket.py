"""One websocket: reads frames in order, and sends the queued ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from meshmetrics.devstack.realtime.channel import Channel
from meshmetrics.devstack.realtime.frames import (
    Frame,
    FrameError,
    Version,
    decode,
    decode_binary,
    dumps,
    encode,
)
from meshmetrics.devstack.realtime.joining import JoinRefusedError, admit
from meshmetrics.devstack.realtime.shared import Shared

_ENDED = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class Socket:
    """A connection, from the handshake to the end of `run`."""

    def __init__(
        self,
        shared: Shared,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        version: Version,
        token: str,
    ) -> None:
        self.version = version
        self.channels: dict[str, Channel] = {}
        self._shared = shared
        self._websocket = websocket
        self._transport = transport
        self._token = token
        self._waiting: deque[str | bytes] = deque()
        self._wake = asyncio.Event()
        self._joining = False

    async def run(self) -> None:
        """Serve the client until either side ends the connection."""
        writer = asyncio.create_task(self._write(), name="realtime writer")
        try:
            await self._read()
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            for channel in list(self.channels.values()):
                channel.close(notify=False)
            self._shared.users.discard(self)

    def send(self, frame: str | bytes) -> None:
        """Queue `frame` for sending."""
        if self._shared.faults.hang:
            return
        self._waiting.append(frame)
        self._wake.set()
        if len(self._waiting) > self._shared.limits.waiting_frames:
            self.abort()

    def abort(self) -> None:
        """Cut the connection without a close frame: the client sees 1006."""
        self._transport.abort()

    async def close(self, code: int) -> None:
        """End the connection with `code`."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._websocket.close(code=code), 1)

    def forget(self, channel: Channel) -> None:
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]

    async def _read(self) -> None:
        while True:
            try:
                message = await self._websocket.receive(timeout=self._shared.timing.silence)
            except TimeoutError:
                return await self.close(WSCloseCode.OK)
            if message.type in _ENDED:
                return None
            if len(message.data) > self._shared.limits.frame_bytes:
                return await self.close(WSCloseCode.MESSAGE_TOO_BIG)
            if not self._shared.faults.hang:
                await self._handle(message)

    async def _handle(self, message: WSMessage) -> None:
        if message.type == WSMsgType.PING:
            await self._websocket.pong(message.data)
        elif message.type == WSMsgType.TEXT:
            with contextlib.suppress(FrameError):
                await self._dispatch(decode(message.data, self.version))
        elif message.type == WSMsgType.BINARY and self.version == 2:
            with contextlib.suppress(FrameError):
                frame, broadcast = decode_binary(message.data)
                channel = self.channels.get(frame.topic)
                if channel is not None:
                    await channel.broadcast(frame, broadcast)

    async def _dispatch(self, frame: Frame) -> None:
        if frame.topic == "phoenix":
            if frame.event == "heartbeat" and not self._shared.faults.ignore_heartbeats:
                self._reply(frame, "ok", {})
        elif frame.event == "phx_join" and frame.topic.startswith("realtime:"):
            await self._join(frame)
        elif frame.topic in self.channels:
            await self.channels[frame.topic].handle(frame)
        elif frame.event == "phx_leave":
            self._reply(frame, "ok", {})
        else:
            self._reply(frame, "error", {"reason": "unmatched topic"})

    async def _join(self, frame: Frame) -> None:
        # The real server joins in the process of the socket: it sends nothing until the join is
        # answered, and a refusal is slow.
        self._joining = True
        former = self.channels.pop(frame.topic, None)
        refusal: JoinRefusedError | None = None
        try:
            admitted = await admit(self._shared, self, self.channels, frame, self._token)
        except JoinRefusedError as error:
            await asyncio.sleep(self._shared.timing.refused_join)
            self._answer(frame, "error", {"reason": str(error)})
            refusal = error
        else:
            channel = Channel(self._shared, self, frame, *admitted)
            self._answer(frame, "ok", {"postgres_changes": channel.config.described()})
        finally:
            self._joining = False
            self._wake.set()
        if former is not None:
            former.close()
        if refusal is None:
            self.channels[frame.topic] = channel
            self._shared.users.add(self)
            channel.open()
        elif refusal.disconnect:
            await self.close(WSCloseCode.OK)

    def _answer(self, join: Frame, status: str, response: object) -> None:
        """Reply to a join, before the frames queued meanwhile."""
        if not self._shared.faults.hang:
            self._waiting.appendleft(self._reply_to(join, status, response, join.join_ref))

    def _reply(self, frame: Frame, status: str, response: object) -> None:
        self.send(self._reply_to(frame, status, response, None))

    def _reply_to(self, frame: Frame, status: str, response: object, join_ref: str | None) -> str:
        payload = dumps({"status": status, "response": response})
        return encode(self.version, frame.topic, "phx_reply", payload, frame.ref, join_ref)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._joining:
                frame = self._waiting.popleft()
                try:
                    if isinstance(frame, bytes):
                        await self._websocket.send_bytes(frame)
                    else:
                        await self._websocket.send_str(frame)
                except ConnectionError:
                    return
