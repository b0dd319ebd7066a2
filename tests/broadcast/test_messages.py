"""Broadcasts: merged changes say what the single ones said, and messages are as promised."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from meshmetrics.broadcast.messages import (
    MAX_DELTAS,
    MESSAGE_BYTES,
    encode,
    merge,
    message,
    request,
    take_fitting,
)
from meshmetrics.counting.model import Change
from tests.broadcast.changes import MINUTE, change, delta

WORKFLOW = uuid4()


def told_change(revision: int, *parts: tuple[int, int]) -> Change:
    return change(revision, *(delta(m, success=n) for m, n in parts), workflow_id=WORKFLOW)


def test_merging_keeps_the_first_base_the_last_counters_and_adds_up_the_minutes() -> None:
    merged = merge(
        change(4, delta(0, success=1), delta(1, failure=1), workflow_id=WORKFLOW, success=10),
        change(5, delta(1, failure=2), workflow_id=WORKFLOW, success=11),
    )
    assert (merged.base_revision, merged.revision, merged.success_count) == (3, 5, 11)
    assert merged.deltas == (delta(0, success=1), delta(1, failure=3))


def test_minutes_that_cancel_out_are_left_out() -> None:
    merged = merge(told_change(4, (0, 1)), told_change(5, (0, -1)))
    assert merged.deltas == ()


def test_an_older_change_that_comes_late_changes_nothing() -> None:
    newer = told_change(9, (0, 1))
    assert merge(newer, told_change(8, (0, 1))) is newer


def test_with_a_gap_between_them_deltas_are_dropped() -> None:
    merged = merge(told_change(4, (0, 1)), told_change(6, (0, 1)))
    assert (merged.base_revision, merged.revision, merged.deltas) == (6, 6, None)


def test_untold_deltas_stay_untold() -> None:
    untold = change(5, told=False, workflow_id=WORKFLOW)
    for merged in (
        merge(told_change(4, (0, 1)), untold),
        merge(untold, told_change(6, (0, 1))),
    ):
        assert merged.deltas is None
        assert merged.base_revision == merged.revision


def test_too_many_minutes_are_dropped() -> None:
    many = told_change(4, *((m, 1) for m in range(MAX_DELTAS)))
    assert merge(many, told_change(5, (MAX_DELTAS, 1))).deltas is None
    assert merge(many, told_change(5, (0, 1))).deltas is not None
    over = told_change(4, *((m, 1) for m in range(MAX_DELTAS + 1)))
    assert json.loads(encode(over))["base_revision"] == 4


class Subscriber:
    """Follows the contract of the channel."""

    def __init__(self, revision: int, minutes: Counter[str]) -> None:
        self.revision = revision
        self.minutes = minutes
        self.refetches = 0

    def receive(self, workflow: dict[str, object], truth: dict[int, Counter[str]]) -> None:
        revision = int(str(workflow["revision"]))
        if self.revision >= revision:
            return
        if self.revision < int(str(workflow["base_revision"])):
            self.refetches += 1
            self.revision, self.minutes = revision, Counter(truth[revision])
            return
        assert self.revision == workflow["base_revision"]
        deltas = workflow["deltas"]
        assert isinstance(deltas, list)
        for item in deltas:
            self.minutes[item["minute"]] += item["success"]
        self.revision = revision


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([-1, 1, 2]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_a_subscriber_ends_up_with_the_same_however_changes_were_merged(
    moves: list[tuple[int, int, bool, bool]],
) -> None:
    """Each move: a minute, how many, whether deltas are told, whether it is sent just then."""
    truth: dict[int, Counter[str]] = {0: Counter()}
    pending: Change | None = None
    subscriber = Subscriber(0, Counter())
    for number, (minute, count, told, send) in enumerate(moves, start=1):
        truth[number] = Counter(truth[number - 1])
        at = delta(minute).minute.isoformat().replace("+00:00", "Z")
        truth[number][at] += count
        new = change(number, delta(minute, success=count), told=told, workflow_id=WORKFLOW)
        pending = new if pending is None else merge(pending, new)
        if send or number == len(moves):
            subscriber.receive(json.loads(encode(pending)), truth)
            pending = None
    assert +subscriber.minutes == +truth[len(moves)]
    assert -subscriber.minutes == -truth[len(moves)]


def test_a_message_is_as_the_contract_says() -> None:
    project, workflow = uuid4(), uuid4()
    given_change = change(
        43,
        delta(0, success=2),
        base=41,
        workflow_id=workflow,
        project_id=project,
        success=1204,
        failure=17,
    )
    [sent] = json.loads(request([message(project, [encode(given_change)], MINUTE)]))["messages"]
    assert sent == {
        "topic": f"metrics:{project}",
        "event": "rates",
        "private": True,
        "payload": {
            "v": 1,
            "project_id": str(project),
            "sent_at": "2026-11-23T12:34:00Z",
            "workflows": [
                {
                    "workflow_id": str(workflow),
                    "slug": "nightly",
                    "base_revision": 41,
                    "revision": 43,
                    "success_count": 1204,
                    "failure_count": 17,
                    "canceled_count": 0,
                    "success_rate": 0.986077,
                    "last_success_at": "2026-11-23T12:34:00Z",
                    "last_failure_at": None,
                    "last_updated": "2026-11-23T12:34:43.000005Z",
                    "deltas": [
                        {
                            "minute": "2026-11-23T12:34:00Z",
                            "success": 2,
                            "failure": 0,
                            "canceled": 0,
                        }
                    ],
                }
            ],
        },
    }


def test_without_finished_runs_the_rate_is_null() -> None:
    assert json.loads(encode(change(1)))["success_rate"] is None


def test_a_slug_of_any_letters_survives() -> None:
    slug = 'naïve "流" \\ \n'
    assert json.loads(encode(change(1, slug=slug)))["slug"] == slug


def test_what_does_not_fit_into_one_message_stays_for_the_next() -> None:
    project = uuid4()
    pending = {
        c.workflow_id: c
        for c in (change(1, *map(delta, range(60)), project_id=project) for _ in range(200))
    }
    order = list(pending)
    sent: list[object] = []
    messages = 0
    while pending:
        taken, encoded = take_fitting(pending)
        text = message(project, encoded, datetime.now().astimezone())
        assert len(text.encode()) < MESSAGE_BYTES
        assert len(taken) == len(json.loads(text)["payload"]["workflows"])
        sent += [c.workflow_id for c in taken]
        messages += 1
    assert sent == order
    assert messages > 1
