"""Migrating: once, many at once, twice, half-way, too new, and changed after the fact."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from meshmetrics.database.migrate import INDEX, migrate
from meshmetrics.database.packaged_sql import MigrationError, Schema, packaged_schema
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from tests.conftest import Connect
from tests.support import eventually
from tests.support.databases import DatabaseClone, cloned, hand_over

SNAPSHOT = """
select coalesce(string_agg(line, E'\n' order by line), '') from (
  select format('%s.%s %s %s %s', n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relacl)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'meshmetrics')
  union all
  select format('%s %s %s %s %s', a.attrelid::regclass, a.attnum, a.attname,
                format_type(a.atttypid, a.atttypmod), a.attnotnull)
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'meshmetrics') and a.attnum > 0
  union all
  select format('%s %s %s', p.oid::regprocedure, md5(p.prosrc), p.proacl)
    from pg_proc p where p.pronamespace = 'meshmetrics'::regnamespace
  union all
  select format('%s %s %s', i.indexrelid::regclass, i.indisvalid, pg_get_indexdef(i.indexrelid))
    from pg_index i join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'meshmetrics')
  union all
  select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    from pg_constraint where conrelid <> 0
  union all
  select format('%s %s %s %s', schemaname, tablename, policyname, qual) from pg_policies
  union all
  select format('%s %s %s', version, name, checksum) from meshmetrics.migrations
) lines (line)
"""


@pytest.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[DatabaseClone]:
    """A database without even MeshHook's tables."""
    async with cloned(postgres, "empty") as database:
        yield database


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    """A copy of our SQL that a test may change."""
    shutil.copytree(packaged_schema().directory, tmp_path / "sql")
    return Schema(tmp_path / "sql")


