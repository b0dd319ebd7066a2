"""Postgres' text of a value, written as the JSON that `to_jsonb` would give.

The results are JSON *fragments* (text), because a number or a jsonb document then passes through
unharmed at any size. Expects DateStyle ISO and TimeZone UTC. Types that are not listed, enums and
domains among them, become strings.
"""

from __future__ import annotations

import json
import re

_BOOL = 16
_NUMBERS = frozenset({20, 21, 23, 26, 700, 701, 1700})
_JSON = frozenset({114, 3802})
_TIMESTAMP, _TIMESTAMPTZ = 1114, 1184
_ELEMENT = {  # array type -> type of its elements
    199: 114, 1000: 16, 1005: 21, 1007: 23, 1009: 25, 1015: 1043, 1016: 20, 1021: 700, 1022: 701,
    1028: 26, 1115: 1114, 1182: 1082, 1185: 1184, 1231: 1700, 2951: 2950, 3807: 3802,
}  # fmt: skip
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z")
_OFFSET = re.compile(r"[+-]\d\d\Z")


def fragment(text: str | None, type_oid: int) -> str:
    """The JSON text of a value that Postgres printed as `text` (None is NULL)."""
    if text is None:
        return "null"
    if type_oid in _NUMBERS:
        return text if _NUMBER.match(text) else json.dumps(text)  # NaN and Infinity are strings
    if type_oid in _JSON:
        return text
    if type_oid == _BOOL:
        return "true" if text == "t" else "false"
    if type_oid == _TIMESTAMP:
        return json.dumps(text.replace(" ", "T", 1))
    if type_oid == _TIMESTAMPTZ:
        stamp = text.replace(" ", "T", 1)
        return json.dumps(stamp + ":00" if _OFFSET.search(stamp) else stamp)
    if type_oid in _ELEMENT and text.startswith("{"):
        return _array(text, _ELEMENT[type_oid])
    return json.dumps(text, ensure_ascii=False)


def _array(text: str, element: int) -> str:
    items: list[list[str]] = [[]]
    position = 0
    while position < len(text):
        mark = text[position]
        if mark == "{":
            items.append([])
            position += 1
        elif mark == "}":
            inner = "[" + ", ".join(items.pop()) + "]"
            items[-1].append(inner)
            position += 1
        elif mark == ",":
            position += 1
        elif mark == '"':
            value, position = _quoted(text, position + 1)
            items[-1].append(fragment(value, element))
        else:
            end = position
            while text[end] not in ",}":
                end += 1
            word = text[position:end]
            items[-1].append("null" if word == "NULL" else fragment(word, element))
            position = end
    return items[0][0]


def _quoted(text: str, position: int) -> tuple[str, int]:
    value = []
    while text[position] != '"':
        if text[position] == "\\":
            position += 1
        value.append(text[position])
        position += 1
    return "".join(value), position + 1
