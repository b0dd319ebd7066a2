"""The lease: the row that says which daemon does the work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from meshmetrics.database.store import Database


@dataclass(frozen=True, slots=True)
class Lease:
    """Which daemon has the lease, and when any holder last renewed it before this call.

    `held`: whether it is this daemon.
    """

    held: bool
    holder_name: str
    last_alive: datetime | None


class LeaseStore:
    """Takes, renews and releases the lease."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def take_lease(self, holder: UUID, holder_name: str, ttl: timedelta) -> Lease:
        """Take or renew the lease for `ttl`, unless another holder's has not expired."""
        row = await self.database.row(
            "select held, holder_name, last_alive from meshmetrics.take_lease($1, $2, $3)",
            holder,
            holder_name,
            ttl,
        )
        return Lease(row["held"], row["holder_name"], row["last_alive"])

    async def release_lease(self, holder: UUID) -> None:
        """Release the lease, if this holder has it."""
        await self.database.row("select meshmetrics.release_lease($1)", holder)
