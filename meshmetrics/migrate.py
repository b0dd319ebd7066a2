"""Brings a database to the schema that this version of meshmetrics needs.

Two kinds of SQL. `sql/migrations/NNNN_name.sql` run once, in order, and are frozen: the database
keeps their checksums and a changed one is refused. Everything else (views, functions, policies,
privileges, the publication) states what should be, and is replayed whole when any of it changed.
All that is one transaction under an advisory lock, so any number of daemons may start at once.
The index on `workflow_runs` comes after it: built concurrently, it cannot be in a transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import asyncpg

INDEX = "public.workflow_runs_updated_at_id"
NEEDED_TABLES = ("projects", "workflow_definitions", "workflow_runs")

_LOCK = "select pg_catalog.pg_advisory_xact_lock(5570228613601714548)"  # the bytes of 'MMmigrat'
# A lock on MeshHook's tables that is not had soon is given up and asked for again: whoever waits
# for one makes the engine's writes wait behind it.
_PATIENCE = "set local lock_timeout = '2s'"
_ATTEMPTS = 30
_LEDGER = """\
create schema if not exists meshmetrics;
create table if not exists meshmetrics.migrations (
  version integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);
alter table meshmetrics.migrations enable row level security;
comment on table meshmetrics.migrations is
  'What was migrated. Version 0 stands for all that is replayed when it changes.';
"""
_RECORD = (
    "insert into meshmetrics.migrations (version, name, checksum) values ($1, $2, $3)"
    " on conflict (version) do update set checksum = excluded.checksum, applied_at = now()"
)


class MigrationError(Exception):
    """The database cannot be migrated; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file that runs once."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return _checksum(self.sql)


@dataclass(frozen=True)
class Schema:
    """The SQL that this version of meshmetrics brings."""

    directory: Path

    @cached_property
    def migrations(self) -> tuple[Migration, ...]:
        found = []
        for path in sorted((self.directory / "migrations").glob("*.sql")):
            match = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
            if match is None:
                raise MigrationError(f"{path.name}: a migration is called NNNN_name.sql")
            found.append(Migration(int(match[1]), match[2], path.read_text()))
        if [m.version for m in found] != list(range(1, len(found) + 1)):
            raise MigrationError("migrations must be numbered 0001, 0002, … without a gap")
        return tuple(found)

    @cached_property
    def replayed(self) -> str:
        """Everything that is stated anew when any of it changed, in order."""
        order = ["views/*.sql", "functions/*.sql", "policies.sql", "privileges.sql"]
        order.append("source/publication.sql")
        paths = [path for pattern in order for path in sorted(self.directory.glob(pattern))]
        # Functions call each other, whatever the order of their names.
        late = "set local check_function_bodies = off;"
        return "\n".join([late, *(path.read_text() for path in paths)])

    @cached_property
    def index(self) -> str:
        return (self.directory / "source" / "index.sql").read_text()

    @cached_property
    def checksums(self) -> dict[int, str]:
        """What an up-to-date database has on record, by version; 0 is all that is replayed."""
        return {m.version: m.checksum for m in self.migrations} | {0: _checksum(self.replayed)}

    def script(self) -> str:
        """The whole as one script for psql or the Supabase CLI, with what `migrate` records."""
        parts = ["begin;", f"{_LOCK};", f"{_PATIENCE};", _LEDGER]
        for migration in self.migrations:
            parts += [f"-- {migration.version:04} {migration.name}", migration.sql]
        parts += ["-- replayed", self.replayed]
        rows = [(m.version, m.name, m.checksum) for m in self.migrations]
        rows.append((0, "replayed", _checksum(self.replayed)))
        values = ",\n".join(f"  ({v}, '{name}', '{checksum}')" for v, name, checksum in rows)
        parts += [
            f"insert into meshmetrics.migrations (version, name, checksum) values\n{values};",
            "commit;",
            "-- Run this apart: it is built without holding up writes, which no transaction can.",
            self.index,
        ]
        return "\n".join(parts)


