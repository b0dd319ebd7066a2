"""The stand-in for MeshHook's database equals what Postgres says of the real one."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import Connect
from tests.support import databases
from tests.support.databases import DatabaseClone

RECORDED: dict[str, Any] = json.loads(
    Path(databases.__file__).with_name("meshhook_catalogue.json").read_text()
)

TABLES = """
select c.relname as name, c.relkind::text as relkind, c.relreplident::text as replica_identity,
       c.relrowsecurity as rls, c.relforcerowsecurity as force_rls,
       pg_get_partkeydef(c.oid) as partition_key, c.oid
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relname = any ($1::text[])
"""
COLUMNS = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       a.attnotnull as not_null, pg_get_expr(d.adbin, d.adrelid) as default
from pg_attribute a left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
CONSTRAINTS = """
select pg_get_constraintdef(oid) as definition from pg_constraint
where conrelid = $1 and contype <> 'n'
"""
INDEXES = "select pg_get_indexdef(indexrelid) as definition from pg_index where indrelid = $1"
POLICIES = """
select polcmd::text as command,
       array(select case r when 0 then 'public' else pg_get_userbyid(r) end
             from unnest(polroles) r) as roles,
       pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as with_check
from pg_policy where polrelid = $1
"""
TRIGGERS = """
select pg_get_triggerdef(oid) as definition from pg_trigger where tgrelid = $1 and not tgisinternal
"""
FUNCTIONS = """
select proname as name, pg_get_function_identity_arguments(p.oid) as arguments,
       lanname as language, pg_get_function_result(p.oid) as result,
       prosecdef as security_definer, proconfig as settings, provolatile::text as volatility
from pg_proc p join pg_language l on l.oid = p.prolang
where pronamespace = 'public'::regnamespace and proname = any ($1::text[]) order by proname
"""
VIEWS = """
select c.relname as name, c.reloptions as options,
       array(select a.attname::text from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'v' order by 1
"""


async def catalogue(connection: asyncpg.Connection) -> dict[str, Any]:
    """What Postgres says of MeshHook's tables, in the form of the recorded facts: without the names
    of indexes, constraints, triggers and policies."""
    # As whoever recorded the facts: what lies in public is named without its schema.
    await connection.execute("set search_path = public")
    tables = {}
    for table in map(dict, await connection.fetch(TABLES, list(RECORDED["tables"]))):
        facts = {key: value for key, value in table.items() if key not in {"name", "oid"}}
        for key, query in (
            ("columns", COLUMNS),
            ("constraints", CONSTRAINTS),
            ("indexes", INDEXES),
            ("policies", POLICIES),
            ("triggers", TRIGGERS),
        ):
            facts[key] = [dict(row) for row in await connection.fetch(query, table["oid"])]
        tables[table["name"]] = facts
    names = [function["name"] for function in RECORDED["functions"]]
    return comparable(
        {
            "functions": [dict(row) for row in await connection.fetch(FUNCTIONS, names)],
            "tables": tables,
            "views": [dict(row) for row in await connection.fetch(VIEWS)],
        }
    )


def comparable(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts without names and without the order of what has none."""
    facts = copy.deepcopy(facts)
    for table in facts["tables"].values():
        for index in table["indexes"]:
            index["definition"] = re.sub(r"INDEX \w+ ON ", "INDEX ON ", index["definition"])
        for trigger in table["triggers"]:
            trigger["definition"] = re.sub(
                r"TRIGGER (?!BEFORE|AFTER)\w+ ", "TRIGGER ", trigger["definition"]
            )
        for policy in table["policies"]:
            policy["roles"] = sorted(policy["roles"])
        for key in ("constraints", "indexes", "policies", "triggers"):
            table[key].sort(key=lambda item: json.dumps(item, sort_keys=True))
    return facts


async def test_a_fresh_stand_in_equals_the_recorded_catalogue(
    source_database: DatabaseClone, connect: Connect
) -> None:
    found = await catalogue(await connect(source_database.owner_dsn))
    expected = comparable(RECORDED)
    for name, table in expected["tables"].items():
        for key, value in table.items():
            assert found["tables"][name][key] == value, f"{name}: {key}"
    assert found == expected


COLUMN_NAMES = [
    (table, column["name"])
    for table, facts in RECORDED["tables"].items()
    for column in facts["columns"]
]


@pytest.mark.parametrize(("table", "column"), COLUMN_NAMES)
async def test_a_column_that_is_otherwise_is_noticed(
    source_database: DatabaseClone, connect: Connect, table: str, column: str
) -> None:
    connection = await connect(source_database.owner_dsn)
    await connection.execute(f"alter table public.{table} rename column {column} to renamed")
    assert await catalogue(connection) != comparable(RECORDED)


async def test_user_project_ids_fails_without_public_in_the_path(
    source_database: DatabaseClone, connect: Connect
) -> None:
    connection = await connect(source_database.owner_dsn)
    await connection.execute("set search_path = pg_catalog, pg_temp")
    with pytest.raises(asyncpg.UndefinedTableError, match="projects"):
        await connection.fetch("select public.user_project_ids()")
