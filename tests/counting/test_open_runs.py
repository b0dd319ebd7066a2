"""The daemon's look through open runs: what it counts, announces, and how it rests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from meshmetrics.counting.counter import Counter
from meshmetrics.counting.open_runs import OpenRunsInspector
from meshmetrics.runtime.telemetry import Telemetry
from tests.support import Workflow, eventually, insert_run, make_project, make_workflow
from tests.support.counting import FaultyStore, Published, working


@dataclass
class Announced:
    events: list[tuple[UUID, str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, project_id: UUID, event: str, payload: dict[str, Any]) -> None:
        self.events.append((project_id, event, payload))


def inspector(
    faulty: FaultyStore, counter: Counter, announced: Announced, telemetry: Telemetry
) -> OpenRunsInspector:
    return OpenRunsInspector(
        faulty, counter, announced, telemetry, abandoned_after=60, shortest=0.01, rest=1
    )


async def fail_step(owner: asyncpg.Connection, run_id: UUID) -> None:
    await owner.execute(
        "update public.workflow_runs set created_at = now() - interval '1 hour' where id = $1",
        run_id,
    )
    await owner.execute(
        "insert into public.workflow_events (run_id, ts, type, payload)"
        " values ($1, now() - interval '2 minutes', 'step_failed', '{}')",
        run_id,
    )


async def test_an_abandoned_run_is_counted_published_and_announced(
    owner: asyncpg.Connection,
    faulty: FaultyStore,
    counter: Counter,
    published: Published,
    telemetry: Telemetry,
    workflow: Workflow,
) -> None:
    await fail_step(owner, await insert_run(owner, workflow))
    await insert_run(owner, workflow)
    announced = Announced()
    await inspector(faulty, counter, announced, telemetry).inspect()
    (change,) = published.changes
    assert (change.workflow_id, change.failure_count) == (workflow.id, 1)
    ((project_id, event, payload),) = announced.events
    assert (project_id, event, payload["project_id"]) == (
        workflow.project_id,
        "open",
        str(workflow.project_id),
    )
    (counts,) = payload["workflows"]
    assert (counts["workflow_id"], counts["slug"]) == (str(workflow.id), workflow.slug)
    assert (counts["open"], counts["overdue"], counts["abandoned"]) == (1, 0, 1)
    value = telemetry.registry.get_sample_value
    assert value("meshmetrics_open_runs") == 1
    assert value("meshmetrics_abandoned_runs") == 1


async def test_a_project_hears_at_most_every_ten_seconds_and_then_the_newest_counts(
    owner: asyncpg.Connection,
    faulty: FaultyStore,
    counter: Counter,
    telemetry: Telemetry,
    workflow: Workflow,
) -> None:
    announced = Announced()
    looking = inspector(faulty, counter, announced, telemetry)
    other = await make_workflow(owner, await make_project(owner))
    for expected in (1, 1, 2):
        await insert_run(owner, workflow)
        if expected == 2:
            await insert_run(owner, other)
        await looking.inspect()
        assert len(announced.events) == expected
    looking._announced.clear()  # ten seconds pass
    await looking.inspect()
    assert announced.events[-1][2]["workflows"][0]["open"] == 3


async def test_looks_go_on_until_the_inspector_is_stopped(
    owner: asyncpg.Connection,
    faulty: FaultyStore,
    counter: Counter,
    telemetry: Telemetry,
    workflow: Workflow,
) -> None:
    async with working(inspector(faulty, counter, Announced(), telemetry)):
        for expected in (1, 2):
            await insert_run(owner, workflow)

            async def counted(expected: int = expected) -> bool:
                return bool(
                    await owner.fetchval(
                        "select open_count = $1 from public.workflow_run_open_counts", expected
                    )
                )

            await eventually(counted)
