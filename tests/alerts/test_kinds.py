"""Rules on failure rates and on failures in a row: when they open, and when they close."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, finish, make_rule, states
from tests.support import Project, Workflow, finish_run, insert_run, resume_run

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
MINUTE = timedelta(minutes=1)


@dataclass
class Place:
    """A workflow with one rule on it, a minute passing with every step."""

    owner: asyncpg.Connection
    store: CountingStore
    evaluate: Evaluate
    workflow: Workflow
    now: datetime = NOW

    async def after(self, *statuses: str) -> list[str]:
        """What is told after these runs."""
        self.now += MINUTE
        await finish(self.owner, self.store, self.workflow, self.now, *statuses)
        return await self.look()

    async def look(self) -> list[str]:
        self.now += MINUTE
        return [n["kind"] for n in await self.evaluate(self.now, [self.workflow.id])]

    async def change(self, run: UUID, status: str) -> None:
        """A run's outcome turns into another, at the time that it had."""
        await self.owner.execute(
            "update public.workflow_runs set status = $2 where id = $1", run, status
        )
        await self.store.count_runs([run])

    async def closed_as(self) -> str | None:
        reason: str | None = await self.owner.fetchval(
            "select close_reason from public.workflow_alert_incidents order by opened_at desc"
        )
        return reason


@pytest.fixture
def place(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, workflow: Workflow
) -> Place:
    return Place(owner, store, evaluate, workflow)


async def failure_rate(place: Place, project: Project, **columns: Any) -> None:
    await make_rule(
        place.owner,
        project,
        **{
            "metric": "failure_rate",
            "comparison": "above",
            "threshold": 0.2,
            "method": "plain",
            "consecutive": 0,
            **columns,
        },
    )


async def in_a_row(place: Place, project: Project, **columns: Any) -> None:
    await make_rule(
        place.owner,
        project,
        **{"metric": "consecutive_failures", "consecutive": 3, "recovery_runs": 2, **columns},
    )


async def test_a_failure_rate_opens_above_its_threshold_and_not_at_it(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project)
    assert await place.after(*["succeeded"] * 8, "failed", "failed") == []  # 2 of 10
    assert await states(place.owner) == ["ok"]
    assert await place.after("failed") == ["opened"]  # 3 of 11
    cause = await place.owner.fetchval("select cause from public.workflow_alert_incidents")
    assert cause == "rate"


async def test_a_failure_rate_of_too_few_runs_is_no_alarm(place: Place, project: Project) -> None:
    await failure_rate(place, project, min_runs=5)
    assert await place.after(*["failed"] * 4) == []
    assert await states(place.owner) == ["insufficient"]
    assert await place.after("failed") == ["opened"]


async def test_a_failure_rate_that_may_be_chance_is_pending_until_its_bound_is_beyond(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project, method="wilson", window_min_runs=100)
    # 3 of 10 are 11 to 60 %, 10 of 25 are 23 to 59 %.
    assert await place.after(*["succeeded"] * 7, *["failed"] * 3) == []
    assert await states(place.owner) == ["pending"]
    assert await place.after(*["succeeded"] * 8, *["failed"] * 7) == ["opened"]


async def test_failures_in_a_row_open_a_rule_on_the_failure_rate_too(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project, consecutive=3, threshold=0.9)
    assert await place.after(*["succeeded"] * 20, "failed", "failed") == []
    assert await place.after("failed") == ["opened"]


async def test_a_failure_rate_closes_at_half_its_threshold_and_not_before(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project, window_min_runs=100, recovery_runs=1000)
    assert await place.after(*["succeeded"] * 7, *["failed"] * 3) == ["opened"]
    assert await place.after(*["succeeded"] * 19) == []  # 3 of 29, 10.3 %
    assert await states(place.owner) == ["recovering"]
    assert await place.after("succeeded") == ["resolved"]  # 3 of 30, 10 %
    assert await place.closed_as() == "recovered"
    assert await states(place.owner) == ["ok"]


async def test_a_failure_rate_closes_after_enough_successes_in_a_row(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project, recovery_runs=4, min_runs=5)
    assert await place.after("succeeded", *["failed"] * 5) == ["opened"]
    assert await place.after(*["succeeded"] * 3) == []
    assert await place.after("succeeded") == ["resolved"]


async def test_a_failure_rate_below_can_be_asked_for(place: Place, project: Project) -> None:
    await failure_rate(place, project, comparison="below", threshold=0.5, window_min_runs=0)
    assert await place.after(*["failed"] * 5, *["succeeded"] * 5) == []
    assert await place.after("succeeded") == ["opened"]


