"""One project's workflows, as the demo draws them."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from meshmetrics.devstack.demo.stats import MIN_RUNS
from meshmetrics.devstack.demo.text import ago, percent
from meshmetrics.devstack.demo.view import ProjectTable, WorkflowRow

SHAPES = {"success": ("●", "green"), "failure": ("✕", "bold red"), "canceled": ("○", "dim")}
BAR = 10
"""Cells of the bar: one for each 10 % of the rate."""
FIXED = 73
"""Columns of a table that are not its strip of outcomes."""


def project_table(project: ProjectTable, width: int) -> Table:
    """A project's workflows; `width` decides how many of the last outcomes there are."""
    strip = max(6, min(30, width - FIXED))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="bold")
    mark = Text("● ", "green") if project.joined else Text("○ ", "red")
    table.add_column(Text.assemble(mark, project.name), ratio=1, no_wrap=True)
    table.add_column("success", width=16, no_wrap=True)
    for title, columns in (
        ("0 — 100 %", BAR),
        ("latest", strip),
        ("runs", 6),
        ("failed", 6),
        ("last ✕", 6),
    ):
        table.add_column(title, width=columns, no_wrap=True, justify="right")
    for row in project.rows:
        table.add_row(
            row.name,
            _rate(row),
            _bar(row),
            _latest(row, strip),
            f"{row.totals.runs:,}",
            f"{row.totals.failure:,}",
            ago(row.since_failure),
        )
    return table


def _rate(row: WorkflowRow) -> Text:
    success, failure = row.totals.success, row.totals.failure
    if success + failure < MIN_RUNS:
        return Text("not enough runs", "dim")
    return Text(f"{percent(success / (success + failure)):>6}", "bold")


def _bar(row: WorkflowRow) -> Text:
    success, runs = row.totals.success, row.totals.success + row.totals.failure
    if runs < MIN_RUNS:
        return Text("·" * BAR, "dim")
    rate = success / runs
    full = round(rate * BAR)
    colour = "green" if rate >= 0.95 else "red" if rate < 0.75 else "default"
    return Text.assemble(("━" * full, colour), ("·" * (BAR - full), "dim"))


def _latest(row: WorkflowRow, length: int) -> Text:
    return Text.assemble(*(SHAPES[outcome] for outcome in row.latest[-length:]))
