"""verify: exact on a live system, and told apart what is pending from what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from meshmetrics.auditing.repair import repair
from meshmetrics.auditing.store import AuditStore
from meshmetrics.auditing.verify import verify
from meshmetrics.counting.store import CountingStore
from tests.commands.conftest import Command
from tests.conftest import Connect
from tests.daemon.conftest import World
from tests.daemon.test_process import load
from tests.support import Workflow, eventually, finish_run, insert_run, make_project


async def pass_by(owner: asyncpg.Connection) -> None:
    """Let all walks be past everything there is."""
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() + interval '1 minute', done = true"
    )


async def ended_run(owner: asyncpg.Connection, workflow: Workflow) -> UUID:
    return await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))


async def test_what_a_walk_is_still_to_find_is_pending(world: World, audits: AuditStore) -> None:
    await ended_run(world.owner, world.workflow)
    report = await verify(audits)
    assert (report.drift, report.pending, report.differences) == (0, 1, ())


async def test_a_run_that_all_walks_passed_by_and_nobody_counts_is_wrong(
    world: World, audits: AuditStore
) -> None:
    run = await ended_run(world.owner, world.workflow)
    await pass_by(world.owner)
    report = await verify(audits, patience=0.3)
    assert (report.drift, report.runs, report.pending) == (1, 1, 0)
    assert [d.run_id for d in report.differences] == [run]


async def test_a_run_that_is_counted_while_it_is_watched_was_pending(
    world: World, store: CountingStore, audits: AuditStore
) -> None:
    """A long transaction committed it behind the checkpoint, and its event is under way."""
    run = await ended_run(world.owner, world.workflow)
    await pass_by(world.owner)
    watching = asyncio.Event()
    look_again = audits.audit_runs

    async def audit_runs(run_ids: Sequence[UUID]) -> dict[UUID, bool]:
        watching.set()
        return await look_again(run_ids)

    audits.audit_runs = audit_runs  # type: ignore[method-assign]
    look = asyncio.create_task(verify(audits, patience=30))
    await watching.wait()
    await store.count_runs([run])
    report = await look
    assert (report.drift, report.pending, report.differences) == (0, 1, ())


async def test_what_is_wrong_beyond_what_is_listed_is_counted(
    world: World, audits: AuditStore
) -> None:
    for _ in range(7):
        await ended_run(world.owner, world.workflow)
    await pass_by(world.owner)
    report = await verify(audits, patience=0, limit=3)
    assert (report.runs, len(report.differences)) == (7, 3)


async def test_a_flawed_run_is_listed_and_is_no_drift(
    world: World, store: CountingStore, audits: AuditStore
) -> None:
    other = await make_project(world.owner)
    run = await insert_run(world.owner, world.workflow, "succeeded", project_id=other.id)
    await store.count_runs([run])
    report = await verify(audits)
    assert (report.drift, report.set_aside) == (0, 1)
    assert [(d.run_id, d.found) for d in report.differences] == [
        (run, "the run is of another project than its workflow")
    ]


async def test_a_run_set_aside_without_a_flaw_of_its_own_is_drift_at_once(
    world: World, store: CountingStore, audits: AuditStore
) -> None:
    run = await ended_run(world.owner, world.workflow)
    await store.set_aside_run(run, "the database refused it")
    report = await verify(audits, patience=0)
    assert (report.drift, report.set_aside) == (1, 1)
    assert {d.kind for d in report.differences} == {"run", "set_aside"}


async def test_it_is_noted_when_the_counts_were_proven_equal(
    world: World, audits: AuditStore
) -> None:
    before = await audits.database.now()
    await verify(audits)
    last = await audits.last_audit("snapshot")
    assert last is not None
    assert last.started_at >= before
    assert last.drift == 0


async def test_a_live_system_under_load_is_never_said_to_be_wrong(
    world: World, store: CountingStore, audits: AuditStore, connect: Connect, owner_dsn: str
) -> None:
    """With long transactions that commit behind the checkpoint: the owner of the functions is
    made blind to them, so that the sweeps pass them by and only their events tell."""
    await world.owner.execute(
        "do $$ begin create role blind; exception when duplicate_object then null; end $$;"
        "alter function meshmetrics.oldest_transaction owner to blind;"
        "grant execute on function meshmetrics.oldest_transaction to public;"
        "grant usage on schema meshmetrics to blind;"
    )
    slow = await connect(owner_dsn)
    async with world.running(sweep_overlap=1, sweep_max=0.2), load(world, lanes=3):
        for _ in range(4):
            transaction = slow.transaction()
            await transaction.start()
            began = await slow.fetchval("select now()")
            run = await insert_run(slow, world.workflow)
            await finish_run(slow, run, "failed")

            async def passed_by(began: datetime = began) -> bool:
                return (await store.read_checkpoint("sweep")).position.updated_at > began

            await eventually(passed_by)
            look = asyncio.create_task(verify(audits))
            await transaction.commit()
            report = await look
            assert report.drift == 0, report.differences
            assert (await verify(audits)).drift == 0


async def test_the_command_ends_with_1_on_drift_and_lists_it(
    world: World, store: CountingStore, command: Command
) -> None:
    run = await ended_run(world.owner, world.workflow)
    await store.count_runs([run])
    result = await command("verify")
    assert result.status == 0, result
    assert "exact" in result.out
    await world.owner.execute(
        "update public.workflow_run_buckets set failure_count = 2 where grain = 'minute'"
    )
    result = await command("verify")
    assert result.status == 1
    assert str(world.workflow.id) in result.out
    assert "0 success, 1 failure, 0 canceled" in result.out


async def test_the_command_repairs_and_says_what_it_did_and_screens_are_told(
    world: World, store: CountingStore, audits: AuditStore, command: Command
) -> None:
    """The run that nobody counted, a bucket that is wrong, and a revision that grew."""
    counted = await ended_run(world.owner, world.workflow)
    await store.count_runs([counted])
    await ended_run(world.owner, world.workflow)
    await pass_by(world.owner)
    await world.owner.execute(
        "update public.workflow_run_buckets set success_count = 2 where grain = 'quarter'"
    )
    revision = await world.owner.fetchval("select revision from public.workflow_run_metrics")
    result = await command("verify", "--repair", "--json", "--patience", "0")
    assert result.status == 0, result
    assert result.json["drift"] == 0
    assert result.json["before"]["runs"] == 1
    assert result.json["repaired"]["runs"] == 1
    assert result.json["repaired"]["workflows"] == [str(world.workflow.id)]
    assert result.json["repaired"]["broadcast"] == 1
    await world.counted()
    assert (await verify(audits)).drift == 0
    grown = await world.owner.fetchval("select revision from public.workflow_run_metrics")
    assert grown >= revision + 2


async def test_a_database_that_cannot_be_used_is_named_and_how_to_mend_it(
    world: World, command: Command
) -> None:
    result = await command("verify", DATABASE_URL=world.database.server.dsn("nosuchdatabase"))
    assert result.status == 1
    assert "check DATABASE_URL" in result.err
    await world.owner.execute("drop function meshmetrics.condition()")
    result = await command("verify")
    assert result.status == 1
    assert "run `meshmetrics migrate`" in result.err


async def test_what_a_repair_finds_wrong_while_runs_come_and_go_ends_exact(
    world: World, store: CountingStore, audits: AuditStore
) -> None:
    now = datetime.now(UTC)
    for n in range(60):
        at = now - timedelta(hours=n)
        await insert_run(world.owner, world.workflow, "succeeded", finished_at=at, updated_at=at)
    async with world.running():
        async with load(world, lanes=2):
            await eventually(lambda: enough(world))
            await world.owner.execute(
                "update public.workflow_run_buckets set success_count = success_count + 5;"
                "delete from public.workflow_run_buckets"
                " where bucket_start < now() - interval '1 day'"
            )
            assert (await verify(audits, patience=0)).buckets > 0
            done = await repair(store, audits, batch=50)
            assert done.buckets > 0
            assert (await verify(audits)).drift == 0
        await eventually(world.counted)


async def enough(world: World) -> bool:
    count: int = await world.owner.fetchval("select count(*) from meshmetrics.counted_runs")
    return count > 80


async def test_a_repair_that_takes_out_more_than_it_puts_in_asks_first(
    world: World, store: CountingStore, command: Command
) -> None:
    run = await ended_run(world.owner, world.workflow)
    await store.count_runs([run])
    await world.owner.execute("update workflow_runs set status = 'running', finished_at = null")
    await pass_by(world.owner)
    asked = await command("verify", "--patience", "0", "--repair")
    assert asked.status == 1
    assert "add --yes" in asked.err
    assert await world.owner.fetchval("select failure_count from workflow_run_metrics") == 1
    assert (await command("verify", "--patience", "0", "--repair", "--yes")).status == 0
    assert await world.owner.fetchval("select failure_count from workflow_run_metrics") == 0


async def test_what_a_repair_takes_out_is_known_beyond_what_is_listed(
    world: World, store: CountingStore, audits: AuditStore
) -> None:
    runs = [await ended_run(world.owner, world.workflow) for _ in range(4)]
    await store.count_runs(runs[:3])
    await world.owner.execute(
        "update workflow_runs set status = 'running', finished_at = null where id = any ($1)",
        runs[:3],
    )
    await pass_by(world.owner)
    report = await verify(audits, patience=0, limit=1)
    assert (report.taken_out, report.put_in) == (3, 1)