async def test_migrating_twice_changes_nothing(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = source_database.owner_dsn
    assert await migrate(dsn) != []
    owner = await connect(dsn)
    before = await owner.fetchval(SNAPSHOT)
    assert "count_runs" in before
    assert await migrate(dsn) == []
    assert await owner.fetchval(SNAPSHOT) == before


async def test_twelve_migrators_at_once_end_well(
    source_database: DatabaseClone, connect: Connect
) -> None:
    dsn = source_database.owner_dsn
    reports = await asyncio.gather(*(migrate(dsn) for _ in range(12)))
    assert sum("applied 0001_core" in report for report in reports) == 1
    owner = await connect(dsn)
    assert await owner.fetchval(
        "select indisvalid from pg_index where indexrelid = $1::text::regclass", INDEX
    )


async def test_a_changed_frozen_migration_is_refused(
    source_database: DatabaseClone, schema: Schema
) -> None:
    await migrate(source_database.owner_dsn, schema)
    path = schema.directory / "migrations" / "0001_core.sql"
    path.write_text(path.read_text() + "-- a later thought\n")
    with pytest.raises(MigrationError, match=r"0001_core was changed.*make the change in a new"):
        await migrate(source_database.owner_dsn, Schema(schema.directory))


async def test_a_changed_function_is_replayed(
    source_database: DatabaseClone, schema: Schema, connect: Connect
) -> None:
    await migrate(source_database.owner_dsn, schema)
    path = schema.directory / "functions" / "counting" / "changed_since.sql"
    path.write_text(path.read_text().replace("'deltas', null", "'deltas', null, 'new', true"))
    assert await migrate(source_database.owner_dsn, Schema(schema.directory)) == [
        "replayed functions, policies and privileges"
    ]
    owner = await connect(source_database.owner_dsn)
    assert "'new', true" in await owner.fetchval(
        "select prosrc from pg_proc where proname = 'changed_since'"
    )


async def test_a_newer_database_is_refused(
    source_database: DatabaseClone, connect: Connect
) -> None:
    await migrate(source_database.owner_dsn)
    owner = await connect(source_database.owner_dsn)
    await owner.execute("insert into meshmetrics.migrations values (999, 'later', 'x')")
    with pytest.raises(MigrationError, match=r"at migration 0999.*install the newer meshmetrics"):
        await migrate(source_database.owner_dsn)


async def test_a_migration_that_fails_leaves_nothing_behind(
    source_database: DatabaseClone, schema: Schema, connect: Connect
) -> None:
    (schema.directory / "functions" / "metrics" / "zz_broken.sql").write_text("select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(source_database.owner_dsn, schema)
    owner = await connect(source_database.owner_dsn)
    assert await owner.fetchval("select to_regnamespace('meshmetrics')") is None


async def test_an_index_that_a_broken_attempt_left_is_built_anew(
    source_database: DatabaseClone, connect: Connect
) -> None:
    owner = await connect(source_database.owner_dsn)
    await migrate(source_database.owner_dsn)
    await owner.execute(
        "update pg_index set indisvalid = false where indexrelid = $1::text::regclass", INDEX
    )
    assert await migrate(source_database.owner_dsn) == [
        "built the index workflow_runs_updated_at_id"
    ]
    assert await owner.fetchval(
        "select indisvalid from pg_index where indexrelid = $1::text::regclass", INDEX
    )


async def test_migrating_waits_for_a_lock_without_making_the_engine_wait_behind_it(
    source_database: DatabaseClone, connect: Connect
) -> None:
    holder = await connect(source_database.owner_dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("lock table public.projects in row exclusive mode")
    migrating = asyncio.create_task(migrate(source_database.owner_dsn))
    try:
        writer = await connect(source_database.owner_dsn)
        waiting = "select count(*) from pg_locks where not granted"
        await eventually(lambda: writer.fetchval(waiting), what="the migrator waiting for a lock")
        # A write queued behind the migrator gets through although the holder goes on holding.
        await writer.execute("set statement_timeout = '20s'")
        await writer.execute("update public.projects set name = 'written'")
        assert not migrating.done()
        await transaction.rollback()
        assert await migrating != []
    finally:
        migrating.cancel()


async def test_a_database_without_meshhook_is_refused(empty_database: DatabaseClone) -> None:
    with pytest.raises(MigrationError, match=r"no public.*workflow_runs.*MeshHook's own"):
        await migrate(empty_database.owner_dsn)


async def test_a_role_that_may_not_migrate_is_told_which_may(
    source_database: DatabaseClone, connect: Connect
) -> None:
    owner = await connect(source_database.owner_dsn)
    await owner.execute("drop role if exists stranger; create role stranger login")
    with pytest.raises(MigrationError, match="MESHMETRICS_MIGRATE=false"):
        await migrate(source_database.dsn("stranger"))


async def test_the_printed_script_does_the_same_as_migrating(
    postgres: EmbeddedPostgres, source_database: DatabaseClone, connect: Connect
) -> None:
    script, _, index = packaged_schema().script().partition("-- Run this outside")
    dsn = await hand_over(source_database)
    printed = await connect(dsn)
    await printed.execute(script)
    await printed.execute("--" + index)
    assert await migrate(dsn) == []
    async with cloned(postgres, "migrated") as migrated:
        fresh = await asyncpg.connect(migrated.owner_dsn)
        assert await printed.fetchval(SNAPSHOT) == await fresh.fetchval(SNAPSHOT)
        await fresh.close()


async def test_an_older_meshmetrics_leaves_a_newer_ones_functions_alone(
    source_database: DatabaseClone, connect: Connect, schema: Schema
) -> None:
    dsn = source_database.owner_dsn
    older = packaged_schema()
    function = schema.directory / "functions" / "auditing" / "last_audit.sql"
    function.write_text(function.read_text().replace("as $$", "as $$ -- newer\n", 1))
    (schema.directory / "release.json").write_text('{"release": 1000}')
    await migrate(dsn, older)
    assert await migrate(dsn, Schema(schema.directory)) == [
        "replayed functions, policies and privileges"
    ]
    for _ in range(2):  # both daemons start again, and again
        (said,) = await migrate(dsn, older)
        assert said.startswith("left the functions unchanged: the database's are of release 1000")
        assert await migrate(dsn, Schema(schema.directory)) == []
    connection = await connect(dsn)
    script = older.script().partition("-- Run this outside")[0]
    await connection.execute(script)
    await connection.execute("alter publication supabase_realtime drop table workflow_runs")
    assert "added workflow_runs" in (await migrate(dsn, older))[1]
    assert await migrate(dsn, Schema(schema.directory)) == []
    body = await connection.fetchval(
        "select prosrc from pg_proc where proname = 'last_audit'"
        " and pronamespace = 'meshmetrics'::regnamespace"
    )
    assert "-- newer" in body


@pytest.mark.generates
def test_the_release_grows_whenever_what_is_replayed_changes() -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 raises it."""
    schema = packaged_schema()
    path = schema.directory / "release.json"
    recorded = json.loads(path.read_text())
    checksum = schema.checksums[0]
    if os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN") and recorded["checksum"] != checksum:
        recorded = {"release": recorded["release"] + 1, "checksum": checksum}
        path.write_text(json.dumps(recorded, indent=1) + "\n")
    assert recorded["checksum"] == checksum


async def test_the_printed_script_applies_to_a_database_that_has_it_already(
    database: DatabaseClone, connect: Connect
) -> None:
    script, _, index = packaged_schema().script().partition("-- Run this outside")
    owner = await connect(database.owner_dsn)
    await owner.execute(script)
    await owner.execute("--" + index)
    assert await migrate(database.owner_dsn) == []
