"""What a channel hears: no end before its beginning, none without it, and every other one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.alerts.model import AlertMessage, AlertOutcome
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from tests.alerts.conftest import Evaluate, finish, make_channel, make_rule
from tests.support import Project, Workflow

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
LEASE, NO_WAIT = timedelta(seconds=60), timedelta(0)
SENT = AlertOutcome(sent=True, took_ms=1)
RETRY = AlertOutcome(sent=False, took_ms=1, error="no answer", retry_in=300.0)
DEAD = AlertOutcome(sent=False, took_ms=1, error="no answer")


class Story:
    """One rule on one workflow, and what its channel is sent."""

    def __init__(
        self,
        owner: asyncpg.Connection,
        store: CountingStore,
        alerts: AlertStore,
        evaluate: Evaluate,
        workflow: Workflow,
    ) -> None:
        self.owner, self.alerts, self.evaluate = owner, alerts, evaluate
        self._store, self._workflow = store, workflow
        self._at = NOW

    async def trouble(self) -> list[dict[str, Any]]:
        return await self._runs(*["failed"] * 3)

    async def recovery(self) -> list[dict[str, Any]]:
        return await self._runs(*["succeeded"] * 10)

    async def _runs(self, *statuses: str) -> list[dict[str, Any]]:
        self._at += timedelta(minutes=1)
        await finish(self.owner, self._store, self._workflow, self._at, *statuses)
        return await self.evaluate()

    async def claim(self, per_hour: int = 20) -> list[AlertMessage]:
        return list(await self.alerts.claim_alert_messages(LEASE, NO_WAIT, per_hour, 16))

    async def send(self, per_hour: int = 20) -> list[list[str]]:
        """Send all that is due, and give the kinds of each message."""
        found = []
        while messages := await self.claim(per_hour):
            for message in messages:
                found.append([d["kind"] for d in message.deliveries])
                await self.alerts.finish_alert_message(message, SENT)
        return found

    async def due(self) -> None:
        """Let the time pass until everything may be tried again."""
        await self.owner.execute(
            "update public.workflow_alert_deliveries set next_attempt_at = now()"
        )

    async def silence(self, until: datetime | None) -> None:
        await self.owner.execute(
            "update public.workflow_alert_rules set silenced_until = $1", until
        )

    async def standing(self) -> list[tuple[str, str]]:
        rows = await self.owner.fetch(
            "select kind, status from public.workflow_alert_deliveries order by created_at, id"
        )
        return [(row["kind"], row["status"]) for row in rows]


@pytest.fixture
async def channel(owner: asyncpg.Connection, project: Project) -> UUID:
    return await make_channel(owner, project)


@pytest.fixture
async def story(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
    channel: UUID,
) -> Story:
    await make_rule(owner, project)
    return Story(owner, store, alerts, evaluate, workflow)


async def test_while_the_beginning_is_retried_the_end_waits(story: Story) -> None:
    await story.trouble()
    (opened,) = await story.claim()
    await story.recovery()
    assert await story.claim() == []  # while it is under way
    await story.alerts.finish_alert_message(opened, RETRY)
    assert await story.claim() == []
    await story.owner.execute(
        "update public.workflow_alert_deliveries set next_attempt_at = now()"
        " where kind = 'resolved'"
    )
    assert await story.claim() == []
    await story.owner.execute(
        "update public.workflow_alert_deliveries set next_attempt_at = now() where kind = 'opened'"
    )
    # And it follows at once, without waiting for a time of its own.
    assert await story.send() == [["opened"], ["resolved"]]


async def test_another_incidents_notice_takes_no_end_along_that_waits(
    story: Story, project: Project, owner: asyncpg.Connection
) -> None:
    await story.trouble()
    (opened,) = await story.claim()
    await story.alerts.finish_alert_message(opened, RETRY)
    await story.recovery()
    await make_rule(
        owner, project, name="another", recovery_runs=1000, consecutive=1, min_runs=1000
    )
    await story.trouble()
    kinds = [[d["kind"] for d in m.deliveries] for m in await story.claim()]
    assert kinds == [["opened"]]
    assert ("resolved", "pending") in await story.standing()


async def test_a_beginning_and_an_end_that_are_both_due_travel_together_in_order(
    story: Story,
) -> None:
    await story.trouble()
    await story.recovery()
    assert await story.send() == [["opened", "resolved"]]


async def test_no_end_is_sent_where_the_beginning_never_arrived(story: Story) -> None:
    await story.trouble()
    (opened,) = await story.claim()
    await story.recovery()
    await story.alerts.finish_alert_message(opened, DEAD)
    assert await story.send() == []
    assert await story.standing() == [("opened", "dead"), ("resolved", "dead")]
    error = await story.owner.fetchval(
        "select error from public.workflow_alert_deliveries where kind = 'resolved'"
    )
    assert error == "not sent: this channel was not notified that the incident had opened"


async def test_a_channel_made_during_the_incident_does_not_hear_its_end(
    story: Story, project: Project
) -> None:
    await story.trouble()
    await story.send()
    late = await make_channel(story.owner, project)
    await story.recovery()
    heard = await story.owner.fetchval(
        "select count(*) from public.workflow_alert_deliveries where channel_id = $1", late
    )
    assert heard == 0
    assert await story.send() == [["resolved"]]


async def test_the_end_goes_to_who_heard_the_beginning_whatever_the_rule_names_by_then(
    story: Story,
) -> None:
    await story.trouble()
    await story.send()
    await story.owner.execute("update public.workflow_alert_rules set channel_ids = '{}'")
    await story.recovery()
    assert await story.send() == [["resolved"]]


@pytest.mark.parametrize(
    "sql",
    [
        "update public.workflow_alert_rules set enabled = false",
        "delete from public.workflow_alert_rules",
        "delete from public.workflow_definitions",
    ],
)
async def test_an_incident_that_ends_with_its_rule_or_workflow_is_ended_for_channels_too(
    story: Story, sql: str
) -> None:
    await story.trouble()
    await story.send()
    await story.owner.execute(sql)
    (notice,) = await story.evaluate()
    assert (notice["kind"], notice["close_reason"]) == ("resolved", "ended")
    assert await story.send() == [["resolved"]]
    assert await story.evaluate() == []


async def test_a_silence_that_ends_while_the_trouble_lasts_sends_the_beginning_then(
    story: Story,
) -> None:
    await story.silence(datetime.now(UTC) + timedelta(hours=1))
    await story.trouble()
    assert await story.send() == []
    await story.evaluate()
    assert await story.standing() == [("opened", "silenced")]
    await story.silence(datetime.now(UTC))
    await story.evaluate()
    assert await story.send() == [["opened"]]
    await story.recovery()
    assert await story.send() == [["resolved"]]


async def test_what_began_and_ended_in_silence_is_never_sent(story: Story) -> None:
    await story.silence(datetime.now(UTC) + timedelta(hours=1))
    await story.trouble()
    await story.recovery()
    await story.silence(None)
    await story.evaluate()
    assert await story.send() == []
    assert await story.standing() == [("opened", "silenced"), ("resolved", "silenced")]


async def test_what_began_in_silence_and_ends_with_it_is_never_sent(story: Story) -> None:
    await story.silence(datetime.now(UTC) + timedelta(hours=1))
    await story.trouble()
    await story.silence(None)
    await story.recovery()
    assert await story.send() == []
    assert await story.standing() == [("opened", "silenced"), ("resolved", "dead")]


async def test_an_end_in_silence_of_what_a_channel_heard_of_is_sent_when_the_silence_ends(
    story: Story,
) -> None:
    await story.trouble()
    await story.send()
    await story.silence(datetime.now(UTC) + timedelta(hours=1))
    await story.recovery()
    assert await story.send() == []
    await story.silence(None)
    await story.evaluate()
    assert await story.send() == [["resolved"]]


async def test_every_end_is_sent_through_caps_and_digests(story: Story) -> None:
    heard = []
    for _ in range(4):
        await story.trouble()
        heard += await story.send(per_hour=2)
        await story.recovery()
        heard += await story.send(per_hour=2)
    for _ in range(3):
        await story.owner.execute(
            "update public.workflow_alert_deliveries"
            " set next_attempt_at = now(),"
            " first_attempt_at = first_attempt_at - interval '25 hours'"
        )
        heard += await story.send(per_hour=2)
    kinds = [kind for message in heard for kind in message]
    assert kinds[:2] == ["opened", "resolved"]
    assert sorted(kinds) == sorted(
        ["opened", "reopened", "reopened", "flapping", *["resolved"] * 4]
    )
    assert {status for _, status in await story.standing()} == {"sent"}


async def test_the_beginning_is_remembered_for_as_long_as_its_incident_is_open(
    story: Story,
) -> None:
    await story.trouble()
    await story.send()
    await story.owner.execute(
        "update public.workflow_alert_deliveries set finished_at = now() - interval '40 days'"
    )
    await story.alerts.maintain_alerts()
    await story.recovery()
    await story.alerts.maintain_alerts()
    assert await story.send() == [["resolved"]]
    await story.owner.execute(
        "update public.workflow_alert_incidents set closed_at = now() - interval '2 days'"
    )
    await story.alerts.maintain_alerts()
    assert await story.standing() == [("resolved", "sent")]
