"""Removes everything of meshmetrics' from a database, and nothing of MeshHook's."""

from __future__ import annotations

import re

import asyncpg

from meshmetrics.database.migrate import INDEX, with_locks
from meshmetrics.database.packaged_sql import (
    LOCK,
    PATIENCE,
    MigrationError,
    Schema,
    packaged_schema,
)

ROLE = "meshmetrics_worker"
POLICY = 'drop policy if exists "meshmetrics: members receive" on realtime.messages'
PUBLICATION = "alter publication supabase_realtime drop table public.workflow_runs"
OUR_SCHEMA = "drop schema if exists meshmetrics cascade"

_PUBLISHED_BY_US = (
    "select exists (select from pg_catalog.pg_publication_tables where pubname ="
    " 'supabase_realtime' and schemaname = 'public' and tablename = 'workflow_runs')"
    " and (select m.published from meshmetrics.migrations m where m.version = 0) is not true"
)
_DAEMON = "select holder_name from meshmetrics.lease where expires_at > clock_timestamp()"


def tables(schema: Schema) -> list[str]:
    """Our tables in `public`, by the migrations that make them."""
    sql = "\n".join(migration.sql for migration in schema.migrations)
    return sorted(set(re.findall(r"create table (public\.\w+)", sql)))


def functions(schema: Schema) -> list[str]:
    """Our functions in `public`, by the files that make them."""
    return sorted(set(re.findall(r"create or replace function (public\.\w+)", schema.replayed)))


def statements(schema: Schema, *, unpublish: bool) -> list[tuple[str, str]]:
    """What is executed in one transaction: each statement, and what it removes."""
    names = ", ".join(f"'{name.removeprefix('public.')}'" for name in functions(schema))
    drop_functions = (
        "do $$ declare f regprocedure; begin"  # noqa: S608 (names of our own files)
        " for f in select p.oid from pg_catalog.pg_proc p"
        f" where p.pronamespace = 'public'::regnamespace and p.proname in ({names})"
        " loop execute 'drop function if exists ' || f || ' cascade'; end loop; end $$"
    )
    return [
        (POLICY, "the policy on realtime.messages"),
        *([(PUBLICATION, "workflow_runs from the publication")] if unpublish else []),
        (f"drop table if exists {', '.join(tables(schema))} cascade", "the tables in public"),
        (drop_functions, "the functions in public"),
        (OUR_SCHEMA, "the schema meshmetrics"),
    ]


def script(schema: Schema | None = None) -> str:
    """All of it as SQL to print: for those who would rather run it themselves."""
    schema = schema or packaged_schema()
    lines = ["begin;", f"{PATIENCE};", "set local search_path = public;"]
    for statement, what in statements(schema, unpublish=True):
        if statement == PUBLICATION:
            lines.append("-- Leave this line out if something else needs the publication.")
        lines += [f"-- {what}", f"{statement};"]
    lines += [
        "commit;",
        "-- Run these apart.",
        f"drop index concurrently if exists {INDEX};",
        f"drop role if exists {ROLE};",
    ]
    return "\n".join(lines) + "\n"


async def uninstall(dsn: str, schema: Schema | None = None) -> list[str]:
    """Remove everything from the database at `dsn`; return what was removed, a line each.

    Raises:
        MigrationError: a daemon is still at work, a lock is not to be had, or the role may not.
        OSError, asyncpg.PostgresError: the database cannot be reached.
    """
    schema = schema or packaged_schema()
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        done = await with_locks(lambda: _remove(connection, schema))
        return done + await _remove_outside(connection)
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
                raise MigrationError(f"the daemon {holder} is at work: stop it first")
            unpublish = await connection.fetchval(_PUBLISHED_BY_US)
        done = []
        for statement, what in statements(schema, unpublish=unpublish):
            await connection.execute(statement)
            done.append(f"removed {what}")
        return done


async def _remove_outside(connection: asyncpg.Connection) -> list[str]:
    """What no transaction can: the index, built and dropped without holding up the engine's
    writes, and the role, which other databases of the server may need."""
    await connection.execute("set statement_timeout = 0")
    await connection.execute(f"drop index concurrently if exists {INDEX}")
    done = [f"removed the index {INDEX.removeprefix('public.')}"]
    try:
        await connection.execute(f"drop role if exists {ROLE}")
        done.append(f"removed the role {ROLE}")
    except asyncpg.DependentObjectsStillExistError:
        done.append(f"left the role {ROLE}: another database of this server uses it")
    return done
