"""One topic that a connection joined: its broadcasts, changes, presence, and its token."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any, Protocol
from uuid import uuid4

from meshmetrics.devstack.realtime.config import JoinConfig
from meshmetrics.devstack.realtime.database import UNREACHABLE
from meshmetrics.devstack.realtime.frames import Broadcast, Frame, Version, dumps, encode
from meshmetrics.devstack.realtime.shared import Shared
from meshmetrics.devstack.realtime.subscriptions import SubscriptionError, accept
from meshmetrics.devstack.realtime.tokens import TokenError, verify

_LONGEST_TIMER = 3600.0


class Connection(Protocol):
    """The socket a channel is on."""

    version: Version

    def send(self, frame: str | bytes) -> None: ...

    def forget(self, channel: Channel) -> None: ...


class Channel:
    """A joined channel, from `open` to `close`."""

    def __init__(
        self,
        shared: Shared,
        connection: Connection,
        frame: Frame,
        config: JoinConfig,
        token: str,
        claims: dict[str, Any],
    ) -> None:
        self.topic = frame.topic
        self.name = frame.topic.removeprefix("realtime:")
        self.private = config.private
        self.config = config
        self._shared = shared
        self._connection = connection
        self._join_ref = frame.join_ref or frame.ref
        self._token = token
        self._claims = claims
        self._presence_key = config.presence_key or str(uuid4())
        self._may_write: bool | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._subscribing: asyncio.Task[None] | None = None
        self._open = False

    @property
    def version(self) -> Version:
        return self._connection.version

    def open(self) -> None:
        """Begin to receive, after the join was answered."""
        self._open = True
        self._shared.hub.enter(self)
        self._watch_token()
        if self.config.replication_ready:
            self.system("system", "ok", "Replication connection established")
        if self.config.entries:
            self._start(self._subscribe())
        if self.config.presence:
            self.send_event("presence_state", self._shared.presence.state(self))

    def close(self, *, notify: bool = True) -> None:
        """Stop; the client hears `phx_close` with the ref of its join."""
        if not self._open:
            return
        self._open = False
        self._shared.hub.leave(self)
        self._shared.presence.untrack(self)
        self._shared.feed.unsubscribe(self)
        if self._expiry is not None:
            self._expiry.cancel()
        if self._subscribing is not None:
            self._subscribing.cancel()
        self._connection.forget(self)
        if notify:
            self.send_event("phx_close", "{}", ref=self._join_ref)

    def fail(self) -> None:
        """End as when the channel's process crashed: the client hears `phx_error`."""
        self.close(notify=False)
        self.send_event("phx_error", "{}", ref=self._join_ref)

    def throw_out(self, message: str) -> None:
        if self._open:
            self.system("system", "error", message)
            self.close()

    def receive(self, frame: str | bytes) -> None:
        self._connection.send(frame)

    def receive_change(self, payload: str) -> None:
        self.receive(encode(self.version, self.topic, "postgres_changes", payload, None, None))

    async def handle(self, frame: Frame) -> None:
        """Answer what the client sent to the channel. Unknown events are ignored."""
        payload = frame.payload if isinstance(frame.payload, dict) else {}
        if frame.event == "broadcast":
            event = str(payload.get("event", ""))
            await self.broadcast(frame, Broadcast(event, b"", payload=dumps(frame.payload)))
        elif frame.event == "presence":
            await self._handle_presence(frame, payload)
        elif frame.event == "access_token":
            await self._renew(payload.get("access_token"))
        elif frame.event == "phx_leave":
            self.reply(frame, "ok", {})
            self.close()

    async def broadcast(self, frame: Frame, broadcast: Broadcast) -> None:
        """Pass the client's broadcast on; without the right to send it vanishes."""
        if self.private and not await self._writable():
            return
        if frame.size > self._shared.limits.payload_bytes:
            if self.config.acknowledge:
                self.reply(frame, "error", "payload_size_exceeded")
            return
        but = None if self.config.to_self else self
        self._shared.hub.broadcast(self.topic, self.private, broadcast, but=but)
        if self.config.acknowledge:
            self.reply(frame, "ok", {})

    def reply(self, frame: Frame, status: str, response: Any) -> None:
        payload = dumps({"status": status, "response": response})
        self.send_event("phx_reply", payload, ref=frame.ref)

    def send_event(self, event: str, payload: str, ref: str | None = None) -> None:
        """An event of this channel; `payload` is JSON text."""
        self.receive(encode(self.version, self.topic, event, payload, ref, self._join_ref))

    def system(self, extension: str, status: str, message: str) -> None:
        """Send the client the state of an extension (`postgres_changes`, `system`)."""
        state = {"message": message, "status": status, "extension": extension}
        self.send_event("system", dumps({**state, "channel": self.name}))

    def subscribed_again(self) -> None:
        """The tables of the publication changed: the server subscribes anew, and says so again."""
        self.system("postgres_changes", "ok", "Subscribed to PostgreSQL")

    async def _writable(self) -> bool:
        if self._may_write is None:
            try:
                self._may_write = await self._shared.authorizer.may_write(self._claims, self.name)
            except UNREACHABLE:
                return False
        return self._may_write

    async def _handle_presence(self, frame: Frame, payload: dict[str, Any]) -> None:
        tracked = payload.get("payload")
        if payload.get("event") == "track":
            meta = tracked if isinstance(tracked, dict) else {}
            self.reply(frame, "ok", {})
            self._shared.presence.track(self, self._presence_key, meta)
        elif payload.get("event") == "untrack":
            self.reply(frame, "ok", {})
            self._shared.presence.untrack(self)

    async def _renew(self, token: object) -> None:
        if not isinstance(token, str) or token == self._token or token.startswith("sb_"):
            return None
        try:
            claims = verify(token, self._shared.jwt_secret)
        except TokenError as error:
            return self.throw_out(str(error))
        self._token, self._claims, self._may_write = token, claims, None
        if self.private:
            try:
                allowed = await self._shared.authorizer.may_read(claims, self.name)
            except UNREACHABLE:
                message = "Realtime was unable to connect to the project database"
                return self.throw_out(message)
            if not allowed:
                message = "You do not have permissions to read from this Channel topic: "
                return self.throw_out(message + self.name)
        self._watch_token()
        if self.config.entries:
            self._start(self._subscribe(after=self._shared.timing.resubscribe))
        return None

    def _watch_token(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        left = float(self._claims["exp"]) - time.time()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(min(max(left, 0), _LONGEST_TIMER), self._check_token)

    def _check_token(self) -> None:
        over = time.time() - float(self._claims["exp"])
        if over < 0:
            self._watch_token()
        else:
            self.throw_out(f"Token has expired {int(over)} seconds ago")

    def _start(self, subscribing: Coroutine[Any, Any, None]) -> None:
        if self._subscribing is not None:
            self._subscribing.cancel()
        self._subscribing = asyncio.create_task(subscribing, name=f"subscribe {self.topic}")

    async def _subscribe(self, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        claims = json.dumps(self._claims)
        while True:
            try:
                async with self._shared.database.acquire() as connection:
                    accepted = await accept(
                        connection, self.config.entries, self._claims["role"], claims
                    )
                break
            except SubscriptionError as error:
                self._shared.feed.unsubscribe(self)
                return self.system("postgres_changes", "error", str(error))
            except UNREACHABLE:
                await asyncio.sleep(min(1.0, self._shared.timing.reconnect))
        await self._shared.feed.subscribe(self, accepted)
        return self.system("postgres_changes", "ok", "Subscribed to PostgreSQL")
