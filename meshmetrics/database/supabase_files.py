"""Writes our SQL as migration files of the Supabase CLI, for `supabase db push`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from meshmetrics.database.packaged_sql import MigrationError, Schema, packaged_schema

NAME = "meshmetrics"
INDEX_NAME = "meshmetrics_index"


def write_files(directory: Path, schema: Schema | None = None) -> list[Path]:
    """Write new migrations into `directory`/migrations; return the files written.

    `supabase db push` runs each file in one transaction. Since version 2.109 it runs
    `create index concurrently` outside one, so the index has a file of its own; older versions
    refuse that file. `directory` may be the folder `migrations` itself.

    Raises MigrationError if `directory` is not a folder of the Supabase CLI.
    """
    schema = schema or packaged_schema()
    migrations = directory if directory.name == "migrations" else directory / "migrations"
    if not migrations.is_dir():
        raise MigrationError(
            f"{migrations} is missing: pass the `supabase` folder that `supabase init` created"
        )
    written = []
    for name, sql in ((NAME, schema.transaction()), (INDEX_NAME, schema.index_statement)):
        text = sql.strip() + "\n"
        existing = sorted(migrations.glob(f"*_{name}.sql"))
        if existing and existing[-1].read_text() == text:
            continue
        path = migrations / f"{_stamp(migrations)}_{name}.sql"
        path.write_text(text)
        written.append(path)
    return written


def _stamp(migrations: Path) -> str:
    """A timestamp after those of all existing files: the CLI applies them in order."""
    stamps = [path.name[:14] for path in migrations.glob("*.sql") if path.name[:14].isdigit()]
    now = datetime.now(UTC)
    if stamps and max(stamps) >= now.strftime("%Y%m%d%H%M%S"):
        now = datetime.strptime(max(stamps), "%Y%m%d%H%M%S").replace(tzinfo=UTC) + timedelta(
            seconds=1
        )
    return now.strftime("%Y%m%d%H%M%S")
