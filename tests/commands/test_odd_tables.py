"""A workflow_runs that is no ordinary table: said at the start, by doctor and by verify."""

from __future__ import annotations

import pytest

from meshmetrics.database.migrate import migrate
from meshmetrics.database.packaged_sql import MigrationError
from tests.commands.conftest import Command
from tests.daemon.conftest import World

ODD = {
    "a view": """
        alter table public.workflow_runs rename to workflow_runs_table;
        create view public.workflow_runs as select * from public.workflow_runs_table""",
    "partitioned": """
        alter table public.workflow_runs rename to workflow_runs_table;
        create table public.workflow_runs (like public.workflow_runs_table)
          partition by hash (id);
        alter table public.workflow_runs enable row level security""",
    "no primary key": """
        alter publication supabase_realtime drop table public.workflow_runs;
        alter table public.workflow_runs drop constraint workflow_runs_pkey cascade""",
}


@pytest.mark.parametrize("oddity", ODD)
async def test_an_odd_table_is_named_by_every_command(
    world: World, command: Command, oddity: str
) -> None:
    await world.owner.execute(ODD[oddity])
    with pytest.raises(MigrationError, match=oddity):  # which ends the start
        await migrate(world.database.dsn("postgres"))
    if oddity == "no primary key":  # else every update by the engine fails
        assert not await world.owner.fetchval(
            "select exists (select from pg_publication_tables where tablename = 'workflow_runs')"
        )
    doctor = await command("doctor", "--json")
    (check,) = [c for c in doctor.json["checks"] if c["check"] == "engine's tables"]
    assert (check["state"], oddity in check["text"]) == ("wrong", True)
    verify = await command("verify")
    assert oddity in verify.out + verify.err
