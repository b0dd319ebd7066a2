"""Removes everything of meshmetrics from a database, and nothing of MeshHook's."""

from __future__ import annotations

import re
from dataclasses import dataclass

import asyncpg

from meshmetrics.database.migrate import INDEX, with_locks
from meshmetrics.database.packaged_sql import (
    LOCK,
    PATIENCE,
    MigrationError,
    Schema,
    packaged_schema,
)
from meshmetrics.database.session import configure

ROLE = "meshmetrics_worker"
POLICY = 'drop policy if exists "meshmetrics: members receive" on realtime.messages'
PUBLICATION = "alter publication supabase_realtime drop table public.workflow_runs"
OUR_SCHEMA = "drop schema if exists meshmetrics, meshmetrics_parts cascade"

_PUBLISHED_BY_US = (
    "select exists (select from pg_catalog.pg_publication_tables where pubname ="
    " 'supabase_realtime' and schemaname = 'public' and tablename = 'workflow_runs')"
    " and (select m.published from meshmetrics.migrations m where m.version = 0) is not true"
)
_DAEMON = "select holder_name from meshmetrics.lease where expires_at > clock_timestamp()"


def tables(schema: Schema) -> list[str]:
    """Our tables in `public`, from the migrations that create them."""
    sql = "\n".join(migration.sql for migration in schema.migrations)
    return sorted(set(re.findall(r"create table (public\.\w+)", sql)))


def functions(schema: Schema) -> list[str]:
    """Our functions in `public`, from the files that create them."""
    return sorted(set(re.findall(r"create or replace function (public\.\w+)", schema.replayed)))


@dataclass(frozen=True, slots=True)
class Removal:
    """A statement that removes something of ours, its description, and the condition (SQL) that it
    exists."""

    statement: str
    what: str
    exists: str


def removals(schema: Schema, *, unpublish: bool) -> list[Removal]:
    """The removals, to be executed in one transaction. If the operator's own objects depend on our
    tables or functions in `public`, Postgres refuses and names them."""
    names = ", ".join(f"'{name.removeprefix('public.')}'" for name in functions(schema))
    ours = (
        "from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace"
        f" and p.proname in ({names})"
    )
    drop_functions = (
        f"do $$ declare f regprocedure; begin for f in select p.oid {ours}"
        " loop execute 'drop function if exists ' || f; end loop; end $$"
    )
    return [
        Removal(
            POLICY,
            "the policy on realtime.messages",
            "exists (select from pg_catalog.pg_policies where schemaname = 'realtime'"
            " and policyname = 'meshmetrics: members receive')",
        ),
        *([Removal(PUBLICATION, "workflow_runs from the publication", "true")] * unpublish),
        Removal(drop_functions, "the functions in public", f"exists (select {ours})"),
        Removal(
            OUR_SCHEMA,
            "the schemas meshmetrics and meshmetrics_parts",
            "pg_catalog.to_regnamespace('meshmetrics') is not null",
        ),
        # In one statement, because they reference each other.
        Removal(
            f"drop table if exists {', '.join(tables(schema))}",
            "the tables in public",
            " or ".join(f"pg_catalog.to_regclass('{name}') is not null" for name in tables(schema)),
        ),
    ]


def script(schema: Schema | None = None) -> str:
    """The uninstallation as SQL, for operators who run it themselves."""
    schema = schema or packaged_schema()
    lines = ["begin;", f"{PATIENCE};", "set local search_path = public;"]
    for removal in removals(schema, unpublish=True):
        if removal.statement == PUBLICATION:
            lines.append("-- Omit this line if something else needs the publication.")
        lines += [f"-- {removal.what}", f"{removal.statement};"]
    lines += [
        "commit;",
        "-- Run these outside a transaction.",
        f"drop index concurrently if exists {INDEX};",
        f"drop role if exists {ROLE};",
    ]
    return "\n".join(lines) + "\n"


async def uninstall(dsn: str, schema: Schema | None = None) -> list[str]:
    """Remove everything from the database at `dsn`; return one line per removal.

    Raises:
        MigrationError: a daemon is active, a lock is not available, or the role lacks a privilege.
        OSError, asyncpg.PostgresError: the database cannot be reached.
    """
    schema = schema or packaged_schema()
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        await configure(connection)
        done = await with_locks(lambda: _remove(connection, schema))
        return done + await _remove_outside(connection)
    except asyncpg.DependentObjectsStillExistError as error:
        raise MigrationError(
            f"{error}. Nothing was removed: first drop what depends on it"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"{error}. Uninstalling needs the role that migrated (on Supabase: postgres)"
        ) from error
    finally:
        await connection.close()


async def _remove(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    async with connection.transaction():
        await connection.execute(LOCK)
        await connection.execute(PATIENCE)
        await connection.execute("set local search_path = public")
        unpublish = False
        if await connection.fetchval("select to_regnamespace('meshmetrics') is not null"):
            if holder := await connection.fetchval(_DAEMON):
                raise MigrationError(f"the daemon {holder} is running: stop it first")
            unpublish = await connection.fetchval(_PUBLISHED_BY_US)
        done = []
        for removal in removals(schema, unpublish=unpublish):
            if await connection.fetchval(f"select {removal.exists}"):
                await connection.execute(removal.statement)
                done.append(f"removed {removal.what}")
        return done


async def _remove_outside(connection: asyncpg.Connection) -> list[str]:
    """Remove what needs no transaction or must not have one: the index, which is dropped without
    blocking the engine's writes, and the role, which other databases of the server may need."""
    await connection.execute("set statement_timeout = 0")
    done = []
    if await connection.fetchval("select to_regclass($1) is not null", INDEX):
        await connection.execute(f"drop index concurrently if exists {INDEX}")
        done.append(f"removed the index {INDEX.removeprefix('public.')}")
    if await connection.fetchval("select to_regrole($1) is not null", ROLE):
        try:
            await connection.execute(f"drop role if exists {ROLE}")
            done.append(f"removed the role {ROLE}")
        except asyncpg.DependentObjectsStillExistError:
            done.append(f"kept the role {ROLE}: another database of this server uses it")
        except asyncpg.InsufficientPrivilegeError as error:
            done.append(f"kept the role {ROLE}: {error}")
    return done
