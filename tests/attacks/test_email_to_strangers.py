"""A tenant makes e-mail channels to other people: they get one question, and nothing else
until they agree; and never more than the limits, whatever is tested, replayed or made anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import compat32, default
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet

from meshmetrics.alerts.channels.contract import Message
from meshmetrics.alerts.channels.email import links
from meshmetrics.alerts.channels.email.consent import Consent, Limits
from meshmetrics.alerts.channels.email.links import Links, Recipient
from meshmetrics.alerts.channels.email.mail import compose, subject
from meshmetrics.alerts.channels.email.smtp import Smtp
from meshmetrics.alerts.channels.registry import channel_kinds
from meshmetrics.alerts.outbound import Guard
from meshmetrics.alerts.store import AlertStore
from meshmetrics.api.alerts.channels import AlertsApi
from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.server import Readiness, create_app
from meshmetrics.database.store import Database
from meshmetrics.runtime.telemetry import Telemetry
from tests.alerts.mail_server import Mailbox, make_certificate, served
from tests.alerts.sending import (
    KEY,
    LINKS,
    SEAL,
    deliveries,
    mailbox_of,
    notifier_of,
    notifying,
)
from tests.alerts.test_email import message_of
from tests.alerts.test_notice import WRITTEN
from tests.api.conftest import SECRET, api_login, signed
from tests.support import Project, acting_as, eventually, make_project
from tests.support.databases import DatabaseClone

VICTIM = "Victim@b.test"


@dataclass
class Post:
    """The API, a notifier at work, and what came to the mail server."""

    owner: asyncpg.Connection
    client: httpx.AsyncClient
    store: AlertStore
    mailbox: Refusing
    smtp: Smtp

    @property
    def mails(self) -> list[EmailMessage]:
        """As mail programs read them."""
        raw = [m.as_bytes(policy=compat32.clone(max_line_length=None)) for m in self.mailbox.mails]
        return [BytesParser(policy=default).parsebytes(mail) for mail in raw]

    def links(self, mail: EmailMessage) -> list[str]:
        """Paths of the links into the API, of the text."""
        body = mail.get_body(("plain",))
        assert body is not None
        return re.findall(r"https://rates\.test(/api/mail/\S+)", body.get_content())

    async def channel(self, project: Project, address: str = VICTIM, **more: Any) -> dict[str, Any]:
        """As the dashboard makes one."""
        body = {"project_id": str(project.id), "name": "http://spam.test/ Win!", "kind": "email"}
        answer = await self.client.post(
            "/api/alerts/channels",
            json={**body, "target": address, **more},
            headers=signed(project.owner),
        )
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def settled(self, limits: Limits | None = None) -> None:
        """Deliver until nothing is due any more."""
        async with notifying(notifier_of(self.store, Guard(), self.smtp, limits, per_hour=10_000)):
            await eventually(self._nothing_is_due)

    async def _nothing_is_due(self) -> bool:
        return not await self.owner.fetchval(
            "select exists (select from public.workflow_alert_deliveries where status = 'sending'"
            " or status in ('pending', 'held') and next_attempt_at <= now()"
            " or replay_requested_at is not null)"
        )

    async def test(self, channel_id: str) -> None:
        """By SQL, as the tenant could through PostgREST."""
        project = await self.owner.fetchrow(
            "select p.id, p.owner from public.workflow_alert_channels c"
            " join public.projects p on p.id = c.project_id where c.id = $1",
            UUID(channel_id),
        )
        assert project is not None
        async with acting_as(self.owner, project["owner"]):
            await self.owner.execute(
                "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
                " values ($1, $2, 'test')",
                project["id"],
                UUID(channel_id),
            )

    async def row(self, channel_id: object) -> asyncpg.Record:
        row = await self.owner.fetchrow(
            "select * from public.workflow_alert_channels where id = $1", UUID(str(channel_id))
        )
        assert row is not None
        return row


class Refusing(Mailbox):
    """Answers RCPT with what a test wants, once each; then takes the mail."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    async def handle_RCPT(  # noqa: N802 (as aiosmtpd calls it)
        self, _: object, __: object, envelope: Any, address: str, *___: object
    ) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer


@pytest.fixture
async def tenant(owner: asyncpg.Connection) -> Project:
    return await make_project(owner)


