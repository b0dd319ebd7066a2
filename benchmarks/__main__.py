"""`python -m benchmarks [ROW …]`: measure, show a table, write results.json."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import time
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, show, write
from benchmarks.report import write_page
from meshmetrics.runtime import logs

ROWS = {
    "batches": "time of count_runs by number of ids",
    "growth": "cost of a run by how many are counted already",
    "backlog": "a million uncounted runs",
    "open_runs": "looking through 100,000 open runs",
    "weight": "what the engine loses to counting",
    "latency": "from frame to count to broadcast, in the daemon and end to end",
    "overload": "2,000 runs/s while Realtime passes 100 events/s",
    "reading": "summary, series and one workflow over HTTP, and from the runs themselves",
    "alerts": "rounds over 10,000 alert rules, and from a commit to a webhook",
    "memory": "the daemon before and after a million events",
    "start": "until ready",
    "dashboard": "frames, first draw and size of the page, and from a run's end to its number",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    listing = "; ".join(f"{name}: {what}" for name, what in ROWS.items())
    parser.add_argument("rows", nargs="*", metavar="ROW", help=listing)
    parser.add_argument("--quick", action="store_true", help="smaller amounts, to try it out")
    arguments = parser.parse_args()
    rows = arguments.rows or list(ROWS)
    if unknown := set(rows) - set(ROWS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(ROWS)}")
    # Logged as an operator would have it, and not into the table.
    logs.configure(style="json", stream=Path(os.devnull).open("w"))  # noqa: SIM115 (for good)
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    console = Console()
    figures: list[Figure] = []
    for row in rows:
        began = time.monotonic()
        with console.status(f"{row}: {ROWS[row]}"):
            module = importlib.import_module(f"benchmarks.{row}")
            figures += asyncio.run(module.measure(quick=arguments.quick))
        console.print(f"{row}: done in {time.monotonic() - began:.0f} s")
    show(figures, console)
    if not arguments.quick:
        write(figures)
        write_page()


if __name__ == "__main__":
    main()
