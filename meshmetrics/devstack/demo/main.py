"""`meshmetrics demo`: everything on this machine, and the rates as tenants see them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from meshmetrics.devstack.demo.alerts import AlertsFailedError
from meshmetrics.devstack.demo.daemon import DaemonFailedError
from meshmetrics.devstack.demo.display import Display, LinesDisplay, ScreenDisplay
from meshmetrics.devstack.demo.keys import keys
from meshmetrics.devstack.demo.running import Result, Running
from meshmetrics.devstack.demo.stack import DAYS, Stack, stack
from meshmetrics.devstack.postgres.binaries import PostgresNotFoundError
from meshmetrics.devstack.postgres.server import PostgresFailedError
from meshmetrics.devstack.tasks import end
from meshmetrics.runtime import logs

COUNTED_SECONDS = 60.0
"""The timeout for counting the generated history, in seconds."""
STREAM_SECONDS = 15.0
"""How long to wait for the stream, in seconds; without it the demo relies on sweeps."""


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds`: how long the engine runs; None: until Ctrl-C. `rate`: runs per second.
    `days`: days of runs before the demo starts."""

    seconds: float | None = None
    rate: float = 5.0
    seed: int = 1
    days: int = DAYS
    headless: bool = False
    json: bool = False


class DemoFailedError(Exception):
    """The demo cannot go on; the message says why."""


class _Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """Stopped while starting."""


def main(options: Options, display: Display | None = None) -> int:
    """Run the demo; return its exit status, 1 if there was drift. `display` is where it shows
    itself, if not where the options say. Raises DemoFailedError."""
    try:
        result = asyncio.run(_demo(options, display or _display(options)))
    except (
        PostgresNotFoundError,
        PostgresFailedError,
        DaemonFailedError,
        AlertsFailedError,
    ) as error:
        raise DemoFailedError(str(error)) from None
    if result is None:
        sys.stderr.write("Stopped while starting; nothing is left running.\n")
        return 0
    if options.json:
        sys.stdout.write(json.dumps(result.as_json()) + "\n")
    else:
        sys.stdout.write(_totals(result) + "\n")
    return 1 if result.drift else 0


async def _demo(options: Options, display: Display) -> Result | None:
    """None if it was stopped before it began."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def request_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, request_stop)

    def step(text: str) -> None:
        if stop.is_set():
            raise _Stopped
        display.step(text)

    try:
        async with stack(options.seed, step, days=options.days) as it:
            _log_to_file(it)
            running = Running(it, seed=options.seed, rate=options.rate)
            async with _alongside(*(watcher.run() for watcher in running.watchers)):
                await _count_the_past(running, step)
                step("Making an alert on a workflow that will break, with a webhook")
                await running.watch_what_breaks()
                step("Starting the engine")
                await _run(running, options, stop, display)
                display.show(running.view(note="Waiting for the last runs to be counted …"))

                def waiting(runs: int) -> None:
                    display.show(running.view(note=f"Waiting for {runs:,} runs to be counted …"))

                await running.settle(hurry, waiting)
                result = await running.result()
            display.close()
            return result
    except _Stopped:
        return None
    finally:
        display.close()


async def _count_the_past(running: Running, step: Callable[[str], None]) -> None:
    """Wait for the back-fill, then for the stream."""
    step(f"Back-filling {running.past:,} runs")
    with suppress(TimeoutError):
        async with asyncio.timeout(COUNTED_SECONDS):
            while await running.stack.counted() < running.past:
                running.stack.daemon.check()
                await asyncio.sleep(0.1)
    step("Waiting for the stream of changes")
    with suppress(TimeoutError):
        async with asyncio.timeout(STREAM_SECONDS):
            await running.refresh()
            while not (running.daemon.stream_up and all(w.joined for w in running.watchers)):
                running.stack.daemon.check()
                await asyncio.sleep(0.1)
                await running.refresh()


async def _run(running: Running, options: Options, stop: asyncio.Event, display: Display) -> None:
    """Run the engine and show what happens, for `options.seconds` or until `stop`."""
    engine_stop = asyncio.Event()
    engine = asyncio.create_task(running.run_engine(engine_stop))
    pressed: asyncio.Queue[str] = asyncio.Queue()

    async def handle_keys() -> None:
        while (key := (await pressed.get()).lower()) != "q":
            if key == "r":
                await running.toggle_realtime()
        stop.set()

    try:
        with keys(pressed.put_nowait) if display.keys else nullcontext(False) as keyboard:
            async with _alongside(
                handle_keys(), running.keep_refreshing(), running.keep_auditing()
            ):
                while not stop.is_set() and not engine.done():
                    if options.seconds is not None and running.elapsed >= options.seconds:
                        break
                    running.stack.daemon.check()
                    await running.count()
                    display.show(running.view(keys=keyboard))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(display.interval):
                            await stop.wait()
    finally:
        engine_stop.set()
        await engine


@asynccontextmanager
async def _alongside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run this work inside the context. Raises what any of it raised when the context ends."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        await end(*tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


def _display(options: Options) -> Display:
    if options.json:
        return LinesDisplay(sys.stderr)
    if options.headless or not sys.stdout.isatty():
        return LinesDisplay(sys.stdout)
    return ScreenDisplay(Console())


def _log_to_file(it: Stack) -> None:
    """Log to a file: log lines would garble the screen."""
    logs.configure(level="warning", style="json", stream=(it.directory / "demo.log").open("w"))


def _totals(result: Result) -> str:
    times = (
        ""
        if result.p50 is None
        else f", commit to broadcast p50 {result.p50:.0f} ms, p99 {result.p99:.0f} ms"
    )
    return (
        f"{result.finished:,} runs finished, {result.left_open:,} abandoned,"
        f" {result.counted:,} counted, drift {result.drift};"
        f" {result.broadcasts:,} broadcasts{times}."
        " Everything is stopped and removed."
    )
