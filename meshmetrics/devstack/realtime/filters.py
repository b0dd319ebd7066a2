"""Filters of postgres_changes subscriptions, such as `status=neq.running`.

`column=op.value`, with `not.` before the operator to turn it round and commas between conditions
that must all hold. Postgres itself compares, in the column's own type: here is how they are read
and what SQL they become. A NULL matches only `is` and `isdistinct`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
}
_PATTERNS = frozenset({"like", "ilike", "match", "imatch"})
_IS_VALUES = ("null", "true", "false", "unknown")
OPERATORS = frozenset({*_COMPARISONS, "in", "is", "isdistinct"})


class FilterError(ValueError):
    """A filter that cannot be read; the message is the one clients get."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. `value` is text, for `in` an array literal."""

    column: str
    op: str
    value: str
    negated: bool = False

    def condition(self, sql_type: str, text: str, value: str) -> str:
        """SQL that holds where `text` (SQL of the column's text) passes.

        `sql_type` is the column's type as `format_type` prints it, `value` SQL of `self.value`.
        """
        left = f"({text})::{sql_type}"
        if self.op == "is":
            return f"{left} is {'not ' if self.negated else ''}{self.value}"
        right = f"({value}::text)::{sql_type}"
        if self.op == "isdistinct":
            return f"{left} is {'not ' if self.negated else ''}distinct from {right}"
        if self.op == "in":
            test = f"{left} = any ({right}[])"
        else:
            test = f"{left} {_COMPARISONS[self.op]} {right}"
        return f"not ({test})" if self.negated else test

    def check(self, sql_type: str) -> str:
        """SQL that fails, as Postgres words it, where the filter does not suit the column.

        It takes `self.value` as its parameter $1.
        """
        probe = self.condition(sql_type, "null::text", "$1")
        if self.op == "is":
            return f"select $1::text, {probe}"
        if self.op in _PATTERNS and self.op.endswith("match"):
            return f"select {probe}, '' ~ $1::text"
        return f"select {probe}"

    def __str__(self) -> str:
        words = ", ".join(f'"{word}"' for word in (self.column, self.op, self.value))
        return f"{{{words}, {'true' if self.negated else 'false'}}}"


def parse(text: str) -> tuple[Filter, ...]:
    """The conditions in `text`; none where it is blank. Raises FilterError."""
    return tuple(_condition(part) for part in _parts(text) if part.strip())


def _parts(text: str) -> Iterator[str]:
    start = depth = 0
    for position, mark in enumerate(text):
        depth += (mark == "(") - (mark == ")")
        if mark == "," and depth <= 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _condition(text: str) -> Filter:
    column, found, rest = text.strip().partition("=")
    if not found:
        raise _error(text)
    negated = rest.startswith("not.")
    op, dot, value = rest.removeprefix("not.").partition(".")
    if not dot:
        raise _error(op)
    if op not in OPERATORS:
        raise _error(op, value)
    if op == "in":
        if not (value.startswith("(") and value.endswith(")")):
            raise FilterError(
                "Error parsing `filter` params: `in` filter value must be wrapped by parentheses"
            )
        value = "{" + value[1:-1] + "}"
    if op == "is" and value not in _IS_VALUES:
        raise FilterError(
            "Error parsing `filter` params: `is` filter value must be one of "
            + ", ".join(_IS_VALUES)
        )
    return Filter(column, op, value, negated)


def _error(*words: str) -> FilterError:
    quoted = ", ".join(f'"{word}"' for word in words)
    return FilterError(f"Error parsing `filter` params: [{quoted}]")
