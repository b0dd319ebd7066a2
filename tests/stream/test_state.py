"""What is known of the stream."""

from __future__ import annotations

import pytest

from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream


def test_the_lag_is_measured_by_the_databases_clock() -> None:
    stream = Stream()
    stream.up_since = 100.0
    stream.clock_offset = 30.0
    stream.heard(110.0, 1000.0, 1025.0)
    assert stream.lag(111.0) == 5.0
    assert stream.behind(111.0)
    stream.heard(112.0, 1002.0, 1031.8)
    assert stream.lag(112.0) == pytest.approx(0.2)
    assert not stream.behind(112.0)


def test_nothing_is_known_of_the_lag_without_an_event_of_this_session_in_the_last_minute() -> None:
    stream = Stream()
    assert stream.lag(0.0) == 0.0
    stream.up_since = 100.0
    stream.heard(110.0, 1000.0, 900.0)
    assert stream.lag(169.0) == 100.0
    assert stream.lag(171.0) == 0.0
    stream.up_since = 120.0
    assert stream.lag(130.0) == 0.0


def test_an_event_without_a_commit_time_changes_nothing() -> None:
    stream = Stream()
    stream.up_since = 1.0
    stream.heard(2.0, 1000.0, 990.0)
    stream.heard(3.0, 1001.0, None)
    assert stream.lag(3.0) == 10.0


def test_realtimes_limit_is_an_average_over_a_minute() -> None:
    now = 0.0
    run_rate = RunRate(0, lambda: now)
    run_rate.add(6000)
    assert not run_rate.over_realtimes_limit()
    now = 50.0
    run_rate.add(1)
    assert run_rate.over_realtimes_limit()
    assert run_rate.rate() == 0.2
    now = 61.0
    assert not run_rate.over_realtimes_limit()
