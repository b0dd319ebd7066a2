"""What is tried again, when, and when no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web

from meshmetrics.alerts.channels.http import outcome_of, retry_after
from meshmetrics.alerts.exchange import Answer
from meshmetrics.alerts.model import AlertMessage
from meshmetrics.alerts.notifier import MAX_WAIT, RETRIES, retry_in
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, make_rule
from tests.alerts.receiver import Receiver
from tests.alerts.sending import SEAL, hook, notifier_of, notifying, sent, tried, trouble
from tests.alerts.test_guard import local_guard
from tests.support import Project, Workflow, eventually


@pytest.mark.parametrize(
    ("answer", "at_least"),
    [
        (web.Response(status=500, text="broken"), 5.0),
        (web.Response(status=302, headers={"Location": "https://example.com"}), 5.0),
        (web.Response(status=429, headers={"Retry-After": "120"}), 120.0),
        (web.Response(status=503, headers={"Retry-After": "60"}), 60.0),
    ],
    ids=["500", "302", "429", "503"],
)
async def test_a_failure_is_tried_again_later_and_says_why(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
    answer: web.Response,
    at_least: float,
) -> None:
    await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    await evaluate()
    # A response of aiohttp's is sent once: each case is a copy of its own.
    receiver.answers = [web.Response(status=answer.status, headers=answer.headers)]
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        row = await eventually(lambda: tried(owner))
        assert row["status"] == "pending"
        wait = row["next_attempt_at"] - datetime.now(UTC)
        assert timedelta(seconds=at_least - 1) < wait < timedelta(seconds=at_least * 1.2 + 1)
        assert str(answer.status) in row["error"]
        # Its time has come: the same message again, under the same id.
        await owner.execute("update public.workflow_alert_deliveries set next_attempt_at = now()")
        row = await eventually(lambda: sent(owner))
    assert row["attempts"] == 2
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert ids == [str(row["message_id"])] * 2
    assert receiver.got[0][1] == receiver.got[1][1]


async def test_410_switches_the_channel_off(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    await evaluate()
    receiver.answers = [web.Response(status=410)]
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner, "dead"))
    channel = await owner.fetchrow("select * from public.workflow_alert_channels")
    assert channel is not None
    assert (channel["enabled"], "410" in channel["disabled_reason"]) == (False, True)


async def test_the_schedule_is_the_standards_and_ends(
    owner: asyncpg.Connection, alerts: AlertStore, receiver: Receiver, project: Project
) -> None:
    for attempt, seconds in enumerate(RETRIES, 1):
        wait = retry_in(attempt)
        assert wait is not None
        assert seconds <= wait <= 1.2 * seconds
    assert retry_in(len(RETRIES) + 1) is None
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("17", now) == 17
    assert retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    assert retry_after("Thu, 01 Jan 2025 00:00:00 GMT", now) == 0
    assert retry_after("soon", now) is None
    assert retry_after(None, now) is None
    await hook(owner, project, receiver.url)
    await owner.execute(
        "insert into public.workflow_alert_deliveries (project_id, channel_id, kind, attempts)"
        " select project_id, id, 'test', $1 from public.workflow_alert_channels",
        len(RETRIES),
    )
    receiver.answers = [web.Response(status=500)]
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        dead = await eventually(lambda: sent(owner, "dead"))
        # Replayed by hand, as a tenant may.
        await owner.execute(
            "update public.workflow_alert_deliveries set replay_requested_at = now()"
        )
        again = await eventually(lambda: sent(owner))
    assert again["id"] == dead["id"]


POISONED = {
    "a day no date has": "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
    "a year no date has": "Mon, 01 Jan 99999 00:00:00 GMT",
    "a zone no date has": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    "an hour no date has": "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT",
    "the last day with a zone": "Fri, 31 Dec 9999 23:59:59 -2359",
    "the first day with a zone": "Mon, 01 Jan 0001 00:00:00 +2359",
    "a float": "1e999",
    "infinity": "inf",
    "not a number": "nan",
    "4,000 digits": "9" * 4000,
    "negative": "-1",
    "digits of another script": "١٢٣",
    "empty": "",
    "commas": "," * 1000,
    "brackets": "(" * 1000,
}


@pytest.mark.parametrize("header", POISONED.values(), ids=POISONED)
def test_a_poisoned_retry_after_is_bounded(header: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    wait = retry_in(1, outcome_of(Answer(429, "", header), now).retry_after)
    assert wait is not None
    assert 5 <= wait <= 1.2 * MAX_WAIT


async def test_a_poisoned_retry_after_ends_no_attempt_early(
    alerts: AlertStore, receiver: Receiver
) -> None:
    message = AlertMessage(
        message_id=uuid4(),
        attempt=1,
        digest=False,
        first_attempt_at=datetime.now(UTC),
        project_id=uuid4(),
        channel_id=uuid4(),
        channel_kind="slack",
        sealed_target=SEAL.seal(receiver.url),
        sealed_secret=None,
        sealed_old_secret=None,
        deliveries=({"id": str(uuid4()), "kind": "test", "notice": {}},),
    )
    notifier = notifier_of(alerts, local_guard(receiver.url))
    headers = [header for header in POISONED.values() if header.isascii()]
    receiver.answers = [web.Response(status=503, headers={"Retry-After": h}) for h in headers]
    for _ in headers:
        outcome = await notifier.attempt(message)
        assert outcome.error == "the receiver answered 503"
        assert outcome.retry_in is not None
        assert 5 <= outcome.retry_in <= 1.2 * MAX_WAIT
    assert receiver.answers == []
