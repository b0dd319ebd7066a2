"""From a transition to the receiver: real HTTP, real SMTP, real outbox."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from cryptography.fernet import Fernet
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from meshmetrics.alerts.channels.email import Smtp
from meshmetrics.alerts.channels.webhook import retry_after
from meshmetrics.alerts.guard import Guard
from meshmetrics.alerts.notifier import RETRIES, Notifier, retry_in
from meshmetrics.sealing import Seal, new_secret
from meshmetrics.store import Store
from meshmetrics.store_alerts import AlertStore
from meshmetrics.telemetry import Telemetry
from tests.alerts.conftest import Evaluate, make_channel, make_rule
from tests.alerts.receiver import Receiver, receiving
from tests.alerts.test_guard import local_guard
from tests.support import Project, Workflow, eventually, insert_run

SEAL = Seal(Fernet.generate_key().decode())


@pytest.fixture
async def alerts(worker_dsn: str) -> AsyncIterator[AlertStore]:
    pool = await asyncpg.create_pool(worker_dsn, min_size=0, max_size=5)
    yield AlertStore(pool)
    pool.terminate()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def notifier_of(
    alerts: AlertStore, guard: Guard, smtp: Smtp | None = None, **options: Any
) -> Notifier:
    options = {"poll": 0.02, "group_wait": 0.0, **options}
    return Notifier(alerts, SEAL, guard, smtp, Telemetry(), **options)


@asynccontextmanager
async def notifying(notifier: Notifier) -> AsyncIterator[None]:
    task = asyncio.create_task(notifier.run())
    yield
    notifier.stop()
    await asyncio.wait_for(task, 10)


async def trouble(
    owner: asyncpg.Connection, store: Store, workflow: Workflow, status: str = "failed", n: int = 3
) -> None:
    now = datetime.now(UTC)
    ids = [
        await insert_run(owner, workflow, status, finished_at=now - timedelta(seconds=n - i))
        for i in range(n)
    ]
    await store.count_runs(ids)


async def deliveries(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return await owner.fetch(
        "select * from public.workflow_alert_deliveries order by created_at, id"
    )


async def hook(owner: asyncpg.Connection, project: Project, url: str, **more: Any) -> str:
    """A webhook channel; returns its secret."""
    secret = new_secret()
    sealed = {"sealed_target": SEAL.seal(url), "sealed_secret": SEAL.seal(secret)}
    await make_channel(owner, project, **sealed, **more)
    return secret


async def test_an_incident_is_delivered_once_signed_and_with_all_that_is_known(
    owner: asyncpg.Connection,
    store: Store,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    secret = await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    assert [n["kind"] for n in await evaluate()] == ["opened"]
    notifier = notifier_of(alerts, local_guard(receiver.url), dashboard_url="https://dash.test")
    async with notifying(notifier):
        row = await eventually(lambda: sent(owner))
    assert len(receiver.got) == 1
    headers, body = receiver.got[0]
    document = Webhook(secret).verify(body, {k.lower(): v for k, v in headers.items()})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, {k.lower(): v for k, v in headers.items()})
    (notice,) = document["data"]["notices"]
    assert headers["webhook-id"] == notice["id"] == str(row["id"])
    assert notice["kind"] == "opened"
    assert notice["workflow"] == {"slug": "orders", "name": "Orders"}
    assert (notice["measured"]["success_count"], notice["measured"]["failure_count"]) == (0, 3)
    assert len(notice["failed_runs"]) == 3
    assert notice["failed_runs"][0]["url"].startswith("https://dash.test/runs/")
    assert notice["began_with"]["version"] == 1
    assert (row["http_status"], row["excerpt"], row["attempts"]) == (200, "thanks", 1)
    assert SEAL.open(SEAL.seal("x")) == "x"
    assert secret.encode() not in body


async def sent(owner: asyncpg.Connection, status: str = "sent") -> asyncpg.Record:
    """For `eventually`: a delivery with this status."""
    row = await owner.fetchrow(
        "select * from public.workflow_alert_deliveries where status = $1", status
    )
    assert row is not None
    return row


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
    store: Store,
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


async def tried(owner: asyncpg.Connection) -> asyncpg.Record:
    """For `eventually`: a delivery that failed."""
    row = await owner.fetchrow(
        "select * from public.workflow_alert_deliveries where error is not null"
    )
    assert row is not None
    return row


async def test_410_switches_the_channel_off(
    owner: asyncpg.Connection,
    store: Store,
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


async def test_a_slow_receiver_does_not_hold_up_the_others(
    owner: asyncpg.Connection,
    store: Store,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    release = asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    receiver.answers = [slowly]
    await hook(owner, project, receiver.url)
    await hook(owner, project, receiver.url)
    await make_rule(owner, project)
    await trouble(owner, store, workflow)
    await evaluate()
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner))
        assert [d["status"] for d in await deliveries(owner)].count("sending") == 1
        release.set()
        await eventually(lambda: all_are(owner, "sent"))


async def all_are(owner: asyncpg.Connection, status: str) -> bool:
    return {d["status"] for d in await deliveries(owner)} == {status}


async def test_one_who_died_while_sending_is_followed_by_another_under_the_same_id(
    owner: asyncpg.Connection,
    store: Store,
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
    second = timedelta(seconds=1)
    (taken,) = await alerts.claim_alert_messages(second * 30, second * 0, 20, 10)
    assert await alerts.claim_alert_messages(second, second * 0, 20, 10) == ()
    await owner.execute("update public.workflow_alert_deliveries set next_attempt_at = now()")
    notifier = notifier_of(alerts, local_guard(receiver.url))
    async with notifying(notifier):
        await eventually(lambda: sent(owner))
    assert [h["webhook-id"] for h, _ in receiver.got] == [str(taken.message_id)]
    # The first one comes back to life: what it says is not taken any more.
    late = await notifier.attempt(taken)
    assert await alerts.finish_alert_message(taken, late) == 0


async def test_notices_close_together_travel_together_and_too_many_wait_for_a_digest(
    owner: asyncpg.Connection, alerts: AlertStore, receiver: Receiver, project: Project
) -> None:
    await hook(owner, project, receiver.url)
    channel = await owner.fetchval("select id from public.workflow_alert_channels")

    async def queue(n: int) -> None:
        await owner.executemany(
            "insert into public.workflow_alert_deliveries (project_id, channel_id, kind, notice)"
            " values ($1, $2, 'opened', '{\"kind\": \"opened\"}')",
            [(project.id, channel)] * n,
        )

    wait, zero = timedelta(seconds=30), timedelta(0)
    await queue(2)
    (first,) = await alerts.claim_alert_messages(wait, wait, 2, 10)
    assert len(first.deliveries) == 2
    await queue(3)
    assert await alerts.claim_alert_messages(wait, wait, 2, 10) == ()  # so soon after the first
    await owner.execute(
        "update public.workflow_alert_deliveries set next_attempt_at = now()"
        " where status = 'pending'"
    )
    (second,) = await alerts.claim_alert_messages(wait, zero, 2, 10)
    assert len(second.deliveries) == 3
    await queue(4)
    assert await alerts.claim_alert_messages(wait, zero, 2, 10) == ()  # two an hour
    held = [d for d in await deliveries(owner) if d["status"] == "held"]
    assert len(held) == 4
    assert {d["held_for"] for d in held} == {"cap"}
    await owner.execute(
        "update public.workflow_alert_deliveries set next_attempt_at = now(),"
        " first_attempt_at = first_attempt_at - interval '1 hour'"
        " where status in ('held', 'sending')"
    )
    found = await alerts.claim_alert_messages(wait, zero, 2, 10)
    digest = [m for m in found if m.digest]
    assert [len(m.deliveries) for m in digest] == [4]


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
    assert retry_after("soon", now) is None
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


async def test_for_a_day_both_secrets_sign(
    owner: asyncpg.Connection, alerts: AlertStore, receiver: Receiver, project: Project
) -> None:
    old = await hook(owner, project, receiver.url)
    new = new_secret()
    await owner.execute(
        "update public.workflow_alert_channels set sealed_secret = $1", SEAL.seal(new)
    )
    await owner.execute(
        "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
        " select project_id, id, 'test' from public.workflow_alert_channels"
    )
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner))
    headers, body = receiver.got[0]
    for secret in (old, new):
        Webhook(secret).verify(body, {k.lower(): v for k, v in headers.items()})


async def test_slack_gets_blocks_in_which_nothing_is_a_mention(
    owner: asyncpg.Connection,
    store: Store,
    alerts: AlertStore,
    evaluate: Evaluate,
    receiver: Receiver,
    project: Project,
    workflow: Workflow,
) -> None:
    await make_channel(owner, project, "slack", sealed_target=SEAL.seal(receiver.url))
    await make_rule(owner, project, name="<!channel> down")
    await trouble(owner, store, workflow)
    await evaluate()
    async with notifying(notifier_of(alerts, local_guard(receiver.url))):
        await eventually(lambda: sent(owner))
    headers, body = receiver.got[0]
    document = json.loads(body)
    assert "<!channel>" not in document["text"]
    assert document["blocks"][0]["type"] == "header"
    assert "0 of 3 runs succeeded" in document["blocks"][1]["text"]["text"]
    assert "webhook-signature" not in headers


async def test_a_private_target_is_dead_at_once_and_says_why(
    owner: asyncpg.Connection, alerts: AlertStore, project: Project
) -> None:
    await hook(owner, project, "https://127.0.0.1/")
    await owner.execute(
        "insert into public.workflow_alert_deliveries (project_id, channel_id, kind)"
        " select project_id, id, 'test' from public.workflow_alert_channels"
    )
    async with notifying(notifier_of(alerts, Guard())):
        row = await eventually(lambda: sent(owner, "dead"))
    assert "127.0.0.1 is not a public address" in row["error"]


class Mailbox(Message):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_mail_goes_by_tls_as_text_and_html(
    owner: asyncpg.Connection,
    store: Store,
    alerts: AlertStore,
    evaluate: Evaluate,
    project: Project,
    workflow: Workflow,
    certificate: Path,
    scheme: str,
) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    client_context = ssl.create_default_context(cafile=str(certificate))
    mailbox = Mailbox()
    tls: dict[str, Any] = {"ssl_context": server_context}
    if scheme == "smtp":
        tls = {"tls_context": server_context, "require_starttls": True}
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **tls)
    await asyncio.to_thread(controller.start)
    try:
        smtp = Smtp(f"{scheme}://127.0.0.1:{controller.port}", "alerts@mesh.test", client_context)
        await make_channel(owner, project, "email", sealed_target=SEAL.seal("a@b.test"))
        await make_rule(owner, project)
        await trouble(owner, store, workflow)
        await evaluate()
        notifier = notifier_of(alerts, Guard(), smtp, dashboard_url="https://dash.test")
        async with notifying(notifier):
            row = await eventually(lambda: sent(owner))
    finally:
        await asyncio.to_thread(controller.stop)
    (mail,) = mailbox.mails
    assert mail["Message-ID"] == f"<{row['message_id']}@mesh.test>"
    assert mail["To"] == "a@b.test"
    assert mail["Subject"] == "Alert: Orders: Orders fail"
    text, html = mail.get_payload()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    link = f"https://dash.test/alerts/incidents/{row['incident_id']}"
    for part in (text, html):
        assert link in part.get_payload(decode=True).decode()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 and its key, made for this test run."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    import ipaddress

    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def free_port() -> int:
    from meshmetrics.local.postgres import free_port

    return free_port()


def test_what_was_sealed_is_opened_with_old_keys_too() -> None:
    one, two = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Seal(one).seal("a secret")
    assert "a secret" not in sealed
    assert Seal(f"{two},{one}").open(sealed) == "a secret"
    with pytest.raises(ValueError, match="key"):
        Seal("too short")
