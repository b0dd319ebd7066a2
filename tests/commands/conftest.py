"""The commands that operators run once, as processes, on a real database and Realtime."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import World, login, realtime, world
from tests.daemon.process import environment

__all__ = ["login", "realtime", "world"]

ROOT = str(Path(__file__).parents[2])
SECONDS = 60


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


Command = Callable[..., Awaitable[Result]]


@pytest.fixture
async def command(world: World, tmp_path: Path) -> Command:
    """Runs `meshmetrics …` with the world's settings and `variables` over them, to its end."""

    async def run(*arguments: str, **variables: str) -> Result:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "meshmetrics", *arguments,
            cwd=tmp_path,
            env=environment(world.settings(), PYTHONPATH=ROOT, COLUMNS="250", **variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode is not None
        result = Result(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in result.err, result.err
        return result

    return run
