"""Statuses that nobody mapped: listed, mapped, and nothing lost meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.commands.conftest import Command
from tests.daemon.conftest import World
from tests.sql.plain import assert_counted
from tests.support import insert_run


async def insert_ended(world: World, *statuses: str) -> None:
    await world.owner.execute(
        "alter table workflow_runs drop constraint workflow_runs_status_check"
    )
    for status in statuses:
        await insert_run(world.owner, world.workflow, status, finished_at=datetime.now(UTC))


async def counts(owner: asyncpg.Connection) -> tuple[int, ...]:
    row = await owner.fetchrow(
        "select success_count, failure_count, canceled_count from workflow_run_metrics"
    )
    return tuple(row or ())


async def test_an_unknown_status_is_listed_and_counted_once_it_is_mapped(
    world: World, command: Command, store: CountingStore
) -> None:
    await insert_ended(world, "timed_out", "timed_out", "succeeded")
    listed = await command("statuses")
    assert listed.status == 1
    assert "timed_out" in listed.out
    assert "meshmetrics statuses map timed_out failure" in listed.out
    assert "timed_out (2 runs)" in (await command("doctor")).out
    verified = await command("verify", "--patience", "0")
    assert "2 runs have a status that is not mapped to an outcome" in verified.out

    mapped = await command("statuses", "map", "timed_out", "failure")
    assert (mapped.status, "2 runs changed" in mapped.out) == (0, True), mapped
    assert await counts(world.owner) == (0, 2, 0)
    assert (await command("statuses")).status == 0
    assert await store.unknown_statuses() == {}


async def test_what_is_not_there_is_named(world: World, command: Command) -> None:
    await insert_ended(world, "timed_out")
    wrong = await command("statuses", "map", "timed_out", "bad")
    assert wrong.status == 1
    assert "`bad` is not an outcome: use one of success, failure, canceled, open" in wrong.err
    missing = await command("statuses", "map", "nope", "failure")
    assert "no run has the status `nope`: statuses are" in missing.err
    assert "timed_out" in missing.err


async def test_a_renamed_status_takes_nothing_out_and_is_exact_once_it_is_mapped(
    world: World, command: Command, store: CountingStore, audits: AuditStore
) -> None:
    await insert_ended(world, "succeeded", "succeeded", "failed")
    ids = [row["id"] for row in await world.owner.fetch("select id from workflow_runs")]
    await store.count_runs(ids)
    await world.owner.execute(
        "update workflow_runs set status = 'completed' where status = 'succeeded'"
    )
    assert (await store.count_runs(ids)).runs == 0
    assert await counts(world.owner) == (2, 1, 0)
    (account,) = await audits.account()
    assert (account.succeeded, account.failed, account.unaccounted) == (2, 1, 0)
    assert (await command("statuses", "map", "completed", "success")).status == 0
    assert await counts(world.owner) == (2, 1, 0)
    await world.owner.execute(
        "update workflow_runs set status = 'succeeded' where status = 'completed'"
    )
    await assert_counted(world.owner)


async def test_a_status_that_is_mapped_to_open_takes_its_runs_out(
    world: World, command: Command, store: CountingStore
) -> None:
    await insert_ended(world, "canceled", "succeeded")
    ids = [row["id"] for row in await world.owner.fetch("select id from workflow_runs")]
    await store.count_runs(ids)
    assert (await command("statuses", "map", "canceled", "open")).status == 0
    assert await counts(world.owner) == (1, 0, 0)
