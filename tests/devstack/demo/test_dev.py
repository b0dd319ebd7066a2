"""`make dev` as a developer starts it: edits restart the daemon, and Ctrl-C leaves nothing."""

from __future__ import annotations

import re
import signal

import httpx
import pytest

from meshmetrics.devstack.dev import ROOT
from tests.devstack.demo.process import Demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DEV = ["meshmetrics.devstack.dev", "--days", "1"]


async def test_an_edit_restarts_the_daemon_behind_vite_and_ctrl_c_ends_all(demo: Demo) -> None:
    demo.start(*DEV)
    written = await demo.said("Ctrl-C stops everything.")
    assert "ada@northwind.example (Northwind Retail), no password" in written
    match = re.search(r"^Dashboard +(\S+)/$", written, re.M)
    assert match is not None
    before = demo.daemon()
    async with httpx.AsyncClient(base_url=match[1], timeout=30, trust_env=False) as vite:
        page = (await vite.get("/")).text
        assert "/@fs/" in page or "/@id/" in page or "/src/" in page  # Vite's, not the built one
        assert (await vite.get("/dashboard.json")).json()["anonKey"]

        (ROOT / "sql" / "policies.sql").touch()
        await demo.said("sql/policies.sql changed: restarting the daemon\nThe daemon is up.")
        assert demo.daemon() != before
        assert "paths" in (await vite.get("/api/openapi.json")).json()
    demo.signal(signal.SIGINT)
    assert await demo.status() == 0
    assert "Everything is stopped and removed." in demo.out.read_text()
    assert demo.left_behind() == []


async def test_ctrl_c_while_it_starts_leaves_nothing_behind(demo: Demo) -> None:
    demo.start(*DEV)
    await demo.said("Starting Realtime")
    demo.signal(signal.SIGINT)
    assert await demo.status() == 0
    assert demo.left_behind() == []
