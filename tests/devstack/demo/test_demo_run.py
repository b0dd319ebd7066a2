"""The demo as a user starts it: a process of its own, from the first line to the last."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios

import asyncpg
import pytest

from tests.devstack.demo.process import SLOW, Demo
from tests.support import eventually

DEMO = ["meshmetrics", "demo", "--days", "1"]
"""A short past: these tests are about starting and ending."""

pytestmark = pytest.mark.slow


async def test_headless_it_ends_with_one_line_of_json(demo: Demo) -> None:
    demo.start(*DEMO, "--headless", "--seconds", "5", "--json", "--rate", "8")
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
    demo.start(*DEMO, "--seconds", "3", "--json")
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well_and_leaves_nothing_behind(
    demo: Demo, number: signal.Signals
) -> None:
    demo.start(*DEMO, "--rate", "20")
    await demo.dsn()
    assert demo.daemon()
    demo.signal(number)
    assert await demo.status() == 0
    last = demo.out.read_text().splitlines()[-1]
    assert re.match(r"[\d,]+ runs finished, [\d,]+ abandoned, [\d,]+ counted, drift 0; ", last)
    assert demo.left_behind() == []


@pytest.mark.parametrize("step", ["Starting Postgres", "Back-filling"])
async def test_a_signal_while_it_starts_leaves_nothing_behind(demo: Demo, step: str) -> None:
    demo.start(*DEMO)
    await demo.said(step)
    demo.signal(signal.SIGINT)
    assert await demo.status() == 0
    assert "Stopped while starting" in demo.err.read_text()
    assert demo.left_behind() == []


async def test_what_it_started_ends_with_it_even_when_it_is_killed(demo: Demo) -> None:
    demo.start(*DEMO)
    await demo.dsn()
    demo.signal(signal.SIGKILL)
    await demo.status()
    await eventually(lambda: demo.processes() == [], SLOW, what="nothing running")


async def test_a_daemon_that_ends_by_itself_ends_the_demo_and_is_told(demo: Demo) -> None:
    demo.start(*DEMO)
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
        demo.start(*DEMO, terminal=theirs)
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
