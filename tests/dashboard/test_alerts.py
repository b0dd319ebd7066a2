"""Alerts on the screen: rules are made and tried, incidents appear, and notices arrive."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from playwright.async_api import Browser, Locator, Page, expect

from meshmetrics.store import Store
from tests.alerts.conftest import make_rule
from tests.alerts.receiver import Receiver, receiving
from tests.dashboard.conftest import Site, Tenant, Visitor, serving, visitor
from tests.dashboard.test_live import end_a_run
from tests.dashboard.test_page import picture, violations
from tests.support import eventually, insert_run
from tests.support.databases import Database

VIEWS = ["incidents", "rules", "silences", "channels", "deliveries"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somewhere for notices to go, on this machine."""
    async with receiving() as receiver:
        receiver.url = receiver.url.replace("hooks.test", "127.0.0.1")
        yield receiver


@pytest.fixture
async def site(
    database: Database, owner: asyncpg.Connection, receiver: Receiver
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


async def a_past(site: Site, store: Store, tenant: Tenant) -> None:
    """Runs of the last days: most succeeded, and five days ago four failed in a row."""
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
        await end_a_run(site, tenant, "failed")


async def incident_of(site: Site) -> str:
    """The id of the only one."""

    async def found() -> object:
        return await site.owner.fetchval("select id from public.workflow_alert_incidents")

    await eventually(found, what="an incident")
    return str(await found())


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("navigation", name="Alerts").get_by_role("link", name=name)


async def add_channel(page: Page, receiver: Receiver, name: str = "Ours") -> str:
    """A webhook, made in the form; its secret, as it is shown."""
    await tab(page, "Channels").click()
    await page.get_by_role("button", name="Add a channel").click()
    form = page.get_by_role("form", name="New channel")
    await form.get_by_label("Name").fill(name)
    await form.get_by_label("URL").fill(receiver.url)
    await form.get_by_role("button", name="Add the channel").click()
    secret = await page.get_by_test_id("secret").inner_text()
    await page.get_by_role("button", name="I have kept it").click()
    return secret


async def test_a_rule_is_made_with_a_preview_and_failing_runs_open_an_incident_everywhere(
    site: Site, browser: Browser, store: Store, receiver: Receiver
) -> None:
    await a_past(site, store, site.ada)
    async with visitor(browser) as ada, visitor(browser) as grace:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await expect(page.get_by_text("Nothing is watched yet")).to_be_visible()
        assert (await add_channel(page, receiver)).startswith("whsec_")
        await expect(page.get_by_test_id("secret")).to_have_count(0)

        await tab(page, "Rules").click()
        await page.get_by_role("link", name="Create the first rule").click()
        preview = page.get_by_test_id("preview")
        await expect(preview).to_contain_text("would have opened once in the last 30 days")
        await page.get_by_label("Or failures in a row").fill("0")
        await page.get_by_label("Threshold, %").fill("50")
        await expect(preview).to_contain_text("would not have opened")
        await page.get_by_label("Or failures in a row").fill("3")
        await page.get_by_label("Threshold, %").fill("95")
        await expect(preview).to_contain_text("would have opened once")
        await page.get_by_role("button", name="Create the rule").click()
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
        await expect(page.get_by_text("What happened")).to_be_visible()
        await expect(page.locator("[data-status='sent']")).to_contain_text("Opened to Ours")
        await expect(page.locator("[data-status='sent']")).to_contain_text("thanks")
        (notice,) = json.loads(receiver.got[0][1])["data"]["notices"]
        assert f"/alerts/incidents/{notice['incident_id']}" in page.url

        # The other tenant was sent nothing, and finds nothing.
        await expect(grace.page.get_by_test_id("open-incidents")).to_have_count(0)
        await grace.page.goto(page.url)
        await expect(grace.page.get_by_text("There is no such incident")).to_be_visible()
        await grace.page.goto(f"{site.url}/alerts")
        await expect(grace.page.get_by_text("Nothing is watched yet")).to_be_visible()
        for name in ("Channels", "Deliveries"):
            await tab(grace.page, name).click()
            await expect(grace.page.locator(".empty")).to_be_visible()
            assert await grace.page.get_by_text("Ours").count() == 0
        assert ada.complaints == []


async def test_an_incident_is_acknowledged_and_its_rule_silenced_and_heard_again(
    site: Site, browser: Browser
) -> None:
    await make_rule(site.owner, site.ada.project, name="Orders fail")
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await expect(page.get_by_text("No open incidents")).to_be_visible()
        await open_an_incident(site, site.ada)
        incident = page.locator("[data-incident]")
        await expect(incident).to_contain_text("Firing")
        await incident.get_by_role("button", name="Acknowledge").click()
        await expect(incident).to_contain_text("Acknowledged")
        row = await site.owner.fetchrow("select * from public.workflow_alert_incidents")
        assert row is not None
        assert row["acknowledged_by"] == site.ada.project.owner

        await incident.get_by_role("button", name="Silence").click()
        await page.get_by_label("Why (optional)").fill("known")
        await page.get_by_role("form", name="Silence").get_by_role("button", name="Silence").click()
        await expect(incident).to_contain_text("Silenced until")
        await tab(page, "Silences").click()
        await expect(page.locator("[data-silence]")).to_contain_text("Orders fail")
        await expect(page.locator("[data-silence]")).to_contain_text("known")
        await page.get_by_role("button", name="End Orders fail").click()
        await expect(page.get_by_text("Nothing is silenced")).to_be_visible()
        assert (
            await site.owner.fetchval("select silenced_until from public.workflow_alert_rules")
            is None
        )
        await page.get_by_label("Rule").select_option("Orders fail")
        await page.get_by_label("For").select_option("1 week")
        await page.get_by_role("form", name="Silence").get_by_role("button", name="Silence").click()
        await expect(page.locator("[data-silence]")).to_contain_text("Orders fail")
        assert ada.complaints == []


async def test_a_dead_letter_is_shown_with_its_answer_and_replayed(
    site: Site, browser: Browser, receiver: Receiver
) -> None:
    receiver.answers = [web.Response(status=410, text="moved away")]
    await make_rule(site.owner, site.ada.project, name="Orders fail")
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page
        await add_channel(page, receiver)
        await page.get_by_role("button", name="Send a test").click()
        await tab(page, "Deliveries").click()
        dead = page.locator("[data-status='dead']")
        await expect(dead).to_contain_text("HTTP 410")
        await expect(dead).to_contain_text("moved away")
        await tab(page, "Channels").click()
        channel = page.locator("[data-channel]")
        await expect(channel).to_contain_text("Switched off")
        await channel.get_by_role("button", name="Switch on").click()
        await expect(channel.get_by_role("button", name="Switch off")).to_be_visible()
        await tab(page, "Deliveries").click()
        await dead.get_by_role("button", name="Replay").click()
        await expect(page.locator("[data-status='sent']")).to_contain_text("thanks")
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
        assert len(receiver.got) == 2


async def test_a_rule_is_edited_switched_off_and_deleted_and_a_secret_rotated(
    site: Site, browser: Browser, receiver: Receiver
) -> None:
    await make_rule(site.owner, site.ada.project, name="Orders fail")
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts?view=rules")
        page = ada.page
        rule = page.locator("[data-rule]")
        await rule.get_by_role("link", name="Edit").click()
        await page.get_by_label("Threshold, %").fill("80.5")
        await page.get_by_label("Name (optional)").fill("Orders fail badly")
        await page.get_by_role("button", name="Save the rule").click()
        await expect(rule).to_contain_text("Orders fail badly")
        await expect(rule).to_contain_text("Success rate below 80.5 %")
        await rule.get_by_role("button", name="Switch off").click()
        await expect(rule.get_by_role("button", name="Switch on")).to_be_visible()
        await rule.get_by_role("button", name="Delete").click()
        await page.get_by_role("button", name="Keep").click()
        await rule.get_by_role("button", name="Delete").click()
        await rule.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_text("No rules yet")).to_be_visible()

        first = await add_channel(page, receiver)
        await page.get_by_role("button", name="New secret").click()
        await page.get_by_role("button", name="New secret", exact=True).click()
        second = page.get_by_test_id("secret")
        await expect(second).to_contain_text("whsec_")
        assert await second.inner_text() != first
        await page.get_by_role("button", name="I have kept it").click()
        await expect(page.locator("[data-channel]")).to_contain_text("Signed with the old secret")
        await page.reload()
        await expect(page.locator("[data-channel]")).to_be_visible()
        await expect(second).to_have_count(0)


