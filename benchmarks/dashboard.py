"""Row "dashboard": the page with 200 workflows in headless Chromium, drawn by the processor.

Frames are measured while 50 broadcasts a second are pushed, each with a change of one workflow,
and for comparison while none is: on a machine with other work, that is what the machine makes of a
page that does nothing. A frame is the time between two animation frames; a task is what the page
itself does before one of them (Long Animation Frames API).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from playwright.async_api import Browser, Page, Request, async_playwright

from benchmarks.figures import Figure, at_most
from benchmarks.live import UNLIMITED, Live, live
from benchmarks.stack import Stack, database, insert_finished
from meshmetrics.api.dashboard import BUILT

ROW = "dashboard"
WORKFLOWS = 200
RUNS = 6000
"""Within the last day; a card shows numbers up to 9,999 to the digit."""
CHANGES_PER_SECOND = 50
SOFTWARE = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

# Before anything of the page runs: who is signed in, and when the first numbers are drawn.
PREPARE = """
localStorage.setItem('meshmetrics.devstack-user', JSON.stringify({id: '%s'}));
window.drawn = new Promise((done) => {
  const look = () => {
    const there = document.querySelector('[data-testid=card-rate] .value')
      && document.querySelector('tbody tr[data-slug]');
    if (!there) return requestAnimationFrame(look);
    requestAnimationFrame(() => done(performance.now()));
  };
  requestAnimationFrame(look);
});
"""
FRAMES = """
(ms) => new Promise((done) => {
  const tasks = [], frames = [];
  const watch = new PerformanceObserver((list) => tasks.push(...list.getEntries()
    .map((entry) => entry.duration)));
  watch.observe({type: 'long-animation-frame'});
  let last = performance.now();
  const end = last + ms;
  const frame = (now) => {
    frames.push(now - last);
    last = now;
    if (now < end) requestAnimationFrame(frame);
    else done({frames: frames.slice(1), tasks});
  };
  requestAnimationFrame(frame);
})
"""
# Resolves with the Unix time at which the number of finished runs was drawn to be this one.
SHOWN = """
(wanted) => new Promise((done) => {
  const look = () => document.querySelector('[data-testid=card-runs] .value').textContent.trim()
    === wanted ? done(Date.now() / 1000) : requestAnimationFrame(look);
  look();
})
"""


async def measure(*, quick: bool = False) -> list[Figure]:
    seconds = 3 if quick else 10
    async with database(workflows=WORKFLOWS) as stack:
        await insert_finished(stack.owner, RUNS, days=0.95)
        ids = [row["id"] for row in await stack.owner.fetch("select id from public.workflow_runs")]
        for start in range(0, len(ids), 1000):
            await stack.store.count_runs(ids[start : start + 1000])
        user: UUID = await stack.owner.fetchval("select owner from public.projects")
        async with (
            live(stack, limits=UNLIMITED, users={"bench": user}) as running,
            _chromium() as browser,
        ):
            await running.streaming()
            draws, size = await _first_draws(running, browser, user, 3 if quick else 7)
            async with _page(running, browser, user) as page:
                still, _ = await _frames(page, seconds)
                before = await _number(page)
                pushing = asyncio.create_task(_push(stack, running))
                frames, tasks = await _frames(page, seconds)
                pushing.cancel()
                if await _number(page) - before < seconds * CHANGES_PER_SECOND * 0.8:
                    raise RuntimeError("what was pushed did not come on the screen")
            async with _page(running, browser, user) as page:
                took = await _to_the_screen(stack, page, 10 if quick else 60)
    return [
        at_most(ROW, "JavaScript of the page, gzip", size / 1000, 200, "KB"),
        at_most(ROW, "first draw of all numbers, cold cache", median(draws), 1000, "ms"),
        Figure(ROW, "longest frame, nothing pushed", max(still), "ms"),
        at_most(ROW, f"longest frame, {CHANGES_PER_SECOND} changes/s", max(frames), 50, "ms"),
        Figure(ROW, "frames over 50 ms", sum(frame > 50 for frame in frames), "frames"),
        Figure(ROW, "p99 of frames", quantiles(frames, n=100)[98], "ms"),
        Figure(ROW, "longest task of the page, where over 50 ms", max(tasks, default=0.0), "ms"),
        Figure(ROW, "run's end → number on the screen, p50", median(took), "ms"),
        at_most(ROW, "run's end → number, p99", quantiles(took, n=100)[98], 1000, "ms"),
    ]


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    if path is None or not (BUILT / "index.html").is_file():
        raise RuntimeError("chromium and the built dashboard are needed: make packages dashboard")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=SOFTWARE)
        yield browser
        await browser.close()


@asynccontextmanager
async def _page(running: Live, browser: Browser, user: UUID) -> AsyncIterator[Page]:
    """The page with all its numbers, live."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    await page.add_init_script(PREPARE % user)
    await page.goto(running.daemon.url)
    await page.locator("[data-testid=pill]", has_text="Live").wait_for()
    await asyncio.sleep(1)  # the fetch that follows on a join
    yield page
    await context.close()


