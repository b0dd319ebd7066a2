"""E-mail through the operator's SMTP server, with STARTTLS or TLS."""

from __future__ import annotations

import html
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote, urlsplit

from meshmetrics.alerts.wording import headline, lines
from meshmetrics.model import AlertMessage


@dataclass(frozen=True, slots=True)
class Smtp:
    """The server: `smtps://` is TLS from the start, `smtp://` is STARTTLS; never without."""

    url: str = field(repr=False)
    sender: str
    context: ssl.SSLContext | None = None
    timeout: float = 15.0


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


def send(smtp: Smtp, mail: EmailMessage) -> None:
    """Hand it over. Blocks: to be called in a thread.

    Raises smtplib.SMTPException and OSError.
    """
    parts = urlsplit(smtp.url)
    context = smtp.context or ssl.create_default_context()
    host = parts.hostname or ""
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=smtp.timeout, context=context)
    else:
        server = smtplib.SMTP(host, parts.port or 587, timeout=smtp.timeout)
    with server:
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
