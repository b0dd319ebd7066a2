"""Migrates a database to the schema that this version of meshmetrics needs (packaged_sql.py).

Migrations and replayed SQL are one transaction under an advisory lock, so any number of daemons may
start at once. The index on `workflow_runs` follows, because `create index concurrently` cannot run
in a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import asyncpg

from meshmetrics.database.packaged_sql import (
    LEDGER,
    LOCK,
    PATIENCE,
    REMEMBER_PUBLICATION,
    MigrationError,
    Schema,
    packaged_schema,
)
from meshmetrics.database.session import configure

INDEX = "public.workflow_runs_updated_at_id"
NEEDED_TABLES = ("projects", "workflow_definitions", "workflow_runs")

_ATTEMPTS = 30
_KINDS = {
    "p": "partitioned",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
}
_RUNS = (
    "select c.relkind::text as kind, c.relreplident = 'f' or exists (select from"
    " pg_catalog.pg_index i where i.indrelid = c.oid and (i.indisprimary or i.indisreplident))"
    " as identified from pg_catalog.pg_class c"
    " where c.oid = pg_catalog.to_regclass('public.workflow_runs')"
)
_PUBLISHED = (
    "select exists (select from pg_catalog.pg_publication_tables where pubname ="
    " 'supabase_realtime' and schemaname = 'public' and tablename = 'workflow_runs')"
)
_RECORD = (
    "insert into meshmetrics.migrations (version, name, checksum, release) values ($1, $2, $3, $4)"
    " on conflict (version) do update set checksum = excluded.checksum,"
    " release = excluded.release, applied_at = now()"
)


async def migrate(dsn: str, schema: Schema | None = None) -> list[str]:
    """Migrate the database at `dsn`; return one line per change made.

    Raises:
        MigrationError: a frozen migration was changed, the database is newer than this code,
            MeshHook's tables or Supabase's parts are missing, or the role may not do it.
        OSError, asyncpg.PostgresError: the database cannot be reached.
    """
    schema = schema or packaged_schema()
    # Transaction poolers do not support the statement cache.
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        await configure(connection)
        try:
            done = await with_locks(lambda: _apply(connection, schema))
            return done + await _build_index(connection, schema)
        except asyncpg.InsufficientPrivilegeError as error:
            role, owners = await _owners(connection)
            raise MigrationError(
                f"{error}. {missing_privilege(str(error), role, owners)}"
            ) from error
    finally:
        await connection.close()


async def _owners(connection: asyncpg.Connection) -> tuple[str, dict[str, str]]:
    """The current role, and the owners of Supabase's objects that migrations change."""
    row = await connection.fetchrow(
        "select pg_catalog.quote_ident(current_user) as role,"
        " (select c.relowner::regrole::text"
        "  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        "  where n.nspname = 'realtime' and c.relname = 'messages') as messages,"
        " (select p.pubowner::regrole::text from pg_catalog.pg_publication p"
        "  where p.pubname = 'supabase_realtime') as publication"
    )
    assert row is not None  # noqa: S101 - a select without from has one row
    found = {name: row[name] for name in ("messages", "publication") if row[name]}
    return row["role"], found


def missing_privilege(message: str, role: str, owners: Mapping[str, str]) -> str:
    """How to fix an insufficient privilege, by Postgres' error message."""
    for name, what in (
        ("messages", "the policy on realtime.messages"),
        ("publication", "a table in the publication supabase_realtime"),
    ):
        if name in message and name in owners:
            grant = f"run `grant {owners[name]} to {role};` as a superuser"
            if role == "postgres":  # hosted Supabase grants it; other servers may not
                return (
                    f"{role} may not set up {what}, because it is not a member of"
                    f" {owners[name]}: {grant}"
                )
            return (
                f"{role} may not set up {what}: migrate with the DATABASE_URL of the project's role"
                f" `postgres` and set MESHMETRICS_MIGRATE=false for the daemon, or {grant}"
            )
    return (
        "Migrations need the role that owns MeshHook's tables (on Supabase: postgres). Run"
        " `meshmetrics migrate` with its DATABASE_URL and set MESHMETRICS_MIGRATE=false for the"
        " daemon"
    )


