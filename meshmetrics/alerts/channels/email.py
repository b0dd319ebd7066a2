"""E-mail through the operator's SMTP server, with STARTTLS or TLS."""

from __future__ import annotations

import asyncio
import contextlib
import html
import smtplib
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote, urlsplit

from meshmetrics.alerts.wording import headline, lines
from meshmetrics.counting.model import AlertMessage

PORTS = {"smtp": 587, "smtps": 465}
CONNECT_SECONDS = 10.0
"""For one address of the server: another may answer."""
_threads = ThreadPoolExecutor(16, thread_name_prefix="mail")
"""As many as the notifier has messages under way. Not the event loop's own threads: a slow mail
server would hold up the names of webhooks, which are resolved there."""


@dataclass(frozen=True, slots=True)
class Smtp:
    """The server: `smtps://` is TLS from the start, `smtp://` is STARTTLS; never without."""

    url: str = field(repr=False)
    sender: str
    context: ssl.SSLContext | None = None
    timeout: float = 30.0
    """Seconds for all of an attempt: the name, the connection, the conversation."""


def compose(
    message: AlertMessage, notices: Sequence[dict[str, Any]], sender: str, recipient: str
) -> EmailMessage:
    """The mail. Its Message-ID is the message's, so that a second copy is known as one."""
    mail = EmailMessage()
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    mail["Subject"] = headline(notices[0]) + more
    mail["From"] = sender
    mail["To"] = recipient
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.message_id}@{sender.rpartition('@')[2].strip('> ')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(_text(n) for n in notices) + "\n")
    mail.add_alternative("".join(_html(n) for n in notices), subtype="html")
    return mail


def _text(notice: dict[str, Any]) -> str:
    found = [headline(notice), *lines(notice)]
    found += [f"Failed run: {run['url'] or run['run_id']}" for run in notice.get("failed_runs", [])]
    if notice.get("url"):
        found.append(f"Open the incident: {notice['url']}")
    return "\n".join(found)


def _html(notice: dict[str, Any]) -> str:
    said = "".join(f"<p>{html.escape(line)}</p>" for line in lines(notice))
    for run in notice.get("failed_runs", []):
        name = f"failed run {html.escape(run['run_id'])}"
        said += f'<p><a href="{html.escape(run["url"])}">{name}</a></p>' if run["url"] else ""
    if notice.get("url"):
        said += f'<p><a href="{html.escape(notice["url"])}">Open the incident</a></p>'
    return f"<h2>{html.escape(headline(notice))}</h2>{said}"


async def send(smtp: Smtp, mail: EmailMessage) -> None:
    """Hand it over, or give up after `smtp.timeout` seconds, however slowly the server answers.

    Raises smtplib.SMTPException and OSError; TimeoutError is one.
    """
    parts = urlsplit(smtp.url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    async with asyncio.timeout(smtp.timeout):
        connection = await _connect(host, port)
        # Whatever wraps it in the thread: shutting this one down ends the conversation there.
        handle = connection.dup()
        try:
            await asyncio.get_running_loop().run_in_executor(
                _threads, _converse, connection, host, smtp, mail
            )
        finally:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)
            handle.close()


async def _connect(host: str, port: int) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


class _Client(smtplib.SMTP):
    """Speaks over a connection that is there already."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self._connection = connection
        super().__init__(host)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._connection


def _converse(connection: socket.socket, host: str, smtp: Smtp, mail: EmailMessage) -> None:
    """The whole conversation; the connection is closed in the end."""
    parts = urlsplit(smtp.url)
    with contextlib.closing(connection):
        connection.settimeout(smtp.timeout)
        context = smtp.context or ssl.create_default_context()
        if parts.scheme == "smtps":
            connection = context.wrap_socket(connection, server_hostname=host)
        with _Client(connection, host) as server:
            if parts.scheme == "smtp":
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(mail)


def permanent(error: Exception) -> bool:
    """Whether the server will say the same next time: an answer of 5xx to what we asked."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    # A refused login is the operator's to mend, and may be mended.
    return (
        isinstance(error, smtplib.SMTPResponseException)
        and not isinstance(error, smtplib.SMTPAuthenticationError)
        and error.smtp_code >= 500
    )
