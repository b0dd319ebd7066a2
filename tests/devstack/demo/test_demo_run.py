"""The demo as a user starts it: a process of its own, from the first line to the last."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from tests.support import eventually

COMMAND = [sys.executable, "-m", "meshmetrics", "demo"]
SLOW = 90.0


class Demo:
    """A running demo; everything it starts and makes can be told by its temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory.parent / f"{directory.name}.out"
        self.err = directory.parent / f"{directory.name}.err"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, terminal: int | None = None) -> None:
        environment = os.environ | {"TMPDIR": str(self.directory), "TERM": "xterm-256color"}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
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
        match = re.search(r"look: psql (\S+)", await self.said("look: tail"))
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


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Not pytest's own directory: the user that Postgres runs as could not get into it.
    with tempfile.TemporaryDirectory(prefix="demo-test-") as outer:
        Path(outer).chmod(0o755)
        directory = Path(outer) / "tmp"
        directory.mkdir(mode=0o755)
        demo = Demo(directory)
        yield demo
        if demo.process is not None and demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
        shutil.rmtree(directory, ignore_errors=True)


async def test_headless_it_ends_with_one_line_of_json(demo: Demo) -> None:
    demo.start("--headless", "--seconds", "5", "--json", "--rate", "8")
    assert await demo.status() == 0, demo.err.read_text()
    (line,) = demo.out.read_text().splitlines()
    result = json.loads(line)
    assert set(result) == {
        *("runs_finished", "runs_left_open", "runs_counted", "drift", "broadcasts"),
        "commit_to_broadcast_ms",
    }
    assert result["runs_finished"] > 10
    assert result["runs_counted"] == result["runs_finished"] + result["runs_left_open"]
    assert result["drift"] == 0
    assert result["broadcasts"] > 0
    times = result["commit_to_broadcast_ms"]
    assert 0 < times["p50"] <= times["p99"]
    assert demo.left_behind() == []


async def test_drift_is_found_and_ends_with_status_1(demo: Demo) -> None:
    demo.start("--seconds", "3", "--json")
    connection = await asyncpg.connect(await demo.dsn())
    await connection.execute(
        "update public.workflow_run_buckets set success_count = success_count + 1"
        " where (workflow_id, grain, bucket_start) = (select workflow_id, grain, bucket_start"
        " from public.workflow_run_buckets where grain = 'quarter' order by bucket_start limit 1)"
    )
    await connection.close()
    assert await demo.status() == 1
    result = json.loads(demo.out.read_text())
    assert result["drift"] >= 1
    assert result["runs_counted"] == result["runs_finished"] + result["runs_left_open"]


async def test_counts_that_are_not_what_the_engine_did_are_drift(demo: Demo) -> None:
    demo.start("--seconds", "3", "--json")
    connection = await asyncpg.connect(await demo.dsn())
    # A run that nobody but this test ended: counted rightly, so that no audit complains.
    await connection.execute(
        "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
        " select project_id, id, 'succeeded', now() from public.workflow_definitions limit 1"
    )
    await connection.close()
    assert await demo.status() == 1
    result = json.loads(demo.out.read_text())
    assert result["runs_counted"] == result["runs_finished"] + result["runs_left_open"] + 1
    assert result["drift"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well_and_leaves_nothing_behind(
    demo: Demo, number: signal.Signals
) -> None:
    demo.start("--rate", "20")
    await demo.dsn()
    assert demo.daemon()
    demo.signal(number)
    assert await demo.status() == 0
    last = demo.out.read_text().splitlines()[-1]
    assert re.match(r"[\d,]+ runs finished, [\d,]+ abandoned, [\d,]+ counted, drift 0; ", last)
    assert demo.left_behind() == []


@pytest.mark.parametrize("step", ["Starting Postgres", "Counting"])
async def test_a_signal_while_it_starts_leaves_nothing_behind(demo: Demo, step: str) -> None:
    demo.start()
    await demo.said(step)
    demo.signal(signal.SIGINT)
    assert await demo.status() == 0
    assert "Stopped while starting" in demo.err.read_text()
    assert demo.left_behind() == []


async def test_what_it_started_ends_with_it_even_when_it_is_killed(demo: Demo) -> None:
    demo.start()
    await demo.dsn()
    demo.signal(signal.SIGKILL)
    await demo.status()
    await eventually(lambda: demo.processes() == [], SLOW, what="nothing running")


async def test_a_daemon_that_ends_by_itself_ends_the_demo_and_is_told(demo: Demo) -> None:
    demo.start()
    await demo.dsn()
    os.kill(demo.daemon(), signal.SIGKILL)
    assert await demo.status() == 1
    said = demo.err.read_text()
    assert "the daemon ended" in said
    assert '"event": ' in said  # what it logged last
    assert demo.left_behind() == []


async def test_on_a_terminal_keys_stop_realtime_and_quit(demo: Demo) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    modes = termios.tcgetattr(theirs)
    written = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: written.extend(os.read(ours, 65_536)))
    try:
        demo.start(terminal=theirs)
        await eventually(lambda: b"stops Realtime" in written, SLOW, what="the screen")
        os.write(ours, b"r")
        await eventually(lambda: b"starts Realtime" in written, SLOW, what="Realtime stopped")
        os.write(ours, b"q")
        assert await demo.status() == 0, demo.err.read_text()
        await eventually(lambda: b"Everything is stopped" in written, what="the last line")
        assert termios.tcgetattr(theirs) == modes
        assert b"\x1b[?1049l" in written  # the screen of before is back
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)
    assert demo.left_behind() == []


def test_without_the_extra_it_says_what_to_install() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; sys.modules['aiohttp'] = None\n"
            "from meshmetrics.cli import main; main(['demo'])",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'meshmetrics[local]'" in done.stderr
    assert "Traceback" not in done.stderr
