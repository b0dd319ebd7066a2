"""A daemon in a process of its own, as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from meshmetrics.settings.fields import Settings
from meshmetrics.settings.load import variable
from tests.support import eventually


class Process:
    """A running `python -m meshmetrics …` and what it has logged so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.text = ""
        """What is no JSON: messages to a person."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.text += line.decode()

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    async def has_logged(self, event: str, within: float = 20.0) -> dict[str, Any]:
        """The first line of that name."""

        def look() -> list[dict[str, Any]]:
            found = self.logged(event)
            ended = self.process.returncode is not None and self._reading.done()
            if not found and ended:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.everything()}")
            return found

        return (await eventually(look, within, what=event))[0]

    async def ended(self, within: float = 20.0) -> int:
        """Its exit status."""
        status = await asyncio.wait_for(self.process.wait(), within)
        await self._reading
        return status

    def everything(self) -> str:
        return self.text + "\n".join(map(str, self.lines))


def environment(settings: Settings | None = None, **variables: str) -> dict[str, str]:
    """The environment that says what these settings say, and nothing else of ours."""
    values = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MESHMETRICS_", "SUPABASE_", "DATABASE_URL"))
    }
    for name, field in Settings.model_fields.items() if settings else ():
        value = getattr(settings, name)
        if value is not None and name in settings.model_fields_set:  # type: ignore[union-attr]
            secret = getattr(value, "get_secret_value", None)
            values[variable(name, field)] = secret() if secret else str(value)
    return values | variables


@asynccontextmanager
async def process(
    directory: Path,
    env: Mapping[str, str],
    *arguments: str,
    program: tuple[str, ...] = ("-m", "meshmetrics"),
) -> AsyncIterator[Process]:
    """Start it in an empty directory; kill it at the end if it still runs."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, *program, *arguments,
        cwd=directory, env=dict(env), stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield Process(started)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
