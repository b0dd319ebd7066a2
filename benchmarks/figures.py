"""What a benchmark says, and how it is shown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `met` is None where it is there for comparison only."""

    row: str
    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


def at_least(row: str, what: str, value: float, target: float, unit: str = "×") -> Figure:
    return Figure(row, what, value, unit, f"≥ {target:,g}", value >= target)


def at_most(row: str, what: str, value: float, target: float, unit: str) -> Figure:
    return Figure(row, what, value, unit, f"≤ {target:,g}", value <= target)


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table(title="Measured in this run", title_justify="left")
    for name in ("row", "what", "measured", "target", ""):
        table.add_column(name, justify="right" if name == "measured" else "left")
    last = None
    for figure in figures:
        if last not in (None, figure.row):
            table.add_section()
        mark = {True: "[green]met[/]", False: "[yellow]missed[/]", None: ""}[figure.met]
        table.add_row(
            "" if figure.row == last else figure.row,
            figure.what,
            f"{readable(figure.value)} {figure.unit}",
            figure.target,
            mark,
        )
        last = figure.row
    console.print(table)


def readable(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def write(figures: Sequence[Figure], path: Path = RESULTS) -> None:
    """Write results.json: rows measured in this run replace older ones of the same name."""
    old = json.loads(path.read_text())["figures"] if path.exists() else []
    rows = {figure.row for figure in figures}
    kept = [item for item in old if item["row"] not in rows]
    document = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "figures": kept + [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
