"""Which changed rows a subscriber gets to see: Postgres decides, here is how it is asked.

Rows are judged as they are at this moment, by primary key, like on the real server: a row that is
gone again is invisible where row-level security is on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import asyncpg

from meshmetrics.devstack.realtime.catalogue import TableFacts, quoted
from meshmetrics.devstack.realtime.database import Connection
from meshmetrics.devstack.realtime.filters import Filter
from meshmetrics.devstack.realtime.pgoutput import Values

Key = tuple[str | None, ...]

TAKE_ROLE = """
select set_config('role', $1, true),
       set_config('request.jwt.claims', $2, true),
       set_config('request.jwt.claim.role', $1, true),
       set_config('request.jwt.claim.sub', coalesce($2::jsonb ->> 'sub', ''), true)
"""
"""Makes the transaction that of a client: role, claims as JSON."""


def key_of(facts: TableFacts, values: Values) -> Key:
    """The primary key in `values`."""
    return tuple(values.get(column.name) for column in facts.key)


async def passing(
    connection: Connection, facts: TableFacts, condition: Filter, rows: Mapping[int, Values]
) -> set[int]:
    """Which of the numbered `rows` pass `condition`; none that lacks its column."""
    column = facts.column(condition.column)
    if column is None:
        return set()
    texts = {n: values[column.name] for n, values in rows.items() if column.name in values}
    test = condition.condition(column.sql_type, "v.text", "$3")
    # `is` has no use for $3, but every parameter must have a type.
    query = (
        f"select v.n from unnest($1::bigint[], $2::text[]) v(n, text) "  # noqa: S608
        f"where ($3::text is not null) and ({test})"
    )
    try:
        found = await connection.fetch(
            query, list(texts.keys()), list(texts.values()), condition.value
        )
    except asyncpg.DataError:
        return set()
    return {row[0] for row in found}


async def visible_keys(
    connection: Connection,
    facts: TableFacts,
    role: str,
    claims: str,
    keys: Collection[Key],
) -> set[Key]:
    """Which of the rows with these primary keys `role` with `claims` (JSON) may select.

    A policy that fails on these claims shows nothing and affects no other subscriber.
    """
    names = [quoted(column.name) for column in facts.key]
    types = [column.sql_type for column in facts.key]
    ordered = sorted(keys, key=repr)
    candidates: Sequence[list[str | None]] = [
        [key[i] for key in ordered] for i in range(len(names))
    ]
    arrays = ", ".join(f"${i + 1}::text[]" for i in range(len(names)))
    labels = ", ".join(f"k{i}" for i in range(len(names)))
    casts = ", ".join(f"k{i}::{kind}" for i, kind in enumerate(types))
    query = (
        f"select {', '.join(f'{name}::text' for name in names)} from {facts.sql_name} "  # noqa: S608
        f"where ({', '.join(names)}) in "
        f"(select {casts} from unnest({arrays}) as candidates({labels}))"
    )
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(TAKE_ROLE, role, claims)
        return {tuple(row) for row in await connection.fetch(query, *candidates)}
    except (asyncpg.DataError, asyncpg.SyntaxOrAccessError, asyncpg.RaiseError):
        return set()
    finally:
        if not connection.is_closed():
            await transaction.rollback()
