"""The terminal output of the commands: tables, progress, or JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from meshmetrics.auditing.repair import Repairs, repair
from meshmetrics.auditing.verify import Report, verify
from meshmetrics.commands.announce import announce
from meshmetrics.commands.backfill import backfill
from meshmetrics.commands.connecting import connected
from meshmetrics.commands.doctor.check import Check
from meshmetrics.commands.doctor.examine import examine
from meshmetrics.commands.receipt import write_receipt
from meshmetrics.commands.statuses import map_status
from meshmetrics.settings.fields import Settings

Receipt = tuple[Path, datetime | None, datetime | None]
"""Where to write it, and its period."""
SHOWN = 20
"""Maximum differences in the table; --json lists a thousand of each kind."""
LISTED = 1000
STYLES = {"ok": "green", "note": "yellow", "wrong": "red", "skipped": "dim"}


async def show_verify(
    settings: Settings,
    *,
    repairing: bool,
    as_json: bool,
    patience: float,
    confirm: Callable[[str], bool],
    receipt: Receipt | None = None,
) -> int:
    """Audit, repair if `repairing`, and show both; return 1 if something is wrong in the end.

    A repair that removes more runs from the counts than it adds needs `confirm`: a wrongly mapped
    status may be the cause.
    """
    screen = Console(stderr=as_json, highlight=False)
    async with connected(settings) as stores:
        with screen.status("comparing runs, ledger, buckets and counters"):
            report = await verify(stores.audits, patience=patience, limit=LISTED)
        document = report.as_json()
        for flaw in await stores.counting.source_flaws():
            screen.print(f"[yellow]{escape(flaw)}[/]", soft_wrap=True)
        if not as_json:
            _show_report(screen, report)
        if (
            repairing
            and report.taken_out > report.put_in
            and not confirm(
                f"The repair removes {report.taken_out:,} runs from the counts and adds"
                f" {report.put_in:,}. Repair?"
            )
        ):
            repairing = False
        if repairing:
            if report.taken_out and not as_json:
                screen.print(f"removing {report.taken_out:,} runs, adding {report.put_in:,}")
            since = await stores.database.now()
            with screen.status("repairing") as status:
                done = await repair(stores.counting, stores.audits, on_step=status.update)
                announced = await announce(stores.counting, settings, since)
                report = await verify(stores.audits, patience=patience, limit=LISTED)
            if not as_json:
                _show_repairs(screen, done, announced)
                _show_report(screen, report)
            document = report.as_json() | {
                "before": document,
                "repaired": _repairs(done, announced),
            }
        if receipt is not None:
            runs = await write_receipt(stores.audits, *receipt)
            screen.print(f"wrote {escape(str(receipt[0]))}: a receipt of {runs:,} runs")
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    return 1 if report.drift else 0


def _show_report(screen: Console, report: Report) -> None:
    if report.differences:
        table = Table("what", "workflow", "where", "expected", "found", title_justify="left")
        for d in report.differences[:SHOWN]:
            of = d.workflow_id or f"all of project {d.project_id}"
            where = f"{d.grain} {d.bucket_start:%Y-%m-%d %H:%M}" if d.bucket_start else d.run_id
            cells = (d.kind, of, where or "", d.expected, d.found)
            table.add_row(*(escape(str(cell)) for cell in cells))
        screen.print(table)
        if (more := report.drift + report.set_aside - SHOWN) > 0:
            screen.print(f"… and {more:,} more (--json lists them)")
    if report.drift:
        screen.print(
            f"[red]drift[/]: {report.runs:,} runs, {report.buckets:,} buckets and"
            f" {report.counters:,} workflows' counters are wrong"
        )
    else:
        screen.print("[green]exact[/]: ledger, buckets and counters match the runs")
    a = report.account
    screen.print(
        f"{a.started:,} runs started = {a.succeeded:,} succeeded + {a.failed:,} failed"
        f" + {a.canceled:,} canceled + {a.open:,} open + {a.set_aside + a.unknown:,} set aside"
        + (f" + {a.pending:,} pending" if a.pending else "")
    )
    if a.unknown:
        screen.print(
            f"[yellow]{a.unknown:,} runs have a status that is not mapped to an outcome[/]:"
            " see `meshmetrics statuses`"
        )
    if a.unaccounted:
        screen.print(f"[red]{a.unaccounted:,} runs are unaccounted for[/]")
    if report.pending:
        screen.print(
            f"{report.pending:,} runs are pending: a sweep or the back-fill will count them"
        )
    if report.set_aside:
        screen.print(f"[yellow]{report.set_aside:,} runs are set aside[/]: they cannot be counted")


def _show_repairs(screen: Console, done: Repairs, announced: int) -> None:
    screen.print(
        f"repaired: {done.runs:,} runs, {done.buckets:,} buckets and {done.counters:,} workflows'"
        f" counters; retried {done.retried:,} runs set aside; broadcast {announced:,} workflows"
    )
    for workflow_id in done.passed_over:
        screen.print(f"skipped workflow {workflow_id}: it is being deleted")


def _repairs(done: Repairs, announced: int) -> dict[str, Any]:
    return {
        "runs": done.runs,
        "buckets": done.buckets,
        "counters": done.counters,
        "set_aside_retried": done.retried,
        "workflows": sorted(map(str, done.workflows)),
        "projects": sorted(map(str, done.projects)),
        "passed_over": sorted(map(str, done.passed_over)),
        "broadcast": announced,
    }


async def show_backfill(settings: Settings) -> int:
    """Back-fill with a progress bar, until done or Ctrl-C; return 1 if runs are left."""
    screen = Console(highlight=False)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    bar = Progress(
        SpinnerColumn(),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=screen,
    )
    task = bar.add_task("runs", total=None, rate="")

    def start(total: int) -> None:
        bar.start()
        bar.reset(task, total=total)

    def progress(scanned: int) -> None:
        elapsed = bar.tasks[task].elapsed or 0.0
        rate = f"{scanned / elapsed:,.0f} runs/s" if elapsed else ""
        total = max(bar.tasks[task].total or 0, scanned)  # `start` set an estimate
        bar.update(task, completed=scanned, total=total, rate=rate)

    async with connected(settings) as stores:
        since = await stores.database.now()
        try:
            result = await backfill(
                stores.counting,
                settings,
                stop,
                on_start=start,
                on_progress=progress,
                on_wait=lambda text: screen.print(escape(text), soft_wrap=True),
            )
            if result.done:
                bar.update(task, completed=result.scanned, total=result.scanned)
        finally:
            bar.stop()
        if result.scanned:
            await announce(stores.counting, settings, since)
    if result.done and not result.scanned:
        screen.print("nothing to do: all runs from before meshmetrics are counted")
    elif result.done:
        screen.print(f"[green]done[/]: read {result.scanned:,} runs")
    else:
        screen.print(f"stopped after {result.scanned:,} runs: run it again to continue")
    return 0 if result.done else 1


async def show_statuses(settings: Settings) -> int:
    """A table of the statuses; return 1 if one is not mapped."""
    async with connected(settings) as stores:
        rows = await stores.counting.statuses()
    table = Table("status", "counts as", "runs", title_justify="left")
    for row in rows:
        style = "yellow" if row.outcome == "unknown" else ""
        table.add_row(escape(row.status), row.outcome, f"{row.runs:,}", style=style)
    screen = Console(highlight=False)
    screen.print(table)
    if unknown := [row.status for row in rows if row.outcome == "unknown"]:
        screen.print(f"map it: meshmetrics statuses map {escape(unknown[0])} failure")
    return 1 if unknown else 0


async def show_map_status(settings: Settings, status: str, outcome: str) -> int:
    """Map a status and count its runs again."""
    screen = Console(highlight=False)
    async with connected(settings) as stores:
        since = await stores.database.now()
        with screen.status("counting") as line:
            changed = await map_status(
                stores.counting,
                settings,
                status,
                outcome,
                lambda scanned: line.update(f"counted {scanned:,} runs"),
            )
        if changed:
            await announce(stores.counting, settings, since)
    screen.print(
        f"[green]done[/]: {escape(status)} counts as {outcome};"
        f" the counts of {changed:,} runs changed"
    )
    return 0


async def show_doctor(*, as_json: bool) -> int:
    """Show all checks of the doctor, one line per check; return 1 if something is wrong."""
    screen = Console(highlight=False)

    def show(check: Check) -> None:
        if not as_json:
            style, state = STYLES[check.state], f"{check.state:<7}"
            line = f"[{style}]{state}[/]  {escape(check.name):<18}  {escape(check.text)}"
            screen.print(line, soft_wrap=True)
            if check.fix:
                screen.print(f"{'':27}  [dim]→ {escape(check.fix)}[/]", soft_wrap=True)

    checks = await examine(show)
    wrong = sum(check.state == "wrong" for check in checks)
    if as_json:
        lines = [{"check": c.name, "state": c.state, "text": c.text, "fix": c.fix} for c in checks]
        sys.stdout.write(json.dumps({"wrong": wrong, "checks": lines}) + "\n")
    elif wrong:
        screen.print(f"[red]{wrong} to fix[/]")
    else:
        screen.print("[green]no problems found[/]")
    return 1 if wrong else 0
