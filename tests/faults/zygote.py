"""Forks daemons: a process that has imported everything, so that each starts at once.

Twenty kills need twenty daemons, and importing takes longer than all that is tested. A forked
daemon is a process like any other: it reads its settings from its environment, and dies alone.
Run as a script this is the mother of them; she takes a JSON line for each and ends them all when
her standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support import eventually


class Daemon:
    """A forked daemon, and what it has logged."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self._log = log

    def lines(self) -> list[dict[str, Any]]:
        text = self._log.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    async def has_logged(self, event: str, times: int = 1, within: float = 20.0) -> dict[str, Any]:
        """Wait for the nth line of that name."""

        def look() -> list[dict[str, Any]]:
            found = self.logged(event)
            if len(found) < times and not self.alive:
                raise RuntimeError(f"{self.pid} has ended: {self._log.read_text()}")
            return found if len(found) >= times else []

        return (await eventually(look, within, what=event))[times - 1]

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def killed(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        if self.alive:
            self.signal(signal.SIGKILL)
        await eventually(lambda: not self.alive, what="its end")

    async def ended(self, within: float = 10.0) -> None:
        await eventually(lambda: not self.alive, within, what="its end")


class Zygote:
    """The mother process, from where the tests are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._started = 0
        self.daemons: list[Daemon] = []

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.zygote",
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def fork(self, env: dict[str, str]) -> Daemon:
        """A daemon with this environment and no other."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._started += 1
        log = self._directory / f"daemon-{self._started}.log"
        log.touch()
        request = {"env": env, "log": str(log), "directory": str(self._directory)}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
        answer = await asyncio.wait_for(process.stdout.readline(), 30)
        self.daemons.append(Daemon(int(answer), log))
        return self.daemons[-1]

    async def close(self) -> None:
        """Kill them all."""
        for daemon in self.daemons:
            if daemon.alive:
                daemon.signal(signal.SIGKILL)
        process = self._process
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            await asyncio.wait_for(process.wait(), 20)


def _serve() -> None:
    # All that a daemon imports.
    import uvloop  # noqa: F401

    import meshmetrics.daemon.daemon  # noqa: F401
    from meshmetrics.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody need wait for them
    children = []
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.chdir(request["directory"])
            os.environ.clear()
            os.environ.update(request["env"])
            log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
            nothing = os.open(os.devnull, os.O_RDWR)
            for number, target in ((0, nothing), (1, nothing), (2, log)):
                os.dup2(target, number)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            try:
                main(["run"])
            finally:
                os._exit(0)
        children.append(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