async def test_what_is_wrong_is_said_at_the_field_it_concerns(site: Site, browser: Browser) -> None:
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/alerts?rule=new")
        page = ada.page
        threshold = page.get_by_label("Threshold, %")
        await threshold.fill("140")
        await expect(threshold).to_have_attribute("aria-invalid", "true")
        await expect(threshold).to_have_accessible_description(
            "This takes a share from 0 to 1, of a rate."
        )
        await threshold.fill("")
        await expect(threshold).to_have_accessible_description("This takes a number.")
        await threshold.fill("95")
        await expect(threshold).not_to_have_attribute("aria-invalid", "true")
        # Of a part that is folded away, too.
        await page.get_by_text("Finely").click()
        await page.get_by_label("At least runs").fill("0")
        await expect(page.get_by_label("At least runs")).to_have_attribute("aria-invalid", "true")

        await page.goto(f"{site.url}/alerts?view=channels")
        await page.get_by_role("button", name="Add a channel").click()
        await page.get_by_label("Name").fill("Inside")
        await page.get_by_label("URL").fill("https://10.0.0.1/hook")
        await page.get_by_role("button", name="Add the channel").click()
        url = page.get_by_label("URL")
        await expect(url).to_have_attribute("aria-invalid", "true")
        await expect(url).to_have_value("https://10.0.0.1/hook")


