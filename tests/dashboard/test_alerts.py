"""Alerts in the browser: rules with previews, incidents, channels and deliveries."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import make_rule
from tests.alerts.receiver import Receiver
from tests.dashboard.alerting import (
    add_channel,
    insert_past_runs,
    open_an_incident,
    receiver,
    site,
    tab,
)
from tests.dashboard.conftest import Site, visitor
from tests.support import eventually

pytestmark = pytest.mark.slow

__all__ = ["receiver", "site"]

BERLIN = ZoneInfo("Europe/Berlin")
"""The time zone of the browser."""


async def test_a_rule_is_created_with_a_preview_and_failed_runs_open_an_incident_on_every_page(
    site: Site, browser: Browser, store: CountingStore, receiver: Receiver
) -> None:
    await insert_past_runs(site, store, site.ada)
    async with visitor(browser) as ada, visitor(browser) as grace:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await expect(page.get_by_text("No alert rules yet")).to_be_visible()
        assert (await add_channel(page, receiver)).startswith("whsec_")
        await expect(page.get_by_test_id("secret")).to_have_count(0)

        await tab(page, "Rules").click()
        await page.get_by_role("link", name="Create a rule").click()
        preview = page.get_by_test_id("preview")
        await expect(preview).to_contain_text("would have opened once in the last 30 days")
        await page.get_by_label("Or consecutive failures").fill("0")
        await page.get_by_label("Threshold, %", exact=True).fill("50")
        await expect(preview).to_contain_text("would not have opened")
        await page.get_by_label("Or consecutive failures").fill("3")
        await page.get_by_label("Threshold, %", exact=True).fill("95")
        await expect(preview).to_contain_text("would have opened once")
        await page.get_by_role("button", name="Create rule").click()
        await expect(page.locator("[data-rule]")).to_contain_text("Success rate below 95 %")

        await page.get_by_role("link", name="All workflows").click()
        await ada.live()
        row = page.locator("tr[data-slug='order-sync']")
        await expect(row.locator("td.alert")).to_contain_text("OK")
        await expect(page.get_by_test_id("open-incidents")).to_have_count(0)
        await grace.sign_in(site, site.grace)
        await open_an_incident(site, site.ada)
        strip = page.get_by_test_id("open-incidents")
        await expect(strip).to_contain_text("Order sync")
        await expect(row.locator("td.alert")).to_contain_text("Firing")
        await expect(page.locator(".plot .flag.opened")).to_have_count(1)
        await page.get_by_role("button", name="Alert state").click()
        await expect(page.locator("th.alert")).to_have_attribute("aria-sort", "descending")

        await strip.get_by_role("link", name="Order sync").click()
        await expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
        await expect(page.locator("[data-status='sent']")).to_contain_text("Opened to Operations")
        await expect(page.locator("[data-status='sent']")).to_contain_text("thanks")
        (notice,) = json.loads(receiver.got[0][1])["data"]["notices"]
        assert f"/alerts/incidents/{notice['incident_id']}" in page.url

        # The other tenant sees nothing of it.
        await expect(grace.page.get_by_test_id("open-incidents")).to_have_count(0)
        await grace.page.goto(page.url)
        await expect(grace.page.get_by_text("Incident not found")).to_be_visible()
        await grace.page.goto(f"{site.url}/alerts")
        await expect(grace.page.get_by_text("No alert rules yet")).to_be_visible()
        for name in ("Channels", "Deliveries"):
            await tab(grace.page, name).click()
            await expect(grace.page.locator(".empty")).to_be_visible()
            assert await grace.page.get_by_text("Operations").count() == 0
        assert ada.complaints == []


async def test_an_incident_is_acknowledged_and_its_rule_silenced_and_unsilenced(
    site: Site, browser: Browser
) -> None:
    await make_rule(site.owner, site.ada.project, name="Orders fail")
    async with visitor(browser) as ada, visitor(browser) as elsewhere:
        await ada.sign_in(site, site.ada, "/alerts")
        await elsewhere.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await expect(page.get_by_text("No open incidents")).to_be_visible()
        await open_an_incident(site, site.ada)
        incident = page.locator("[data-incident]")
        there = elsewhere.page.locator("[data-incident]")
        await expect(incident).to_contain_text("Firing")
        await expect(there).to_contain_text("Firing")
        await incident.get_by_role("button", name="Acknowledge").click()
        await expect(incident).to_contain_text("Acknowledged")
        await expect(there).to_contain_text("Acknowledged")
        row = await site.owner.fetchrow("select * from public.workflow_alert_incidents")
        assert row is not None
        assert row["acknowledged_by"] == site.ada.project.owner

        await incident.get_by_role("button", name="Silence").click()
        await page.get_by_label("Reason (optional)").fill("known")
        await page.get_by_role("form", name="Silence").get_by_role("button", name="Silence").click()
        await expect(incident).to_contain_text("Silenced until")
        await tab(page, "Silences").click()
        await expect(page.locator("[data-silence]")).to_contain_text("Orders fail")
        await expect(page.locator("[data-silence]")).to_contain_text("known")
        await page.get_by_role("button", name="End silence Orders fail").click()
        await expect(page.get_by_text("No silenced rules")).to_be_visible()
        assert (
            await site.owner.fetchval("select silenced_until from public.workflow_alert_rules")
            is None
        )
        await page.get_by_label("Rule").select_option("Orders fail")
        await page.get_by_label("Duration").select_option("Until …")
        end = datetime.now(BERLIN).replace(hour=8, minute=0, second=0, microsecond=0)
        end += timedelta(days=3)
        await page.get_by_label("Until").fill(end.strftime("%Y-%m-%dT%H:%M"))
        await page.get_by_role("form", name="Silence").get_by_role("button", name="Silence").click()
        await expect(page.locator("[data-silence]")).to_contain_text("Orders fail")
        until = await site.owner.fetchval("select silenced_until from public.workflow_alert_rules")
        assert until == end
        assert ada.complaints == []


async def test_a_failed_delivery_is_shown_with_its_response_and_resent(
    site: Site, browser: Browser, receiver: Receiver
) -> None:
    receiver.answers = [web.Response(status=410, text="moved away")]
    await make_rule(site.owner, site.ada.project, name="Orders fail")
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await add_channel(page, receiver)
        await page.get_by_role("button", name="Send test").click()
        await tab(page, "Deliveries").click()
        dead = page.locator("[data-status='dead']")
        await expect(dead).to_contain_text("HTTP 410")
        await expect(dead).to_contain_text("moved away")
        await tab(page, "Channels").click()
        channel = page.locator("[data-channel]")
        await expect(channel).to_contain_text("Disabled")
        await channel.get_by_role("button", name="Enable").click()
        await expect(channel.get_by_role("button", name="Disable")).to_be_visible()
        await tab(page, "Deliveries").click()
        await dead.get_by_role("button", name="Resend").click()
        await expect(page.locator("[data-status='sent']")).to_contain_text("thanks")
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
        assert len(receiver.got) == 2


async def test_a_rule_is_edited_disabled_and_deleted_and_a_secret_rotated(
    site: Site, browser: Browser, receiver: Receiver
) -> None:
    await make_rule(site.owner, site.ada.project, name="Orders fail")
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts?view=rules")
        page = ada.page
        rule = page.locator("[data-rule]")
        await rule.get_by_role("link", name="Edit").click()
        await page.get_by_label("Threshold, %", exact=True).fill("80.5")
        await page.get_by_label("Name (optional)").fill("Orders fail badly")
        await page.get_by_role("button", name="Save rule").click()
        await expect(rule).to_contain_text("Orders fail badly")
        await expect(rule).to_contain_text("Success rate below 80.5 %")
        await rule.get_by_role("button", name="Disable").click()
        await expect(rule.get_by_role("button", name="Enable")).to_be_visible()
        await rule.get_by_role("button", name="Delete").click()
        await page.get_by_role("button", name="Cancel").click()
        await rule.get_by_role("button", name="Delete").click()
        await rule.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_text("No alert rules yet")).to_be_visible()

        first = await add_channel(page, receiver)
        await page.get_by_role("button", name="Rotate secret").click()
        await page.get_by_role("button", name="Rotate secret", exact=True).click()
        second = page.get_by_test_id("secret")
        await expect(second).to_contain_text("whsec_")
        assert await second.inner_text() != first
        await page.get_by_role("button", name="I saved the secret").click()
        await expect(page.locator("[data-channel]")).to_contain_text(
            "Also signed with the old secret"
        )
        await page.reload()
        await expect(page.locator("[data-channel]")).to_be_visible()
        await expect(second).to_have_count(0)


async def test_a_channel_gets_a_new_name_and_target_and_its_target_is_never_shown(
    site: Site, browser: Browser, receiver: Receiver
) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(text="thanks")

    receiver.answers = [answer]
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await add_channel(page, receiver)
        channel = page.locator("[data-channel]")
        await channel.get_by_role("button", name="Edit").click()
        form = page.get_by_role("form", name="Edit Operations")
        url = form.get_by_label("URL")
        await expect(url).to_have_value("")
        await form.get_by_label("Name").fill("On call")
        await url.fill("https://10.0.0.1/secret")
        await form.get_by_role("button", name="Save channel").click()
        await expect(url).to_have_attribute("aria-invalid", "true")
        await expect(channel).to_contain_text("Operations")
        await url.fill(receiver.url.split("/hook")[0] + "/elsewhere-unseen")
        await form.get_by_role("button", name="Save channel").click()
        await expect(channel).to_contain_text("On call")
        await expect(form).to_have_count(0)
        await channel.get_by_role("button", name="Send test").click()
        await eventually(lambda: paths == ["/elsewhere-unseen"], what="the test notification")
        await page.reload()
        await expect(channel).to_contain_text("On call")
        assert "elsewhere-unseen" not in await page.content()
