"""The dashboard's files as browsers get them."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from meshmetrics.api.dashboard import Dashboard
from meshmetrics.api.server import Readiness, create_app
from meshmetrics.runtime.telemetry import Telemetry

SCRIPT = "start()"
PAGE = f'<!doctype html><script src="/_app/x.js"></script><script>{SCRIPT}</script>'


async def _ready() -> Readiness:
    return Readiness(True)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build leaves."""
    files = tmp_path / "built"
    (files / "_app" / "immutable").mkdir(parents=True)
    (files / "index.html").write_text(PAGE)
    script = files / "_app" / "immutable" / "a1.js"
    script.write_text("let a")
    script.with_name("a1.js.gz").write_bytes(gzip.compress(b"let a"))
    (files / "_app" / "version.json").write_text("{}")
    (tmp_path / "secret.js").write_text("secret")
    return files


@pytest.fixture
async def client(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    dashboard = Dashboard("https://some.supabase.co", "public-key", directory=built)
    app = create_app(_ready, Telemetry(), dashboard=dashboard)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/workflow/4a1c", "/alerts", "/alerts/incidents/4a1c"])
async def test_every_address_of_the_page_is_the_page_and_runs_only_its_own_scripts(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path)
    assert answer.text == PAGE
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    connect = "connect-src 'self' https://some.supabase.co wss://some.supabase.co;"
    assert connect in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


async def test_files_with_their_content_in_their_name_are_kept_for_good(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/_app/immutable/a1.js")
    assert answer.text == "let a"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = await client.get("/_app/immutable/a1.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    version = await client.get("/_app/version.json")
    assert version.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/_app/nothing.js", "/_app/%2e%2e/%2e%2e/secret.js", "/_app/immutable", "/other"]
)
async def test_there_is_nothing_else(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_page_is_told_what_is_public_and_nothing_more(client: httpx.AsyncClient) -> None:
    assert (await client.get("/dashboard.json")).json() == {
        "supabaseUrl": "https://some.supabase.co",
        "anonKey": "public-key",
        "runsUrl": None,
    }


async def test_a_page_that_is_not_built_says_how_to_build_it(
    client: httpx.AsyncClient, built: Path
) -> None:
    (built / "index.html").unlink()
    answer = await client.get("/")
    assert answer.status_code == 503
    assert "make dashboard" in answer.text
