"""The files that `supabase db push` applies."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshmetrics.database.migrate import migrate
from meshmetrics.database.packaged_sql import MigrationError
from meshmetrics.database.supabase_files import write_files
from tests.conftest import Connect
from tests.support.databases import DatabaseClone, hand_over


async def test_the_files_applied_in_order_leave_nothing_to_migrate(
    source_database: DatabaseClone, connect: Connect, tmp_path: Path
) -> None:
    dsn = await hand_over(source_database)
    owner = await connect(dsn)
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    (migrations / "29990101000000_later.sql").write_text("select 1")
    written = write_files(tmp_path)
    assert sorted(written) == written
    assert [path.name.partition("_")[2] for path in written] == [
        "meshmetrics.sql",
        "meshmetrics_index.sql",
    ]
    assert min(path.name for path in written) > "29990101000000_later.sql"
    assert written[1].read_text().startswith("create index concurrently")
    async with owner.transaction():
        await owner.execute(written[0].read_text())
    await owner.execute(written[1].read_text())
    assert await migrate(dsn) == []
    assert write_files(tmp_path) == []
    assert write_files(migrations) == []


def test_a_folder_that_is_not_the_clis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="supabase init"):
        write_files(tmp_path)
