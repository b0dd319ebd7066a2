"""Who wants mail, and how much of it: the SQL functions, a method for each. Whatever is sent passes
`admit`, so that no way into the database leads around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from meshmetrics.alerts.channels.email.links import Recipient
from meshmetrics.database.store import Database

Verdict = Literal["send", "unsubscribed", "confirmations", "recipient", "project", "overall"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum mails in an hour."""

    recipient: int = 20
    """To one address, over all projects."""
    project: int = 60
    overall: int = 500


class Consent:
    """The consent of recipients, and the limits on what they get."""

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self._database = database
        self._limits = limits or Limits()

    async def admit(
        self, project_id: UUID, hashes: Sequence[bytes], *, confirmation: bool
    ) -> tuple[Verdict, float | None]:
        """Whether a mail may go to an address now, which then counts as sent; else why not, and
        the seconds until it may where a limit of an hour is reached. `hashes`: of the address, by
        each key, the newest first."""
        row = await self._database.row(
            "select verdict, extract(epoch from wait)::float as wait"
            " from meshmetrics.admit_mail($1, $2, $3, $4, $5, $6)",
            project_id,
            list(hashes),
            confirmation,
            self._limits.recipient,
            self._limits.project,
            self._limits.overall,
        )
        return row["verdict"], row["wait"]

    async def note(self, channel_id: UUID, *, refused: bool) -> int:
        """Note whether the mail server refused the address for good. Returns how often in a row it
        has."""
        row = await self._database.row(
            "select meshmetrics.note_mail($1, $2) as n", channel_id, refused
        )
        return int(row["n"])

    async def confirm(self, recipient: Recipient) -> bool:
        """The recipient agrees. False where the channel is gone or has another target by now."""
        row = await self._database.row(
            "select meshmetrics.confirm_mail($1, $2) as done",
            recipient.channel_id,
            recipient.target,
        )
        return bool(row["done"])

    async def unsubscribe(self, recipient: Recipient, *, undo: bool = False) -> None:
        """The recipient wants no more mail of the project, or (`undo`) does so again."""
        await self._database.row(
            "select meshmetrics.unsubscribe_mail($1, $2, $3, $4, $5)",
            recipient.channel_id,
            recipient.project_id,
            recipient.address,
            recipient.target,
            undo,
        )