def packaged_schema() -> Schema:
    """The SQL beside the code: `sql/` of the repository, or its copy inside the wheel."""
    here = Path(__file__).resolve().parent
    for directory in (here / "_sql", here.parent / "sql"):
        if (directory / "migrations").is_dir():
            return Schema(directory)
    raise MigrationError("this installation of meshmetrics lacks its SQL files: install it anew")


async def migrate(dsn: str, schema: Schema | None = None) -> list[str]:
    """Migrate the database at `dsn`; return what was done, a line each (empty: nothing to do).

    Raises:
        MigrationError: a frozen migration was changed, the database is newer than this code,
            MeshHook's tables or Supabase's parts are missing, or the role may not do it.
        OSError, asyncpg.PostgresError: the database cannot be reached.
    """
    schema = schema or packaged_schema()
    # No statement cache: harmless here, and a transaction pooler cannot do without.
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        try:
            done = await _apply(connection, schema)
            return done + await _build_index(connection, schema)
        except asyncpg.InsufficientPrivilegeError as error:
            raise MigrationError(
                f"{error}. Migrations need the role that owns MeshHook's tables (on Supabase:"
                " postgres). Run `meshmetrics migrate` with its DATABASE_URL and set"
                " MESHMETRICS_MIGRATE=false for the daemon"
            ) from error
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with connection.transaction():
                return await _apply_once(connection, schema)
        except asyncpg.LockNotAvailableError as error:
            if attempt == _ATTEMPTS:
                raise MigrationError(
                    f"MeshHook's tables were locked at each of {_ATTEMPTS} attempts ({error}):"
                    " end the transaction that has been open for long, and try again"
                ) from error
            await asyncio.sleep(1)
    raise AssertionError("unreachable")


async def _apply_once(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    await connection.execute(_LOCK)
    await connection.execute(_PATIENCE)
    await _check_source(connection)
    await connection.execute(_LEDGER)
    applied = {
        row["version"]: row
        for row in await connection.fetch("select * from meshmetrics.migrations")
    }
    known = {m.version for m in schema.migrations}
    if newer := sorted(applied.keys() - known - {0}):
        raise MigrationError(
            f"the database is at migration {newer[-1]:04} and this meshmetrics knows only up to"
            f" {max(known):04}: install the newer meshmetrics"
        )
    done = []
    for migration in schema.migrations:
        row = applied.get(migration.version)
        if row is None:
            await connection.execute(migration.sql)
            await connection.execute(_RECORD, migration.version, migration.name, migration.checksum)
            done.append(f"applied {migration.version:04}_{migration.name}")
        elif row["checksum"] != migration.checksum:
            raise MigrationError(
                f"migration {migration.version:04}_{migration.name} was changed after it was"
                " applied to this database. Migrations are frozen: put the file back as it was"
                " and write the change as a new one"
            )
    checksum = _checksum(schema.replayed)
    if done or 0 not in applied or applied[0]["checksum"] != checksum:
        await connection.execute(schema.replayed)
        await connection.execute(_RECORD, 0, "replayed", checksum)
        done.append("replayed views, functions, policies and privileges")
    return done


async def _check_source(connection: asyncpg.Connection) -> None:
    missing = await connection.fetchval(
        "select array_agg(name) from unnest($1::text[]) name"
        " where to_regclass('public.' || name) is null",
        list(NEEDED_TABLES),
    )
    if missing:
        raise MigrationError(
            f"public.{', public.'.join(missing)} missing in this database: apply MeshHook's own"
            " migrations first, or point DATABASE_URL at MeshHook's database"
        )


async def _build_index(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    """Build the index unless it is there and valid; wait for another migrator that is at it.

    An invalid index that nobody is building is what a broken attempt left: it is replaced. No
    session-level lock is taken, because one would outlive us behind a transaction pooler.
    """
    done: list[str] = []
    while True:
        state = await connection.fetchrow(
            "select (select i.indisvalid from pg_catalog.pg_index i"
            "        where i.indexrelid = to_regclass($1)) as valid,"
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
            await asyncio.sleep(0.1)  # another migrator was quicker: look again


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