async def _first_draws(
    running: Live, browser: Browser, user: UUID, times: int
) -> tuple[list[float], int]:
    """Milliseconds from asking for the page to its numbers, each in a browser that has nothing of
    it; and the bytes of all scripts that it loads."""
    took: list[float] = []
    asked_for: list[Request] = []
    for _ in range(times):
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        page = await context.new_page()
        await page.add_init_script(PREPARE % user)
        page.on("request", lambda asked: asked_for.append(asked))
        await page.goto(running.daemon.url)
        took.append(await page.evaluate("window.drawn"))
        await context.close()
    scripts = {one.url for one in asked_for if one.resource_type == "script"}
    files = [BUILT / (urlsplit(url).path.lstrip("/") + ".gz") for url in scripts]
    return took, sum(file.stat().st_size for file in files)


async def _number(page: Page) -> int:
    """Of finished runs, as the card says it."""
    text = await page.locator("[data-testid=card-runs] .value").inner_text()
    return int(text.replace(",", ""))


async def _frames(page: Page, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds of each frame, and of each task over 50 ms."""
    told = await page.evaluate(FRAMES, seconds * 1000)
    return told["frames"], told["tasks"]


async def _push(stack: Stack, running: Live) -> None:
    """Broadcasts that follow on what the database holds, one workflow each, until canceled."""
    rows = await stack.owner.fetch(
        "select m.*, d.slug from public.workflow_run_metrics m"
        " join public.workflow_definitions d on d.id = m.workflow_id"
    )
    counters = [dict(row) for row in rows]
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(1_000_000):
        await asyncio.sleep(max(0.0, began + number / CHANGES_PER_SECOND - loop.time()))
        one = counters[number % len(counters)]
        topic = f"realtime:metrics:{one['project_id']}"
        message = {"type": "broadcast", "event": "rates", "payload": _change(one, number % 10 == 0)}
        running.realtime.push("broadcast", message, topic)


def _change(counters: dict[str, Any], failed: bool) -> dict[str, Any]:
    now = datetime.now(UTC)
    outcome = "failure" if failed else "success"
    counters[f"{outcome}_count"] += 1
    counters[f"last_{outcome}_at"] = now
    counters["revision"] += 1
    delta = {"minute": now.replace(second=0, microsecond=0), "success": 0, "failure": 0}
    change = {
        **{key: counters[key] for key in counters if key.endswith(("_id", "_count", "_at"))},
        "slug": counters["slug"],
        "base_revision": counters["revision"] - 1,
        "revision": counters["revision"],
        "deltas": [{**delta, "canceled": 0, outcome: 1}],
    }
    whole = {"v": 1, "project_id": counters["project_id"], "sent_at": now, "workflows": [change]}
    text = json.dumps(whole, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v))
    parsed: dict[str, Any] = json.loads(text)
    return parsed


async def _to_the_screen(stack: Stack, page: Page, runs: int) -> list[float]:
    """Milliseconds from each run's end, committed, to the card that counts it: one by one, through
    Realtime, daemon, database and broadcast."""
    place = await stack.owner.fetchrow("select id, project_id from public.workflow_definitions")
    assert place is not None
    number = await _number(page)
    took = []
    for _ in range(runs):
        run = await stack.owner.fetchval(
            "insert into public.workflow_runs (workflow_id, project_id, status)"
            " values ($1, $2, 'running') returning id",
            *place,
        )
        await asyncio.sleep(0.5)
        number += 1
        waiting = asyncio.create_task(page.evaluate(SHOWN, f"{number:,}"))
        await stack.owner.execute(
            "update public.workflow_runs set status = 'succeeded', finished_at = now()"
            " where id = $1",
            run,
        )
        ended = time.time()
        took.append((await asyncio.wait_for(waiting, 30) - ended) * 1000)
    return took
