"""The conversation with the operator's mail server, by TLS always."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

PORTS = {"smtp": 587, "smtps": 465}
CONNECT_SECONDS = 10.0
"""For one address of the server: the next one may answer."""
QUIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server: `smtps://` is TLS from the first byte, `smtp://` is STARTTLS, which a
    server has to offer. Nothing is ever sent without TLS."""

    url: str = field(repr=False)
    sender: str
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    timeout: float = 30.0
    """Seconds for a whole attempt: the name, the connection, the conversation."""


async def send(smtp: Smtp, mail: EmailMessage) -> None:
    """Hand the mail over to its one recipient, or give up after `smtp.timeout` seconds, however
    slowly the server answers. Once the mail is accepted this succeeds, whatever follows.

    Raises SMTPException and OSError; TimeoutError is one of the latter.
    """
    parts = urlsplit(smtp.url)
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(smtp.timeout):
            connection = await _connect(parts.hostname or "", parts.port or PORTS[parts.scheme])
            stack.callback(_shut_down, connection.dup())
            client = _client(smtp, connection)
            await client.connect()
            # As the mail's own policy writes it: the client's would fold long links.
            sender, recipient = (parseaddr(mail[name])[1] for name in ("From", "To"))
            await client.sendmail(sender, [recipient], mail.as_bytes())
        with contextlib.suppress(SMTPException, OSError):
            await client.quit(timeout=QUIT_SECONDS)


def _client(smtp: Smtp, connection: socket.socket) -> SMTP:
    parts = urlsplit(smtp.url)
    address = connection.getsockname()[0]
    return SMTP(
        hostname=parts.hostname,
        sock=connection,
        # An address literal, as RFC 5321 (4.1.4) has it for clients without a public name: the
        # search for a name would take a thread, and may be slow.
        local_hostname=f"[IPv6:{address}]" if ":" in address else f"[{address}]",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password or ""),
        use_tls=parts.scheme == "smtps",
        start_tls=parts.scheme == "smtp",
        tls_context=smtp.context,
        timeout=None,  # `send` has one for all of it
    )


async def _connect(host: str, port: int) -> socket.socket:
    """A connection to the first of the host's addresses that accepts one. Raises OSError."""
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


def _shut_down(connection: socket.socket) -> None:
    """End the connection at once, whatever is still under way in it. A mere close waits for the
    server: until it has read what is left, or has answered the end of TLS."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def is_permanent(error: Exception) -> bool:
    """Whether another attempt would fail the same way: the server answered 5xx to this mail."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(refused.code >= 500 for refused in error.recipients)
    # A refused login is the operator's to fix, and is fixed without the tenant's doing.
    return (
        isinstance(error, SMTPResponseException)
        and not isinstance(error, SMTPAuthenticationError)
        and error.code >= 500
    )
