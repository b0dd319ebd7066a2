"""Delivers what is queued: at least once, each message with an id to drop repeats by."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from meshmetrics.alerts.channels.contract import ATTEMPT_SECONDS, ChannelKind, Message, Outcome
from meshmetrics.alerts.model import AlertMessage, AlertOutcome
from meshmetrics.alerts.notice import read_delivery
from meshmetrics.alerts.sealing import Seal, SealError
from meshmetrics.alerts.store import AlertStore
from meshmetrics.database.errors import is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, wait_for_event
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

RETRIES = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before the second, third … attempt. After the last one a message is dead."""
MAX_WAIT = 86_400.0
"""The longest wait in seconds that a receiver may ask for."""
LEASE_SECONDS = 2 * ATTEMPT_SECONDS
"""Twice as long as any attempt may take. After that another daemon may try."""
AT_ONCE = 16
"""Attempts under way at the same time."""
PROJECT_SHARE = 4
"""Most of these for one project."""
HOST_SHARE = 6
"""Most of these for one host, which may be the receiver of several projects."""
HOST_FULL_SECONDS = 1.0
"""How long a message waits whose host has its share of attempts under way."""
KNOWN_HOSTS = 10_000
"""Channels whose host is remembered."""


def retry_in(attempt: int, retry_after: float | None = None) -> float | None:
    """Seconds until the attempt after this one (from 1): at least `retry_after`, and
    up to a fifth more, so that messages that failed together are not retried together."""
    if attempt > len(RETRIES):
        return None
    wait = max(RETRIES[attempt - 1], min(retry_after or 0.0, MAX_WAIT))
    return wait * random.uniform(1.0, 1.2)


