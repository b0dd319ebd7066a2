"""One row change as the payload of a postgres_changes frame, for one role and its `select`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime

from meshmetrics.devstack.realtime.catalogue import ColumnFacts, TableFacts
from meshmetrics.devstack.realtime.frames import dumps
from meshmetrics.devstack.realtime.pgoutput import RowChange, Values
from meshmetrics.devstack.realtime.values import fragment
from meshmetrics.devstack.realtime.visibility import key_of

NO_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"
_KEPT_OF_TOO_LARGE = 64


def refusal(change: RowChange, facts: TableFacts, role: str) -> str | None:
    """Why `role` gets an error instead of this change, whatever its filters."""
    if change.action == "DELETE":
        return None
    if not facts.key:
        return NO_KEY
    if any(role not in column.readers for column in facts.key):
        return UNAUTHORIZED
    return None


def refused(change: RowChange, error: str, ids: Iterable[int]) -> str:
    """The payload of a change without its row."""
    old = ',"old_record":{}' if change.action == "UPDATE" else ""
    return (
        f'{{"data":{{"table":{dumps(change.relation.table)},"type":"{change.action}",'
        f'"record":{{}},"columns":[],"errors":{dumps([error])},'
        f'"schema":{dumps(change.relation.schema)},"commit_timestamp":null{old}}},'
        f'"ids":{dumps(_in_any_order(ids))}}}'
    )


def shown(
    change: RowChange,
    facts: TableFacts,
    role: str,
    select: frozenset[str] | None,
    ids: Iterable[int],
    record_bytes: int,
) -> str:
    """The payload with as much of the change as `role` may see and `select` asks for."""
    columns = [
        column
        for column in facts.columns
        if role in column.readers and (select is None or column.name in select or column.in_key)
    ]
    old = _old_values(change, facts)
    too_large = _size(change.new) + _size(old) > record_bytes
    record = _record_of(change, columns, too_large)
    parts = [f'"table":{dumps(facts.table)}', f'"type":"{change.action}"']
    if change.action != "DELETE":
        parts.append(f'"record":{record(change.new or {}, lambda _: True)}')
    parts += [
        f'"columns":{_columns(columns)}',
        f'"errors":{dumps([TOO_LARGE]) if too_large else "null"}',
        f'"schema":{dumps(facts.schema)}',
        f'"commit_timestamp":"{_timestamp(change.committed_at)}"',
    ]
    if change.action == "UPDATE":
        parts.append(f'"old_record":{record(old, lambda _: True)}')
    elif change.action == "DELETE":
        # A deleted row cannot be asked for any more, so nothing but its key is shown.
        parts.append(f'"old_record":{record(old, lambda c: not facts.row_security or c.in_key)}')
    return f'{{"data":{{{",".join(parts)}}},"ids":{dumps(_in_any_order(ids))}}}'


def _in_any_order(ids: Iterable[int]) -> list[int]:
    """As the real server does: nothing may rely on the order."""
    found = list(ids)
    return random.sample(found, len(found))


def _old_values(change: RowChange, facts: TableFacts) -> Values:
    if change.old is not None:
        return change.old
    if change.action != "UPDATE" or change.new is None:
        return {}
    return dict(zip((c.name for c in facts.key), key_of(facts, change.new), strict=True))


def _record_of(
    change: RowChange, columns: list[ColumnFacts], too_large: bool
) -> Callable[[Values, Callable[[ColumnFacts], bool]], str]:
    oids = {column.name: column.type_oid for column in change.relation.columns}
    # jsonb keeps its keys by length, then by bytes.
    ordered = sorted(columns, key=lambda c: (len(c.name.encode()), c.name.encode()))

    def record(values: Values, keep: Callable[[ColumnFacts], bool]) -> str:
        fields = []
        for column in ordered:
            if column.name not in values or not keep(column):
                continue
            text = values[column.name]
            json_text = fragment(text, oids.get(column.name, 25))
            small = text is not None and len(json_text.encode()) <= _KEPT_OF_TOO_LARGE
            if small or not too_large:
                fields.append(f"{dumps(column.name)}: {json_text}")
        return "{" + ", ".join(fields) + "}"

    return record


def _columns(columns: list[ColumnFacts]) -> str:
    shown = (f'{{"name": {dumps(c.name)}, "type": {dumps(c.type_name)}}}' for c in columns)
    return "[" + ", ".join(shown) + "]"


def _size(values: Values | None) -> int:
    return sum(len(text) for text in (values or {}).values() if text is not None)


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
