"""Mail: a real SMTP server, with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from aiosmtplib import SMTPException

from meshmetrics.alerts.channels.contract import Message
from meshmetrics.alerts.channels.email.consent import Consent, Verdict
from meshmetrics.alerts.channels.email.kind import Email, Mailer
from meshmetrics.alerts.channels.email.smtp import Smtp, send
from meshmetrics.alerts.notice import Delivered, TrialNotice
from meshmetrics.alerts.notifier import LEASE_SECONDS
from meshmetrics.alerts.outbound import TIMEOUT_SECONDS, Guard
from meshmetrics.alerts.store import AlertStore
from meshmetrics.counting.store import CountingStore
from meshmetrics.devstack.postgres.server import free_port
from tests.alerts.conftest import Evaluate, make_rule
from tests.alerts.mail_server import Mailbox, make_certificate, served
from tests.alerts.sending import LINKS, mailbox_of, notifier_of, notifying, sent, tried, trouble
from tests.support import Project, Workflow, eventually


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made for this test run."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_mail_goes_by_tls_as_text_and_html(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
    certificate: Path,
    scheme: str,
) -> None:
    mailbox = Mailbox()
    async with served(mailbox, certificate, scheme) as (url, context):
        smtp = Smtp(url, "alerts@mesh.test", context)
        await mailbox_of(owner, project)
        await make_rule(owner, project)
        await trouble(owner, store, workflow)
        await evaluate()
        notifier = notifier_of(alerts, Guard(), smtp, dashboard_url="https://dash.test")
        async with notifying(notifier):
            row = await eventually(lambda: sent(owner))
    (mail,) = mailbox.mails
    assert mail["Message-ID"] == f"<{row['message_id']}@mesh.test>"
    assert mail["To"] == "a@b.test"
    assert mail["Subject"] == "[meshmetrics] Alert: Orders: Orders fail"
    text, html = mail.get_payload()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    link = f"https://dash.test/alerts/incidents/{row['incident_id']}"
    for part in (text, html):
        assert link in part.get_payload(decode=True).decode()


class Slow(Mailbox):
    """Takes its time for each command: no single answer is late, all of them together are."""

    async def handle_MAIL(  # noqa: N802 (as aiosmtpd calls it)
        self, _: object, __: object, envelope: Any, address: str, *___: object
    ) -> str:
        await asyncio.sleep(0.6)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _: object, __: object, envelope: Any, address: str, *___: object
    ) -> str:
        await asyncio.sleep(0.6)
        envelope.rcpt_tos.append(address)
        return "250 OK"


async def test_a_server_that_is_slow_at_each_step_is_given_up_in_time(
    owner: asyncpg.Connection,
    store: CountingStore,
    alerts: AlertStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
    certificate: Path,
) -> None:
    mailbox = Slow()
    async with served(mailbox, certificate, "smtps") as (url, context):
        await mailbox_of(owner, project)
        await make_rule(owner, project)
        await trouble(owner, store, workflow)
        await evaluate()
        smtp = Smtp(url, "alerts@mesh.test", context, timeout=1.0)
        async with notifying(notifier_of(alerts, Guard(), smtp)):
            row = await eventually(lambda: tried(owner))
        assert row["error"] == "the mail server did not answer in time"
        assert row["status"] == "pending"
    assert mailbox.mails == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_server_that_drips_is_given_up_in_time(scheme: str) -> None:
    """A byte now and then, for ever: within a greeting, or within the handshake of TLS."""
    gone = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = b"220 " if scheme == "smtp" else b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"
        try:
            writer.write(header)
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            gone.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        smtp = Smtp(f"{scheme}://127.0.0.1:{port}", "alerts@mesh.test", timeout=0.5)
        mail = EmailMessage()
        async with asyncio.timeout(20):
            with pytest.raises(TimeoutError):
                await send(smtp, mail)
            await gone.wait()  # the connection was closed


async def test_no_attempt_lasts_as_long_as_its_lease() -> None:
    assert Smtp("smtp://mail.test", "alerts@mesh.test").timeout <= LEASE_SECONDS / 2
    assert TIMEOUT_SECONDS <= LEASE_SECONDS / 2


def mail_of(text: str = "Hello") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = "alerts@mesh.test", "a@b.test"
    mail.set_content(text)
    return mail


def message_to(smtp: Smtp) -> tuple[Email, Message]:
    """A test notice, and what sends it."""
    notice = TrialNotice(kind="test", id=uuid4(), url=None)
    return Email(Mailer(smtp, LINKS, Welcome())), message_of(notice)


def message_of(*notices: Delivered) -> Message:
    """A message to a@b.test."""
    return Message(
        id=uuid4(),
        project_id=uuid4(),
        channel_id=uuid4(),
        first_attempt_at=datetime.now(UTC),
        digest=False,
        target="a@b.test",
        target_digest=bytes(32),
        secrets=(),
        notices=notices,
    )


class Welcome(Consent):
    """Admits everything: for what is between us and the mail server."""

    def __init__(self) -> None:
        self.noted: list[bool] = []

    async def admit(self, *_: object, **__: object) -> tuple[Verdict, float | None]:
        return "send", None

    async def note(self, channel_id: UUID, *, refused: bool) -> int:
        self.noted.append(refused)
        return 1


class Refusing(Mailbox):
    """Answers RCPT with this."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer

    async def handle_RCPT(self, *_: object) -> str:  # noqa: N802
        return self.answer


