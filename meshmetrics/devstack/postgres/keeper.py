"""Runs one Postgres and outlives its owner just long enough to put it away.

Started by `postgres.py` as a script of its own, in its own session, so that a Ctrl-C in the
terminal reaches the owner only and the owner decides when Postgres goes. The owner holds the
other end of standard input: one line there (`fast` or `immediate`) stops Postgres, and so does
its closing, which the kernel does for us however the owner died, `kill -9` included. Only the
standard library is imported: this has to start in milliseconds.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SECONDS_TO_STOP = 30


def keep(command: list[str], log: str, identity: dict[str, Any], remove: str | None) -> int:
    """Run Postgres until its owner stops it or dies; return its exit status.

    `remove` is the directory to delete when the owner dies without stopping it.
    """
    with Path(log).open("ab") as output:
        server = subprocess.Popen(  # noqa: S603 (our own command line)
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **identity
        )
    ended, on_end = os.pipe()

    def watch() -> None:
        server.wait()
        os.close(on_end)

    threading.Thread(target=watch, daemon=True).start()
    readable, _, _ = select.select([sys.stdin, ended], [], [])
    if sys.stdin not in readable:
        return server.wait()

    order = sys.stdin.readline().strip()
    server.send_signal(signal.SIGQUIT if order == "immediate" else signal.SIGINT)
    for harder in (signal.SIGQUIT, signal.SIGKILL):
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(SECONDS_TO_STOP)
            break
        server.send_signal(harder)
    status = server.wait()
    if not order and remove is not None:
        shutil.rmtree(remove, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(keep(**json.loads(sys.argv[1])))
