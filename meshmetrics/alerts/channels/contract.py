"""What a channel kind is: all that the API and the notifier know about it.

A kind has a folder beside this file and a line in registry.py. A kind that posts JSON to a
webhook's URL is a function for incoming_webhook.py; others that send HTTP requests find most of it
in http.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from meshmetrics.alerts.notice import Delivered

ATTEMPT_SECONDS = 30.0
"""The longest that `send` may take, all its requests together: half of the notifier's lease."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a channel sends to."""

    text: str = field(repr=False)
    """What `send` gets back. Sealed in the database and never shown."""
    hint: str
    """So much of it as is shown to everyone in the project."""


@dataclass(frozen=True, slots=True)
class Message:
    """Notices that travel to one channel together."""

    id: UUID
    """The same for every attempt: a receiver drops repeats by it."""
    project_id: UUID
    channel_id: UUID
    first_attempt_at: datetime
    digest: bool
    """Notices that were kept back because the channel had too many messages."""
    target: str = field(repr=False)
    target_digest: bytes = field(repr=False)
    """SHA-256 of the sealed target: another one as soon as the channel's target is written."""
    secrets: Sequence[str] = field(repr=False)
    """The newest first; two for a day after the secret was replaced. Empty for most kinds."""
    notices: Sequence[Delivered]
    """One or more, the oldest first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt went, and what is to become of the message."""

    result: Literal["sent", "retry", "failed", "disable"]
    """`failed`: another attempt would fail the same way. `disable`: the receiver is gone, so the
    channel is switched off."""
    error: str | None = None
    """For the tenant, who sees it in the list of deliveries."""
    retry_after: float | None = None
    """Seconds that the receiver asks to wait. The notifier has a schedule and a limit."""
    status: int | None = None
    """HTTP status."""
    excerpt: str | None = None
    """The beginning of the receiver's answer."""


class ChannelKind(Protocol):
    """A way to send notices."""

    def prepare(self, target: str) -> Target:
        """Check what a tenant typed, without any I/O. Raises ValueError with what is expected; the
        message does not repeat the target."""
        ...

    def new_secret(self) -> str | None:
        """A secret that proves to the receiver who sent a message; the tenant sees it once. None
        for kinds that have none."""
        ...

    async def send(self, message: Message) -> Outcome:
        """Try once, within ATTEMPT_SECONDS. Whatever the network or the
        receiver does is an Outcome, not an error."""
        ...
