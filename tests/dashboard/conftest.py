"""A real browser on the real page, with a daemon, Postgres and the development Realtime server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, Page, WebSocket, async_playwright, expect

from meshmetrics.api.dashboard import BUILT
from meshmetrics.daemon.daemon import Daemon
from meshmetrics.devstack.realtime import RealtimeServer, Timing, mint
from tests.daemon.conftest import JWT_SECRET, KEY, QUICK, TestSettings
from tests.support import Project, Workflow, eventually, make_project, make_workflow
from tests.support.databases import DatabaseClone

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
LOGIN = "meshmetrics_test_dashboard"
TIMEOUT = 15_000
"""Milliseconds to wait for anything on the page."""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Tenant:
    """A user with a project and one workflow in it."""

    name: str
    project: Project
    workflow: Workflow


@dataclass
class Site:
    """Everything behind the page."""

    url: str
    database: DatabaseClone
    realtime: RealtimeServer
    owner: asyncpg.Connection
    ada: Tenant
    grace: Tenant


async def _login(database: DatabaseClone, owner: asyncpg.Connection) -> str:
    """The DSN of a role that counts runs and reads as tenants."""
    await owner.execute(
        f"do $$ begin create role {LOGIN} login in role meshmetrics_worker, authenticated;"
        " exception when duplicate_object or unique_violation then null; end $$"
    )
    return database.dsn(LOGIN)


@asynccontextmanager
async def _daemon(
    database: DatabaseClone, realtime: RealtimeServer, dsn: str, **settings: object
) -> AsyncIterator[str]:
    """Runs a daemon in this process; yields its URL."""
    daemon = Daemon(
        TestSettings.model_validate(
            {
                **QUICK,
                "supabase_url": realtime.url,
                "supabase_secret_key": KEY,
                "supabase_jwt_secret": JWT_SECRET,
                "supabase_publishable_key": mint(JWT_SECRET, "anon"),
                "database_url": dsn,
                "runs_url": "/runs?workflow={workflow_id}&status={status}",
                "api_burst": 1000,
                **settings,
            }
        )
    )
    stop = asyncio.Event()
    task = asyncio.create_task(daemon.run(stop))

    def up() -> bool:
        if task.done():
            task.result()
        return daemon.stream.up_since is not None

    try:
        await eventually(up, what="the daemon to be ready")
        assert daemon.http is not None
        yield f"http://127.0.0.1:{daemon.http.port}"
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def _tenant(owner: asyncpg.Connection, name: str, flow: str) -> Tenant:
    project = await make_project(owner, name=f"{name}'s project")
    workflow = await make_workflow(owner, project, flow.lower().replace(" ", "-"), name=flow)
    return Tenant(name, project, workflow)


@asynccontextmanager
async def serving(
    database: DatabaseClone,
    owner: asyncpg.Connection,
    *,
    token_life: int = 3600,
    **settings: object,
) -> AsyncIterator[Site]:
    """Two tenants, and a daemon with these settings that serves the page."""
    if not (BUILT / "index.html").is_file():
        pytest.fail("the dashboard is not built: make dashboard")
    ada = await _tenant(owner, "Ada", "Order sync")
    grace = await _tenant(owner, "Grace", "Meter readings")
    realtime = RealtimeServer(
        database_dsn=database.owner_dsn,
        jwt_secret=JWT_SECRET,
        timing=Timing.quick(),
        users={tenant.name: tenant.project.owner for tenant in (ada, grace)},
        token_life=token_life,
    )
    await realtime.start()
    try:
        dsn = await _login(database, owner)
        async with _daemon(database, realtime, dsn, **settings) as url:
            yield Site(url, database, realtime, owner, ada, grace)
    finally:
        await realtime.stop()


@pytest.fixture
async def site(
    request: pytest.FixtureRequest, database: DatabaseClone, owner: asyncpg.Connection
) -> AsyncIterator[Site]:
    """Two tenants, and the page. Indirect parameter: the lifetime of tokens in seconds."""
    async with serving(database, owner, token_life=getattr(request, "param", 3600)) as site:
        yield site


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, headless."""
    path = shutil.which("chromium")
    assert path is not None, "there is no chromium: .ci/system-packages"
    expect.set_options(timeout=TIMEOUT)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield chromium
        await chromium.close()


class Visitor:
    """A user with a separate browser context. Records errors and requests of the page."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        self.requests: set[str] = set()
        self.sent_frames: list[str] = []
        """Frames sent over the WebSocket."""
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type == "error" else None,
        )
        page.on("request", lambda request: self.requests.add(request.url))
        page.on("websocket", self._socket)

    def _socket(self, socket: WebSocket) -> None:
        self.requests.add(socket.url)
        socket.on("framesent", lambda frame: self.sent_frames.append(str(frame)))

    async def sign_in(self, site: Site, tenant: Tenant, path: str = "/") -> None:
        """Signs in as the tenant, and waits until the page is live."""
        await self.page.goto(site.url + path)
        await self.page.get_by_role("button", name=tenant.name).click()
        await self.live()

    async def live(self) -> None:
        await expect(self.page.get_by_test_id("pill")).to_contain_text("Live")

    async def card(self, kind: str) -> str:
        """The number on a card."""
        card = self.page.get_by_test_id(f"card-{kind}").locator(".value")
        return (await card.inner_text()).strip()


@asynccontextmanager
async def visitor(browser: Browser, **options: object) -> AsyncIterator[Visitor]:
    """A separate browser context."""
    options = {
        "timezone_id": "Europe/Berlin",
        "viewport": {"width": 1280, "height": 900},
        **options,
    }
    context = await browser.new_context(**options)  # type: ignore[arg-type] # as the test says
    yield Visitor(context, await context.new_page())
    await context.close()