async def test_failures_in_a_row_open_at_their_number_and_not_before(
    place: Place, project: Project
) -> None:
    await in_a_row(place, project)
    assert await place.after("failed", "failed", "succeeded", "failed", "failed") == []
    assert await states(place.owner) == ["pending"]
    assert await place.after("failed") == ["opened"]
    cause = await place.owner.fetchval("select cause from public.workflow_alert_incidents")
    assert cause == "consecutive"


async def test_a_canceled_run_neither_counts_nor_breaks_the_row(
    place: Place, project: Project
) -> None:
    await in_a_row(place, project)
    assert await place.after("failed", "canceled", "failed", "canceled") == []
    assert await place.after("failed") == ["opened"]


async def test_however_long_ago_failures_in_a_row_count(place: Place, project: Project) -> None:
    await in_a_row(place, project, window_seconds=300)
    assert await place.after("failed", "failed") == []
    place.now += timedelta(hours=1)
    assert await place.after("failed") == ["opened"]


async def test_they_close_after_so_many_successes_in_a_row_and_a_failure_starts_anew(
    place: Place, project: Project
) -> None:
    await in_a_row(place, project)
    assert await place.after(*["failed"] * 3) == ["opened"]
    assert await place.after("succeeded", "failed", "succeeded") == []
    assert await states(place.owner) == ["recovering"]
    assert await place.after("succeeded") == ["resolved"]
    assert await place.closed_as() == "recovered"
    # Trouble again so soon is the same incident.
    assert await place.after(*["failed"] * 3) == ["reopened"]


@pytest.mark.parametrize("rule", [failure_rate, in_a_row])
async def test_an_outcome_corrected_later_closes_it(
    place: Place, project: Project, rule: Any
) -> None:
    await rule(place, project)
    ids = await finish(
        place.owner, place.store, place.workflow, NOW, "succeeded", "succeeded", *["failed"] * 3
    )
    assert await place.look() == ["opened"]
    assert await place.look() == []
    for run in ids[2:]:
        await place.change(run, "succeeded")
    assert await place.look() == ["resolved"]
    assert await place.closed_as() == "corrected"


@pytest.mark.parametrize("rule", [failure_rate, in_a_row])
async def test_a_success_that_turns_into_a_failure_opens_it(
    place: Place, project: Project, rule: Any
) -> None:
    await rule(place, project, **({"threshold": 0.5} if rule is failure_rate else {}))
    statuses = ("succeeded", "succeeded", "failed", "succeeded", "failed")
    ids = await finish(place.owner, place.store, place.workflow, NOW, *statuses)
    assert await place.look() == []
    await place.change(ids[3], "failed")
    assert await place.look() == ["opened"]


@pytest.mark.parametrize("rule", [failure_rate, in_a_row])
async def test_runs_made_before_the_last_look_that_failed_after_it_are_seen(
    place: Place, project: Project, rule: Any
) -> None:
    await rule(place, project)
    early = [await insert_run(place.owner, place.workflow) for _ in range(5)]
    assert await place.evaluate() == []
    for run in early:
        await finish_run(place.owner, run, "failed")
    await place.store.count_runs(early)
    assert [n["kind"] for n in await place.evaluate(None, [place.workflow.id])] == ["opened"]
    # Resumed, they are at no end, and nothing is wrong.
    for run in early:
        await resume_run(place.owner, run)
    await place.store.count_runs(early)
    assert [n["kind"] for n in await place.evaluate()] == ["resolved"]
    assert await place.closed_as() == "corrected"


async def test_a_round_that_finds_nothing_new_writes_nothing(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project)
    await in_a_row(place, project)
    await make_rule(place.owner, project)
    await place.after(*["succeeded"] * 4, *["failed"] * 3)
    assert sorted(set(await states(place.owner))) != ["ok"]
    tables = ("states", "incidents", "events", "deliveries")

    async def rows() -> list[Any]:
        return [
            await place.owner.fetch(f"select xmin::text, ctid::text from public.workflow_alert_{t}")
            for t in tables
        ]

    before = await rows()
    assert await place.look() == []
    assert [n["kind"] for n in await place.evaluate(place.now)] == []
    assert await rows() == before


async def test_a_run_that_was_deleted_stays_in_the_rate_of_its_window(
    place: Place, project: Project
) -> None:
    await failure_rate(place, project, threshold=0.9)
    ids = await finish(
        place.owner,
        place.store,
        place.workflow,
        NOW,
        *["succeeded"] * 4,
        *["failed"] * 4,
    )
    assert await place.look() == []
    await place.owner.execute("delete from public.workflow_runs where id = any ($1)", ids[:6])
    assert (await place.store.maintain(None, 100)).retired_runs == 6
    await place.after("succeeded")
    state = await place.owner.fetchrow("select * from public.workflow_alert_states")
    assert state is not None
    assert (state["success_count"], state["failure_count"]) == (5, 4)
