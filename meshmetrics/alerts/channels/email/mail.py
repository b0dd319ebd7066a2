"""Notices as a mail, and the mail that asks whether they are wanted."""

from __future__ import annotations

import html
import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from meshmetrics.alerts.channels.contract import Message
from meshmetrics.alerts.notice import Delivered
from meshmetrics.alerts.wording import headline, lines, one_line

PRODUCT = "meshmetrics"
SUBJECT_CHARACTERS = 120
_POLICY = SMTP.clone(max_line_length=900, cte_type="7bit")
"""A folded link would be no link any more; RFC 5322 allows lines of 998 characters. 7bit: every
server takes it."""


def compose(message: Message, sender: str, unsubscribe_url: str) -> EmailMessage:
    """The notices as text and HTML."""
    notices = message.notices
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    mail = _mail(message, sender, subject(headline(notices[0]), more), unsubscribe_url)
    footer = "You get this mail because this address was confirmed for notices of a project."
    text = "\n\n".join(_text(n) for n in notices)
    mail.set_content(f"{text}\n\n-- \n{footer}\nUnsubscribe: {unsubscribe_url}\n")
    parts = "".join(_html(n) for n in notices)
    unsubscribe = _link(unsubscribe_url, "Unsubscribe")
    mail.add_alternative(f"{parts}<hr><p>{footer}</p>{unsubscribe}", subtype="html")
    return mail


def compose_confirmation(
    message: Message, sender: str, confirm_url: str, unsubscribe_url: str
) -> EmailMessage:
    """Ask the recipient for confirmation. It may reach a stranger, so no word in it comes from the
    tenant who typed the address."""
    mail = _mail(message, sender, subject("Confirm this e-mail address"), unsubscribe_url)
    question = (
        "A user of this server wants to send notices about failing workflows to this address.",
        "Nothing is sent until you agree. The link is good for three days.",
    )
    never = "If you did not expect this, do nothing. To never be asked again for this project:"
    mail.set_content(
        "\n".join(question) + f"\n\nConfirm: {confirm_url}\n\n{never}\n{unsubscribe_url}\n"
    )
    parts = "".join(f"<p>{line}</p>" for line in question)
    parts += _link(confirm_url, "Confirm") + f"<p>{never}</p>"
    mail.add_alternative(parts + _link(unsubscribe_url, "Never ask again"), subtype="html")
    return mail


def subject(text: str, more: str = "") -> str:
    """A subject that begins with the product's name, and in which a mail program finds no link:
    a dot before a letter makes one, and so does a scheme."""
    text = re.sub(r"\.(?=\w)", "·", one_line(text).replace("://", " "))
    most = SUBJECT_CHARACTERS - len(more)
    text = f"[{PRODUCT}] {text}"
    return (text if len(text) <= most else text[: most - 1] + "…") + more


def _mail(message: Message, sender: str, subject: str, unsubscribe_url: str) -> EmailMessage:
    """The headers. The Message-ID is the message's, so that a second copy is recognized."""
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = subject
    mail["From"] = sender
    mail["To"] = message.target
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.id}@{sender.rpartition('@')[2].strip('> ')}>"
    mail["Auto-Submitted"] = "auto-generated"
    # RFC 8058: mail programs show a button, which sends a POST to the link.
    mail["List-Unsubscribe"] = f"<{unsubscribe_url}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
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
