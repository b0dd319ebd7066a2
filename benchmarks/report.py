"""Writes what was measured into docs/benchmarks.md, between its marks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, readable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
MARKS = {True: "met", False: "**missed**", None: ""}


def write_page(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Put the figures of results.json, and the charts drawn from them, into the page."""
    document = json.loads(results.read_text())
    text = page.read_text()
    for name, part in (
        ("figures", _table(document["figures"])),
        ("charts", _charts(document["figures"])),
    ):
        text = re.sub(
            rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)",
            lambda match, part=part: f"{match[1]}{part}\n{match[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    page.write_text(text)


def _table(figures: Iterable[Mapping[str, Any]]) -> str:
    rows = ["| row | what | measured | target | |", "|---|---|---:|---|---|"]
    last = None
    for figure in figures:
        row = "" if figure["row"] == last else figure["row"]
        last = figure["row"]
        measured = f"{readable(figure['value'])} {figure['unit']}"
        mark = MARKS[figure["met"]]
        rows.append(f"| {row} | {figure['what']} | {measured} | {figure['target']} | {mark} |")
    return "\n".join(rows)


def _charts(figures: Iterable[Mapping[str, Any]]) -> str:
    """What a run costs by the size of its batch, and by how many are counted already."""
    batch: dict[str, float] = {}
    growth: dict[str, float] = {}
    for figure in figures:
        words = figure["what"].split()
        if figure["row"] == "batches" and words[-1] in ("id", "ids"):
            batch[words[0]] = figure["value"] * 1000 / int(words[0].replace(",", ""))
        elif figure["row"] == "growth" and words[-1] == "counted":
            growth[words[1]] = figure["value"]
    return "\n\n".join(
        _chart(title, axis, values)
        for title, axis, values in (
            ("Cost of a run by the size of its batch", "runs in the batch", batch),
            ("Cost of a run by how many are counted already", "runs counted", growth),
        )
        if values
    )


def _chart(title: str, axis: str, values: Mapping[str, float]) -> str:
    names = ", ".join(f'"{name}"' for name in values)
    return (
        "```mermaid\nxychart-beta\n"
        f'  title "{title}"\n'
        f'  x-axis "{axis}" [{names}]\n'
        f'  y-axis "µs a run" 0 --> {max(values.values()) * 1.1:.0f}\n'
        f"  bar [{', '.join(f'{value:.1f}' for value in values.values())}]\n```"
    )
