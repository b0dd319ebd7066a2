"""One line of the doctor's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and how it is. `note` is no error but worth knowing; `mend` says what
    to do."""

    name: str
    state: State
    text: str
    fix: str = ""
