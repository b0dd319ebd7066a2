"""The server itself: starts, stops, takes connections, and misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from uuid import UUID

from aiohttp import WSCloseCode, web

from meshmetrics.devstack.realtime.authorize import Authorizer
from meshmetrics.devstack.realtime.channel import Channel
from meshmetrics.devstack.realtime.database import Database
from meshmetrics.devstack.realtime.faults import Faults
from meshmetrics.devstack.realtime.feed import Feed
from meshmetrics.devstack.realtime.frames import dumps
from meshmetrics.devstack.realtime.handshake import Handshake
from meshmetrics.devstack.realtime.http import HttpBroadcast
from meshmetrics.devstack.realtime.hub import Hub
from meshmetrics.devstack.realtime.limits import Limits, RateCounter, Timing
from meshmetrics.devstack.realtime.messages import Messages
from meshmetrics.devstack.realtime.presence import Presence
from meshmetrics.devstack.realtime.shared import Shared
from meshmetrics.devstack.realtime.socket import Socket
from meshmetrics.devstack.realtime.users import LIFE_SECONDS, LocalUsers

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class RealtimeServer:
    """A development Realtime server in front of one database. Loopback only.

    `database_dsn` names a superuser of a database with Supabase's schema and wal_level=logical;
    `jwt_secret` signs and checks the tokens; port 0 takes a free one, which is kept over restarts.
    """

    def __init__(
        self,
        *,
        database_dsn: str,
        jwt_secret: str,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        timing: Timing | None = None,
        faults: Faults | None = None,
        users: Mapping[str, UUID] | None = None,
        token_life: float = LIFE_SECONDS,
        api_keys: Mapping[str, str] | None = None,
    ) -> None:
        """`api_keys`: keys that are no JWTs, and the role of each; `users`: whom a dashboard on
        this machine may sign in as, by name, without a password;
        `token_life`: how many seconds a token of theirs is good."""
        if host not in _LOOPBACK:
            raise ValueError(f"a development tool listens on loopback only, not on {host}")
        self.host = host
        self.port = port
        self.limits = limits or Limits()
        self.timing = timing or Timing()
        self.faults = faults or Faults()
        self._dsn = database_dsn
        self._secret = jwt_secret
        self._api_keys = dict(api_keys or {})
        self._users = LocalUsers(jwt_secret, users or {}, life=token_life)
        self._sockets: set[Socket] = set()
        self._runner: web.AppRunner | None = None
        self._shared: Shared | None = None
        self._messages: Messages | None = None

    @property
    def url(self) -> str:
        """What clients take as SUPABASE_URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many websockets are open."""
        return len(self._sockets)

    @property
    def subscribers(self) -> int:
        """How many channels get changes at present."""
        return self._shared.feed.subscriber_count if self._shared else 0

    async def start(self) -> None:
        """Listen, on the port of before if there was one. Postgres may be down.

        Raises OSError when the port is taken, RuntimeError when it runs already.
        """
        if self._runner is not None:
            raise RuntimeError("it runs already")
        database = Database(self._dsn)
        hub = Hub(self.limits)
        shared = self._shared = Shared(
            jwt_secret=self._secret,
            limits=self.limits,
            timing=self.timing,
            faults=self.faults,
            database=database,
            authorizer=Authorizer(database),
            hub=hub,
            presence=Presence(hub),
            feed=Feed(database, self.limits, self.timing, self.faults),
            joins=RateCounter(self.limits.joins_per_second, self.limits.average_over),
            users=set(),
            api_keys=self._api_keys,
        )
        self._messages = Messages(database, hub, self.timing)
        await self._messages.start()
        broadcast = HttpBroadcast(shared)
        app = web.Application(client_max_size=self.limits.body_bytes)
        handshake = Handshake(shared, self._sockets)
        app.router.add_get("/realtime/v1/websocket", handshake.connect)
        app.router.add_post("/realtime/v1/api/broadcast", broadcast.batch)
        app.router.add_post("/realtime/v1/api/broadcast/{topic}/events/{event}", broadcast.single)
        app.router.add_get("/local/users", self._users.listed)
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, reuse_address=True).start()
        except OSError:
            await self._end()
            raise
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection with 1012 and stop listening."""
        await self.disconnect(WSCloseCode.SERVICE_RESTART)
        await self._end()

    async def kill(self) -> None:
        """Cut every connection without a close frame and stop listening: clients see 1006."""
        await self.disconnect()
        await self._end()

    async def disconnect(self, code: int | None = None) -> None:
        """End every connection there is now, with a close `code` or by cutting it."""
        sockets = list(self._sockets)
        if code is not None:
            await asyncio.gather(*(socket.close(code) for socket in sockets))
        for socket in sockets:
            socket.abort()

    def send_raw(self, text: str, topic: str | None = None) -> None:
        """Send `text` as it is to the connections that joined `topic` (all, if None)."""
        for socket in list(self._sockets):
            if topic is None or topic in socket.channels:
                socket.send(text)

    def push(self, event: str, payload: object, topic: str | None = None) -> None:
        """Send any event, such as a malformed postgres_changes, to channels of `topic` (or all)."""
        for channel in self._channels(topic):
            channel.send_event(event, dumps(payload))

    def fail_channels(self, topic: str | None = None) -> None:
        """Send phx_error, as when a channel's process crashed, and forget the channels."""
        for channel in self._channels(topic):
            channel.fail()

    def close_channels(self, topic: str | None = None) -> None:
        """Send phx_close and forget the channels."""
        for channel in self._channels(topic):
            channel.close()

    def system_error(self, message: str = "fault injected", topic: str | None = None) -> None:
        """Send a system message with status error; the channels stay."""
        for channel in self._channels(topic):
            channel.system("postgres_changes", "error", message)

    def _channels(self, topic: str | None) -> Iterator[Channel]:
        for socket in list(self._sockets):
            for channel in list(socket.channels.values()):
                if topic is None or channel.topic == topic:
                    yield channel

    async def _end(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._messages is not None:
            await self._messages.close()
        if self._shared is not None:
            await self._shared.feed.close()
            await self._shared.database.close()
