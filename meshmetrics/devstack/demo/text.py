"""Formats numbers and times for the demo."""

from __future__ import annotations

from datetime import timedelta

NONE = "—"


def percent(value: float) -> str:
    """To one decimal, but never rounded up to 100 % or down to 0 %: 99.96 % becomes 99.9 %."""
    return f"{share(value)} %"


def share(value: float) -> str:
    """A share in per cent, to one decimal."""
    tenths = round(value * 1000)
    if tenths == 1000 and value < 1:
        tenths = 999
    elif tenths == 0 and value > 0:
        tenths = 1
    return "100" if tenths == 1000 else f"{tenths / 10:.1f}"


def ago(age: timedelta | None) -> str:
    """How long ago, in six columns at most."""
    return NONE if age is None else seconds(age.total_seconds())


def seconds(value: float) -> str:
    """A duration in its largest unit."""
    value = max(0.0, value)
    for limit, length, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if value < limit:
            return f"{int(value // length)} {unit}"
    return f"{int(value // 86_400)} d"


def milliseconds(value: float | None) -> str:
    """Whole milliseconds."""
    return NONE if value is None else f"{value:,.0f} ms"
