"""What a check of the doctor's found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report: what was checked, what was found, and how to fix it.

    A `note` is not an error, but worth knowing.
    """

    name: str
    state: State
    text: str
    fix: str = ""


def required(name: str, ok: bool, text: str, fix: str) -> Check:
    """A check that is wrong unless `ok`."""
    return Check(name, "ok", text) if ok else Check(name, "wrong", text, fix)


def advised(name: str, ok: bool, good: str, bad: str, fix: str) -> Check:
    """A check that is a note unless `ok`."""
    return Check(name, "ok", good) if ok else Check(name, "note", bad, fix)
