"""The SQL that this version of meshmetrics brings.

Two kinds. `sql/migrations/NNNN_name.sql` run once, in order, and are frozen: the database keeps
their checksums and a changed one is refused. Everything else (views, functions, policies,
privileges, the publication) states what should be, and is replayed whole when any of it changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LOCK = "select pg_catalog.pg_advisory_xact_lock(5570228613601714548)"  # the bytes of 'MMmigrat'
# A lock on MeshHook's tables that is not had soon is given up and asked for again: whoever waits
# for one makes the engine's writes wait behind it.
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


# Version 0 is written first with nothing but this, so that uninstalling can put it back.
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
        order = ["source/*.sql", "functions/*/*.sql", "policies.sql", "privileges.sql"]
        found = (path for pattern in order for path in sorted(self.directory.glob(pattern)))
        paths = [path for path in found if path.name != "index.sql"]  # outside any transaction
        # Functions call each other, whatever the order of their names.
        late = "set local check_function_bodies = off;"
        return "\n".join([late, *(path.read_text() for path in paths)])

    @cached_property
    def publication(self) -> str:
        """Part of what is replayed; needed alone where the engine made its table anew."""
        return (self.directory / "source" / "publication.sql").read_text()

    @cached_property
    def index(self) -> str:
        return (self.directory / "source" / "index.sql").read_text()

    @property
    def index_statement(self) -> str:
        """The index without its comment: the Supabase CLI goes by how a file begins."""
        return re.sub(r"(?m)^--.*\n", "", self.index)

    @cached_property
    def release(self) -> int:
        """Grows whenever what is replayed changes, so that an older meshmetrics knows that it is
        older and leaves a newer one's functions alone."""
        release: int = json.loads((self.directory / "release.json").read_text())["release"]
        return release

    @cached_property
    def checksums(self) -> dict[int, str]:
        """What an up-to-date database has on record, by version; 0 is all that is replayed."""
        return {m.version: m.checksum for m in self.migrations} | {0: _checksum(self.replayed)}

    def script(self) -> str:
        """The whole as one script for psql, with what `migrate` records. It applies again and
        again, and leaves a newer meshmetrics' functions alone."""
        parts = [
            "begin;",
            self.transaction(),
            "commit;",
            "-- Run this apart: it is built without holding up writes, which no transaction can.",
            self.index,
        ]
        return "\n".join(parts)

    def transaction(self) -> str:
        """All but the index: what is to be executed in one transaction."""
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
            "-- replayed, unless a newer meshmetrics' functions are there",
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
    """The SQL beside the code: `sql/` of the repository, or its copy inside the wheel."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "_sql", package.parent / "sql"):
        if (directory / "migrations").is_dir():
            return Schema(directory)
    raise MigrationError("this installation of meshmetrics lacks its SQL files: install it anew")


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
