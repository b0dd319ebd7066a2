"""What a member's screen knows: fetched under row-level security, kept up by broadcasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from meshmetrics.devstack.demo.rates import ProjectRates, Version, Workflow
from meshmetrics.devstack.demo.stats import Totals
from tests.support import insert_run, make_project, make_user, make_workflow

MINUTE = datetime(2026, 11, 23, 12, 34, tzinfo=UTC)


@pytest.fixture
def known() -> tuple[ProjectRates, UUID]:
    """One workflow at revision 7, with 10 successes."""
    rates, version = ProjectRates(), uuid4()
    rates.versions[version] = Version("sync", 7, Totals(success=10))
    rates.workflows["sync"] = Workflow("Sync")
    return rates, version


def message(workflow_id: UUID, base: int, revision: int, **deltas: int) -> dict[str, Any]:
    counts = {"success": 0, "failure": 0, "canceled": 0} | deltas
    item = {
        "workflow_id": str(workflow_id),
        "base_revision": base,
        "revision": revision,
        "success_count": 10 + counts["success"],
        "failure_count": counts["failure"],
        "canceled_count": counts["canceled"],
        "last_failure_at": "2026-11-23T12:34:56.789Z" if counts["failure"] else None,
        "deltas": [{"minute": "2026-11-23T12:34:00Z", **counts}],
    }
    return {"workflows": [item]}


def test_a_message_that_follows_is_applied(known: tuple[ProjectRates, UUID]) -> None:
    rates, version = known
    assert rates.apply(message(version, 7, 9, success=2, failure=1))
    assert rates.versions[version] == Version("sync", 9, Totals(12, 1, 0))
    workflow = rates.workflows["sync"]
    assert workflow.within(MINUTE) == Totals(2, 1, 0)
    assert sorted(workflow.latest) == ["failure", "success", "success"]
    assert workflow.last_failure_at == datetime(2026, 11, 23, 12, 34, 56, 789000, UTC)
    assert rates.counted == 13


def test_an_old_message_changes_nothing(known: tuple[ProjectRates, UUID]) -> None:
    rates, version = known
    assert rates.apply(message(version, 5, 7, success=2))
    assert rates.versions[version].totals == Totals(success=10)
    assert not rates.workflows["sync"].latest


@pytest.mark.parametrize(("base", "revision"), [(8, 9), (9, 9), (6, 9)])
def test_a_message_that_does_not_follow_asks_for_a_refetch(
    known: tuple[ProjectRates, UUID], base: int, revision: int
) -> None:
    rates, version = known
    assert not rates.apply(message(version, base, revision, success=2))
    assert rates.versions[version].revision == 7


def test_a_workflow_never_heard_of_asks_for_a_refetch(known: tuple[ProjectRates, UUID]) -> None:
    rates, _ = known
    assert not rates.apply(message(uuid4(), 0, 1, success=1))


def test_a_failed_run_that_is_resumed_leaves_the_strip_again() -> None:
    workflow = Workflow("Sync")
    workflow.add(MINUTE, 1, 2, 0)
    workflow.add(MINUTE, 0, -1, 0)
    assert list(workflow.latest) == ["success", "failure"]
    assert workflow.within(MINUTE) == Totals(1, 1, 0)


def test_what_is_older_than_a_day_leaves_the_window() -> None:
    workflow = Workflow("Sync")
    workflow.add(MINUTE, 1, 0, 0)
    workflow.add(MINUTE + timedelta(hours=1), 0, 1, 0)
    assert workflow.within(MINUTE + timedelta(hours=24)) == Totals(1, 1, 0)
    assert workflow.within(MINUTE + timedelta(hours=24, minutes=1)) == Totals(0, 1, 0)


async def test_a_member_fetches_its_own_projects_and_no_others(
    owner: asyncpg.Connection, owner_dsn: str, store: CountingStore
) -> None:
    ada, grace = await make_user(owner), await make_user(owner)
    now = await owner.fetchval("select now()")
    runs = []
    for user, slug, status in ((ada, "hers", "failed"), (grace, "other", "succeeded")):
        workflow = await make_workflow(owner, await make_project(owner, user), slug)
        runs += [await insert_run(owner, workflow, status, finished_at=now) for _ in range(3)]
    await store.count_runs(runs)

    rates = ProjectRates()
    api = await asyncpg.connect(owner_dsn.replace("postgres@", "authenticator@", 1))
    try:
        await rates.fetch(api, ada)
    finally:
        await api.close()
    assert list(rates.workflows) == ["hers"]
    hers = rates.workflows["hers"]
    assert hers.within(now) == Totals(failure=3)
    assert list(hers.latest) == ["failure"] * 3
    assert hers.last_failure_at == now
    assert rates.counted == 3
