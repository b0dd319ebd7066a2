"""doctor: what is wrong is named with its fix, and no secret is shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.commands.doctor.check import Check
from meshmetrics.commands.doctor.database import condition_checks
from meshmetrics.commands.doctor.examine import examine
from meshmetrics.counting.store import CountingStore
from meshmetrics.database.packaged_sql import packaged_schema
from meshmetrics.database.pool import open_pool
from meshmetrics.database.store import Database
from meshmetrics.devstack.realtime import RealtimeServer, Timing
from tests.commands.conftest import Command
from tests.daemon.conftest import JWT_SECRET, KEY, World
from tests.daemon.process import environment
from tests.support import insert_run
from tests.support.databases import DatabaseClone


@pytest.fixture(autouse=True)
def settings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's settings in this process's environment."""
    for name, value in environment(world.settings(connect_timeout=0.5)).items():
        monkeypatch.setenv(name, value)


async def check_of(name: str) -> Check:
    return {check.name: check for check in await examine()}[name]


async def test_all_is_well_where_a_daemon_works(
    world: World, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", login)
    async with world.running(database_url=login):
        checks = await examine()
    assert {check.state for check in checks} <= {"ok", "note"}
    assert {check.name for check in checks} >= {
        "settings",
        "database version",
        "migrations",
        "grants",
        "privacy",
        "publication",
        "index",
        "daemon",
        "clock",
        "realtime",
        "broadcast",
        "tenants",
        "sign-in",
        "token checking",
    }
    assert {c.name: c.state for c in checks}["daemon"] == "ok"


BROKEN = [
    ("publication", "alter publication supabase_realtime drop table public.workflow_runs"),
    ("index", "drop index public.workflow_runs_updated_at_id"),
    ("privacy", 'drop policy "meshmetrics: members receive" on realtime.messages'),
    ("privacy", "alter table public.workflow_run_buckets disable row level security"),
    ("privacy", "alter table public.workflow_alert_channels disable row level security"),
    ("migrations", "update meshmetrics.migrations set checksum = 'x' where version = 0"),
]


@pytest.mark.parametrize(("name", "harm"), BROKEN)
async def test_what_was_broken_in_the_database_is_named(world: World, name: str, harm: str) -> None:
    assert (await check_of(name)).state == "ok"
    await world.owner.execute(harm)
    check = await check_of(name)
    assert check.state == "wrong"
    assert check.fix


async def test_functions_of_a_newer_meshmetrics_are_no_fault(world: World) -> None:
    await world.owner.execute(
        "update meshmetrics.migrations set checksum = 'x', release = 1000 where version = 0"
    )
    check = await check_of("migrations")
    assert (check.state, "newer functions (release 1000)" in check.text) == ("note", True)


async def test_an_index_that_a_broken_attempt_left_is_named(world: World) -> None:
    await world.owner.execute(
        "update pg_index set indisvalid = false"
        " where indexrelid = 'public.workflow_runs_updated_at_id'::regclass"
    )
    assert (await check_of("index")).text == "the index is invalid"


async def test_a_role_without_the_daemons_rights_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"apart_{world.database.name}"
    await world.owner.execute(
        f"create role {role} login; grant usage on schema meshmetrics to {role};"
        f"grant execute on function meshmetrics.condition() to {role}"
    )
    monkeypatch.setenv("DATABASE_URL", world.database.dsn(role))
    try:
        check = await check_of("grants")
        assert check.state == "wrong"
        assert "count_runs" in check.text
        await world.owner.execute(f"revoke all on schema meshmetrics from {role}")
        check = await check_of("database")
        assert "member of meshmetrics_worker" in check.fix
    finally:
        await world.owner.execute(f"drop owned by {role}; drop role {role}")


async def test_a_database_that_is_not_migrated_or_not_there_is_named(
    world: World, source_database: DatabaseClone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", source_database.owner_dsn)
    assert (await check_of("database")).fix == "run `meshmetrics migrate`"
    monkeypatch.setenv("DATABASE_URL", world.database.server.dsn("nosuchdatabase"))
    assert "DATABASE_URL" in (await check_of("database")).fix


async def test_before_the_first_migration_realtimes_own_reason_is_shown_and_no_key_is_blamed(
    source_database: DatabaseClone, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RealtimeServer(
        database_dsn=source_database.owner_dsn, jwt_secret=JWT_SECRET, timing=Timing.quick()
    )
    await server.start()
    try:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        monkeypatch.setenv("DATABASE_URL", source_database.owner_dsn)
        checks = {check.name: check for check in await examine()}
    finally:
        await server.stop()
    assert "meshmetrics migrate" in checks["database"].fix
    stream = checks["realtime"]
    assert stream.state == "wrong"
    assert "Unable to subscribe to changes with given parameters" in stream.text
    assert "table: workflow_runs" in stream.text
    assert "run `meshmetrics migrate`" in stream.fix
    assert checks["broadcast"].state == "ok"  # so the keys are right
    assert not [check for check in checks.values() if "SUPABASE_SECRET_KEY" in check.fix]


async def test_of_several_keys_those_that_are_refused_are_named_by_their_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", f"sb_secret_revoked,{KEY}")
    checks = {check.name: check for check in await examine()}
    assert checks["realtime"].state == "ok"
    assert checks["broadcast"].state == "ok"
    assert checks["secret keys"].state == "note"
    assert "the first 1 of SUPABASE_SECRET_KEY" in checks["secret keys"].text


async def test_hidden_transactions_are_noted_with_the_grant_that_shows_them(world: World) -> None:
    role = f"unsighted_{world.database.name}"
    await world.owner.execute(
        f"create role {role}; alter function meshmetrics.condition() owner to {role};"
        f"grant usage on schema meshmetrics, public to {role};"
        f"grant select on all tables in schema meshmetrics, public to {role};"
        f"alter role {role} bypassrls"
    )
    try:
        check = await check_of("long transactions")
        assert check.state == "note"
        assert check.fix.startswith(f"grant pg_read_all_stats to {role};")
    finally:
        await world.owner.execute(f"reassign owned by {role} to postgres")
        await world.owner.execute(f"drop owned by {role}; drop role {role}")


async def test_runs_set_aside_are_noted(world: World) -> None:
    await world.owner.execute(
        "insert into workflow_runs (project_id, workflow_id, status) values ($1, $2, 'failed')",
        world.workflow.project_id,
        world.workflow.id,
    )
    await world.owner.execute(
        "insert into meshmetrics.set_aside_runs (run_id, reason)"
        " select id, 'odd' from public.workflow_runs"
    )
    check = await check_of("set aside")
    assert (check.state, check.text) == ("note", "1 runs cannot be counted")


async def test_a_realtime_that_is_away_is_named(world: World) -> None:
    await world.realtime.stop()
    checks = {check.name: check for check in await examine()}
    assert checks["realtime"].state == "wrong"
    assert checks["broadcast"].state == "skipped"


async def test_a_broadcast_that_is_refused_is_named(world: World) -> None:
    world.realtime.faults.http = 429
    check = await check_of("broadcast")
    assert (check.state, check.text) == ("wrong", "refused with HTTP 429")


async def test_a_broadcast_that_does_not_come_back_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.commands.doctor.realtime.CANARY_SECONDS", 1.0)
    world.realtime.faults.http = 202  # taken, and dropped: what happens without permission
    check = await check_of("broadcast")
    assert check.state == "wrong"
    assert "did not come back" in check.text


async def test_a_key_of_another_project_is_reported_and_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sb_secret_" + "f" * 30
    monkeypatch.setenv("SUPABASE_SECRET_KEY", key)
    checks = await examine()
    assert {c.name: c.state for c in checks}["realtime"] == "wrong"
    assert not [c for c in checks if key in c.text + c.fix]


async def test_the_command_shows_all_checks_exits_with_1_and_shows_no_secret(
    world: World, command: Command
) -> None:
    well = await command("doctor", "--json")
    assert (well.status, well.json["wrong"]) == (0, 0)
    password = "hunter2-hunter2"
    dsn = f"postgresql://nobody:{password}@127.0.0.1:1/x"
    result = await command("doctor", DATABASE_URL=dsn, SUPABASE_URL="http://127.0.0.1:1")
    assert result.status == 1
    assert "→" in result.out
    wrong = await command("doctor", "--json", SUPABASE_URL="no address", MESHMETRICS_POOL_SIZE="x")
    assert wrong.status == 1
    texts = [line["text"] for line in wrong.json["checks"] if line["state"] == "wrong"]
    assert any("SUPABASE_URL" in text for text in texts)
    assert any("MESHMETRICS_POOL_SIZE" in text for text in texts)
    for shown in (well, result, wrong):
        for secret in (password, KEY, JWT_SECRET):
            assert secret not in shown.out + shown.err


async def test_defaults_of_the_role_are_named(world: World, login: str) -> None:
    role = login.split("//")[1].split("@")[0].split(":")[0]
    await world.owner.execute(f"alter role {role} set statement_timeout = '2min'")
    await world.owner.execute(f"alter role {role} set default_transaction_read_only = on")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", login)
        texts = [c.text for c in await examine() if c.name == "session defaults"]
    assert texts == [
        "the default of default_transaction_read_only is on: overridden for our sessions",
        "the default of statement_timeout is 120,000 ms: overridden for our sessions",
    ]
    await world.owner.execute(f"alter role {role} reset all")


async def test_a_standby_is_no_place_to_count(world: World) -> None:
    dsn = world.database.worker_dsn
    async with open_pool(dsn, size=1, transaction_pooler=False) as pool:
        found = await AuditStore(Database(pool)).condition()
    found["is_standby"] = True
    checks = {check.name: check for check in condition_checks(found, packaged_schema())}
    assert (checks["primary"].state, "standby" in checks["primary"].text) == ("wrong", True)


async def test_a_stream_without_a_slot_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(_: object) -> bool:
        return False

    monkeypatch.setattr(CountingStore, "stream_slot_active", none)
    check = await check_of("realtime")
    assert (check.state, "slot_timed_out" in check.text) == ("wrong", True)
    assert "max_replication_slots" in check.fix


@pytest.mark.parametrize("restored", ["public", "meshmetrics"])
async def test_a_schema_restored_without_the_other_is_found(
    world: World, command: Command, restored: str
) -> None:
    runs = [
        await insert_run(world.owner, world.workflow, "failed", finished_at=datetime.now(UTC))
        for _ in range(4)
    ]
    await world.owner.execute("select meshmetrics.count_runs($1)", runs)
    assert (await check_of("counts")).text == "counters and ledger agree: 4 runs"
    if restored == "public":
        await world.owner.execute("update public.workflow_run_metrics set failure_count = 2")
    else:
        await world.owner.execute(
            "delete from meshmetrics.counted_runs where run_id = any ($1)", runs[2:]
        )
    check = await check_of("counts")
    said = (2, 4) if restored == "public" else (4, 2)
    assert (check.state, check.text.split(":")[0]) == (
        "wrong",
        f"the counters say {said[0]} runs, the ledger {said[1]}",
    )
    assert (await command("verify", "--repair", "--yes")).status == 0
    assert (await check_of("counts")).text == "counters and ledger agree: 4 runs"
