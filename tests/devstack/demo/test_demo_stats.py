"""Wilson's interval, percentiles, and the delays of runs."""

from __future__ import annotations

from uuid import uuid4

import pytest

from meshmetrics.devstack.demo.stats import Latencies, Totals, percentile


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile([2.0], 0.99) == 2.0
    assert percentile([], 0.5) is None


def test_a_run_is_told_by_the_first_broadcast_whose_total_has_it() -> None:
    workflow = uuid4()
    latencies = Latencies({workflow: Totals(success=100)})
    latencies.ended(workflow, "succeeded", 10.0)
    latencies.ended(workflow, "succeeded", 10.2)
    latencies.observe(workflow, Totals(success=100), 10.1)  # without either
    assert latencies.milliseconds(0.5) is None
    latencies.observe(workflow, Totals(success=101), 10.3)
    assert latencies.milliseconds(0.99) == pytest.approx(300)
    latencies.observe(workflow, Totals(success=102), 10.9)
    assert latencies.milliseconds(0.5) == pytest.approx(300)
    assert latencies.milliseconds(0.99) == pytest.approx(700)


def test_failures_are_no_sample_because_they_may_be_taken_back() -> None:
    workflow = uuid4()
    latencies = Latencies({})
    latencies.ended(workflow, "failed", 1.0)
    latencies.observe(workflow, Totals(failure=1), 1.5)
    latencies.observe(workflow, Totals(failure=0), 2.0)
    assert latencies.milliseconds(0.5) is None


def test_what_was_fetched_came_by_no_broadcast() -> None:
    workflow = uuid4()
    latencies = Latencies({})
    latencies.ended(workflow, "canceled", 1.0)
    latencies.ended(workflow, "canceled", 5.0)
    latencies.observe(workflow, Totals(canceled=1), None)
    latencies.observe(workflow, Totals(canceled=2), 5.5)
    assert latencies.milliseconds(0.5) == latencies.milliseconds(0.99) == 500


def test_a_broadcast_that_overtakes_the_engines_own_answer_took_no_time() -> None:
    workflow = uuid4()
    latencies = Latencies({})
    latencies.observe(workflow, Totals(success=1), 1.0)
    latencies.ended(workflow, "succeeded", 1.001)
    assert latencies.milliseconds(0.99) == 0
    latencies.ended(workflow, "succeeded", 2.0)
    latencies.observe(workflow, Totals(success=2), 2.25)
    assert latencies.milliseconds(0.99) == 250


def test_delays_can_be_those_of_a_while_only() -> None:
    workflow = uuid4()
    latencies = Latencies({})
    for number, (committed, arrived) in enumerate([(0.0, 5.0), (60.0, 60.1)], 1):
        latencies.ended(workflow, "succeeded", committed)
        latencies.observe(workflow, Totals(success=number), arrived)
    assert latencies.milliseconds(0.99) == 5000
    assert latencies.milliseconds(0.99, since=60.0) == 100
