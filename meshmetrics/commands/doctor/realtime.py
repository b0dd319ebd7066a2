"""Checks of Realtime: it is reachable, sends us changes, and delivers our broadcasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import httpx
from realtime import AsyncRealtimeChannel, RealtimeSubscribeStates

from meshmetrics.broadcast.messages import request
from meshmetrics.commands.doctor.check import Check
from meshmetrics.daemon.daemon import realtime_http
from meshmetrics.runtime.logs import describe, redactor
from meshmetrics.settings.fields import Settings
from meshmetrics.settings.keys import SecretKeys
from meshmetrics.stream import client_log
from meshmetrics.stream.session import (
    Session,
    SessionEndedError,
    SessionTimes,
    close,
    make_client,
)

CANARY_SECONDS = 10.0
MAX_CHARACTERS = 400
NOT_PUBLISHED = "Unable to subscribe to changes"
"""The prefix of Realtime's answer for a table that is not published or not readable."""
REFUSALS = ("HTTP 401", "HTTP 403", "JWT", "Token", "Unauthorized")
KEYS = "check that SUPABASE_URL and SUPABASE_SECRET_KEY belong to the same project"
ADDRESS = (
    "check that SUPABASE_URL is the project's URL, that this machine can reach it, and that"
    " Realtime is enabled; the project's Realtime logs have the details"
)
MIGRATE = "run `meshmetrics migrate`: it adds workflow_runs to the publication supabase_realtime"


SLOT = (
    "Realtime says that it is subscribed, but reads no changes: look for its replication slot in"
    " pg_replication_slots, and compare their number with max_replication_slots"
)


async def checks(
    settings: Settings, slot_active: Callable[[], Awaitable[bool]] | None = None
) -> list[Check]:
    """Subscribe to changes, and send a broadcast that must come back. `slot_active`: whether
    Realtime reads the database's changes; None: believe what it says."""
    client_log.install()
    keys = SecretKeys(settings.secret_keys)
    async with httpx.AsyncClient() as http:
        stream = await _stream(settings, keys, http, slot_active)
        while "HTTP 401" in stream.text and keys.current != settings.secret_keys[-1]:
            keys.refused(keys.current)
            stream = await _stream(settings, keys, http, slot_active)
        found = [stream]
        if (refused := settings.secret_keys.index(keys.current)) and stream.state == "ok":
            text = (
                f"Supabase refuses the first {refused} of SUPABASE_SECRET_KEY; the next one works"
            )
            found.append(Check("secret keys", "note", text, "remove the refused keys"))
        # A table that is not published, or not read, says nothing about the keys; a broadcast does.
        if stream.state == "ok" or stream.fix in (MIGRATE, SLOT):
            return [*found, await _canary(settings, keys.current, http)]
        return [*found, Check("broadcast", "skipped", "not tried without a session with Realtime")]


def _remedy(text: str) -> str:
    """The fix for an error text of Realtime's."""
    if NOT_PUBLISHED in text:
        return MIGRATE
    if text.endswith("slot_timed_out"):
        return SLOT
    return KEYS if any(word in text for word in REFUSALS) else ADDRESS


async def _stream(
    settings: Settings,
    keys: SecretKeys,
    http: httpx.AsyncClient,
    slot_active: Callable[[], Awaitable[bool]] | None,
) -> Check:
    """Open a session as the daemon does, and wait until changes flow."""
    text = ""
    for private in (False, True):  # some projects allow private channels only
        up = asyncio.Event()
        session = Session(
            settings.supabase_url,
            keys.current,
            http,
            private=private,
            times=SessionTimes(step=settings.connect_timeout),
            on_hint=lambda *_: None,
            on_odd=lambda _: None,
            slot_active=slot_active,
        )
        began = time.monotonic()
        running = asyncio.create_task(session.run(up.set))
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        took = time.monotonic() - began
        waiting.cancel()
        running.cancel()
        (result,) = await asyncio.gather(running, return_exceptions=True)
        if up.is_set():
            return Check("realtime", "ok", f"changes flow after {took * 1000:,.0f} ms")
        reason = str(result) if isinstance(result, SessionEndedError) else repr(result)
        text = redactor(settings.secrets())(reason)[:MAX_CHARACTERS]
        if "PrivateOnly" not in text:
            break
    return Check("realtime", "wrong", f"no stream of changes: {text}", _remedy(text))


async def _canary(settings: Settings, key: str, http: httpx.AsyncClient) -> Check:
    """Send a private broadcast over HTTP, as the daemon does, to a new topic, and receive it."""
    topic = f"metrics:{uuid4()}"
    back = asyncio.Event()
    try:
        async with asyncio.timeout(CANARY_SECONDS):
            client = await make_client(settings.supabase_url, key, http)
            channel = client.channel(
                topic,
                {
                    "config": {
                        "broadcast": {"ack": False, "self": False},
                        "presence": {"key": "", "enabled": False},
                        "private": True,
                    }
                },
            )
            channel.on_broadcast("canary", lambda _: back.set())
            try:
                await client.realtime.connect()
                await _joined(channel)
                began = time.monotonic()
                status = await _send(settings, topic)
                if not 200 <= status < 300:
                    return Check(
                        "broadcast", "wrong", f"refused with HTTP {status}", _refused(status)
                    )
                await back.wait()
                took = time.monotonic() - began
            finally:
                await close(client, channel)
    except TimeoutError:
        fix = "check that the key is a secret key, and that realtime.messages has its policies"
        text = f"a canary did not come back within {CANARY_SECONDS:.0f} s"
        return Check("broadcast", "wrong", text, fix)
    except Exception as error:
        text = redactor(settings.secrets())(describe(error))
        return Check("broadcast", "wrong", text, _remedy(text))
    return Check("broadcast", "ok", f"a canary came back after {took * 1000:,.0f} ms")


def _refused(status: int) -> str:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return "the project exceeds its message limit: try again later, or raise the limit"
    return KEYS if status in (401, 403) else ADDRESS


async def _joined(channel: AsyncRealtimeChannel) -> None:
    """Join the channel. Raises ConnectionError with Realtime's reason."""
    joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def state(now: RealtimeSubscribeStates, error: Exception | None) -> None:
        if joined.done():
            return
        if now == RealtimeSubscribeStates.SUBSCRIBED:
            joined.set_result(None)
        else:
            joined.set_exception(ConnectionError(f"{now.value.lower()} {error or ''}"))

    await channel.subscribe(state)
    await joined


async def _send(settings: Settings, topic: str) -> int:
    text = f'{{"topic":"{topic}","event":"canary","private":true,"payload":{{}}}}'
    async with realtime_http(settings) as client:
        response = await client.post(
            f"{settings.supabase_url}/realtime/v1/api/broadcast",
            content=request([text]),
            headers={"Content-Type": "application/json"},
        )
    return response.status_code
