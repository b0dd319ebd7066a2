"""The lease: which daemon works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from meshmetrics.database.store import Database


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works. `last_alive` is when a holder (any, this one included) last renewed before now."""

    held: bool
    holder_name: str
    last_alive: datetime | None


class LeaseStore:
    """Takes the lease and gives it back."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def take_lease(self, holder: UUID, holder_name: str, ttl: timedelta) -> Lease:
        """Take or renew the lease for `ttl`, unless another holder's is still running."""
        row = await self.database.row(
            "select held, holder_name, last_alive from meshmetrics.take_lease($1, $2, $3)",
            holder,
            holder_name,
            ttl,
        )
        return Lease(row["held"], row["holder_name"], row["last_alive"])

    async def release_lease(self, holder: UUID) -> None:
        """Give the lease back, if this holder has it."""
        await self.database.row("select meshmetrics.release_lease($1)", holder)