class Notifier(Service):
    """Leases messages that are due, sends them, and records how it went."""

    name = "notifier"
    drain_seconds = 1.5

    def __init__(
        self,
        store: AlertStore,
        seal: Seal,
        kinds: Mapping[str, ChannelKind],
        telemetry: Telemetry,
        *,
        dashboard_url: str | None = None,
        group_wait: float = 30.0,
        per_hour: int = 20,
        poll: float = 1.0,
        lease: float = LEASE_SECONDS,
    ) -> None:
        """`kinds`: by the name that the database has. `poll`: seconds between polls of the queue.
        `group_wait` (seconds), `per_hour`: of a channel."""
        super().__init__()
        self._store = store
        self._seal = seal
        self._kinds = kinds
        self._telemetry = telemetry
        self._dashboard_url = dashboard_url
        self._group_wait = timedelta(seconds=group_wait)
        self._per_hour = per_hour
        self._poll = poll
        self._lease = timedelta(seconds=lease)
        self._wake = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], AlertMessage] = {}
        self._hosts: dict[UUID, str] = {}

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the attempts under way, and return."""
        super().stop()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped. A slow receiver delays no other host, and a project's receivers
        no other project."""
        self.started.set()
        under_way = self._under_way
        try:
            while not self.stopping.is_set():
                self._wake.clear()
                room = AT_ONCE - len(under_way)
                messages = await self._claim(room) if room else ()
                for message in messages:
                    if self._host(message) in self._full_hosts():
                        await self._put_back(message)
                        continue
                    task = asyncio.create_task(self._deliver(message))
                    under_way[task] = message
                    task.add_done_callback(self._done)
                if not room:
                    await asyncio.wait(under_way, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                elif not messages:
                    await wait_for_event(self._wake, self._poll)
            if under_way:
                await asyncio.wait(under_way)
        finally:
            for task in list(under_way):
                task.cancel()

    async def _claim(self, most: int) -> tuple[AlertMessage, ...]:
        full = self._full_hosts()
        try:
            return await self._store.claim_alert_messages(
                self._lease,
                self._group_wait,
                self._per_hour,
                most,
                per_project=PROJECT_SHARE,
                under_way=[message.project_id for message in self._under_way.values()],
                avoided=[channel for channel, host in self._hosts.items() if host in full],
            )
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("alert.claim_failed", error=describe(error))
            return ()

    def _host(self, message: AlertMessage) -> str:
        """Who has to answer: a host, or for channels without one, what sends for all of them."""
        host = message.channel_kind
        with contextlib.suppress(SealError, ValueError):
            host = urlsplit(self._seal.open(message.sealed_target)).hostname or host
        self._hosts.pop(message.channel_id, None)
        while len(self._hosts) >= KNOWN_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[message.channel_id] = host
        return host

    def _full_hosts(self) -> set[str]:
        """Hosts that have their share of attempts under way."""
        channels = (message.channel_id for message in self._under_way.values())
        attempts = Counter(self._hosts[c] for c in channels if c in self._hosts)
        return {host for host, count in attempts.items() if count >= HOST_SHARE}

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        self._wake.set()  # its project and its host have room again

    async def _put_back(self, message: AlertMessage) -> None:
        try:
            wait = timedelta(seconds=HOST_FULL_SECONDS)
            await self._store.release_alert_message(message, wait)
        except Exception as error:  # the message is claimed again when its lease expires
            if not is_transient(error):
                raise
            log.warning("alert.claim_failed", error=describe(error))

    async def _deliver(self, message: AlertMessage) -> None:
        try:
            outcome = await self.attempt(message)
            await self._store.finish_alert_message(message, outcome)
        except Exception as error:  # the message is sent again when its lease expires
            log.warning(
                "alert.not_noted", message_id=str(message.message_id), error=describe(error)
            )
            return
        result = "sent" if outcome.sent else "dead" if outcome.retry_in is None else "retry"
        self._telemetry.alert_deliveries.labels(message.channel_kind, result).inc()
        self._telemetry.alert_delivery_seconds.observe(outcome.took_ms / 1000)
        fields = {
            "message_id": str(message.message_id),
            "channel_id": str(message.channel_id),
            "notices": len(message.deliveries),
            "attempt": message.attempt,
            "status": outcome.status,
            "result": result,
            "took_ms": outcome.took_ms,
        }
        if outcome.sent:
            log.info("alert.delivered", **fields)
        else:
            log.warning("alert.not_delivered", **fields)

    async def attempt(self, message: AlertMessage) -> AlertOutcome:
        """One attempt, and what is to become of the message. Never raises."""
        began = time.perf_counter()
        outcome = await self._send(message)
        retry = outcome.result == "retry"
        return AlertOutcome(
            sent=outcome.result == "sent",
            took_ms=round((time.perf_counter() - began) * 1000),
            status=outcome.status,
            error=outcome.error,
            excerpt=outcome.excerpt,
            retry_in=retry_in(message.attempt, outcome.retry_after) if retry else None,
            disable=outcome.result == "disable",
        )

    async def _send(self, message: AlertMessage) -> Outcome:
        kind = self._kinds.get(message.channel_kind)
        if kind is None:
            return Outcome("failed", f"this release knows no channel kind {message.channel_kind}")
        try:
            opened = self._open(message)
        except SealError as error:
            return Outcome("failed", f"refused: {error}")
        except (ValueError, LookupError, AttributeError):
            return Outcome("failed", "the notice cannot be read")
        try:
            return await kind.send(opened)
        except Exception as error:
            log.exception("alert.channel_failed", kind=message.channel_kind, error=describe(error))
            return Outcome("retry", describe(error))

    def _open(self, message: AlertMessage) -> Message:
        """The message as its channel kind gets it. Raises SealError, ValueError."""
        sealed = (message.sealed_secret, message.sealed_old_secret)
        return Message(
            id=message.message_id,
            project_id=message.project_id,
            channel_id=message.channel_id,
            first_attempt_at=message.first_attempt_at,
            digest=message.digest,
            target=self._seal.open(message.sealed_target),
            target_digest=hashlib.sha256(message.sealed_target.encode()).digest(),
            secrets=[self._seal.open(s) for s in sealed if s is not None],
            notices=[read_delivery(d, self._dashboard_url) for d in message.deliveries],
        )
