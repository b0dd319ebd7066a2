"""The background audit: it finds what nothing else finds, says so, and is never in a hurry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from meshmetrics.auditing.auditor import Auditor
from meshmetrics.auditing.model import AuditRecord, Slice, SliceDifference
from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from tests.support import Workflow, eventually, insert_run
from tests.support.counting import Published, all_counted, working


@pytest.fixture
def auditor(
    store: CountingStore, audits: AuditStore, published: Published, telemetry: Telemetry
) -> Auditor:
    counter = Counter(store, Inbox(10), published, telemetry)
    return Auditor(store, audits, counter, telemetry, interval=0.1, batch=5, recheck_after=0.05)


@pytest.fixture
async def past(owner: asyncpg.Connection, workflow: Workflow, store: CountingStore) -> None:
    """Twelve runs of the last days, counted, and all walks past them."""
    at = datetime.now(UTC)
    await store.count_runs(
        [
            await insert_run(owner, workflow, "failed", finished_at=at - timedelta(hours=9 * n))
            for n in range(12)
        ]
    )
    await pass_by(owner)


async def pass_by(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() + interval '1 minute', done = true"
    )


def value(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(f"meshmetrics_{name}", labels) or 0.0


async def cycled(audits: AuditStore, times: int = 1) -> AuditRecord:
    """The record of the cycle that ends so many after now."""
    before = await audits.last_audit("cycle")
    for _ in range(times):

        async def another(before: AuditRecord | None = before) -> AuditRecord | None:
            last = await audits.last_audit("cycle")
            return last if last != before else None

        record = await eventually(another, 20)
        assert record is not None
        before = record
    assert before is not None
    return before


@pytest.mark.usefixtures("past")
async def test_a_whole_system_is_found_whole_and_it_is_noted_when(
    auditor: Auditor, audits: AuditStore, telemetry: Telemetry
) -> None:
    before = await audits.database.now()
    with capture_logs() as logged:
        async with working(auditor):
            record = await cycled(audits)
            await eventually(lambda: value(telemetry, "last_audit_timestamp_seconds"))
    assert record.started_at >= before
    assert record.drift == 0
    assert value(telemetry, "last_audit_timestamp_seconds") >= before.timestamp()
    assert "audit.done" in {line["event"] for line in logged}
    assert not [line for line in logged if line["log_level"] in ("warning", "error")]


@pytest.mark.usefixtures("past")
async def test_a_run_that_nothing_else_found_is_counted_and_told(
    auditor: Auditor,
    audits: AuditStore,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
    published: Published,
) -> None:
    """Inserted with a date of long ago, when all walks had been there."""
    long_ago = datetime.now(UTC) - timedelta(days=200)
    await insert_run(owner, workflow, "failed", finished_at=long_ago, updated_at=long_ago)
    with capture_logs() as logged:
        async with working(auditor):
            assert (await cycled(audits)).runs_wrong == 1
            await eventually(lambda: all_counted(owner))
            await eventually(lambda: value(telemetry, "drift", kind="run") == 1)
            assert (await cycled(audits, 2)).drift == 0
            await eventually(lambda: value(telemetry, "drift", kind="run") == 0)
    assert [line["runs"] for line in logged if line["event"] == "audit.found_runs"] == [1]
    assert value(telemetry, "runs_counted_total", source="audit") == 1
    assert len(published.changes) == 1


@pytest.mark.usefixtures("past")
async def test_a_run_that_is_counted_before_the_recheck_is_not_drift(
    store: CountingStore,
    audits: AuditStore,
    published: Published,
    telemetry: Telemetry,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    run = await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await pass_by(owner)
    counter = Counter(store, Inbox(10), published, telemetry)
    auditor = Auditor(store, audits, counter, telemetry, interval=0.1, batch=5, recheck_after=0.05)
    look = auditor._recheck

    async def counted_meanwhile(*arguments: object) -> bool:
        await store.count_runs([run])
        return await look(*arguments)  # type: ignore[arg-type]

    auditor._recheck = counted_meanwhile  # type: ignore[method-assign, assignment]
    async with working(auditor):
        assert (await cycled(audits)).drift == 0


@pytest.mark.usefixtures("past")
async def test_buckets_and_counters_that_are_wrong_are_told_and_left_for_somebody_to_look_at(
    auditor: Auditor, audits: AuditStore, telemetry: Telemetry, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        "update public.workflow_run_buckets set canceled_count = 3 where grain = 'quarter';"
        "update public.workflow_run_metrics set success_count = 5;"
    )
    wrong = {kind: [d for d in await audits.audit() if d.kind == kind] for kind in ("bucket",)}
    with capture_logs() as logged:
        async with working(auditor):
            record = await cycled(audits)
            await eventually(lambda: value(telemetry, "drift", kind="counter") == 1)
    assert (record.buckets_wrong, record.counters_wrong) == (len(wrong["bucket"]), 1)
    assert value(telemetry, "drift", kind="bucket") == len(wrong["bucket"])
    lines = [line for line in logged if line["event"] == "audit.drift"]
    assert "meshmetrics verify --repair" in lines[0]["remedy"]
    assert await audits.audit() != ()


@pytest.mark.usefixtures("past")
async def test_what_a_cycle_found_stands_until_the_next_one_is_through(
    auditor: Auditor, audits: AuditStore, telemetry: Telemetry, owner: asyncpg.Connection
) -> None:
    await owner.execute("update public.workflow_run_buckets set canceled_count = 3")
    told: set[float] = set()
    look = audits.audit_slice

    async def looking(part: Slice) -> tuple[SliceDifference, ...]:
        if await audits.last_audit("cycle") is not None:
            told.add(value(telemetry, "drift", kind="bucket"))
        return await look(part)

    audits.audit_slice = looking  # type: ignore[method-assign]
    async with working(auditor):
        found = (await cycled(audits)).buckets_wrong
        await cycled(audits)
    assert found > 5
    assert told == {found}


@pytest.mark.usefixtures("past")
async def test_a_daemon_goes_on_with_the_rhythm_and_the_findings_of_the_one_before(
    store: CountingStore, audits: AuditStore, published: Published, telemetry: Telemetry
) -> None:
    await audits.record_audit("cycle", AuditRecord(await audits.database.now(), 1, 2, 3, 4))
    counter = Counter(store, Inbox(10), published, telemetry)
    auditor = Auditor(store, audits, counter, telemetry, interval=3600, batch=5)
    async with working(auditor):
        await eventually(lambda: value(telemetry, "drift", kind="counter") == 3)
        assert value(telemetry, "set_aside_runs") == 4
    last = await audits.last_audit("cycle")
    assert last is not None
    assert last.drift == 6  # no cycle since


async def test_nothing_is_audited_while_the_back_fill_is_under_way(
    auditor: Auditor,
    store: CountingStore,
    audits: AuditStore,
    owner: asyncpg.Connection,
    workflow: Workflow,
) -> None:
    await insert_run(owner, workflow, "failed", finished_at=datetime.now(UTC))
    await owner.execute(
        "update meshmetrics.checkpoint set updated_at = now() + interval '1 minute'"
        " where name = 'sweep'"
    )
    looks = 0
    read = store.read_checkpoint

    async def read_checkpoint(name: str) -> object:
        nonlocal looks
        looks += name == "backfill"
        return await read(name)

    store.read_checkpoint = read_checkpoint  # type: ignore[method-assign, assignment]
    async with working(auditor):
        await eventually(lambda: looks >= 3)
        assert await audits.last_audit("cycle") is None
        await owner.execute("update meshmetrics.checkpoint set done = true")
        await cycled(audits)
        await eventually(lambda: all_counted(owner))