@pytest.fixture
async def post(
    database: DatabaseClone,
    owner: asyncpg.Connection,
    worker_dsn: str,
    tmp_path: Path,
) -> AsyncIterator[Post]:
    async def ready() -> Readiness:
        return Readiness(True)

    mailbox = Refusing()
    async with (
        asyncpg.create_pool(await api_login(database), min_size=0, max_size=4) as pool,
        asyncpg.create_pool(worker_dsn, min_size=0, max_size=5) as workers,
        served(mailbox, make_certificate(tmp_path), "smtps") as (url, context),
    ):
        api = MetricsApi(
            Authenticator(SECRET, None),
            Reader(pool, statement_timeout=5),
            Cursors("x"),
            CallerBudget(1000, 1000),
        )
        kinds = channel_kinds(Guard(), None)
        store = AlertStore(Database(workers))
        app = create_app(
            ready,
            Telemetry(),
            metrics_api=api,
            alerts_api=AlertsApi(SEAL, kinds, LINKS, Consent(store.database)),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            smtp = Smtp(url, "alerts@mesh.test", context)
            yield Post(owner, client, store, mailbox, smtp)


async def test_a_stranger_gets_one_question_and_nothing_else_until_the_link_is_followed(
    post: Post,
    tenant: Project,
) -> None:
    channel = await post.channel(tenant)
    assert channel["unconfirmed"] is True
    for _ in range(5):
        await post.test(channel["id"])
    await post.settled()
    (mail,) = post.mails
    assert mail["Subject"] == "[meshmetrics] Confirm this e-mail address"
    assert "spam" not in mail.as_string()
    tests = [d for d in await deliveries(post.owner) if d["kind"] == "test"]
    assert {(d["status"], d["error"]) for d in tests} == {
        ("dead", "the address has not been confirmed")
    }
    confirm, _ = post.links(mail)
    page = await post.client.get(confirm)  # a mail filter follows links
    assert (page.status_code, "<button>Confirm</button>" in page.text) == (200, True)
    assert (await post.row(channel["id"]))["unconfirmed"] is True
    done = await post.client.post(confirm)
    assert (done.status_code, "Confirmed" in done.text) == (200, True)
    assert (await post.row(channel["id"]))["unconfirmed"] is False
    await post.test(channel["id"])
    await post.settled()
    assert [m["Subject"] for m in post.mails[1:]] == [
        "[meshmetrics] Test: notices of this channel arrive"
    ]


async def test_a_link_confirms_the_address_that_it_was_sent_to_and_no_other(
    post: Post,
    tenant: Project,
) -> None:
    """The tenant confirms an own address, and then puts another's in its place."""
    channel = await post.channel(tenant, "mine@a.test")
    await post.settled()
    (own,) = post.mails
    path = f"/api/alerts/channels/{channel['id']}"
    headers = signed(tenant.owner)
    changed = await post.client.patch(path, json={"target": VICTIM}, headers=headers)
    assert changed.json()["unconfirmed"] is True
    late = await post.client.post(post.links(own)[0])
    assert (late.status_code, "not valid" in late.text) == (404, True)
    assert (await post.row(channel["id"]))["unconfirmed"] is True
    await post.settled()
    assert [m["To"] for m in post.mails] == ["mine@a.test", VICTIM]
    assert (await post.client.post(post.links(post.mails[1])[0])).status_code == 200
    again = await post.client.patch(path, json={"target": "other@b.test"}, headers=headers)
    assert again.json()["unconfirmed"] is True  # a confirmed one's does not stay confirmed


async def test_no_tenant_confirms_by_sql(
    post: Post,
    tenant: Project,
) -> None:
    channel = UUID((await post.channel(tenant))["id"])
    for statement in (
        "update public.workflow_alert_channels set confirmed_at = now()",
        "update public.workflow_alert_channels set kind = 'webhook'",
        "update public.workflow_alert_channels set refusals = 0",
        "insert into public.workflow_alert_channels"
        " (project_id, name, kind, sealed_target, confirmed_at)"
        f" values ('{tenant.id}', 'x', 'email', 'x', now())",
        f"select meshmetrics.confirm_mail('{channel}', '')",
        f"select meshmetrics.unsubscribe_mail('{channel}', '{tenant.id}', '', '', true)",
        "delete from meshmetrics.mails",
        "delete from meshmetrics.mail_unsubscribes",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(post.owner, tenant.owner):
                await post.owner.execute(statement)


async def test_asking_again_is_bounded_per_channel_per_address_and_per_project(
    post: Post,
    tenant: Project,
) -> None:
    channel = await post.channel(tenant)
    path = f"/api/alerts/channels/{channel['id']}/confirmation"
    statuses = []
    for _ in range(4):
        await post.settled()
        answer = await post.client.post(path, headers=signed(tenant.owner))
        statuses.append(answer.status_code)
    assert statuses == [202, 202, 409, 409]
    assert (
        answer.json()["detail"]
        == "a channel asks its address for confirmation at most 3 times a day"
    )
    # Made anew, in a project of the tenant's and in others: five mails a day to one address.
    for _ in range(3):
        await post.channel(tenant)
    await post.settled()
    assert len(post.mails) == 3
    for _ in range(4):
        await post.channel(await make_project(post.owner), "victim+tag@b.test")
    await post.settled()
    assert len(post.mails) == 5
    refused = [d for d in await deliveries(post.owner) if d["status"] == "dead"]
    assert {d["error"] for d in refused} == {
        "too many requests to confirm an address were sent lately"
    }
    # Ten an hour to many addresses.
    other = await make_project(post.owner)
    for n in range(12):
        await post.channel(other, f"somebody{n}@b.test")
    await post.settled()
    assert len([m for m in post.mails if m["To"].startswith("somebody")]) == 10


async def test_tests_replays_and_new_channels_stay_within_the_limit_of_an_address(
    post: Post,
    tenant: Project,
) -> None:
    limits = Limits(recipient=4, project=1000, overall=1000)
    first = await mailbox_of(post.owner, tenant, "victim@b.test")
    for _ in range(8):
        await post.test(str(first))
    await post.settled(limits)
    assert len(post.mails) == 4
    waiting = [d for d in await deliveries(post.owner) if d["status"] == "pending"]
    assert {d["error"] for d in waiting} == {"this address has had the most mails of an hour"}
    seconds = await post.owner.fetchval(
        "select extract(epoch from min(next_attempt_at) - now())"
        " from public.workflow_alert_deliveries where status = 'pending'"
    )
    assert 3500 < seconds <= 4320  # an hour, and up to a fifth more
    # Replays, by SQL.
    await post.owner.execute("update public.workflow_alert_deliveries set status = 'dead'")
    async with acting_as(post.owner, tenant.owner):
        await post.owner.execute(
            "update public.workflow_alert_deliveries set replay_requested_at = now()"
        )
    await post.settled(limits)
    # Another channel, another spelling, and another tenant.
    await post.owner.execute("delete from public.workflow_alert_channels")
    for theirs in (tenant, await make_project(post.owner)):
        again = await mailbox_of(post.owner, theirs, "VICTIM+1@B.test")
        await post.test(str(again))
    await post.settled(limits)
    assert len(post.mails) == 4


@pytest.mark.parametrize("of", ["project", "overall"])
async def test_a_project_and_all_of_them_stay_within_their_limits(
    post: Post,
    tenant: Project,
    of: str,
) -> None:
    """What one project sends takes nothing of another's."""
    limits = Limits(**{"recipient": 1000, "project": 1000, "overall": 1000, of: 3})
    other = await make_project(post.owner)
    for n in range(6):
        await post.test(str(await mailbox_of(post.owner, tenant, f"somebody{n}@b.test")))
    await post.settled(limits)
    await post.test(str(await mailbox_of(post.owner, other, "honest@b.test")))
    await post.settled(limits)
    got = [m["To"] for m in post.mails]
    assert got.count("honest@b.test") == (1 if of == "project" else 0)
    assert len([to for to in got if to.startswith("somebody")]) == 3


async def test_two_daemons_at_once_do_not_both_take_the_last_place(
    post: Post,
    tenant: Project,
) -> None:
    consent = Consent(post.store.database, Limits(recipient=1))
    hashes = LINKS.hashes(VICTIM)
    async with post.owner.transaction():
        first = await post.owner.fetchval(
            "select verdict from meshmetrics.admit_mail($1, $2, false, 1, 9, 9)", tenant.id, hashes
        )
        second = asyncio.create_task(consent.admit(tenant.id, hashes, confirmation=False))
        await asyncio.wait([second], timeout=0.5)
    assert (first, (await second)[0]) == ("send", "recipient")


async def test_one_click_unsubscribes_from_the_project_for_good(
    post: Post,
    tenant: Project,
) -> None:
    channel = await mailbox_of(post.owner, tenant, VICTIM)
    await post.test(str(channel))
    await post.settled()
    (mail,) = post.mails
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = mail["List-Unsubscribe"].strip("<>")
    assert post.mailbox.mails[0]["List-Unsubscribe"] == f"<{url}>"  # as it came: not encoded
    path = url.removeprefix("https://rates.test")
    assert post.links(mail) == [path]
    html = mail.get_body(("html",))
    assert html is not None
    assert url in html.get_content()
    assert (await post.client.get(path)).status_code == 200
    assert (await post.row(channel))["enabled"] is True
    # As RFC 8058 has it.
    done = await post.client.post(path, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    row = await post.row(channel)
    assert (row["enabled"], row["disabled_reason"]) == (False, "unsubscribed")
    # Switched on again, and made anew: nothing goes out, and it says why.
    async with acting_as(post.owner, tenant.owner):
        await post.owner.execute(
            "update public.workflow_alert_channels set enabled = true, disabled_reason = null"
        )
    await post.test(str(channel))
    anew = await post.channel(tenant, "victim@b.test")
    await post.settled()
    for off in (channel, anew["id"]):
        row = await post.row(off)
        assert (row["enabled"], row["disabled_reason"]) == (False, "unsubscribed")
    assert len(post.mails) == 1
    # Another project is another matter; and the recipient may take it back.
    await post.test(str(await mailbox_of(post.owner, await make_project(post.owner), VICTIM)))
    await post.settled()
    assert len(post.mails) == 2
    (again,) = re.findall(r'action="([\w-]+)"', done.text)
    assert (await post.client.post(f"/api/mail/{again}")).status_code == 200
    await post.test(str(channel))
    await post.settled()
    assert len(post.mails) == 3


async def test_three_refusals_in_a_row_switch_the_channel_off(
    post: Post,
    tenant: Project,
) -> None:
    channel = await mailbox_of(post.owner, tenant, VICTIM)
    gone = "550 no such user"
    post.mailbox.answers = [gone, gone, "250 OK", "451 later", gone, gone, gone]
    for expected in (True, True, True, True, True, True, False):
        await post.test(str(channel))
        await post.settled()
        assert (await post.row(channel))["enabled"] is expected
        await post.owner.execute(  # the one that may be tried again is not
            "update public.workflow_alert_deliveries set status = 'dead' where status = 'pending'"
        )
    assert (await post.row(channel))["disabled_reason"] == (
        "the mail server refused the address 3 times in a row"
    )
    assert len(post.mails) == 1


RECIPIENT = Recipient(UUID(int=1), UUID(int=2), bytes(32), bytes(16))


def tampered(token: str) -> list[str]:
    """The token with each of some characters changed, cut, and lengthened."""
    changed = [
        token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :] for n in (0, 5, 40, 100)
    ]
    return [*changed, token[:-4], token + "AAAA", "", "x", "ä" * 50, "A" * 135]


async def test_a_link_that_was_not_written_here_or_has_expired_does_nothing(
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = LINKS.token("confirm", RECIPIENT)
    assert LINKS.read(token) == ("confirm", RECIPIENT)
    for wrong in tampered(token):
        assert LINKS.read(wrong) is None
    assert Links(Fernet.generate_key().decode(), None).read(token) is None
    # Keys are rotated: the newest signs, all of them are good.
    newer = Links(f"{Fernet.generate_key().decode()},{KEY}", None)
    assert newer.read(token) == ("confirm", RECIPIENT)
    assert LINKS.read(newer.token("confirm", RECIPIENT)) is None
    assert newer.hashes("a@b.test")[1] == LINKS.hashes("a@b.test")[0]
    monkeypatch.setattr(links, "SECONDS", {"confirm": -1.0})
    expired = LINKS.token("confirm", RECIPIENT)
    assert LINKS.read(expired) is None
    for path in (expired, "x", "%00"):
        assert (await post.client.get(f"/api/mail/{path}")).status_code == 404
        assert (await post.client.post(f"/api/mail/{path}")).status_code == 404


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Alert: visit https://evil.test/x now",
            "[meshmetrics] Alert: visit https evil·test/x now",
        ),
        ("www.evil.test", "[meshmetrics] www·evil·test"),
        ("a\r\nBcc: all@b.test\u202e", "[meshmetrics] a  Bcc: all@b·test "),
        ("rate 95.5 %. Good", "[meshmetrics] rate 95·5 %. Good"),
        ("x" * 500, "[meshmetrics] " + "x" * 105 + "…"),
    ],
)
def test_a_subject_begins_with_our_name_and_has_no_link_and_no_control_character(
    text: str, expected: str
) -> None:
    assert subject(text) == expected
    assert subject("x" * 500, " (and 2 more)").endswith("x… (and 2 more)")
    assert len(subject("x" * 500, " (and 2 more)")) == 120


def test_a_tenants_texts_are_cut_in_the_subject_of_a_notice() -> None:
    from meshmetrics.alerts.notice import read_delivery

    hostile = {**WRITTEN, "workflow": {"slug": "x", "name": "Pay at http://evil.test " * 10_000}}
    delivery = {"id": str(UUID(int=3)), "kind": "opened", "notice": hostile}
    message: Message = message_of(read_delivery(delivery, None))
    mail = compose(message, "alerts@mesh.test", "https://rates.test/api/mail/x")
    assert len(mail["Subject"]) == 120
    assert "evil.test" not in mail["Subject"]
