"""The demo's daemon: a separate process, started as an operator starts it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from meshmetrics.devstack.processes import end_with_owner

SECONDS_TO_START = 30
SECONDS_TO_STOP = 6


class DaemonFailedError(RuntimeError):
    """The daemon ended or never answered; the message has its last log lines."""


@dataclass(frozen=True, slots=True)
class DaemonFigures:
    """The daemon's own figures, from `/metrics`."""

    stream_up: bool = False
    unsubscribed: bool = False
    events: int = 0
    by_sweep: int = 0
    sweeps: int = 0
    sweep_pause: float = 0.0


class DaemonProcess:
    """`python -m meshmetrics run`, logging JSON to a file. It ends when its owner does."""

    def __init__(self, settings: Mapping[str, str], directory: Path) -> None:
        """`settings`: its complete configuration. `directory`: its working directory and log."""
        self.log = directory / "daemon.log"
        self.port = 0
        self._directory = directory
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.AsyncClient(timeout=2)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises DaemonFailedError."""
        # The caller's environment does not configure it, and its working directory has no .env.
        ours = ("MESHMETRICS_", "SUPABASE_", "DATABASE_URL")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (some milliseconds)
                [sys.executable, "-m", "meshmetrics", "run"],
                env=environment | dict(self._settings),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for the demo, which stops its parts in order.
                start_new_session=True,
                preexec_fn=end_with_owner,
            )
        try:
            async with asyncio.timeout(SECONDS_TO_START):
                while not self._find_port():
                    self.check()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise self.failed("does not answer") from None

    def check(self) -> None:
        """Raises DaemonFailedError if it ended."""
        if not self.running:
            raise self.failed("ended")

    def failed(self, what: str) -> DaemonFailedError:
        """The error that says `what` happened, with the last lines of the log."""
        last = self.log.read_text(errors="replace").splitlines()[-8:]
        return DaemonFailedError("\n".join([f"the daemon {what}; its last log lines:", *last]))

    async def figures(self) -> DaemonFigures | None:
        """Its metrics; None if it does not answer."""
        try:
            answer = await self._http.get(f"{self.url}/metrics")
        except httpx.HTTPError:
            return None
        values = {
            (sample.name.removeprefix("meshmetrics_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        return DaemonFigures(
            stream_up=values.get(("stream_up",), 0) == 1,
            unsubscribed=values.get(("stream_left",), 0) == 1,
            events=int(values.get(("events_received_total",), 0)),
            by_sweep=int(values.get(("runs_counted_total", "sweep"), 0)),
            sweeps=int(values.get(("sweeps_total", "regular"), 0)),
            sweep_pause=values.get(("sweep_pause_seconds",), 0.0),
        )

    async def restart(self) -> None:
        """Stop it if it runs, and start it with the current code. Raises DaemonFailedError."""
        await self._end()
        await self.start()

    async def stop(self) -> None:
        """SIGTERM, and wait while it drains; kill it if it does not end."""
        await self._http.aclose()
        await self._end()

    async def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _find_port(self) -> bool:
        for line in self.log.read_text(errors="replace").splitlines():
            if '"http.listening"' in line:
                self.port = json.loads(line)["port"]
                return True
        return False
