"""Serves the dashboard: the files that `make dashboard` built, and their configuration."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from meshmetrics.api.http.problems import Problem

BUILT = Path(__file__).resolve().parent.parent / "_dashboard"
IMMUTABLE = "public, max-age=31536000, immutable"
"""For files whose name changes with their content."""
REVALIDATE = "no-cache"
PAGES = ("/", "/workflow/{workflow_id}", "/alerts", "/alerts/incidents/{incident_id}")
"""The paths of its pages; notices contain those of incidents."""
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}

_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)

NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>meshmetrics: the dashboard is not built</title>
<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto">
<h1>The dashboard is not built</h1>
<p>Everything else works. Run <code>make dashboard</code> in meshmetrics' folder and load this
page again; no restart is needed.</p>
<p><a href="/api/docs">The REST API</a></p>
"""


class Dashboard:
    """One page for all its paths, its files, and `/dashboard.json`."""

    def __init__(
        self,
        supabase_url: str,
        anon_key: str | None = None,
        runs_url: str | None = None,
        *,
        directory: Path = BUILT,
    ) -> None:
        self._url = supabase_url
        self._config = {"supabaseUrl": supabase_url, "anonKey": anon_key, "runsUrl": runs_url}
        self._directory = directory

    def mount(self, app: FastAPI) -> None:
        """Add its paths to an application."""
        for path in PAGES:
            app.get(path, include_in_schema=False)(self._page)
        app.get("/dashboard.json", include_in_schema=False)(self._settings)
        app.get("/favicon.svg", include_in_schema=False)(self._favicon)
        app.get("/_app/{path:path}", include_in_schema=False)(self._file)

    async def _page(self) -> Response:
        try:
            page = (self._directory / "index.html").read_text()
        except FileNotFoundError:
            return HTMLResponse(NOT_BUILT, 503, {"Cache-Control": "no-store"})
        headers = {
            "Cache-Control": REVALIDATE,
            "Content-Security-Policy": policy(page, self._url),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(page, headers=headers)

    async def _settings(self) -> Response:
        """The public configuration: where users sign in, and with which public key."""
        return JSONResponse(self._config, headers={"Cache-Control": REVALIDATE})

    async def _favicon(self, request: Request) -> Response:
        return self._answer(request, self._directory / "favicon.svg", REVALIDATE)

    async def _file(self, request: Request, path: str) -> Response:
        root = self._directory / "_app"
        try:
            file = (root / path).resolve()
            known = file.is_relative_to(root.resolve()) and file.is_file()
        except (OSError, ValueError):  # too long, or with a character that no name has
            known = False
        if not known:
            raise Problem(404, "there is no such file")
        return self._answer(request, file, IMMUTABLE if "immutable" in path else REVALIDATE)

    def _answer(self, request: Request, file: Path, caching: str) -> Response:
        """The file, compressed if there is a compressed copy and the browser accepts it."""
        if file.suffix not in TYPES or not file.is_file():
            raise Problem(404, "there is no such file")
        headers = {
            "Cache-Control": caching,
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        accepted = request.headers.get("accept-encoding", "")
        served = file
        for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
            compressed = file.with_name(file.name + suffix)
            if encoding in accepted and compressed.is_file():
                served, headers["Content-Encoding"] = compressed, encoding
                break
        return FileResponse(served, media_type=TYPES[file.suffix], headers=headers)


def policy(page: str, supabase_url: str) -> str:
    """The content security policy of a page: its own files and inline scripts, the API, and
    Supabase."""
    url = urlsplit(supabase_url)
    socket = f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}"
    scripts = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in _INLINE_SCRIPT.findall(page)
    )
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {scripts}".rstrip(),
            # Widths and colours computed from data are style attributes; no style sheet is inline.
            "style-src 'self'",
            "style-src-attr 'unsafe-inline'",
            "img-src 'self' data:",
            f"connect-src 'self' {url.scheme}://{url.netloc} {socket}",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
