"""The demo as a user starts it: a process of its own, and whatever it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support import eventually

SLOW = 90.0


class Demo:
    """A running demo, or `make dev`; all it starts and makes has its temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory.parent / f"{directory.name}.out"
        self.err = directory.parent / f"{directory.name}.err"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, terminal: int | None = None) -> None:
        """Start a module of ours with these arguments."""
        environment = os.environ | {"TMPDIR": str(self.directory), "TERM": "xterm-256color"}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=environment,
                stdin=terminal if terminal is not None else subprocess.DEVNULL,
                stdout=terminal if terminal is not None else out,
                stderr=err,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def status(self) -> int:
        """Its exit status, once it has ended."""
        process = self.process
        assert process is not None

        def ended() -> bool:
            written = self.out.read_text() + self.err.read_text()
            assert process.poll() is not None, f"still running; it wrote:\n{written}"
            return True

        await eventually(ended, SLOW, what="the demo's end")
        return process.wait()

    async def said(self, text: str) -> str:
        """Wait until it wrote this anywhere; return all that it wrote."""

        def found() -> str:
            written = self.out.read_text() + self.err.read_text()
            return written if text in written else ""

        return await eventually(found, SLOW, what=f"{text!r} said")

    async def dsn(self) -> str:
        match = re.search(r"database: psql (\S+)", await self.said("daemon log: tail"))
        assert match is not None
        return match[1]

    def processes(self) -> list[Path]:
        """Whatever runs on behalf of this demo, as directories of /proc."""
        mark = f"TMPDIR={self.directory}\0".encode()
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # gone meanwhile
                if mark in (directory / "environ").read_bytes():
                    found.append(directory)
        return found

    def daemon(self) -> int:
        """The daemon's process id."""
        (pid,) = [
            int(directory.name)
            for directory in self.processes()
            if b"meshmetrics\0run" in (directory / "cmdline").read_bytes()
        ]
        return pid

    def left_behind(self) -> list[object]:
        return [*self.processes(), *self.directory.iterdir()]
