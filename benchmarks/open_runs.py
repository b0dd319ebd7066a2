"""Row "open runs": what looking through 100,000 open runs costs, as a share of one core."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.figures import Figure, at_most
from benchmarks.stack import Stack, database, insert_finished
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.open_runs import LONGEST, REST, SHORTEST, OpenRunsInspector
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox

ROW = "open runs"
ROUNDS = 5


async def measure(*, quick: bool = False) -> list[Figure]:
    runs = 10_000 if quick else 100_000
    async with database(workflows=200) as stack:
        await insert_finished(stack.owner, runs * 2, days=30)
        await _insert_open(stack, runs)
        counter = Counter(stack.store, Inbox(1000), _drop_changes, Telemetry())
        inspector = OpenRunsInspector(
            stack.store, counter, _drop_event, Telemetry(), abandoned_after=600
        )
        began = time.perf_counter()
        await inspector.inspect()  # one run in ten is found abandoned
        first = time.perf_counter() - began
        shares, looks = [], []
        for _ in range(ROUNDS):
            used, began = _processor_seconds(stack), time.perf_counter()
            await inspector.inspect()
            took = time.perf_counter() - began
            used = _processor_seconds(stack) - used
            looks.append(took)
            shares.append(used / (took + min(LONGEST, max(SHORTEST, REST * took))))
    return [
        at_most(ROW, f"{runs:,} open: share of a core", statistics.median(shares) * 100, 1, "%"),
        Figure(ROW, "one look", statistics.median(looks), "s"),
        Figure(ROW, "the first look, which counts one in ten as abandoned", first, "s"),
    ]


async def _insert_open(stack: Stack, runs: int) -> None:
    """`runs` runs that began an hour ago with three events each; the last step of one in ten
    failed."""
    await stack.owner.execute(
        "with run as ("
        " insert into public.workflow_runs"
        " (project_id, workflow_id, status, started_at, created_at)"
        " select w.project_id, w.id, 'running', began.at, began.at"
        " from (select now() - interval '1 hour' as at) began, generate_series(1, $1::integer) i"
        " join (select *, row_number() over () as n from public.workflow_definitions) w"
        "  on w.n = 1 + i % 200 returning id)"
        " insert into public.workflow_events (run_id, ts, type, payload)"
        " select r.id, now() - make_interval(mins => 50 - e.n), e.type, '{}'"
        " from (select id, row_number() over () as k from run) r,"
        "  lateral (values (1, 'run_created'), (2, 'step_started'),"
        "   (3, case when r.k % 10 = 0 then 'step_failed' else 'http_attempted' end)) e (n, type)",
        runs,
    )
    await stack.owner.execute("vacuum analyze")


def _processor_seconds(stack: Stack) -> float:
    """Of this process and of Postgres' processes, to the nanosecond."""
    postmaster = (stack.server.data_dir / "postmaster.pid").read_text().split()[0]
    backends = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    pids = ["self", *backends]
    spent = (int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)
    return sum(spent) / 1e9


def _drop_changes(changes: object, *, counted: float, committed: float | None) -> None:
    """The changes go nowhere."""


def _drop_event(project_id: UUID, event: str, payload: dict[str, Any]) -> None:
    """The event goes nowhere."""
