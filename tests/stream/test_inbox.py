"""The inbox: each run once, never too many, and an overflow is a gap."""

from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.stream.inbox import REMEMBERED, Arrival, Inbox

NOW = Arrival(1.0, None)


def ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


def test_a_run_waits_once_however_often_it_is_hinted_at() -> None:
    inbox = Inbox(10)
    [run] = ids(1)
    for moment in range(1000):
        inbox.put(run, Arrival(float(moment), None))
    assert inbox.take(10) == {run: Arrival(0.0, None)}


def test_a_run_that_was_taken_may_come_again() -> None:
    inbox = Inbox(10)
    [run] = ids(1)
    inbox.put(run, NOW)
    inbox.take(10)
    inbox.put(run, NOW)
    assert list(inbox.take(10)) == [run]


def test_the_oldest_are_taken_first_and_the_rest_stays() -> None:
    inbox = Inbox(10)
    runs = ids(5)
    for run in runs:
        inbox.put(run, NOW)
    assert list(inbox.take(3)) == runs[:3]
    assert inbox.filled.is_set()
    assert list(inbox.take(3)) == runs[3:]
    assert not inbox.filled.is_set()


def test_what_finds_it_full_is_dropped_and_told_of() -> None:
    overflows: list[int] = []
    inbox = Inbox(3, lambda: overflows.append(1))
    runs = ids(5)
    for run in runs:
        inbox.put(run, NOW)
    assert list(inbox.take(10)) == runs[:3]
    assert len(overflows) == 2


def test_a_known_run_is_no_overflow() -> None:
    overflows: list[int] = []
    inbox = Inbox(1, lambda: overflows.append(1))
    [run] = ids(1)
    inbox.put(run, NOW)
    inbox.put(run, NOW)
    assert overflows == []


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())))
def test_nothing_is_lost_and_nothing_is_taken_twice_without_a_new_hint(
    moves: list[tuple[int, bool]],
) -> None:
    inbox, runs = Inbox(100), ids(6)
    waiting: set[UUID] = set()
    for number, take in moves:
        if take:
            taken = set(inbox.take(2))
            assert taken <= waiting
            assert len(taken) == min(2, len(waiting))
            waiting -= taken
        else:
            inbox.put(runs[number], NOW)
            waiting.add(runs[number])
        assert len(inbox) == len(waiting)
        assert inbox.filled.is_set() == bool(waiting)


def test_an_event_in_time_is_not_missed() -> None:
    inbox = Inbox(10)
    [run] = ids(1)
    inbox.expect([run], deadline=5.0)
    inbox.put(run, NOW)
    assert inbox.missed(now=100.0) == 0


def test_an_overdue_event_is_missed_once() -> None:
    inbox = Inbox(10)
    inbox.expect(ids(2), deadline=5.0)
    inbox.expect(ids(1), deadline=8.0)
    assert inbox.next_deadline == 5.0
    assert [inbox.missed(4.9), inbox.missed(5.0), inbox.missed(6.0)] == [0, 2, 0]
    assert inbox.next_deadline == 8.0


def test_an_event_that_came_while_the_sweep_was_looking_is_not_missed() -> None:
    inbox = Inbox(10)
    [run] = ids(1)
    inbox.put(run, NOW)
    inbox.take(10)
    inbox.expect([run], deadline=5.0)
    assert inbox.missed(100.0) == 0


def test_while_nobody_listens_no_event_is_expected() -> None:
    inbox = Inbox(10)
    inbox.expect(ids(2), deadline=5.0)
    inbox.expect_from(float("inf"))
    assert inbox.expect(ids(100), deadline=5.0) == 0
    assert inbox.missed(100.0) == 0
    inbox.expect_from(0.0)
    inbox.expect(ids(1), deadline=5.0)
    assert inbox.missed(100.0) == 1


def test_what_is_remembered_and_expected_is_bounded() -> None:
    inbox = Inbox(10)
    for run in ids(REMEMBERED + 50):
        inbox.put(run, NOW)
    assert len(inbox._remembered) == REMEMBERED
    assert inbox.expect(ids(15), deadline=5.0) == 5
    assert inbox.missed(100.0) == 10
