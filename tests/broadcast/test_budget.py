"""The budget: never more than the rate, less after a refusal, and back in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.broadcast.budget import RECOVERY_SECONDS, Budget


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 100))
def test_no_second_sees_more_than_one_and_a_half_times_the_rate(
    pauses: list[float], rate: int
) -> None:
    now, sent = 0.0, []
    budget = Budget(rate, now)
    for pause in pauses:
        now += pause
        room = budget.available(now)
        budget.spend(room)
        sent.append((now, room))
    for start, _ in sent:
        within = sum(n for at, n in sent if start <= at < start + 1)
        assert within <= max(1, rate / 2) + rate + 1


def test_over_a_minute_the_full_rate_is_used() -> None:
    budget = Budget(50, 0.0)
    total = 0
    for tick in range(600):
        room = budget.available(tick / 10)
        budget.spend(room)
        total += room
    assert 2990 <= total <= 3030


def test_a_refusal_halves_the_rate_and_empties_the_budget() -> None:
    budget = Budget(40, 0.0)
    budget.refused()
    assert budget.rate == 20
    assert budget.available(0.0) == 0
    for _ in range(20):
        budget.refused()
    assert budget.rate == 1


def test_the_rate_grows_back() -> None:
    budget = Budget(40, 0.0)
    budget.refused()
    budget.available(RECOVERY_SECONDS / 4)
    assert budget.rate == 30
    budget.available(RECOVERY_SECONDS * 2)
    assert budget.rate == 40


def test_the_wait_is_just_long_enough() -> None:
    budget = Budget(4, 0.0)
    budget.spend(budget.available(0.0))
    wait = budget.wait()
    assert wait > 0
    assert budget.available(wait * 0.99) == 0
    assert budget.available(wait) == 1
