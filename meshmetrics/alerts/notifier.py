"""Delivers what is queued: at least once, each message with an id that drops repeats."""

from __future__ import annotations

import asyncio
import random
import smtplib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from meshmetrics.alerts.channels import email, slack, webhook
from meshmetrics.alerts.outbound import Answer, Guard, RefusedError
from meshmetrics.alerts.sealing import Seal, SealError
from meshmetrics.alerts.store import AlertStore
from meshmetrics.alerts.wording import dress
from meshmetrics.counting.model import AlertMessage, AlertOutcome
from meshmetrics.database.errors import is_transient
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, wait_for_event
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

RETRIES = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before the second, third … attempt. After the last one a message is dead."""
LONGEST_WAIT = 86_400.0
LEASE_SECONDS = 60.0
"""Twice as long as any attempt may take: then somebody else may try."""
AT_ONCE = 16


def retry_in(attempt: int, asked: float | None = None) -> float | None:
    """Seconds until the attempt after this one (from 1): at least what the receiver asked for, and
    up to a fifth more, so that what failed together does not come back together."""
    if attempt > len(RETRIES):
        return None
    wait = max(RETRIES[attempt - 1], min(asked or 0.0, LONGEST_WAIT))
    return wait * random.uniform(1.0, 1.2)


class Notifier(Service):
    """Takes messages that are due under a lease, sends them, and notes how it went."""

    name = "notifier"
    drain_seconds = 1.5

    def __init__(
        self,
        store: AlertStore,
        seal: Seal,
        guard: Guard,
        smtp: email.Smtp | None,
        telemetry: Telemetry,
        *,
        dashboard_url: str | None = None,
        group_wait: float = 30.0,
        per_hour: int = 20,
        poll: float = 1.0,
        lease: float = LEASE_SECONDS,
    ) -> None:
        """`poll`: seconds between looks at the queue. `group_wait`, `per_hour`: of a channel."""
        super().__init__()
        self._store = store
        self._seal = seal
        self._guard = guard
        self._smtp = smtp
        self._telemetry = telemetry
        self._dashboard_url = dashboard_url
        self._group_wait = timedelta(seconds=group_wait)
        self._per_hour = per_hour
        self._poll = poll
        self._lease = timedelta(seconds=lease)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    def stop(self) -> None:
        """Finish what is under way, and return."""
        super().stop()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped. A slow receiver holds up nobody else's messages."""
        self.started.set()
        under_way: set[asyncio.Task[None]] = set()
        try:
            while not self.stopping.is_set():
                self._wake.clear()
                room = AT_ONCE - len(under_way)
                messages = await self._claim(room) if room else ()
                for message in messages:
                    task = asyncio.create_task(self._deliver(message))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                if not room:
                    await asyncio.wait(under_way, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                elif not messages:
                    await wait_for_event(self._wake, self._poll)
            if under_way:
                await asyncio.wait(under_way)
        finally:
            for task in under_way:
                task.cancel()

    async def _claim(self, most: int) -> tuple[AlertMessage, ...]:
        try:
            return await self._store.claim_alert_messages(
                self._lease, self._group_wait, self._per_hour, most
            )
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("alert.claim_failed", error=describe(error))
            return ()

    async def _deliver(self, message: AlertMessage) -> None:
        try:
            outcome = await self.attempt(message)
            await self._store.finish_alert_message(message, outcome)
        except Exception as error:  # it is sent again when the lease has run out
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
        """One attempt, and what is to become of the message."""
        began = time.perf_counter()

        def outcome(**fields: Any) -> AlertOutcome:
            took = round((time.perf_counter() - began) * 1000)
            return AlertOutcome(**{"sent": False, "took_ms": took, **fields})

        again = retry_in(message.attempt)
        try:
            target = self._seal.open(message.sealed_target)
            notices = self._notices(message)
            if message.channel_kind == "email":
                return outcome(**await self._mail(message, notices, target))
            answer = await self._post(message, notices, target)
        except (RefusedError, SealError, ValueError) as error:
            return outcome(error=f"refused: {error}")
        except TimeoutError:
            return outcome(error="no answer in time", retry_in=again)
        except OSError as error:
            return outcome(error=describe(error), retry_in=again)
        seen = {"status": answer.status, "excerpt": answer.excerpt}
        if 200 <= answer.status < 300:
            return outcome(sent=True, **seen)
        if answer.status == 410:
            return outcome(error="the receiver wants nothing more (410)", disable=True, **seen)
        asked = None
        if answer.status in (429, 503):
            asked = webhook.retry_after(answer.retry_after, datetime.now(UTC))
        said = f"the receiver answered {answer.status}"
        return outcome(error=said, retry_in=retry_in(message.attempt, asked), **seen)

    def _notices(self, message: AlertMessage) -> list[dict[str, Any]]:
        """What the message tells, each with its delivery's id."""
        return [
            dress({**d["notice"], "kind": d["kind"], "id": d["id"]}, self._dashboard_url)
            for d in message.deliveries
        ]

    async def _post(
        self, message: AlertMessage, notices: Sequence[dict[str, Any]], url: str
    ) -> Answer:
        if message.channel_kind == "slack":
            return await slack.send(self._guard, url, notices)
        sealed = [message.sealed_secret, message.sealed_old_secret]
        secrets = [self._seal.open(s) for s in sealed if s is not None]
        return await webhook.send(self._guard, url, secrets, message, notices)

    async def _mail(
        self, message: AlertMessage, notices: Sequence[dict[str, Any]], recipient: str
    ) -> dict[str, Any]:
        if self._smtp is None:
            return {"error": "no SMTP server is set up: MESHMETRICS_SMTP_URL"}
        mail = email.compose(message, notices, self._smtp.sender, recipient)
        try:
            await email.send(self._smtp, mail)
        except TimeoutError:
            again = retry_in(message.attempt)
            return {"error": "the mail server did not answer in time", "retry_in": again}
        except (smtplib.SMTPException, OSError) as error:
            again = None if email.permanent(error) else retry_in(message.attempt)
            return {"error": f"the mail server: {type(error).__name__}", "retry_in": again}
        return {"sent": True}
