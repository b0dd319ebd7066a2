"""How fast runs end, and when that is too fast for the stream."""

from __future__ import annotations

from meshmetrics.stream.run_rate import SPAN, RunRate


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_the_average_of_the_last_seconds() -> None:
    clock = Clock()
    run_rate = RunRate(0, clock)
    assert run_rate.rate() == 0
    for _ in range(SPAN):
        run_rate.add(30)
        run_rate.add(70)
        clock.now += 1
    assert run_rate.rate() == 100
    clock.now += SPAN + 1
    assert run_rate.rate() == 0


def test_above_the_limit_it_is_heavy_until_it_is_below_half_of_it() -> None:
    clock = Clock()
    run_rate = RunRate(100, clock)
    run_rate.add(100 * SPAN)
    assert not run_rate.heavy.is_set()
    run_rate.add(1)
    assert run_rate.heavy.is_set()
    clock.now += SPAN + 1
    run_rate.add(60 * SPAN)
    assert not run_rate.calm()
    assert run_rate.heavy.is_set()
    clock.now += SPAN + 1
    run_rate.add(50 * SPAN)
    assert run_rate.calm()
    assert not run_rate.heavy.is_set()


def test_with_a_limit_of_zero_nothing_is_heavy() -> None:
    run_rate = RunRate(0)
    run_rate.add(1_000_000)
    assert not run_rate.heavy.is_set()
