"""Mail: a real SMTP server, with TLS."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from meshmetrics.alerts.channels.email import Smtp
from meshmetrics.alerts.guard import Guard
from meshmetrics.store import Store
from meshmetrics.store_alerts import AlertStore
from tests.alerts.conftest import Evaluate, make_channel, make_rule
from tests.alerts.sending import SEAL, notifier_of, notifying, sent, trouble
from tests.support import Project, Workflow, eventually


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
