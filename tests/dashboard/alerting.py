"""A daemon that may send notifications to this machine, and helpers for the alerts page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from cryptography.fernet import Fernet
from playwright.async_api import Locator, Page

from meshmetrics.counting.store import CountingStore
from tests.alerts.receiver import Receiver, receiving
from tests.dashboard.conftest import Site, Tenant, serving
from tests.dashboard.test_live import finish_a_run
from tests.support import eventually, insert_run
from tests.support.databases import DatabaseClone


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of notifications on this machine."""
    async with receiving() as receiver:
        receiver.url = receiver.url.replace("hooks.test", "127.0.0.1")
        yield receiver


@pytest.fixture
async def site(
    database: DatabaseClone, owner: asyncpg.Connection, receiver: Receiver
) -> AsyncIterator[Site]:
    """Two tenants, and a daemon that evaluates often and may reach the receiver."""
    async with serving(
        database,
        owner,
        alert_keys=Fernet.generate_key().decode(),
        alert_http=True,
        alert_ports=receiver.url.split(":")[2].split("/")[0],
        alert_networks="127.0.0.0/8",
        alert_interval=0.5,
        alert_group_wait=0,
    ) as site:
        yield site


async def insert_past_runs(site: Site, store: CountingStore, tenant: Tenant) -> None:
    """Runs of the last week. Most succeed; five days ago, four consecutive runs failed."""
    now = datetime.now(UTC)
    ids = []
    for n in range(60):
        at = now - timedelta(hours=3 * n + 1)
        status = "failed" if 40 <= n < 44 else "succeeded"
        ids.append(
            await insert_run(site.owner, tenant.workflow, status, started_at=at, finished_at=at)
        )
    await store.count_runs(ids)


async def open_an_incident(site: Site, tenant: Tenant) -> None:
    for _ in range(3):
        await finish_a_run(site, tenant, "failed")


async def incident_of(site: Site) -> str:
    """The id of the only incident."""

    async def incident_id() -> object:
        return await site.owner.fetchval("select id from public.workflow_alert_incidents")

    await eventually(incident_id, what="an incident")
    return str(await incident_id())


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("navigation", name="Alerts").get_by_role("link", name=name)


async def add_channel(page: Page, receiver: Receiver, name: str = "Operations") -> str:
    """Creates a webhook in the form; returns its secret."""
    await tab(page, "Channels").click()
    await page.get_by_role("button", name="Add channel").click()
    form = page.get_by_role("form", name="New channel")
    await form.get_by_label("Name").fill(name)
    await form.get_by_label("URL").fill(receiver.url)
    await form.get_by_role("button", name="Add channel").click()
    secret = await page.get_by_test_id("secret").inner_text()
    await page.get_by_role("button", name="I saved the secret").click()
    return secret
