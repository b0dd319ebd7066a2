"""Decoder of what Postgres' output plugin `pgoutput` sends, protocol version 1.

A development tool: it knows the messages that `pg_logical_slot_get_binary_changes` returns for
plain tables (begin, relation, insert, update, delete, commit) and skips the rest (truncate, type,
origin, message). Format: PostgreSQL manual, "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Action = Literal["INSERT", "UPDATE", "DELETE"]
Values = dict[str, str | None]
"""Column name to its text as Postgres prints it; None is NULL; an unsent column is absent."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SKIPPED = frozenset(b"CTYOM")


class DecodeError(ValueError):
    """The bytes are no pgoutput message of version 1, or came out of order."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type_oid: int
    in_identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    oid: int
    schema: str
    table: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that a committed transaction changed.

    `new` lacks the columns whose large value was not touched, unless the table's replica identity
    is full. `old` holds what Postgres logged of the row before: every column under replica
    identity full, else the identity's columns where it changed (update) or always (delete).
    """

    relation: Relation
    action: Action
    new: Values | None
    old: Values | None
    committed_at: datetime


class Decoder:
    """Turns messages, in the order Postgres gives them, into row changes."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._committed_at: datetime | None = None

    def decode(self, message: bytes) -> RowChange | None:
        """The row change in `message`, or None where it carries none.

        Raises DecodeError when the message is malformed or names an unknown relation.
        """
        try:
            return self._decode(message)
        except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
            raise DecodeError(f"malformed pgoutput message {message[:40]!r}") from error

    def _decode(self, message: bytes) -> RowChange | None:
        kind = message[0]
        if kind in b"IUD":
            return self._row(message)
        if kind == ord("B"):
            _final_lsn, micros, _xid = struct.unpack_from("!QqI", message, 1)
            self._committed_at = _EPOCH + timedelta(microseconds=micros)
        elif kind == ord("R"):
            relation = _relation(message)
            self._relations[relation.oid] = relation
        elif kind not in _SKIPPED:
            raise DecodeError(f"unknown pgoutput message {message[:1]!r}")
        return None

    def _row(self, message: bytes) -> RowChange:
        (oid,) = struct.unpack_from("!I", message, 1)
        relation = self._relations.get(oid)
        if relation is None or self._committed_at is None:
            raise DecodeError("a row came before its relation or its transaction")
        new: Values | None = None
        old: Values | None = None
        offset = 5
        while offset < len(message):
            part = message[offset : offset + 1]
            values, offset = _tuple(message, offset + 1, relation)
            if part == b"N":
                new = values
            elif part == b"O":
                old = values
            elif part == b"K":
                # Columns outside the identity come as NULL here: they were not logged at all.
                old = {
                    c.name: values[c.name]
                    for c in relation.columns
                    if c.in_identity and c.name in values
                }
            else:
                raise DecodeError(f"unknown tuple {part!r}")
        action: Action = {ord("I"): "INSERT", ord("U"): "UPDATE"}.get(message[0], "DELETE")  # type: ignore[assignment]
        if new is not None and old is not None:
            new = {
                c.name: new[c.name] if c.name in new else old[c.name]
                for c in relation.columns
                if c.name in new or c.name in old
            }
        return RowChange(relation, action, new, old, self._committed_at)


def _relation(message: bytes) -> Relation:
    (oid,) = struct.unpack_from("!I", message, 1)
    schema, offset = _string(message, 5)
    table, offset = _string(message, offset)
    (count,) = struct.unpack_from("!H", message, offset + 1)
    offset += 3
    columns = []
    for _ in range(count):
        in_identity = message[offset] & 1 == 1
        name, offset = _string(message, offset + 1)
        type_oid, _typmod = struct.unpack_from("!Ii", message, offset)
        offset += 8
        columns.append(Column(name, type_oid, in_identity))
    return Relation(oid, schema or "pg_catalog", table, tuple(columns))


def _string(message: bytes, offset: int) -> tuple[str, int]:
    end = message.find(b"\0", offset)
    if end < 0:
        raise DecodeError("a name without an end")
    return message[offset:end].decode(), end + 1


def _tuple(message: bytes, offset: int, relation: Relation) -> tuple[Values, int]:
    (count,) = struct.unpack_from("!H", message, offset)
    offset += 2
    if count != len(relation.columns):
        raise DecodeError("a row and its relation differ in their columns")
    values: Values = {}
    for column in relation.columns:
        kind = message[offset]
        offset += 1
        if kind == 0x74:  # "t": text follows
            (length,) = struct.unpack_from("!I", message, offset)
            offset += 4
            text = message[offset : offset + length]
            if len(text) < length:
                raise DecodeError("a value that ends early")
            values[column.name] = text.decode()
            offset += length
        elif kind == 0x6E:  # "n": NULL
            values[column.name] = None
        elif kind != 0x75:  # "u": an unchanged large value, which is not sent
            raise DecodeError(f"unknown value kind {kind:#x}")
    return values, offset
