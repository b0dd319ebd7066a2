"""E-mail to one address, through the operator's mail server."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from email.message import EmailMessage
from uuid import UUID

from aiosmtplib import SMTPException, SMTPRecipientsRefused

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.email.consent import Consent, Verdict
from meshmetrics.alerts.channels.email.links import Links, Recipient
from meshmetrics.alerts.channels.email.mail import compose, compose_confirmation
from meshmetrics.alerts.channels.email.smtp import Smtp, is_permanent, send
from meshmetrics.database.errors import is_transient

MOST_REFUSALS = 3
"""In a row; then the channel is switched off."""
_REACHED: dict[Verdict, str] = {
    "recipient": "this address has had the most mails of an hour",
    "project": "this project has sent the most mails of an hour",
    "overall": "the mail server has had the most mails of an hour",
}


@dataclass(frozen=True, slots=True)
class Mailer:
    """What sending mail takes."""

    smtp: Smtp
    links: Links
    consent: Consent


class Email:
    """A mail as text and HTML, to an address that was confirmed."""

    def __init__(self, mailer: Mailer | None) -> None:
        """`mailer`: None where the operator has set up no mail server."""
        self._mailer = mailer

    def prepare(self, target: str) -> Target:
        """An address, and no second one: it becomes a header."""
        if not re.fullmatch(r"[\w.+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", target, re.ASCII):
            raise ValueError("an e-mail address")
        return Target(target, f"{target[0]}…@{target.rpartition('@')[2]}")

    def new_secret(self) -> None:
        """None: mail is not signed by us."""

    async def send(self, message: Message) -> Outcome:
        """Send it, if its recipient wants it and no limit is reached. A server's answer of 5xx to
        this mail is permanent, all else is not."""
        mailer = self._mailer
        if mailer is None:
            return Outcome("failed", "no SMTP server is set up: MESHMETRICS_SMTP_URL")
        if mailer.links.base_url is None:
            return Outcome("failed", "mail needs an address for its links: MESHMETRICS_PUBLIC_URL")
        hashes = mailer.links.hashes(message.target)
        confirmation = any(n.kind == "confirm" for n in message.notices)
        try:
            verdict, wait = await mailer.consent.admit(
                message.project_id, hashes, confirmation=confirmation
            )
        except Exception as error:
            if not is_transient(error):
                raise
            return Outcome("retry", "the database was not available")
        if verdict == "unsubscribed":
            return Outcome("disable", "unsubscribed")
        if verdict == "confirmations":
            return Outcome("failed", "too many requests to confirm an address were sent lately")
        if verdict != "send":
            return Outcome("retry", _REACHED[verdict], wait)
        recipient = Recipient(
            message.channel_id, message.project_id, message.target_digest, hashes[0]
        )
        unsubscribe = mailer.links.url("unsubscribe", recipient)
        if confirmation:
            confirm = mailer.links.url("confirm", recipient)
            mail = compose_confirmation(message, mailer.smtp.sender, confirm, unsubscribe)
        else:
            mail = compose(message, mailer.smtp.sender, unsubscribe)
        return await _hand_over(mailer, message.channel_id, mail)


async def _hand_over(mailer: Mailer, channel_id: UUID, mail: EmailMessage) -> Outcome:
    try:
        await send(mailer.smtp, mail)
    except TimeoutError:
        return Outcome("retry", "the mail server did not answer in time")
    except (SMTPException, OSError) as error:
        # The name alone: the text is for the operator, whose server it is.
        text = f"the mail server: {type(error.__cause__ or error).__name__}"
        if not is_permanent(error):
            return Outcome("retry", text)
        if isinstance(error, SMTPRecipientsRefused):
            refusals = await mailer.consent.note(channel_id, refused=True)
            if refusals >= MOST_REFUSALS:
                reason = f"the mail server refused the address {refusals} times in a row"
                return Outcome("disable", reason)
        return Outcome("failed", text)
    # It is sent, whatever the database says.
    with contextlib.suppress(Exception):
        await mailer.consent.note(channel_id, refused=False)
    return Outcome("sent")
