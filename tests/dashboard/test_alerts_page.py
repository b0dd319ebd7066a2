"""The alerts page: errors at fields, keyboard, accessibility and layout."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import make_rule
from tests.alerts.receiver import Receiver
from tests.dashboard.alerting import (
    add_channel,
    incident_of,
    insert_past_runs,
    open_an_incident,
    receiver,
    site,
)
from tests.dashboard.conftest import Site, Visitor, visitor
from tests.dashboard.test_page import screenshot, violations
from tests.support import eventually

pytestmark = pytest.mark.slow

__all__ = ["receiver", "site"]

VIEWS = ["incidents", "rules", "silences", "channels", "deliveries"]


async def test_errors_are_shown_at_their_fields(site: Site, browser: Browser) -> None:
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts?rule=new")
        page = ada.page
        threshold = page.get_by_label("Threshold, %", exact=True)
        await threshold.fill("140")
        await expect(threshold).to_have_attribute("aria-invalid", "true")
        await expect(threshold).to_have_accessible_description("Enter a percentage from 0 to 100.")
        await threshold.fill("")
        await expect(threshold).to_have_accessible_description("Enter a number.")
        await threshold.fill("95")
        await expect(threshold).not_to_have_attribute("aria-invalid", "true")
        # In a collapsed section, too.
        await page.get_by_text("Advanced").click()
        await page.get_by_label("Minimum runs before it can open").fill("0")
        await expect(
            page.get_by_label("Minimum runs before it can open")
        ).to_have_accessible_description(re.compile("Must be a number that is at least 1."))

        await page.goto(f"{site.url}/alerts?view=channels")
        await page.get_by_role("button", name="Add channel").click()
        await page.get_by_label("Name").fill("Inside")
        await page.get_by_label("URL").fill("https://10.0.0.1/hook")
        await page.get_by_role("button", name="Add channel").click()
        url = page.get_by_label("URL")
        await expect(url).to_have_attribute("aria-invalid", "true")
        await expect(url).to_have_value("https://10.0.0.1/hook")


async def test_the_page_works_with_the_keyboard_alone(site: Site, browser: Browser) -> None:
    async with visitor(browser, reduced_motion="reduce") as ada:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page

        async def reach(role: str, name: str) -> None:
            """Presses Tab until the element has the focus."""
            target = page.get_by_role(role, name=name).first  # type: ignore[arg-type]
            await expect(target).to_be_visible()
            for _ in range(60):
                if await target.evaluate("one => one === document.activeElement"):
                    return
                await page.keyboard.press("Tab")
            pytest.fail(f"Tab does not lead to {name}")

        await reach("link", "Create a rule")
        await page.keyboard.press("Enter")
        await reach("button", "Consecutive failures")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Consecutive failures", exact=True)).to_have_value("3")
        await reach("button", "Create rule")
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-rule]")).to_contain_text("3 consecutive failures")
        await open_an_incident(site, site.ada)
        await reach("link", "Incidents")
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-incident]")).to_be_visible()
        await reach("button", "Acknowledge")
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-incident]")).to_contain_text("Acknowledged")
        await reach("link", "Rules")
        await page.keyboard.press("Enter")
        await reach("button", "Delete")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Delete")).to_be_focused()


async def fill_every_view(
    site: Site, visitor: Visitor, store: CountingStore, receiver: Receiver
) -> str:
    """Data for every view; returns the id of the open incident."""
    await insert_past_runs(site, store, site.ada)
    await make_rule(site.owner, site.ada.project, name="Orders fail", severity="critical")
    await make_rule(
        site.owner,
        site.ada.project,
        name="No runs",
        metric="no_runs",
        comparison="above",
        no_data_after_seconds=86_400,
        silenced_until=datetime.now(UTC) + timedelta(hours=3),
        silence_reason="The shop is closed for stock-taking",
    )
    receiver.answers = [web.Response(status=500, text="<h1>Out of order</h1>")]
    await visitor.sign_in(site, site.ada, "/alerts")
    await add_channel(visitor.page, receiver, "Operations")
    await visitor.page.get_by_role("button", name="Send test").click()
    await eventually(lambda: receiver.got, what="the test notification")
    await open_an_incident(site, site.ada)
    incident = await incident_of(site)
    await eventually(lambda: len(receiver.got) > 1, what="the notification")
    return incident


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violations_on_the_alerts_pages(
    site: Site, browser: Browser, store: CountingStore, receiver: Receiver, scheme: str
) -> None:
    async with visitor(browser, color_scheme=scheme, reduced_motion="reduce") as ada:
        incident = await fill_every_view(site, ada, store, receiver)
        page = ada.page
        pages = [
            *(
                (f"/alerts?view={view}", f"[aria-current='page']:has-text('{view}')")
                for view in VIEWS
            ),
            (f"/alerts/incidents/{incident}", "text=Timeline"),
            ("/alerts?rule=new", "text=would have opened"),
            ("/", "[data-testid=open-incidents]"),
        ]
        for path, sign in pages:
            await page.goto(site.url + path)
            await expect(page.locator(sign).first).to_be_visible()
            await ada.live()
            assert await violations(ada) == [], path
        await page.get_by_role("link", name="Order sync", exact=True).last.click()
        await expect(page.get_by_role("heading", name="Recent incidents")).to_be_visible()
        assert await violations(ada) == []
        await page.goto(f"{site.url}/alerts?view=channels")
        await page.get_by_role("button", name="Edit").click()
        await expect(page.get_by_role("form", name="Edit")).to_be_visible()
        assert await violations(ada) == []
        await page.goto(f"{site.url}/alerts?view=silences")
        await page.get_by_label("Rule").select_option("Orders fail")
        await page.get_by_label("Duration").select_option("Until …")
        await expect(page.get_by_label("Until")).to_be_visible()
        assert await violations(ada) == []


@pytest.mark.parametrize("width", [390, 1024, 1600])
async def test_the_alerts_pages_fit_their_window(
    site: Site, browser: Browser, store: CountingStore, receiver: Receiver, width: int
) -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 updates the screenshots in docs/images."""
    window = {"width": width, "height": 900 if width > 400 else 844}
    async with visitor(browser, viewport=window) as ada:
        incident = await fill_every_view(site, ada, store, receiver)
        page = ada.page
        pages = [
            ("/alerts", "[data-incident]", "alerts"),
            ("/alerts?rule=new", "text=would have opened", "rule"),
            (f"/alerts/incidents/{incident}", "text=Timeline", None),
            *((f"/alerts?view={view}", ".panel", None) for view in VIEWS[1:]),
        ]
        for path, sign, name in pages:
            await page.goto(site.url + path)
            await expect(page.locator(sign).first).to_be_visible()
            await screenshot(ada, f"{name}-{width}.png" if name and width == 1600 else None)
