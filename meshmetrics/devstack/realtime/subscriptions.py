"""What a channel asks of postgres_changes: read, checked against the database, and matched."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import asyncpg

from meshmetrics.devstack.realtime.catalogue import (
    TableFacts,
    published_tables,
    table_facts,
)
from meshmetrics.devstack.realtime.database import Connection
from meshmetrics.devstack.realtime.filters import Filter, FilterError, parse
from meshmetrics.devstack.realtime.frames import dumps
from meshmetrics.devstack.realtime.pgoutput import RowChange

Entry = dict[str, Any]


class SubscriptionError(Exception):
    """An entry cannot be subscribed to; the message is the one the client gets."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One accepted entry of a channel, with whose eyes it looks."""

    id: int
    event: str
    schema: str
    table: str
    filters: tuple[Filter, ...]
    select: frozenset[str] | None
    role: str
    claims: str
    """The token's claims as JSON."""

    def wants(self, change: RowChange) -> bool:
        """Whether event and table fit; filters and policies are another matter."""
        return (
            self.event in ("*", change.action)
            and self.schema == change.relation.schema
            and self.table in ("*", change.relation.table)
        )


def entry_id(entry: Entry) -> int:
    """The same number for the same entry, on every connection, as the real server has it."""
    return zlib.crc32(dumps(sorted(entry.items())).encode()) % 2**27


def described(entry: Entry) -> Entry:
    """The entry as the join reply repeats it."""
    return {"id": entry_id(entry), **dict(sorted(entry.items()))}


async def accept(
    connection: Connection, entries: list[Entry], role: str, claims: str
) -> tuple[Subscription, ...]:
    """The subscriptions for `entries`, or none at all.

    Raises SubscriptionError for the first that is wrong.
    """
    try:
        read = [_read(entry, role, claims) for entry in entries]
    except FilterError as error:
        raise SubscriptionError(str(error)) from error
    for subscription in read:
        await _check(connection, subscription)
    return tuple(read)


def _read(entry: Entry, role: str, claims: str) -> Subscription:
    schema, table = entry.get("schema"), entry.get("table")
    if schema is None and table is None:
        raise SubscriptionError(
            "No subscription params provided. Please provide at least a `schema` or `table` "
            f"to subscribe to: {dumps(entry)}"
        )
    select = entry.get("select")
    return Subscription(
        entry_id(entry),
        str(entry.get("event", "*")).upper(),
        str(schema or "public"),
        str(table or "*"),
        parse(str(entry.get("filter") or "")),
        frozenset(map(str, select)) if select else None,
        role,
        claims,
    )


async def _check(connection: Connection, subscription: Subscription) -> None:
    tables = await published_tables(connection, subscription.schema, subscription.table)
    if not tables:
        raise SubscriptionError(
            "Unable to subscribe to changes with given parameters. Please check Realtime is "
            f"enabled for the given connect parameters: {_parameters(subscription)}"
        )
    try:
        for oid in tables:
            await _check_columns(
                connection, subscription, await table_facts(connection, oid, [subscription.role])
            )
    except (asyncpg.DataError, asyncpg.SyntaxOrAccessError, asyncpg.RaiseError) as error:
        raise SubscriptionError(
            "Unable to subscribe to changes with given parameters. An exception happened so "
            f"please check your connect parameters: {_parameters(subscription)}. "
            f"Exception: ERROR {error.sqlstate} ({_condition_name(error)}) {error}"
        ) from error


async def _check_columns(
    connection: Connection, subscription: Subscription, facts: TableFacts | None
) -> None:
    readable = {c.name: c for c in facts.columns if subscription.role in c.readers} if facts else {}
    for condition in subscription.filters:
        column = readable.get(condition.column)
        if column is None:
            raise asyncpg.RaiseError(f"invalid column for filter {condition.column}")
        await connection.fetch(condition.check(column.sql_type), condition.value)
    for name in subscription.select or ():
        if name not in readable:
            raise asyncpg.RaiseError(f"invalid column for select {name}")


def _parameters(subscription: Subscription) -> str:
    filters = ", ".join(map(str, subscription.filters))
    select = "nil"
    if subscription.select is not None:
        select = "[" + ", ".join(f'"{name}"' for name in sorted(subscription.select)) + "]"
    return (
        f"[event: {subscription.event}, schema: {subscription.schema}, "
        f"table: {subscription.table}, filters: [{filters}], select: {select}]"
    )


def _condition_name(error: asyncpg.PostgresError) -> str:
    """Postgres' name of the error's class: InvalidTextRepresentationError is
    invalid_text_representation."""
    if isinstance(error, asyncpg.RaiseError):
        return "raise_exception"
    words = re.findall(r"[A-Z][a-z]*", type(error).__name__.removesuffix("Error"))
    return "_".join(words).lower()
