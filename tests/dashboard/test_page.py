"""Filters survive reloads; accessibility; and layout."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, expect

from meshmetrics.counting.store import CountingStore
from meshmetrics.devstack.engine.engine import Engine
from tests.dashboard.conftest import AXE, Site, Visitor, visitor
from tests.support import finish_run, insert_run, make_workflow

pytestmark = pytest.mark.slow

IMAGES = AXE.parents[3] / "docs" / "images"


async def insert_runs(site: Site, store: CountingStore) -> None:
    """Enough runs for every part of the page."""
    other = await make_workflow(site.owner, site.ada.project, "invoices", name="Invoices")
    now = datetime.now(UTC)
    ids = [
        await insert_run(
            site.owner,
            workflow,
            "failed" if n % share == 0 else "canceled" if n % 17 == 0 else "succeeded",
            finished_at=now - timedelta(minutes=11 * n),
        )
        for workflow, share in ((site.ada.workflow, 9), (other, 3))
        for n in range(1, 60)
    ]
    await store.count_runs(ids)


async def test_filters_survive_a_reload_and_are_undone_by_the_back_button(
    site: Site, browser: Browser, store: CountingStore
) -> None:
    await insert_runs(site, store)
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        page = ada.page
        week = page.get_by_role("button", name="7 d", exact=True)
        await week.click()
        await page.get_by_label("Only failing").check()
        await page.get_by_label("Search workflows").fill("inv")
        await page.get_by_test_id("card-failed").click()
        await expect(page.locator("tbody tr[data-slug]")).to_have_count(1)
        await page.reload()
        await ada.live()
        await expect(week).to_have_attribute("aria-pressed", "true")
        await expect(page.get_by_label("Only failing")).to_be_checked()
        await expect(page.get_by_label("Search workflows")).to_have_value("inv")
        await expect(page.get_by_test_id("card-failed")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("tbody tr[data-slug]")).to_have_count(1)
        await page.go_back()
        await expect(page.get_by_test_id("card-rate")).to_have_attribute("aria-pressed", "true")
        await expect(page.get_by_label("Search workflows")).to_have_value("inv")
        await page.go_back()
        await expect(page.get_by_label("Only failing")).not_to_be_checked()
        await expect(week).to_have_attribute("aria-pressed", "true")


async def test_workflows_are_selected_with_the_keyboard_and_stay_selected(
    site: Site, browser: Browser, store: CountingStore
) -> None:
    await insert_runs(site, store)
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        page = ada.page
        opener = page.get_by_role("button", name="Select workflows")
        rows = page.locator("tbody tr[data-slug]")
        runs = page.get_by_test_id("card-runs").locator(".value")
        await expect(rows).to_have_count(2)
        await opener.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("combobox", name="Search workflows")).to_be_focused()
        await page.keyboard.type("inv")
        await expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
        await page.keyboard.press("Enter")
        # Cards and table show this workflow only, and the list stays open.
        await expect(rows).to_have_count(1)
        await expect(runs).to_have_text("59")
        await expect(page.get_by_role("option", name="Invoices")).to_have_attribute(
            "aria-selected", "true"
        )
        await page.keyboard.press("Escape")
        await expect(opener).to_be_focused()
        assert page.url.count("workflow=") == 1
        await page.reload()
        await expect(opener).to_contain_text("Invoices")
        await expect(rows).to_have_count(1)
        await page.get_by_label("Versions").select_option("newest only")
        await page.wait_for_url("**versions=newest*")
        await expect(rows).to_have_count(1)
        await page.get_by_role("button", name="Clear filters").click()
        await expect(rows).to_have_count(2)
        await expect(runs).to_have_text("118")
        # A search filters the table only, which says so, and its rows can be selected.
        await page.get_by_label("Search workflows").fill("inv")
        await expect(page.get_by_text("Cards and chart include all of them")).to_be_visible()
        await expect(runs).to_have_text("118")
        await page.get_by_role("button", name="Select this workflow").click()
        await expect(runs).to_have_text("59")
        await expect(opener).to_contain_text("Invoices")
        await expect(page.get_by_label("Search workflows")).to_have_value("")


async def test_cards_and_table_show_the_same_versions_and_update_for_those_only(
    site: Site, browser: Browser, store: CountingStore
) -> None:
    first = site.ada.workflow
    second = await make_workflow(
        site.owner, site.ada.project, first.slug, version=2, name="Order sync"
    )
    for workflow, runs in ((first, 10), (second, 3)):
        ids = [await insert_run(site.owner, workflow, "succeeded") for _ in range(runs)]
        await store.count_runs(ids)
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        page = ada.page
        runs_of_all = page.get_by_test_id("card-runs").locator(".value")
        cells = page.locator("tbody tr[data-slug] td.runs")
        versions = page.get_by_label("Versions")
        await expect(runs_of_all).to_have_text("13")
        await versions.select_option("newest only")
        await expect(runs_of_all).to_have_text("3")
        await expect(cells).to_have_text(["Runs3"])
        # A run of the older version does not count.
        for workflow in (first, second):
            await finish_run(site.owner, await insert_run(site.owner, workflow), "succeeded")
        await expect(runs_of_all).to_have_text("4")
        await expect(cells).to_have_text(["Runs4"])
        await versions.select_option("selected only")
        await expect(runs_of_all).to_have_text("15")
        await page.get_by_role("button", name="Select versions").click()
        await page.keyboard.type("v1")
        await page.keyboard.press("Enter")
        await expect(runs_of_all).to_have_text("11")
        await expect(cells).to_have_text(["Runs11"])
        await page.reload()
        await expect(page.get_by_role("button", name="Select versions")).to_contain_text(
            "Order sync v1"
        )
        await expect(runs_of_all).to_have_text("11")
        await versions.select_option("combined")
        await expect(runs_of_all).to_have_text("15")
        assert ada.complaints == []


async def test_a_range_is_entered_in_the_time_zone_of_the_page(
    site: Site, browser: Browser
) -> None:
    """The time zone of the device is Berlin, that of the page is Kathmandu."""
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada, "/?tz=Asia/Kathmandu")
        await ada.page.get_by_role("button", name="Custom").click()
        form = ada.page.get_by_role("form", name="Custom range")
        await expect(form).to_contain_text("Asia/Kathmandu (GMT+5:45)")
        await form.get_by_label("From").fill("2026-03-01T00:00")
        await form.get_by_label("To").fill("2026-03-02T00:00")
        await form.get_by_role("button", name="Apply").click()
        await ada.page.wait_for_url("**from=2026-02-28T18%3A15*to=2026-03-01T18%3A15*")


async def test_dragging_over_the_chart_zooms_in(
    site: Site, browser: Browser, store: CountingStore
) -> None:
    await insert_runs(site, store)
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        box = await ada.page.locator(".plot").bounding_box()
        assert box is not None
        y = box["y"] + box["height"] / 2
        await ada.page.mouse.move(box["x"] + box["width"] * 0.7, y)
        await ada.page.mouse.down()
        await ada.page.mouse.move(box["x"] + box["width"] * 0.9, y, steps=4)
        await ada.page.mouse.up()
        custom = ada.page.get_by_role("button", name="Custom")
        await expect(custom).to_have_attribute("aria-pressed", "true")
        assert "from=" in ada.page.url
        await ada.page.get_by_role("button", name="Zoom out").click()
        await expect(custom).to_have_attribute("aria-pressed", "false")


async def test_an_empty_range_offers_a_jump_to_the_last_run(
    site: Site, browser: Browser, store: CountingStore
) -> None:
    old = datetime.now(UTC) - timedelta(days=3)
    await store.count_runs(
        [await insert_run(site.owner, site.ada.workflow, "failed", finished_at=old)]
    )
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        await ada.page.get_by_role("button", name="Jump to the last run").click()
        await expect(ada.page.get_by_test_id("card-runs").locator(".value")).to_have_text("1")


async def violations(visitor: Visitor) -> list[str]:
    await visitor.page.evaluate(AXE.read_text())
    found = await visitor.page.evaluate(
        "async () => (await axe.run(document)).violations.map("
        "v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 160)).join(' | ')}`)"
    )
    return list(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violations(
    site: Site, browser: Browser, store: CountingStore, scheme: str
) -> None:
    await insert_runs(site, store)
    async with visitor(browser, color_scheme=scheme, reduced_motion="reduce") as ada:
        await ada.page.goto(site.url)
        await expect(ada.page.get_by_role("button", name="Ada")).to_be_visible()
        assert await violations(ada) == []
        await ada.page.get_by_role("button", name="Ada").click()
        await ada.live()
        await expect(ada.page.get_by_role("link", name="Invoices", exact=True)).to_be_visible()
        await ada.page.get_by_text("Show as table").click()
        assert await violations(ada) == []
        await ada.page.get_by_role("button", name="Custom").click()
        await ada.page.get_by_role("button", name="Select workflows").click()
        await expect(ada.page.get_by_role("listbox")).to_be_visible()
        assert await violations(ada) == []
        await ada.page.keyboard.press("Escape")
        await ada.page.set_viewport_size({"width": 390, "height": 844})
        assert await violations(ada) == []
        await ada.page.get_by_role("link", name="Invoices", exact=True).click()
        await expect(ada.page.get_by_role("heading", name="Last 365 days")).to_be_visible()
        assert await violations(ada) == []


async def populate_shop(site: Site, store: CountingStore) -> None:
    """Makes the first project of the demo, with its past runs, belong to Ada."""
    await Engine(site.database.owner_dsn, seed=1).populate(9)
    await site.owner.execute("delete from public.projects where name <> 'Northwind Retail'")
    await site.owner.execute("update public.projects set owner = $1", site.ada.project.owner)
    ids = [row["id"] for row in await site.owner.fetch("select id from public.workflow_runs")]
    for start in range(0, len(ids), 5000):
        await store.count_runs(ids[start : start + 5000])
    silent_for = timedelta(seconds=1)
    left_open = await store.find_abandoned(silent_for, len(ids))
    await store.settle_abandoned(left_open, silent_for)


@pytest.mark.parametrize("width", [390, 1024, 1600])
async def test_the_page_fits_its_window(
    site: Site, browser: Browser, store: CountingStore, width: int
) -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 updates the screenshots in docs/images."""
    await populate_shop(site, store)
    window = {"width": width, "height": 900 if width > 400 else 844}
    async with visitor(browser, viewport=window) as ada:
        await ada.sign_in(site, site.ada, "/?range=7d&tz=Europe/Berlin")
        await expect(
            ada.page.get_by_role("link", name="Order sync to warehouse", exact=True)
        ).to_be_visible()
        await screenshot(ada, f"dashboard-{width}.png")
        await ada.page.get_by_role("link", name="Refund approval", exact=True).click()
        await expect(ada.page.get_by_role("heading", name="Last 365 days")).to_be_visible()
        await screenshot(ada, f"workflow-{width}.png" if width == 1600 else None)


async def screenshot(visitor: Visitor, name: str | None) -> None:
    """Asserts that the page does not scroll sideways; saves a screenshot if requested."""
    overflow = await visitor.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    if name is not None and os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN"):
        await visitor.page.screenshot(path=IMAGES / name, full_page=True)
