"""The table of workflows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

import asyncpg

COLUMNS = (
    "project_id",
    "slug",
    "name",
    "workflow_id",
    "version",
    "versions",
    "success_count",
    "failure_count",
    "canceled_count",
    "success_rate",
    "success_rate_low",
    "success_rate_high",
    "failure_rate",
    "previous_success_count",
    "previous_failure_count",
    "previous_canceled_count",
    "previous_success_rate",
    "success_rate_change",
    "last_success_at",
    "last_failure_at",
    "open",
    "oldest_open_at",
    "overdue",
    "abandoned",
)
_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)


def head() -> bytes:
    """The header line."""
    return _lines([COLUMNS])


def lines(rows: Sequence[asyncpg.Record]) -> bytes:
    """One line per row of the summary."""
    return _lines([[_cell(row[column]) for column in COLUMNS] for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float):
        return repr(round(value, 6))
    return _harmless(value) if isinstance(value, str) else str(value)


def _harmless(text: str) -> str:
    """A text that no spreadsheet runs as a formula: the person who named the workflow is not the
    one who opens the file."""
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()
