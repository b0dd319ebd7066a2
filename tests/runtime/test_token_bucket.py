"""The token bucket that the API's callers and the broadcasts share."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.runtime.token_bucket import TokenBucket


def test_a_new_bucket_holds_a_burst_and_then_refills_at_its_rate() -> None:
    bucket = TokenBucket(2.0, 5.0, 100.0)
    assert bucket.available(100.0) == 5
    bucket.spend(5)
    assert bucket.available(100.4) == 0
    assert bucket.available(100.5) == 1
    assert bucket.available(101.5) == 3


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(2.0, 5.0, 0.0)
    assert bucket.available(1e6) == 5


@given(st.lists(st.floats(0, 2), max_size=100), st.floats(0.1, 100), st.integers(1, 50))
def test_no_span_of_time_allows_more_than_a_burst_and_what_refilled(
    pauses: list[float], rate: float, burst: int
) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    now, spent = 0.0, []
    for pause in pauses:
        now += pause
        tokens = bucket.available(now)
        bucket.spend(tokens)
        spent.append((now, tokens))
    for index, (start, _) in enumerate(spent):
        total = 0
        for at, tokens in spent[index:]:
            total += tokens
            assert total <= burst + rate * (at - start) + 1e-6


@given(st.floats(0.1, 100), st.integers(1, 50))
def test_the_wait_ends_with_the_next_whole_token(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    bucket.spend(bucket.available(0.0))
    wait = bucket.wait()
    assert math.isclose(wait, 1 / rate)
    assert bucket.available(wait * 0.99) == 0
    assert bucket.available(wait) == 1


def test_an_empty_bucket_refills_from_nothing() -> None:
    bucket = TokenBucket(1.0, 10.0, 0.0)
    bucket.empty()
    assert bucket.available(0.0) == 0
    assert bucket.available(3.0) == 3


def test_a_clock_that_goes_back_adds_nothing() -> None:
    bucket = TokenBucket(1.0, 2.0, 10.0)
    bucket.spend(2)
    assert bucket.available(5.0) == 0
