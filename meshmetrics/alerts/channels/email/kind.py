"""E-mail to one address, through the operator's mail server."""

from __future__ import annotations

import re

from aiosmtplib import SMTPException

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.email.mail import compose
from meshmetrics.alerts.channels.email.smtp import Smtp, is_permanent, send


class Email:
    """A mail as text and HTML."""

    def __init__(self, smtp: Smtp | None) -> None:
        """`smtp`: None where the operator has set up no mail server."""
        self._smtp = smtp

    def prepare(self, target: str) -> Target:
        """An address, and no second one: it becomes a header."""
        if not re.fullmatch(r"[\w.+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", target, re.ASCII):
            raise ValueError("an e-mail address")
        return Target(target, f"{target[0]}…@{target.rpartition('@')[2]}")

    def new_secret(self) -> None:
        """None: mail is not signed by us."""

    async def send(self, message: Message) -> Outcome:
        """Send it. A server's answer of 5xx to this mail is permanent, all else is not."""
        if self._smtp is None:
            return Outcome("failed", "no SMTP server is set up: MESHMETRICS_SMTP_URL")
        mail = compose(message.id, message.notices, self._smtp.sender, message.target)
        try:
            await send(self._smtp, mail)
        except TimeoutError:
            return Outcome("retry", "the mail server did not answer in time")
        except (SMTPException, OSError) as error:
            # The name alone: the text is for the operator, whose server it is.
            name = type(error.__cause__ or error).__name__
            return Outcome("failed" if is_permanent(error) else "retry", f"the mail server: {name}")
        return Outcome("sent")