@pytest.mark.parametrize(
    ("answer", "result"),
    [("550 no such user", "failed"), ("451 try again later", "retry")],
)
async def test_only_what_the_server_refuses_for_good_is_permanent(
    certificate: Path, answer: str, result: str
) -> None:
    async with served(Refusing(answer), certificate, "smtps") as (url, context):
        kind, message = message_to(Smtp(url, "alerts@mesh.test", context))
        outcome = await kind.send(message)
    assert outcome.result == result
    assert outcome.error == "the mail server: SMTPRecipientsRefused"


async def test_a_login_that_is_refused_is_tried_again(certificate: Path) -> None:
    """The operator fixes it, not the tenant."""

    def refuse(*_: object) -> AuthResult:
        return AuthResult(success=False, handled=False)

    options = {"authenticator": refuse, "auth_require_tls": False}  # TLS is there already
    async with served(Mailbox(), certificate, "smtps", **options) as (url, context):
        url = url.replace("://", "://user:wrong@")
        kind, message = message_to(Smtp(url, "alerts@mesh.test", context))
        outcome = await kind.send(message)
    assert outcome.result == "retry"
    assert outcome.error == "the mail server: SMTPAuthenticationError"


async def test_a_server_without_starttls_gets_no_mail(certificate: Path) -> None:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    await asyncio.to_thread(controller.start)
    try:
        url = f"smtp://127.0.0.1:{controller.port}"
        with pytest.raises(SMTPException, match="STARTTLS"):
            await send(Smtp(url, "alerts@mesh.test"), mail_of())
    finally:
        await asyncio.to_thread(controller.stop)
    assert mailbox.mails == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_server_whose_certificate_is_not_trusted_gets_no_mail(
    certificate: Path, scheme: str
) -> None:
    mailbox = Mailbox()
    async with served(mailbox, certificate, scheme) as (url, _):
        kind, message = message_to(Smtp(url, "alerts@mesh.test"))
        outcome = await kind.send(message)
    assert outcome.result == "retry"
    assert outcome.error == "the mail server: SSLCertVerificationError"
    assert mailbox.mails == []


async def test_a_farewell_that_fails_makes_no_second_copy(certificate: Path) -> None:
    class Rude(Mailbox):
        async def handle_QUIT(self, *_: object) -> str:  # noqa: N802
            await asyncio.sleep(5)
            return "500 no"

    mailbox = Rude()
    async with served(mailbox, certificate, "smtps") as (url, context):
        async with asyncio.timeout(4):
            await send(Smtp(url, "alerts@mesh.test", context), mail_of())
        assert len(mailbox.mails) == 1


async def test_the_connection_to_a_server_that_reads_no_more_is_closed(certificate: Path) -> None:
    """With megabytes still to be written."""
    deafened, gone = asyncio.Event(), asyncio.Event()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while await reader.readline() != b"DATA\r\n":
            writer.write(b"250 OK\r\n")
        writer.write(b"354 go on\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        deafened.set()
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        gone.set()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cafile=str(certificate))
        smtp = Smtp(f"smtps://127.0.0.1:{port}", "alerts@mesh.test", context, timeout=3.0)
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError):
                await send(smtp, mail_of("a line\n" * 500_000))
            assert deafened.is_set()
            await gone.wait()
