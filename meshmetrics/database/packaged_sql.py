"""The SQL that this version of meshmetrics contains.

There are two kinds. `sql/migrations/NNNN_name.sql` run once, in order, and are frozen: the database
records their checksums, and a changed file is refused. Everything else (views, functions, policies,
privileges, the publication) is declarative, and is replayed whole when any of it changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LOCK = "select pg_catalog.pg_advisory_xact_lock(5570228613601714548)"  # the bytes of 'MMmigrat'
# If a lock on MeshHook's tables is not available soon, we give up and retry: the engine's writes
# would queue behind a waiting lock.
PATIENCE = "set local lock_timeout = '2s'"
LEDGER = """\
create schema if not exists meshmetrics;
create table if not exists meshmetrics.migrations (
  version integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);
alter table meshmetrics.migrations add column if not exists release integer not null default 0;
alter table meshmetrics.migrations add column if not exists published boolean;
alter table meshmetrics.migrations enable row level security;
comment on table meshmetrics.migrations is
  'What was migrated. Version 0: all that is replayed when it changes, and its release.';
comment on column meshmetrics.migrations.published is
  'Of version 0: whether workflow_runs was in the publication before meshmetrics came.';
"""


# Version 0 is first recorded with only this, so that uninstalling can restore it.
REMEMBER_PUBLICATION = """\
insert into meshmetrics.migrations (version, name, checksum, published)
select 0, 'replayed', '', exists (
  select from pg_catalog.pg_publication_tables
  where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'workflow_runs'
)
on conflict (version) do nothing"""


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
    """The SQL that this version of meshmetrics contains."""

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
        """Everything that is replayed when any of it changes, in order."""
        order = ["source/*.sql", "functions/*/*.sql", "policies.sql", "privileges.sql"]
        found = (path for pattern in order for path in sorted(self.directory.glob(pattern)))
        paths = [path for path in found if path.name != "index.sql"]  # outside any transaction
        # Functions call each other, regardless of the order of their names.
        late = "set local check_function_bodies = off;"
        return "\n".join([late, *(path.read_text() for path in paths)])

    @cached_property
    def publication(self) -> str:
        """Part of what is replayed; applied alone if the engine re-created its table."""
        return (self.directory / "source" / "publication.sql").read_text()

    @cached_property
    def index(self) -> str:
        return (self.directory / "source" / "index.sql").read_text()

    @property
    def index_statement(self) -> str:
        """The index without its comment: the Supabase CLI checks how a file begins."""
        return re.sub(r"(?m)^--.*\n", "", self.index)

    @cached_property
    def release(self) -> int:
        """Increases whenever what is replayed changes, so that an older meshmetrics leaves the
        functions of a newer one unchanged."""
        release: int = json.loads((self.directory / "release.json").read_text())["release"]
        return release

    @cached_property
    def checksums(self) -> dict[int, str]:
        """The checksums that an up-to-date database records, by version; 0: all replayed SQL."""
        return {m.version: m.checksum for m in self.migrations} | {0: _checksum(self.replayed)}

    def script(self) -> str:
        """Everything as one psql script, including what `migrate` records. It is idempotent, and
        leaves the functions of a newer meshmetrics unchanged."""
        parts = [
            "begin;",
            self.transaction(),
            "commit;",
            "-- Run this outside a transaction: it builds the index without blocking writes.",
            self.index,
        ]
        return "\n".join(parts)

    def transaction(self) -> str:
        """Everything except the index, to be executed in one transaction."""
        parts = [f"{LOCK};", f"{PATIENCE};", LEDGER, f"{REMEMBER_PUBLICATION};"]
        for migration in self.migrations:
            parts += [
                f"-- {migration.version:04} {migration.name}",
                "do $meshmetrics$ begin",
                "if not exists (select from meshmetrics.migrations"
                f" where version = {migration.version}) then execute $migration$",
                migration.sql,
                "$migration$; end if; end $meshmetrics$;",
            ]
        parts += [
            "-- replayed, unless the database has the functions of a newer meshmetrics",
            "do $meshmetrics$ begin",
            "if not exists (select from meshmetrics.migrations where version = 0"
            f" and release > {self.release}) then execute $replayed$",
            self.replayed,
            "$replayed$; end if; end $meshmetrics$;",
        ]
        rows = [(m.version, m.name, m.checksum, 0) for m in self.migrations]
        rows.append((0, "replayed", _checksum(self.replayed), self.release))
        values = ",\n".join(f"  ({v}, '{name}', '{sum_}', {r})" for v, name, sum_, r in rows)
        parts.append(
            "insert into meshmetrics.migrations (version, name, checksum, release) values\n"
            f"{values}\non conflict (version) do update"
            " set checksum = excluded.checksum, release = excluded.release"
            " where migrations.release <= excluded.release;"
        )
        return "\n".join(parts)


def packaged_schema() -> Schema:
    """The SQL in `sql/` of the repository, or its copy inside the wheel."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "_sql", package.parent / "sql"):
        if (directory / "migrations").is_dir():
            return Schema(directory)
    raise MigrationError("this installation of meshmetrics lacks its SQL files: reinstall it")


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
