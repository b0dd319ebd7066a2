"""What the server has to know of a table: its columns, its key, and who may read what."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from meshmetrics.devstack.realtime.database import Connection

PUBLICATION = "supabase_realtime"

_COLUMNS = """
select c.relrowsecurity, n.nspname, c.relname, a.attname, t.typname,
       format_type(a.atttypid, null) as sql_type,
       coalesce(a.attnum = any (i.indkey), false) as in_key,
       array(select r from unnest($2::text[]) r
             where has_column_privilege(r, c.oid, a.attnum, 'select')) as readers
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where c.oid = $1
order by a.attnum
"""
_PUBLISHED = """
select format('%I.%I', schemaname, tablename)::regclass::oid
from pg_publication_tables
where pubname = $1 and schemaname = $2 and ($3 = '*' or tablename = $3)
"""


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    name: str
    type_name: str
    """As clients see it: `int8`."""
    sql_type: str
    """As SQL wants it: `bigint`."""
    in_key: bool
    readers: frozenset[str]
    """The roles that may select it."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    schema: str
    table: str
    row_security: bool
    columns: tuple[ColumnFacts, ...]

    @property
    def key(self) -> tuple[ColumnFacts, ...]:
        """The primary key's columns; none where the table has no primary key."""
        return tuple(c for c in self.columns if c.in_key)

    def column(self, name: str) -> ColumnFacts | None:
        return next((c for c in self.columns if c.name == name), None)

    @property
    def sql_name(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table)}"


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


async def table_facts(
    connection: Connection, oid: int, roles: Collection[str]
) -> TableFacts | None:
    """The table as it is now, and which of `roles` may read it; None if it is gone."""
    rows = await connection.fetch(_COLUMNS, oid, list(roles))
    if not rows:
        return None
    columns = tuple(
        ColumnFacts(
            row["attname"],
            row["typname"],
            row["sql_type"],
            row["in_key"],
            frozenset(row["readers"]),
        )
        for row in rows
    )
    first = rows[0]
    return TableFacts(first["nspname"], first["relname"], first["relrowsecurity"], columns)


async def published_tables(connection: Connection, schema: str, table: str) -> list[int]:
    """The published tables that a subscription names; `*` is all of a schema."""
    return [row[0] for row in await connection.fetch(_PUBLISHED, PUBLICATION, schema, table)]
