"""How fast runs end, and when that is too fast for the stream."""

from __future__ import annotations

from meshmetrics.stream.run_rate import SPAN, Flow


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_the_average_of_the_last_seconds() -> None:
    clock = Clock()
    flow = Flow(0, clock)
    assert flow.rate() == 0
    for _ in range(SPAN):
        flow.add(30)
        flow.add(70)
        clock.now += 1
    assert flow.rate() == 100
    clock.now += SPAN + 1
    assert flow.rate() == 0


def test_above_the_limit_it_is_heavy_until_it_is_below_half_of_it() -> None:
    clock = Clock()
    flow = Flow(100, clock)
    flow.add(100 * SPAN)
    assert not flow.heavy.is_set()
    flow.add(1)
    assert flow.heavy.is_set()
    clock.now += SPAN + 1
    flow.add(60 * SPAN)
    assert not flow.calm()
    assert flow.heavy.is_set()
    clock.now += SPAN + 1
    flow.add(50 * SPAN)
    assert flow.calm()
    assert not flow.heavy.is_set()


def test_with_a_limit_of_zero_nothing_is_heavy() -> None:
    flow = Flow(0)
    flow.add(1_000_000)
    assert not flow.heavy.is_set()
