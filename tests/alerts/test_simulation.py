"""The table behind the defaults: false alarms in 30 days, evaluated at every run.

It is the plain model that is run here, as tests/alerts/test_machine.py holds the SQL to it.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.alerts.plain import BREACH, Alert, Rule, Run

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30

PLAIN = Rule(method="plain", min_runs=1, window_min_runs=0, consecutive=0)
ENOUGH = Rule(method="plain", min_runs=20, window_min_runs=0, consecutive=0)
WILSON = Rule(consecutive=0)
DEFAULT = Rule()


def opened(rule: Rule, per_day: float, failing: float, seed: int, days: float = DAYS) -> list[int]:
    """The numbers of the runs that an incident opened at: the window starts anew when it closes."""
    chance = random.Random(seed)
    alert = Alert(rule)
    found: list[int] = []
    at, number = START, 0
    while True:
        at += timedelta(days=chance.expovariate(per_day))
        if at > START + timedelta(days=days):
            return found
        number += 1
        alert.runs.append(Run(at, chance.random() >= failing))
        # What lies behind the longest window is of no account, and only costs time.
        if len(alert.runs) > 400:
            del alert.runs[:200]
        if alert.incident is None:
            verdict = alert.judge(alert.window(at), alert.in_row(at))
            if verdict in BREACH:
                found.append(number)
        alert.evaluate(at)


@pytest.mark.parametrize(
    ("rule", "per_day", "expected"),
    [
        (PLAIN, 2, 0.64),
        (ENOUGH, 2, 0.0),
        (ENOUGH, 10, 0.01),
        (WILSON, 2, 0.01),
        (WILSON, 10, 0.07),
        (DEFAULT, 2, 0.01),
        (DEFAULT, 10, 0.07),
    ],
)
def test_false_alarms_are_those_of_the_table(rule: Rule, per_day: float, expected: float) -> None:
    worlds = 400 if per_day < 10 else 80
    alarms = sum(len(opened(rule, per_day, 0.01, seed)) for seed in range(worlds))
    # Three standard errors of a count, and what rounding to two places hides.
    error = 3 * math.sqrt(max(expected, 0.01) / worlds) + 0.005
    assert abs(alarms / worlds - expected) <= error


def test_a_total_failure_is_found_after_three_runs_by_the_default() -> None:
    for seed in range(50):
        assert opened(DEFAULT, 2, 1.0, seed)[0] == 3


def test_a_half_broken_workflow_with_two_runs_a_day_is_noticed_only_by_the_defaults() -> None:
    assert sum(bool(opened(ENOUGH, 2, 0.5, seed)) for seed in range(100)) == 0
    assert sum(bool(opened(DEFAULT, 2, 0.5, seed)) for seed in range(100)) == 100
