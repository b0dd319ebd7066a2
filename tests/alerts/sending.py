"""A notifier at work, and what it has to deliver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from cryptography.fernet import Fernet

from meshmetrics.alerts.channels.email.consent import Consent, Limits
from meshmetrics.alerts.channels.email.kind import Mailer
from meshmetrics.alerts.channels.email.links import Links
from meshmetrics.alerts.channels.email.smtp import Smtp
from meshmetrics.alerts.channels.registry import channel_kinds
from meshmetrics.alerts.channels.webhook.signature import new_secret
from meshmetrics.alerts.notifier import Notifier
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.sealing import Seal
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from tests.alerts.conftest import make_channel
from tests.support import Project, Workflow, insert_run

KEY = Fernet.generate_key().decode()
SEAL = Seal(KEY)
LINKS = Links(KEY, "https://rates.test")


def notifier_of(
    alerts: AlertStore,
    guard: Guard,
    smtp: Smtp | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Notifier:
    options = {"poll": 0.02, "group_wait": 0.0, **options}
    mailer = Mailer(smtp, LINKS, Consent(alerts.database, limits)) if smtp else None
    return Notifier(alerts, SEAL, channel_kinds(guard, mailer), Telemetry(), **options)


@asynccontextmanager
async def notifying(notifier: Notifier) -> AsyncIterator[None]:
    task = asyncio.create_task(notifier.run())
    yield
    notifier.stop()
    await asyncio.wait_for(task, 10)


async def trouble(
    owner: asyncpg.Connection,
    store: CountingStore,
    workflow: Workflow,
    status: str = "failed",
    n: int = 3,
) -> None:
    now = datetime.now(UTC)
    ids = [
        await insert_run(owner, workflow, status, finished_at=now - timedelta(seconds=n - i))
        for i in range(n)
    ]
    await store.count_runs(ids)


async def deliveries(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return await owner.fetch(
        "select * from public.workflow_alert_deliveries order by created_at, id"
    )


async def mailbox_of(
    owner: asyncpg.Connection, project: Project, address: str = "a@b.test", **more: Any
) -> UUID:
    """An e-mail channel whose address is confirmed."""
    confirmed = {"confirmed_at": datetime.now(UTC), "sealed_target": SEAL.seal(address)}
    return await make_channel(owner, project, "email", **{**confirmed, **more})


async def hook(owner: asyncpg.Connection, project: Project, url: str, **more: Any) -> str:
    """A webhook channel; returns its secret."""
    secret = new_secret()
    sealed = {"sealed_target": SEAL.seal(url), "sealed_secret": SEAL.seal(secret)}
    await make_channel(owner, project, **sealed, **more)
    return secret


async def sent(owner: asyncpg.Connection, status: str = "sent") -> asyncpg.Record:
    """For `eventually`: a delivery with this status."""
    row = await owner.fetchrow(
        "select * from public.workflow_alert_deliveries where status = $1", status
    )
    assert row is not None
    return row


async def tried(owner: asyncpg.Connection) -> asyncpg.Record:
    """For `eventually`: a delivery that failed."""
    row = await owner.fetchrow(
        "select * from public.workflow_alert_deliveries where error is not null"
    )
    assert row is not None
    return row


async def all_are(owner: asyncpg.Connection, status: str) -> bool:
    return {d["status"] for d in await deliveries(owner)} == {status}
