"""PagerDuty, Teams, Discord, Telegram and ntfy, each with a real receiver in its place."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from meshmetrics.alerts.channels import http
from meshmetrics.alerts.channels.contract import ATTEMPT_SECONDS, Outcome
from meshmetrics.alerts.channels.discord.kind import MAX_NOTICES as DISCORD_NOTICES
from meshmetrics.alerts.channels.registry import channel_kinds
from meshmetrics.alerts.channels.telegram.kind import Telegram
from meshmetrics.alerts.notice import Delivered, read_delivery
from meshmetrics.alerts.notifier import LEASE_SECONDS
from meshmetrics.alerts.outbound import Guard
from tests.alerts.receiver import Receiver
from tests.alerts.test_email import message_of
from tests.alerts.test_golden import kind_of, target_of
from tests.alerts.test_guard import local_guard
from tests.alerts.test_notice import WRITTEN

NEW = ("pagerduty", "teams", "discord", "telegram", "ntfy")


def notice(kind: str, number: int = 1, severity: str = "warning") -> Delivered:
    """A notice; each number is an incident of its own."""
    written = {
        **WRITTEN,
        "rule": {**WRITTEN["rule"], "severity": severity},
        "incident_id": str(UUID(int=number)),
    }
    return read_delivery(
        {"id": str(UUID(int=1000 + number)), "kind": kind, "notice": written}, "https://dash.test"
    )


async def send(name: str, receiver: Receiver, *notices: Delivered) -> Outcome:
    """Send the notices in one message."""
    target = target_of(name, receiver.url)
    return await kind_of(name, receiver).send(
        dataclasses.replace(message_of(*notices), target=target)
    )


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in receiver.got]


async def test_pagerduty_resolves_the_alert_that_it_triggered(receiver: Receiver) -> None:
    opened, other = notice("opened", severity="critical"), notice("opened", 2, "info")
    await send("pagerduty", receiver, opened, other, notice("resolved"))
    events = bodies(receiver)
    assert [(e["event_action"], e["dedup_key"]) for e in events] == [
        ("trigger", str(UUID(int=1))),
        ("trigger", str(UUID(int=2))),
        ("resolve", str(UUID(int=1))),
    ]
    assert [e["payload"]["severity"] for e in events[:2]] == ["critical", "info"]
    assert {e["routing_key"] for e in events} == {"k" * 32}


async def test_pagerduty_in_the_eu_is_another_address(receiver: Receiver) -> None:
    kind = kind_of("pagerduty", receiver)
    target = f"eu:{'k' * 32}"
    await kind.send(dataclasses.replace(message_of(notice("opened")), target=target))
    assert receiver.paths == ["/eu/v2/enqueue"]
    assert bodies(receiver)[0]["routing_key"] == "k" * 32


async def test_several_events_stop_at_the_first_that_is_not_taken(receiver: Receiver) -> None:
    receiver.answers = [web.Response(status=202), web.Response(status=429)]
    outcome = await send("pagerduty", receiver, *(notice("opened", n) for n in range(1, 5)))
    assert (outcome.result, outcome.status, len(receiver.got)) == ("retry", 429, 2)


async def test_several_events_together_take_no_longer_than_one_attempt_may(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ATTEMPT_SECONDS == LEASE_SECONDS / 2
    monkeypatch.setattr(http, "ATTEMPT_SECONDS", 0.5)

    async def slowly(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.Response(status=202)

    receiver.answers = [slowly] * 50
    began = asyncio.get_running_loop().time()
    outcome = await send("pagerduty", receiver, *(notice("opened", n) for n in range(1, 51)))
    assert (outcome.result, outcome.error) == ("retry", "no answer in time")
    assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize(
    ("severities", "priority"),
    [(["info"], 2), (["warning"], 4), (["info", "critical", "warning"], 5)],
)
async def test_ntfy_is_as_urgent_as_the_most_urgent_notice(
    receiver: Receiver, severities: list[str], priority: int
) -> None:
    await send("ntfy", receiver, *(notice("opened", n, s) for n, s in enumerate(severities)))
    (document,) = bodies(receiver)
    assert (document["topic"], document["priority"]) == ("hook", priority)
    assert receiver.paths == ["/?key=1"]  # the query has the topic's permission


async def test_ntfy_is_not_urgent_at_the_end_of_trouble(receiver: Receiver) -> None:
    await send("ntfy", receiver, notice("resolved", severity="critical"))
    assert bodies(receiver)[0]["priority"] == 3


async def test_telegram_has_the_token_in_its_path_and_the_chat_in_its_body(
    receiver: Receiver,
) -> None:
    await send("telegram", receiver, notice("opened"))
    assert receiver.paths == [f"/bot123456:{'t' * 35}/sendMessage"]
    (document,) = bodies(receiver)
    assert document["chat_id"] == "-1001234"
    assert "parse_mode" not in document


async def test_no_outcome_repeats_telegrams_token(receiver: Receiver) -> None:
    target = target_of("telegram", receiver.url)
    message = dataclasses.replace(message_of(notice("opened")), target=target)
    receiver.answers = [web.Response(status=404)]
    for guard, url in (
        (local_guard(receiver.url), receiver.url.rpartition("/")[0]),
        (local_guard(receiver.url), "http://hooks.test:1"),
        (Guard(), "http://127.0.0.1"),
    ):
        outcome = await Telegram(guard, url).send(message)
        assert outcome.result != "sent"
        assert "tttt" not in repr(outcome)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize(
    ("status", "result"), [(200, "sent"), (410, "disable"), (400, "retry"), (503, "retry")]
)
async def test_each_answer_means_what_it_means_for_webhooks(
    receiver: Receiver, name: str, status: int, result: str
) -> None:
    receiver.answers = [web.Response(status=status)]
    assert (await send(name, receiver, notice("opened"))).result == result


@pytest.mark.parametrize("name", NEW)
async def test_fifty_notices_of_large_texts_fit_into_what_the_service_takes(
    receiver: Receiver, name: str
) -> None:
    written = {
        **WRITTEN,
        "rule": {**WRITTEN["rule"], "name": "n" * 200},
        "workflow": {"slug": "s" * 500, "name": "w" * 5000},
        "failed_runs": WRITTEN["failed_runs"] * 5,
    }
    many = [
        read_delivery(
            {"id": str(UUID(int=n)), "kind": "opened", "notice": written}, "https://dash.test"
        )
        for n in range(50)
    ]
    assert (await send(name, receiver, *many)).result == "sent"
    sizes = {
        "pagerduty": 512 * 1024,
        "teams": 28 * 1024,
        "discord": 64 * 1024,
        "telegram": 16 * 1024,
        "ntfy": 8 * 1024,
    }
    assert max(len(body) for _, body in receiver.got) <= sizes[name]
    for document in bodies(receiver):
        if name == "discord":
            embeds = document["embeds"]
            assert len(embeds) == DISCORD_NOTICES
            assert sum(len(e["title"]) + len(e["description"]) for e in embeds) <= 6000
            assert all(len(e["title"]) <= 256 for e in embeds)
            assert document["content"] == f"and {50 - DISCORD_NOTICES} more"
        if name == "telegram":
            assert len(document["text"]) <= 4096
            assert document["text"].endswith(" more")
        if name == "ntfy":
            assert len(document["message"].encode()) <= 4096
        if name == "pagerduty":
            assert len(document["payload"]["summary"]) <= 1024


async def test_discord_mentions_nobody(receiver: Receiver) -> None:
    written = {**WRITTEN, "rule": {**WRITTEN["rule"], "name": "@everyone [x](https://evil.test)"}}
    found = read_delivery({"id": str(UUID(int=1)), "kind": "opened", "notice": written}, None)
    await send("discord", receiver, found)
    (document,) = bodies(receiver)
    assert document["allowed_mentions"] == {"parse": []}
    assert "@everyone" not in json.dumps(document)
    assert "](https://evil.test)" not in document["embeds"][0]["title"]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("pagerduty", "k" * 31),
        ("pagerduty", "us:" + "k" * 32),
        ("pagerduty", "k" * 32 + "\n"),
        ("teams", "http://127.0.0.1/"),
        ("discord", "discord.com/api/webhooks/1/x"),
        ("telegram", "123456:" + "t" * 35),
        ("telegram", f"123456:{'t' * 35}/../x 1"),
        ("telegram", f"123456:{'t' * 35}  1"),
        ("telegram", f"123456:{'t' * 35} 1\n"),
        ("ntfy", "https://ntfy.sh/"),
        ("ntfy", "https://ntfy.sh/a%2Fb"),
    ],
)
def test_a_target_that_could_not_work_is_refused(name: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"^an? "):
        channel_kinds(Guard(), None)[name].prepare(target)