async def test_the_page_is_used_with_keys_alone(site: Site, browser: Browser) -> None:
    async with visitor(browser, reduced_motion="reduce") as ada:
        await ada.sign_in(site, site.ada, "/alerts")
        page = ada.page

        async def reach(role: str, name: str) -> None:
            """By Tab, as somebody without a mouse does."""
            target = page.get_by_role(role, name=name).first  # type: ignore[arg-type]
            await expect(target).to_be_visible()
            for _ in range(60):
                if await target.evaluate("one => one === document.activeElement"):
                    return
                await page.keyboard.press("Tab")
            pytest.fail(f"Tab does not lead to {name}")

        await reach("link", "Create the first rule")
        await page.keyboard.press("Enter")
        await reach("button", "Failures in a row")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Failures in a row", exact=True)).to_have_value("3")
        await reach("button", "Create the rule")
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-rule]")).to_contain_text("3 failures in a row")
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
        await expect(page.get_by_role("button", name="Keep")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Delete")).to_be_focused()


async def everything(site: Site, visitor: Visitor, store: Store, receiver: Receiver) -> str:
    """Something in every view; the id of the open incident."""
    await a_past(site, store, site.ada)
    await make_rule(site.owner, site.ada.project, name="Orders fail", severity="critical")
    await make_rule(
        site.owner,
        site.ada.project,
        name="Nothing runs",
        metric="no_runs",
        comparison="above",
        no_data_after_seconds=86_400,
        silenced_until=datetime.now(UTC) + timedelta(hours=3),
        silence_reason="The shop is closed for stock-taking",
    )
    receiver.answers = [web.Response(status=500, text="<h1>Out of order</h1>")]
    await visitor.sign_in(site, site.ada, "/alerts")
    await add_channel(visitor.page, receiver, "Operations")
    await visitor.page.get_by_role("button", name="Send a test").click()
    await eventually(lambda: receiver.got, what="the test notice")
    await open_an_incident(site, site.ada)
    incident = await incident_of(site)
    await eventually(lambda: len(receiver.got) > 1, what="the notice")
    return incident


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_with_alerts(
    site: Site, browser: Browser, store: Store, receiver: Receiver, scheme: str
) -> None:
    async with visitor(browser, color_scheme=scheme, reduced_motion="reduce") as ada:
        incident = await everything(site, ada, store, receiver)
        page = ada.page
        places = [
            *(
                (f"/alerts?view={view}", f"[aria-current='page']:has-text('{view}')")
                for view in VIEWS
            ),
            (f"/alerts/incidents/{incident}", "text=What happened"),
            ("/alerts?rule=new", "text=would have opened"),
            ("/", "[data-testid=open-incidents]"),
        ]
        for path, sign in places:
            await page.goto(site.url + path)
            await expect(page.locator(sign).first).to_be_visible()
            await ada.live()
            assert await violations(ada) == [], path
        await page.get_by_role("link", name="Order sync", exact=True).last.click()
        await expect(page.get_by_role("heading", name="Last incidents")).to_be_visible()
        assert await violations(ada) == []


@pytest.mark.parametrize("width", [390, 1024, 1600])
async def test_alerts_fit_their_window_and_are_pictured(
    site: Site, browser: Browser, store: Store, receiver: Receiver, width: int
) -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes the pictures into docs/images anew."""
    window = {"width": width, "height": 900 if width > 400 else 844}
    async with visitor(browser, viewport=window) as ada:
        incident = await everything(site, ada, store, receiver)
        page = ada.page
        places = [
            ("/alerts", "[data-incident]", "alerts"),
            ("/alerts?rule=new", "text=would have opened", "rule"),
            (f"/alerts/incidents/{incident}", "text=What happened", None),
            *((f"/alerts?view={view}", ".panel", None) for view in VIEWS[1:]),
        ]
        for path, sign, name in places:
            await page.goto(site.url + path)
            await expect(page.locator(sign).first).to_be_visible()
            await picture(ada, f"{name}-{width}.png" if name and width == 1600 else None)
