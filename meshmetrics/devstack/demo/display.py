"""The demo's output: a full screen on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.status import Status

from meshmetrics.devstack.demo.screen import screen
from meshmetrics.devstack.demo.text import NONE, milliseconds, seconds
from meshmetrics.devstack.demo.view import View

LINES_EVERY = 5.0


class Display(Protocol):
    """`step` while starting, `show` while running, `close` before the last line."""

    interval: float
    """Seconds between two calls of `show`."""
    keys: bool
    """Whether it reads single keys."""

    def step(self, text: str) -> None: ...
    def show(self, view: View) -> None: ...
    def close(self) -> None: ...


class ScreenDisplay:
    """The whole terminal, restored at the end."""

    interval = 0.25
    keys = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open = ExitStack()
        self._status: Status | None = None
        self._step: tuple[str, float] | None = None
        self._live: Live | None = None

    def step(self, text: str) -> None:
        """Tick off the step before, and show this one as under way."""
        self._tick()
        self._step = (text, time.monotonic())
        if self._status is None:
            self._status = self._open.enter_context(self._console.status(text))
        else:
            self._status.update(text)

    def show(self, view: View) -> None:
        """Draw."""
        if self._live is None:
            self._tick()
            self._open.close()
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._open.enter_context(self._live)
        size = self._console.size
        self._live.update(screen(view, size.width, size.height), refresh=True)

    def close(self) -> None:
        """Leave the terminal."""
        self._open.close()

    def _tick(self) -> None:
        if self._step is not None:
            text, began = self._step
            took = time.monotonic() - began
            self._console.print(f"[green]✓[/] {text} [dim]{took:.1f} s[/]", highlight=False)
            self._step = None


class LinesDisplay:
    """A line every few seconds."""

    interval = 0.5
    keys = False

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._due: float | None = None
        self._reported = 0
        self._note = ""

    def step(self, text: str) -> None:
        self._say(text)

    def show(self, view: View) -> None:
        if view.note:
            if view.note != self._note:
                self._say(view.note)
            self._note = view.note
            return
        if self._due is None:
            self._introduce(view)
            self._due = view.elapsed + LINES_EVERY
        self._report(view)
        if view.elapsed < self._due:
            return
        self._due += LINES_EVERY
        left = "unsubscribed" if view.daemon.unsubscribed else "down"
        stream = "up" if view.realtime_up and view.daemon.stream_up else left
        self._say(
            f"{view.elapsed:4.0f} s  finished {view.finished:,}  counted {view.counted:,}"
            f"  on screen {view.shown:,}  broadcasts {view.broadcasts:,}"
            f"  p50 {milliseconds(view.p50)}  p99 {milliseconds(view.p99)}"
            f"  stream {stream}  drift {NONE if view.drift is None else view.drift}"
            f" ({seconds(view.since_audit)} ago)"
        )

    def close(self) -> None:
        pass

    def _introduce(self, view: View) -> None:
        self._say(f"dashboard: {view.places.daemon}/")
        self._say(f"health: curl {view.places.daemon}/readyz (or /healthz, /metrics)")
        self._say(f"database: psql {view.places.postgres}")
        self._say(f"daemon log: tail -f {view.places.log}")
        if view.alerting is not None:
            self._say(f"webhook log: tail -f {view.places.webhooks}")
            self._say(
                f"alert: {view.alerting.workflow} breaks in {seconds(view.alerting.turns_in)};"
                f" {view.alerting.rule}"
            )
        for project in view.projects:
            self._say(f"channel: {project.topic} (private) at {view.places.realtime}")

    def _report(self, view: View) -> None:
        """Print the notices since the last call."""
        if view.alerting is not None:
            fresh = view.alerting.count - self._reported
            self._reported = view.alerting.count
            for received in view.alerting.received[-fresh:] if fresh else ():
                self._say(f"webhook: {received.line}")

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)
