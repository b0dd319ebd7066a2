"""One session with Realtime: connect, subscribe, listen, and end at the first failure.

The client does not report every failure (realtime-py 2.34.1: it gives up after five reconnects,
rejoins into a channel that the old join's close then closes, and does not notice a server that no
longer answers). So it never reconnects here: each session has a new client and a topic of its own.
Any failure ends the session, and the listener starts the next one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import structlog
from realtime import AsyncRealtimeChannel, RealtimeSubscribeStates
from realtime.types import RealtimeAcknowledgementStatus, RealtimePostgresChangesListenEvent
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from meshmetrics.runtime.logs import describe
from meshmetrics.stream.inbox import Arrival

log = structlog.get_logger()

CLOSE_SECONDS = 3.0
SLOT_POLL_SECONDS = 0.25
TABLE: Final = "workflow_runs"
COLUMNS: Final = ["id", "status"]


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """All in seconds; the settings describe each."""

    step: float = 15.0
    probe_interval: float = 20.0
    probe_timeout: float = 10.0


class SessionEndedError(Exception):
    """Why a session ended: a short stable `reason`, and the error text."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason
        self.text = text


class Session:
    """One session. It calls `on_hint` for every event, and `on_odd` with the kind of everything it
    could not parse; both must be fast and must not raise."""

    def __init__(
        self,
        url: str,
        key: str,
        http: httpx.AsyncClient,
        *,
        private: bool,
        times: SessionTimes,
        on_hint: Callable[[UUID, Arrival], None],
        on_odd: Callable[[str], None],
        slot_active: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`private`: join a private topic, for projects that allow no others.
        `slot_active`: whether the server really reads the database's changes."""
        self._slot_active = slot_active
        self._heard = False
        self._url = url
        self._key = key
        self._http = http
        self._private = private
        self._times = times
        self._on_hint = on_hint
        self._on_odd = on_odd
        self._flowing = asyncio.Event()
        self._ended: asyncio.Future[SessionEndedError] = asyncio.Future()

    async def run(self, on_up: Callable[[], None]) -> None:
        """Listen until something fails; call `on_up` once changes flow.

        Always raises: SessionEndedError, or CancelledError.
        """
        client = await make_client(self._url, self._key, self._http)
        channel = self._make_channel(client)
        step = self._times.step
        try:
            await self._within(step, "connect", client.realtime.connect())
            await self._within(step, "subscribe", channel.subscribe(self._state))
            await self._within(step, "system", self._flowing.wait())
            await self._within(step, "slot", self._slot())
            on_up()
            while True:
                await asyncio.wait({self._ended}, timeout=self._times.probe_interval)
                await self._within(self._times.probe_timeout, "probe", self._probe(channel))
        finally:
            await close(client, channel)

    def _make_channel(self, client: AsyncClient) -> AsyncRealtimeChannel:
        channel = client.channel(
            f"meshmetrics-{uuid4().hex}",
            {
                "config": {
                    "broadcast": {"ack": True, "self": False},
                    "presence": {"key": "", "enabled": False},
                    "private": self._private,
                }
            },
        )
        event = RealtimePostgresChangesListenEvent
        channel.on_postgres_changes(
            event.Update, self._take, table=TABLE, schema="public", select=COLUMNS
        )
        channel.on_postgres_changes(
            event.Insert,
            self._take,
            table=TABLE,
            schema="public",
            filter="status=neq.running",
            select=COLUMNS,
        )
        channel.on_system(self._system)
        return channel

    async def _slot(self) -> None:
        """Wait until the server reads the changes: it says "Subscribed" even if it cannot."""
        while not (  # noqa: ASYNC110 - another process makes the slot
            self._heard or self._slot_active is None or await self._slot_active()
        ):
            await asyncio.sleep(SLOT_POLL_SECONDS)

    async def _probe(self, channel: AsyncRealtimeChannel) -> None:
        """Have the server acknowledge a broadcast without receivers. A heartbeat proves less, and
        the client ignores its response."""
        answered = asyncio.Event()
        push = await channel.push(
            "broadcast", {"type": "broadcast", "event": "probe", "payload": {}}
        )
        push.receive(RealtimeAcknowledgementStatus.Ok, lambda _: answered.set())
        await answered.wait()

    # The client's callbacks. None of them may raise: that would end the client's loop silently.

    def _take(self, payload: Any) -> None:
        try:
            data = payload["data"]
            run_id = UUID(data["record"]["id"])
        except (KeyError, TypeError, ValueError, AttributeError):
            self._on_odd("event")
            return
        self._heard = True
        self._on_hint(run_id, Arrival(time.monotonic(), _commit_time(data)))

    def _system(self, payload: Any) -> None:
        if getattr(payload, "extension", None) == "postgres_changes":
            self._flowing.set()

    def _state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state != RealtimeSubscribeStates.SUBSCRIBED:
            self._end(state.value.lower(), _message(str(error or "")))

    def _end(self, reason: str, text: str = "") -> None:
        if not self._ended.done():
            self._ended.set_result(SessionEndedError(reason, text))

    async def _within(self, seconds: float, step: str, work: Coroutine[Any, Any, Any]) -> None:
        """Do one step, unless it times out or the session ends first."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait(
                {task, self._ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if self._ended.done():
                raise self._ended.result()
            if not task.done():
                raise SessionEndedError(f"{step}_timed_out")
            if (error := task.exception()) is not None:
                raise SessionEndedError(f"{step}_failed", describe(error)) from error
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=0.1)
            elif not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not log it


def _message(text: str) -> str:
    """Realtime's own message, which the client may wrap in a JSON object."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        return text
    return message if isinstance(message, str) else text


def _commit_time(data: Any) -> float | None:
    try:
        return datetime.fromisoformat(data["commit_timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


async def make_client(url: str, key: str, http: httpx.AsyncClient) -> AsyncClient:
    """A client whose Realtime part never reconnects automatically.

    Supabase's async client makes the Realtime client, as for any user of the library; only the
    options against reconnecting are not the defaults. The Authorization header keeps it from
    searching for a signed-in user.
    """
    return await acreate_client(
        url,
        key,
        AsyncClientOptions(
            headers={"Authorization": f"Bearer {key}"},
            auto_refresh_token=False,
            persist_session=False,
            httpx_client=http,
            realtime={"auto_reconnect": False, "max_retries": 1},
        ),
    )


async def close(client: AsyncClient, channel: AsyncRealtimeChannel) -> None:
    """Close the client, and everything it leaves running if its server does not answer.

    The client has no public way to do the latter; so its version is pinned, and a test checks that
    nothing is left.
    """
    realtime = client.realtime
    socket = realtime._ws_connection
    tasks = [realtime._listen_task, realtime._heartbeat_task]
    closed = False
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await realtime.close()
        closed = True
    except Exception as error:
        log.debug("stream.close_failed", error=describe(error))
    finally:
        if socket is not None and not closed:
            socket.transport.abort()
        channel.rejoin_timer.reset()
        for push in (channel.join_push, *channel.messages_waiting_for_ack.values()):
            push.destroy()
        for task in tasks:
            if task is not None:
                task.cancel()
