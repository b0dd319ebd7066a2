"""The table behind the defaults: false alarms in 30 days, evaluated at every run.

It is the plain model that is run here, and for one column the SQL beside it. That both agree on any
sequence of runs is what tests/alerts/test_machine.py holds the SQL to.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, make_rule
from tests.alerts.plain import BEGINNING, Alert, Rule, Run, columns
from tests.support import Project, make_workflow

pytestmark = pytest.mark.slow

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30

PLAIN = Rule(method="plain", min_runs=1, window_min_runs=0, consecutive=0)
ENOUGH = Rule(method="plain", min_runs=20, window_min_runs=0, consecutive=0)
WILSON = Rule(consecutive=0)
DEFAULT = Rule()


class Early(Alert):
    """Closes after five successes in a row, and looks at the old failures again: what rules did
    before the window began anew with each closing."""

    def closing(self, seen: list[Run]) -> str | None:
        last = self.runs[-5:]
        return "recovered" if len(last) == 5 and all(r.good for r in last) else None

    def evaluate(self, now: datetime) -> None:
        super().evaluate(now)
        self.epoch = BEGINNING


def simulated(alert: Alert, per_day: float, failing: float, seed: int) -> list[int]:
    """The numbers of the runs that an incident opened at, or opened again, in thirty days."""
    chance = random.Random(seed)
    found: list[int] = []
    at, number = START, 0
    while True:
        at += timedelta(days=chance.expovariate(per_day))
        if at > START + timedelta(days=DAYS):
            return found
        number += 1
        alert.runs.append(Run(at, chance.random() >= failing))
        # What lies behind the longest window is of no account, and only costs time.
        if len(alert.runs) > 240:
            del alert.runs[:120]
        closed = alert.incident is None
        alert.evaluate(at)
        if closed and alert.incident is not None:
            found.append(number)


def opened(rule: Rule, per_day: float, failing: float, seed: int) -> list[int]:
    return simulated(Alert(rule), per_day, failing, seed)


@pytest.mark.parametrize(
    ("rule", "per_day", "expected"),
    [
        (PLAIN, 2, 0.64),
        (PLAIN, 10, 2.8),
        (PLAIN, 50, 1.8),
        (ENOUGH, 2, 0.0),
        (ENOUGH, 10, 0.01),
        (ENOUGH, 50, 1.8),
        (WILSON, 2, 0.01),
        (WILSON, 10, 0.07),
        (WILSON, 50, 0.0),
        (DEFAULT, 2, 0.01),
        (DEFAULT, 10, 0.07),
        (DEFAULT, 50, 0.01),
    ],
)
def test_false_alarms_are_those_of_the_table(rule: Rule, per_day: float, expected: float) -> None:
    worlds = {2: 400, 10: 80, 50: 24}[int(per_day)]
    alarms = sum(len(opened(rule, per_day, 0.01, seed)) for seed in range(worlds))
    # Three standard errors of a count, and what rounding to two places hides.
    error = 3 * math.sqrt(max(expected, 0.01) / worlds) + 0.005
    assert abs(alarms / worlds - expected) <= error


@pytest.mark.parametrize("failing", [0.1, 0.2, 0.3])
def test_closing_after_five_successes_reopens_and_reopens_and_the_defaults_do_not(
    failing: float,
) -> None:
    worlds = range(6)
    again = {"reopened", "flapping"}

    def reopenings(alert: Alert, seed: int) -> int:
        simulated(alert, 10, failing, seed)
        return sum(kind in again for kind in alert.notices)

    early = sorted(reopenings(Early(PLAIN), seed) for seed in worlds)
    calm = [reopenings(Alert(DEFAULT), seed) for seed in worlds]
    # The page says 22 to 150 in thirty days; the middle world of each rate is among them.
    assert 22 <= early[len(early) // 2] <= 150
    assert sum(calm) <= len(calm)


async def test_the_daemons_own_rounds_open_and_close_as_simulated_run_for_run(
    owner: asyncpg.Connection, store: CountingStore, evaluate: Evaluate, project: Project
) -> None:
    """The column of two runs a day through the SQL: all worlds together, the runs of each at the
    same times, a round after each. So what the plain model says of the table, the SQL says too."""
    worlds, chance = 100, random.Random(1)
    flows = [await make_workflow(owner, project, f"world-{n}") for n in range(worlds)]
    rules = {
        str(await make_rule(owner, project, name=name, **columns(rule))): rule
        for name, rule in {"plain": PLAIN, "default": DEFAULT}.items()
    }
    plain = {(key, flow.slug): Alert(rule) for key, rule in rules.items() for flow in flows}
    seen: dict[tuple[str, str], list[str]] = {place: [] for place in plain}
    at = datetime.now(UTC) - timedelta(days=DAYS + 1)
    end = at + timedelta(days=DAYS)
    while (at := at + timedelta(days=chance.expovariate(2))) < end:
        good = [chance.random() >= 0.01 for _ in flows]
        rows = await owner.fetch(
            "insert into public.workflow_runs"
            " (project_id, workflow_id, status, started_at, finished_at)"
            " select $1, w, s, $4, $4 from unnest($2::uuid[], $3::text[]) u (w, s) returning id",
            project.id,
            [flow.id for flow in flows],
            ["succeeded" if it else "failed" for it in good],
            at,
        )
        await store.count_runs([row["id"] for row in rows])
        for notice in await evaluate(at, [flow.id for flow in flows]):
            seen[notice["rule"]["id"], notice["workflow"]["slug"]].append(notice["kind"])
        for (_, slug), alert in plain.items():
            alert.runs.append(Run(at, good[int(slug.removeprefix("world-"))]))
            alert.evaluate(at)
    assert seen == {place: alert.notices for place, alert in plain.items()}
    alarms = {
        rule.method: sum(
            kind in ("opened", "reopened", "flapping")
            for (of, _), kinds in seen.items()
            for kind in kinds
            if of == key
        )
        for key, rule in rules.items()
    }
    # 0.64 and 0.01 a world, within three standard errors of a count.
    assert abs(alarms["plain"] - 64) <= 24
    assert alarms["wilson"] <= 4


def test_a_total_failure_is_found_after_three_runs_by_the_default() -> None:
    for seed in range(50):
        assert opened(DEFAULT, 2, 1.0, seed)[0] == 3


def test_a_half_broken_workflow_with_two_runs_a_day_is_noticed_only_by_the_defaults() -> None:
    assert sum(bool(opened(ENOUGH, 2, 0.5, seed)) for seed in range(100)) == 0
    assert sum(bool(opened(DEFAULT, 2, 0.5, seed)) for seed in range(100)) == 100
