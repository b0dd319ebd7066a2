"""A receiver of webhooks on this machine, as a tenant would write one.

It checks signatures, drops repeats and keeps a log. The daemon refuses to send to loopback
addresses; `settings` allow it this one address and port.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from meshmetrics.devstack.demo.text import seconds

HOST = "127.0.0.1"
MAX_RECEIVED = 50
"""Notices that `received` remembers."""
SIGNS = {"opened": "✕", "resolved": "●"}


@dataclass(frozen=True, slots=True)
class Received:
    """A notice that was received."""

    at: datetime
    """Local time of its arrival."""
    kind: str
    text: str
    genuine: bool
    """Whether the daemon signed it."""

    @property
    def line(self) -> str:
        """The notice as one line, for the log and the terminal."""
        text = self.text if self.genuine else "a wrong signature"
        return f"{self.at:%H:%M:%S} {SIGNS.get(self.kind, '○')} {self.kind:<8}  {text}"


class Receiver:
    """Listens on a free port of the loopback interface once started."""

    def __init__(self, log: Path) -> None:
        """`log`: the file that gets one line per notice."""
        self.log = log
        self.received: list[Received] = []
        """The latest notices, newest last."""
        self.count = 0
        """All notices received."""
        self.secret = ""
        """The channel's: `whsec_…`."""
        self.port = 0
        self._seen: set[str] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/alerts"

    @property
    def settings(self) -> dict[str, str]:
        """The settings that additionally allow a daemon to send to this receiver."""
        return {
            "MESHMETRICS_ALERT_HTTP": "true",
            "MESHMETRICS_ALERT_PORTS": f"443,8443,{self.port}",
            "MESHMETRICS_ALERT_NETWORKS": f"{HOST}/32",
        }

    async def start(self) -> None:
        """Listen. Raises OSError."""
        app = web.Application()
        app.router.add_post("/alerts", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.port = self._runner.addresses[0][1]
        self.log.touch()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        genuine = signed(self.secret, request.headers, body)
        message = request.headers.get("webhook-id", "")
        if genuine and message in self._seen:  # delivered at least once: repeats are dropped
            return web.Response(text="duplicate")
        self._seen.add(message)
        for notice in json.loads(body)["data"]["notices"]:
            found = Received(datetime.now().astimezone(), notice["kind"], describe(notice), genuine)
            self.received = [*self.received, found][-MAX_RECEIVED:]
            self.count += 1
            with self.log.open("a") as log:
                log.write(found.line + "\n")
        return web.Response(text="ok")


def signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the holder of the secret signed this, as Standard Webhooks specifies."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected, signature) for signature in signatures)


def describe(notice: Mapping[str, Any]) -> str:
    """A notice in a few words."""
    rule, workflow = notice["rule"], notice.get("workflow") or {}
    where = workflow.get("name") or workflow.get("slug") or rule["name"]
    if notice["kind"] == "resolved":
        return f"{where}: over after {seconds(notice['seconds'])}"
    if notice["cause"] == "consecutive":
        return f"{where}: {rule['consecutive']} failures in a row"
    return f"{where}: {rule['name']}"
