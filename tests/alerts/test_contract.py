"""What holds for every channel kind, and the places that have to know of a new one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import asyncpg
import pytest

from meshmetrics.alerts.channels.contract import ChannelKind, Message, Outcome, Target
from meshmetrics.alerts.channels.registry import KindName, channel_kinds
from meshmetrics.alerts.notifier import RETRIES, Notifier
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.store import AlertStore
from meshmetrics.runtime.telemetry import Telemetry
from tests.alerts.conftest import make_channel
from tests.alerts.sending import (
    SEAL,
    all_are,
    deliveries,
    hook,
    mailbox_of,
    notifier_of,
    notifying,
    sent,
    tried,
)
from tests.support import Project, eventually

NAMES = get_args(KindName)
KINDS = channel_kinds(Guard(), None)


def test_the_registry_has_a_kind_for_every_name() -> None:
    assert set(KINDS) == set(NAMES)


async def test_the_database_takes_the_same_kinds(owner: asyncpg.Connection) -> None:
    check = await owner.fetchval(
        "select string_agg(pg_get_constraintdef(oid), ' ') from pg_constraint"
        " where conrelid = 'public.workflow_alert_channels'::regclass and contype = 'c'"
    )
    (kinds,) = re.findall(r"kind = ANY \(ARRAY\[(.*?)\]\)", check)
    assert set(re.findall(r"'(\w+)'", kinds)) == set(NAMES)


def test_the_dashboard_offers_a_new_secret_for_the_kinds_that_have_one() -> None:
    source = Path("dashboard/src/lib/ui/alerts/channels/kinds.ts").read_text()
    table = source[source.index("export const KINDS") :]
    found = dict(re.findall(r"^  (\w+): \{.*?secret: (true|false)", table, re.M | re.S))
    assert found == {name: "true" if kind.new_secret() else "false" for name, kind in KINDS.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_target_is_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(ValueError, match=r"^an? ") as refused:
        KINDS[name].prepare("hunter2 is no target")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "target", "hint"),
    [
        ("webhook", "https://example.com/hook?key=hidden", "example.com/…"),
        ("slack", "https://hooks.slack.com/services/T0/B0/hidden", "hooks.slack.com/…"),
        ("email", "hidden@example.com", "h…@example.com"),
        ("pagerduty", "eu:hidden" + "0" * 26, "eu:…0000"),
        ("teams", "https://a.logic.azure.com/workflows/hidden?sig=x", "a.logic.azure.com/…"),
        ("discord", "https://discord.com/api/webhooks/1/hidden", "discord.com/…"),
        ("telegram", f"123456:{'hidden' * 6} -1001234", "chat -1001234"),
        ("ntfy", "https://ntfy.sh/hidden", "ntfy.sh/…"),
    ],
)
def test_a_target_is_kept_and_its_hint_does_not_show_the_secret_part(
    name: str, target: str, hint: str
) -> None:
    prepared = KINDS[name].prepare(target)
    assert (prepared.text, prepared.hint) == (target, hint)
    assert "hidden" not in repr(prepared)


class Broken:
    """A kind with a bug."""

    def prepare(self, target: str) -> Target:
        return Target(target, "")

    def new_secret(self) -> None:
        return None

    async def send(self, message: Message) -> Outcome:
        raise ZeroDivisionError("of the kind's own")


def notifier_with(alerts: AlertStore, kind: ChannelKind) -> Notifier:
    return Notifier(alerts, SEAL, {"webhook": kind}, Telemetry(), poll=0.02, group_wait=0.0)


TEST_NOTICE = (
    "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
    " select project_id, id, 'test' from public.workflow_alert_channels"
)


async def test_an_error_of_a_kind_is_an_attempt_that_failed_and_the_schedule_ends(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    await hook(owner, project, "https://example.com/")
    await owner.execute(TEST_NOTICE)
    async with notifying(notifier_with(alerts, Broken())):
        row = await eventually(lambda: tried(owner))
        assert (row["status"], row["error"]) == (
            "pending", "ZeroDivisionError: of the kind's own",
        )  # fmt: skip
        await owner.execute(
            "update public.workflow_alert_deliveries set next_attempt_at = now(), attempts = $1",
            len(RETRIES),
        )
        await eventually(lambda: sent(owner, "dead"))


async def test_a_kind_that_this_release_does_not_know_is_dead_and_says_so(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    """Another daemon of a newer release made the channel."""
    await make_channel(owner, project, "slack", sealed_target=SEAL.seal("x"))
    await owner.execute(TEST_NOTICE)
    async with notifying(notifier_with(alerts, Broken())):
        row = await eventually(lambda: sent(owner, "dead"))
    assert row["error"] == "this release knows no channel kind slack"


@pytest.mark.parametrize("unreadable", ['{"kind": "opened"}', "[1]"])
async def test_a_notice_that_cannot_be_read_stops_no_other(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project, unreadable: str
) -> None:
    await mailbox_of(owner, project)
    for kind, notice in (("opened", unreadable), ("test", "{}")):
        await owner.execute(
            "insert into public.workflow_alert_deliveries (project_id, channel_id, kind, notice)"
            " select project_id, id, $1, $2 from public.workflow_alert_channels",
            kind,
            notice,
        )
    async with notifying(notifier_of(alerts, Guard())):
        await eventually(lambda: all_are(owner, "dead"))
    errors = {row["error"] for row in await deliveries(owner)}
    assert errors == {
        "the notice cannot be read",
        "no SMTP server is set up: MESHMETRICS_SMTP_URL",
    }
