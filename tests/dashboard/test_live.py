"""Numbers update when runs finish, for their tenant only, and recover from lost broadcasts."""

from __future__ import annotations

import re
import time

import jwt
import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.conftest import Site, Tenant, visitor
from tests.support import eventually, finish_run, insert_run

pytestmark = pytest.mark.slow

SECOND = 1000


async def finish_a_run(site: Site, tenant: Tenant, status: str = "succeeded") -> None:
    await finish_run(site.owner, await insert_run(site.owner, tenant.workflow), status)


async def test_a_finished_run_appears_without_a_reload(site: Site, browser: Browser) -> None:
    """`make bench ARGS=dashboard` measures the delay."""
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        runs = ada.page.get_by_test_id("card-runs").locator(".value")
        await expect(runs).to_have_text("0")
        for number in range(1, 6):
            run = await insert_run(site.owner, site.ada.workflow)
            await finish_run(site.owner, run, "failed" if number == 3 else "succeeded")
            await expect(runs).to_have_text(str(number))
        assert await ada.card("failed") == "1"
        assert await ada.card("rate") == "80.0\u202f%"
        row = ada.page.locator("tr[data-slug='order-sync']")
        await expect(row.locator("td.runs")).to_contain_text("5")
        await expect(row.locator("td.failed a")).to_have_attribute(
            "href", f"/runs?workflow={site.ada.workflow.id}&status=failed"
        )
        assert ada.complaints == []


async def test_two_tenants_see_their_own_runs_only(site: Site, browser: Browser) -> None:
    async with visitor(browser) as ada, visitor(browser) as grace:
        await ada.sign_in(site, site.ada)
        await grace.sign_in(site, site.grace)
        for _ in range(3):
            await finish_a_run(site, site.ada)
        await finish_a_run(site, site.grace, "failed")
        await expect(ada.page.get_by_test_id("card-runs").locator(".value")).to_have_text("3")
        await expect(grace.page.get_by_test_id("card-failed").locator(".value")).to_have_text("1")
        assert await ada.card("failed") == "0"
        assert await grace.card("runs") == "1"
        assert await ada.page.get_by_text("Meter readings").count() == 0
        assert await grace.page.get_by_text("Order sync").count() == 0
        # Even with the URL of the other tenant's workflow.
        await grace.page.goto(f"{site.url}/workflow/{site.ada.workflow.id}")
        await expect(grace.page.get_by_text("Workflow not found")).to_be_visible()


async def test_without_realtime_the_page_polls_and_reconnects_later(
    site: Site, browser: Browser
) -> None:
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        runs = ada.page.get_by_test_id("card-runs").locator(".value")
        pill = ada.page.get_by_test_id("pill")
        await site.realtime.kill()
        await expect(pill).to_contain_text("Delayed")
        await expect(pill).to_contain_text("every")
        await finish_a_run(site, site.ada)
        # The next poll may be the third one, 20 s after the second.
        await expect(runs).to_have_text("1", timeout=60 * SECOND)
        await expect(pill).to_contain_text("Delayed")
        await site.realtime.start()
        await expect(pill).to_contain_text("Live", timeout=90 * SECOND)
        await finish_a_run(site, site.ada, "failed")
        await expect(runs).to_have_text("2", timeout=60 * SECOND)
        await expect(ada.page.get_by_test_id("card-failed").locator(".value")).to_have_text("1")


async def test_a_lost_broadcast_is_detected_by_the_next_one(site: Site, browser: Browser) -> None:
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        runs = ada.page.get_by_test_id("card-runs").locator(".value")
        await finish_a_run(site, site.ada)
        await expect(runs).to_have_text("1")
        # A broadcast whose predecessor is missing: the page fetches the numbers.
        following = {
            "type": "broadcast",
            "event": "rates",
            "payload": {
                "v": 1,
                "project_id": str(site.ada.project.id),
                "sent_at": "2026-01-01T00:00:00Z",
                "workflows": [
                    {
                        "workflow_id": str(site.ada.workflow.id),
                        "slug": site.ada.workflow.slug,
                        "base_revision": 98,
                        "revision": 99,
                        "success_count": 99,
                        "failure_count": 0,
                        "canceled_count": 0,
                        "last_success_at": None,
                        "last_failure_at": None,
                        "deltas": [],
                    }
                ],
            },
        }
        async with ada.page.expect_response(lambda answer: "/history" in answer.url):
            site.realtime.push("broadcast", following, f"realtime:metrics:{site.ada.project.id}")
        await expect(runs).to_have_text("1")


def token_ends(frames: list[str]) -> list[float]:
    """Expiry times of the tokens that were sent over a socket, in order."""
    return [
        jwt.decode(token, options={"verify_signature": False})["exp"]
        for frame in frames
        for token in re.findall(r'"access_token":"([^"]+)"', frame)
    ]


@pytest.mark.parametrize("site", [12], indirect=True)
async def test_the_page_stays_live_after_its_first_token_expires(
    site: Site, browser: Browser
) -> None:
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        await ada.page.evaluate("window.sameAsBefore = true")
        first = await eventually(lambda: token_ends(ada.sent_frames), what="a token sent")
        await eventually(
            lambda: time.time() > first[0] and max(token_ends(ada.sent_frames)) > time.time(),
            within=60,
            what="a new token, after the first one expired",
        )
        # Requests with the first token would be rejected now.
        await ada.live()
        await finish_a_run(site, site.ada)
        await expect(ada.page.get_by_test_id("card-runs").locator(".value")).to_have_text("1")
        await ada.live()
        # A fetch uses the new token, too.
        async with ada.page.expect_response(lambda answer: "/history" in answer.url) as response:
            await ada.page.get_by_role("button", name="7 d", exact=True).click()
        assert (await response.value).status == 200
        assert await ada.page.evaluate("window.sameAsBefore")
        assert ada.complaints == []


async def test_a_workflow_page_shows_its_own_runs_only(site: Site, browser: Browser) -> None:
    async with visitor(browser) as ada:
        sent: list[str] = []
        ada.page.on(
            "websocket",
            lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))),
        )
        await ada.sign_in(site, site.ada)
        await finish_a_run(site, site.ada)
        await ada.page.get_by_role("link", name="Order sync", exact=True).click()
        await expect(ada.page.get_by_role("heading", name="Order sync")).to_be_visible()
        await expect(ada.page.get_by_role("heading", name="Last 365 days")).to_be_visible()
        await ada.live()
        await finish_a_run(site, site.ada, "failed")
        await expect(ada.page.get_by_test_id("card-failed").locator(".value")).to_have_text("1")
        await ada.page.get_by_role("link", name="All workflows").click()
        await expect(ada.page.get_by_test_id("card-runs").locator(".value")).to_have_text("2")
        # The channel stays joined across pages.
        assert len([frame for frame in sent if "phx_join" in frame]) == 1


async def test_the_page_sends_requests_to_the_daemon_and_supabase_only(
    site: Site, browser: Browser
) -> None:
    async with visitor(browser) as ada:
        await ada.sign_in(site, site.ada)
        await eventually(lambda: any("websocket" in url for url in ada.requests), what="a socket")
        ours = (site.url, site.realtime.url, site.realtime.url.replace("http", "ws", 1), "data:")
        assert [url for url in ada.requests if not url.startswith(ours)] == []
        assert ada.complaints == []
