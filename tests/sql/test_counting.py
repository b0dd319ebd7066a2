"""count_runs: counters and buckets of every grain equal a plain `group by`, whatever happens."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.store import CountingStore
from tests.conftest import Connect
from tests.sql.plain import assert_counted, counted_buckets, counted_counters
from tests.support import (
    Workflow,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
    resume_run,
)


@pytest.fixture
async def workflow(owner: asyncpg.Connection) -> Workflow:
    return await make_workflow(owner, await make_project(owner))


async def test_a_run_inserted_as_running_counts_when_it_ends(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow)
    assert (await store.count_runs([run])).runs == 0
    await finish_run(owner, run, "failed")

    counted = await store.count_runs([run])

    assert counted.runs == 1
    (change,) = counted.changes
    assert (change.workflow_id, change.slug) == (workflow.id, workflow.slug)
    assert (change.success_count, change.failure_count, change.canceled_count) == (0, 1, 0)
    assert (change.base_revision, change.revision, change.success_rate) == (0, 1, 0.0)
    assert change.deltas is not None
    assert [(d.success, d.failure, d.canceled) for d in change.deltas] == [(0, 1, 0)]
    await assert_counted(owner)


async def test_a_run_inserted_already_ended_counts(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    now = datetime.now(UTC)
    runs = [
        await insert_run(owner, workflow, status, finished_at=now)
        for status in ("succeeded", "failed", "canceled", "succeeded", "paused", "running")
    ]
    assert (await store.count_runs(runs)).runs == 4
    await assert_counted(owner)


async def test_a_run_without_finished_at_belongs_to_the_time_of_its_last_update(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    before = datetime.now(UTC) - timedelta(hours=5)
    run = await insert_run(owner, workflow, "failed", updated_at=before)
    await store.count_runs([run])
    await assert_counted(owner)
    assert (workflow.id, "minute", before.replace(second=0, microsecond=0)) in (
        await counted_buckets(owner)
    )


async def test_a_run_that_is_resumed_is_in_no_counter_until_it_ends_otherwise(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow)
    await finish_run(owner, run, "failed", finished_at=datetime.now(UTC) - timedelta(hours=3))
    await store.count_runs([run])
    await resume_run(owner, run)
    (change,) = (await store.count_runs([run])).changes
    assert (change.failure_count, change.last_failure_at, change.success_rate) == (0, None, None)
    await assert_counted(owner)

    await finish_run(owner, run, "succeeded")
    await store.count_runs([run])

    await assert_counted(owner)
    assert [c[:3] for c in (await counted_counters(owner)).values()] == [(1, 0, 0)]


async def test_withdrawing_the_last_failure_brings_back_the_one_before(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    now = datetime.now(UTC)
    runs = [
        await insert_run(owner, workflow, "failed", finished_at=now - timedelta(days=age))
        for age in (9, 5, 1)
    ]
    await store.count_runs(runs)
    for run in reversed(runs):
        await resume_run(owner, run)
        await store.count_runs([run])
        await assert_counted(owner)


async def test_a_run_whose_finished_at_moves_changes_its_buckets(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow)
    for age in (timedelta(0), timedelta(hours=1), timedelta(days=30), timedelta(days=900)):
        await finish_run(owner, run, "succeeded", finished_at=datetime.now(UTC) - age)
        assert (await store.count_runs([run])).runs == 1
        await assert_counted(owner)


async def test_a_run_that_moves_to_another_workflow_changes_both(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await store.count_runs([run])
    other = await make_workflow(owner, await make_project(owner))
    await owner.execute(
        "update public.workflow_runs set workflow_id = $2, project_id = $3 where id = $1",
        run,
        other.id,
        other.project_id,
    )
    assert {c.workflow_id for c in (await store.count_runs([run])).changes} == {
        workflow.id,
        other.id,
    }
    await assert_counted(owner)


async def test_a_deleted_run_stays_in_the_history(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await store.count_runs([run])
    before = (await counted_counters(owner), await counted_buckets(owner))
    await owner.execute("delete from public.workflow_runs where id = $1", run)
    assert (await store.count_runs([run])).runs == 0
    assert (await counted_counters(owner), await counted_buckets(owner)) == before
    assert await audits.audit() == ()


async def test_a_deleted_workflow_takes_its_metrics_along(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    kept = await insert_run(
        owner,
        await make_workflow(owner, await make_project(owner)),
        "succeeded",
        finished_at=datetime.now(UTC),
    )
    await store.count_runs([run, kept])
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    await store.count_runs([run, kept])
    await assert_counted(owner)
    assert len(await counted_counters(owner)) == 1
    assert await audits.audit() == ()


async def test_the_same_hint_a_thousand_times_counts_once(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    run = await insert_run(owner, workflow, "succeeded", finished_at=datetime.now(UTC))
    assert (await store.count_runs([run] * 1000)).runs == 1
    for _ in range(1000):
        assert (await store.count_runs([run])).changes == ()
    await assert_counted(owner)


async def test_unknown_ids_and_no_ids_change_nothing(store: CountingStore) -> None:
    assert (await store.count_runs([])).runs == 0
    assert (await store.count_runs([uuid4()])).runs == 0


async def test_hints_in_any_order_from_two_counters_at_once_count_the_same(
    owner: asyncpg.Connection, store: CountingStore, audits: AuditStore
) -> None:
    chance = random.Random(7)
    project = await make_project(owner)
    workflows = [await make_workflow(owner, project) for _ in range(5)]
    runs: list[UUID] = []

    async def live() -> None:
        """The engine: 400 changes, each its own transaction."""
        for _ in range(400):
            what = chance.random()
            if what < 0.5 or not runs:
                runs.append(await insert_run(owner, chance.choice(workflows)))
            elif what < 0.9:
                age = timedelta(hours=chance.choice([0, 0, 1, 30, 60, 24 * 500]))
                status = chance.choice(["succeeded", "failed", "canceled", "paused"])
                at = datetime.now(UTC) - age
                await finish_run(owner, chance.choice(runs), status, finished_at=at)
            else:
                await resume_run(owner, chance.choice(runs))
        running.clear()

    async def count(seed: int) -> None:
        order = random.Random(seed)
        while running:
            if runs:
                await store.count_runs(order.choices(runs, k=order.randint(1, 40)))
            await asyncio.sleep(0)

    running = {"engine"}
    await asyncio.gather(live(), count(1), count(2))
    await store.count_runs(runs)

    await assert_counted(owner)
    assert await audits.audit() == ()


async def test_a_correction_of_an_old_run_tells_no_deltas(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    old = await insert_run(
        owner, workflow, "failed", finished_at=datetime.now(UTC) - timedelta(days=3)
    )
    (change,) = (await store.count_runs([old])).changes
    assert change.deltas is None
    assert change.failure_count == 1


async def test_the_engine_never_waits_for_counting(
    owner: asyncpg.Connection,
    store: CountingStore,
    connect: Connect,
    owner_dsn: str,
    workflow: Workflow,
) -> None:
    counted = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    counter = await connect(owner_dsn)
    async with counter.transaction():
        # Inside the transaction the counting lock and all its row locks are held.
        await counter.fetchrow("select meshmetrics.count_runs($1)", [counted])
        await owner.execute("set lock_timeout = '1ms'")
        run = await insert_run(owner, workflow)
        await finish_run(owner, run)
        await resume_run(owner, counted)
        await owner.execute("delete from public.workflow_runs where id = $1", run)
        await owner.execute(
            "update public.workflow_definitions set name = 'renamed' where id = $1", workflow.id
        )
        with pytest.raises(asyncpg.PostgresError, match="timeout"):
            # That the lock is really held: a second counter waits for it.
            await owner.fetchrow("select meshmetrics.count_runs($1)", [counted])
    await owner.execute("reset lock_timeout")
    await store.count_runs([counted])
    await assert_counted(owner)


@pytest.mark.parametrize("counted_before", [True, False])
async def test_counting_does_not_wait_for_a_workflow_that_is_being_deleted(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow, counted_before: bool
) -> None:
    now = datetime.now(UTC)
    if counted_before:
        await store.count_runs([await insert_run(owner, workflow, "failed", finished_at=now)])
    run = await insert_run(owner, workflow, "failed", finished_at=now)
    other = await insert_run(
        owner, await make_workflow(owner, await make_project(owner)), "failed", finished_at=now
    )
    deletion = owner.transaction()
    await deletion.start()
    await owner.execute("delete from public.workflow_definitions where id = $1", workflow.id)
    async with asyncio.timeout(10):
        counted = await store.count_runs([run, other])
    assert counted.runs == 1
    await deletion.rollback()

    assert (await store.count_runs([run, other])).runs == 1
    await assert_counted(owner)


async def test_counting_under_another_isolation_level_is_refused(
    owner: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.PostgresError, match="read committed, not repeatable read"):
        async with owner.transaction(isolation="repeatable_read"):
            await owner.fetchrow("select meshmetrics.count_runs('{}')")


@pytest.mark.parametrize(
    ("finished_at", "reason"),
    [
        ("infinity", "outside the years"),
        ("-infinity", "outside the years"),
        ("4000-01-01 BC", "outside the years"),
        ("20000-01-01", "outside the years"),
    ],
)
async def test_a_run_with_an_impossible_time_is_set_aside_until_it_is_mended(
    owner: asyncpg.Connection,
    store: CountingStore,
    audits: AuditStore,
    workflow: Workflow,
    finished_at: str,
    reason: str,
) -> None:
    good = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    odd = await insert_run(owner, workflow)
    await owner.execute(
        f"update public.workflow_runs set status = 'failed', finished_at = '{finished_at}'"
        " where id = $1",
        odd,
    )
    counted = await store.count_runs([odd, good])
    assert counted.runs == 1
    assert [(s.run_id, reason in s.reason) for s in counted.set_aside] == [(odd, True)]
    (listed,) = await audits.audit()
    assert (listed.kind, listed.run_id) == ("set_aside", odd)

    await finish_run(owner, odd, "succeeded")
    assert (await store.count_runs([odd])).runs == 1
    assert await audits.audit() == ()
    await assert_counted(owner)


async def test_a_run_cannot_reach_the_counters_of_another_projects_workflow(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    intruder = await make_project(owner)
    foreign = Workflow(workflow.id, intruder.id, workflow.slug)
    run = await insert_run(owner, foreign, "failed", finished_at=datetime.now(UTC))
    counted = await store.count_runs([run])
    assert (counted.runs, counted.changes) == (0, ())
    assert "another project" in counted.set_aside[0].reason
    assert await counted_counters(owner) == {}


async def test_another_engines_words_need_no_code(
    owner: asyncpg.Connection, store: CountingStore, workflow: Workflow
) -> None:
    await owner.execute(
        "update meshmetrics.status_outcomes set outcome = 'canceled' where status = 'paused'"
    )
    run = await insert_run(owner, workflow, "paused", finished_at=datetime.now(UTC))
    (change,) = (await store.count_runs([run])).changes
    assert change.canceled_count == 1
