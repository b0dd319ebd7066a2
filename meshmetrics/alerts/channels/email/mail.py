"""Notices as a mail."""

from __future__ import annotations

import html
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate
from uuid import UUID

from meshmetrics.alerts.notice import Delivered
from meshmetrics.alerts.wording import headline, lines


def compose(
    message_id: UUID, notices: Sequence[Delivered], sender: str, recipient: str
) -> EmailMessage:
    """The mail. Its Message-ID is the message's, so that mail programs recognize a second copy."""
    mail = EmailMessage()
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    mail["Subject"] = headline(notices[0]) + more
    mail["From"] = sender
    mail["To"] = recipient
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2].strip('> ')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(_text(n) for n in notices) + "\n")
    mail.add_alternative("".join(_html(n) for n in notices), subtype="html")
    return mail


def _text(notice: Delivered) -> str:
    text = [headline(notice), *lines(notice)]
    text += [f"Failed run: {run.url or run.run_id}" for run in notice.failed_runs]
    if notice.url:
        text.append(f"Open the incident: {notice.url}")
    return "\n".join(text)


def _html(notice: Delivered) -> str:
    parts = [f"<p>{html.escape(line)}</p>" for line in lines(notice)]
    parts += [_link(run.url, f"failed run {run.run_id}") for run in notice.failed_runs if run.url]
    if notice.url:
        parts.append(_link(notice.url, "Open the incident"))
    return f"<h2>{html.escape(headline(notice))}</h2>{''.join(parts)}"


def _link(url: str, text: str) -> str:
    return f'<p><a href="{html.escape(url)}">{html.escape(text)}</a></p>'