async def with_locks(work: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Do work that briefly needs locks on MeshHook's tables. If a lock is not available, retry
    after a second, so that the engine's writes never wait long behind ours.

    Raises MigrationError after the last attempt.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await work()
        except asyncpg.LockNotAvailableError as error:
            if attempt == _ATTEMPTS:
                raise MigrationError(
                    f"MeshHook's tables were locked at each of {_ATTEMPTS} attempts ({error}):"
                    " end the long transaction, and try again"
                ) from error
            await asyncio.sleep(1)
    raise AssertionError("unreachable")


async def _apply(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    async with connection.transaction():
        return await _apply_once(connection, schema)


async def _apply_once(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    await connection.execute(LOCK)
    await connection.execute(PATIENCE)
    await _check_source(connection)
    await connection.execute(LEDGER)
    await connection.execute(REMEMBER_PUBLICATION)
    applied = {
        row["version"]: row
        for row in await connection.fetch("select * from meshmetrics.migrations")
    }
    known = {m.version for m in schema.migrations}
    if newer := sorted(applied.keys() - known - {0}):
        raise MigrationError(
            f"the database is at migration {newer[-1]:04}, and this meshmetrics has only"
            f" {max(known):04}: install the newer meshmetrics"
        )
    done = []
    for migration in schema.migrations:
        row = applied.get(migration.version)
        if row is None:
            await connection.execute(migration.sql)
            await connection.execute(
                _RECORD, migration.version, migration.name, migration.checksum, 0
            )
            done.append(f"applied {migration.version:04}_{migration.name}")
        elif row["checksum"] != migration.checksum:
            raise MigrationError(
                f"migration {migration.version:04}_{migration.name} was changed after it was"
                " applied to this database. Migrations are frozen: restore the file, and make"
                " the change in a new one"
            )
    checksum = schema.checksums[0]
    if 0 in applied and applied[0]["release"] > schema.release:
        done.append(
            "left the functions unchanged: the database's are of release"
            f" {applied[0]['release']}, newer than this meshmetrics' {schema.release}"
        )
    elif done or 0 not in applied or applied[0]["checksum"] != checksum:
        await connection.execute(schema.replayed)
        await connection.execute(_RECORD, 0, "replayed", checksum, schema.release)
        done.append("replayed functions, policies and privileges")
    # Checked each time: if the engine re-created its table, no checksum of ours shows it.
    if not await connection.fetchval(_PUBLISHED):
        await connection.execute(schema.publication)
        done.append("added workflow_runs to the publication supabase_realtime")
    return done


async def _check_source(connection: asyncpg.Connection) -> None:
    missing = await connection.fetchval(
        "select array_agg(name) from unnest($1::text[]) name"
        " where to_regclass('public.' || name) is null",
        list(NEEDED_TABLES),
    )
    if missing:
        raise MigrationError(
            f"this database has no public.{', public.'.join(missing)}: apply MeshHook's own"
            " migrations first, or point DATABASE_URL at MeshHook's database"
        )
    row = await connection.fetchrow(_RUNS)
    assert row is not None  # noqa: S101 - the table is there
    if row["kind"] != "r":
        raise MigrationError(
            f"public.workflow_runs is {_KINDS.get(row['kind'], 'no table')}, and meshmetrics reads"
            " an ordinary table only: give the table that MeshHook writes this name"
        )
    if not row["identified"]:
        raise MigrationError(
            "public.workflow_runs has no primary key, so publishing it would make MeshHook's"
            " updates fail: run `alter table public.workflow_runs add primary key (id)`"
        )


async def _build_index(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    """Build the index unless there is a valid one; wait for another migrator that is building it.

    An invalid index that no session is building is left from a failed attempt. One on another table
    belongs to a former workflow_runs that was renamed. Both are replaced. We take no session-level
    lock, because behind a transaction pooler it would outlive us.
    """
    done: list[str] = []
    while True:
        state = await connection.fetchrow(
            "select (select i.indisvalid and i.indrelid = to_regclass('public.workflow_runs')"
            "        from pg_catalog.pg_index i where i.indexrelid = to_regclass($1)) as valid,"
            " exists (select from pg_catalog.pg_stat_progress_create_index p"
            "         where p.relid = to_regclass('public.workflow_runs')) as building",
            INDEX,
        )
        assert state is not None  # noqa: S101 - a select without from has one row
        if state["valid"]:
            return done
        try:
            if state["building"]:
                await asyncio.sleep(0.1)
                continue
            if state["valid"] is False:
                await connection.execute(f"drop index concurrently if exists {INDEX}")
            await connection.execute("set statement_timeout = 0")
            await connection.execute(schema.index)
            done = [f"built the index {INDEX.removeprefix('public.')}"]
        except (
            asyncpg.UniqueViolationError,
            asyncpg.DuplicateTableError,
            asyncpg.DeadlockDetectedError,
            asyncpg.UndefinedObjectError,
        ):
            await asyncio.sleep(0.1)  # another migrator was faster: check again
