"""The database as alerts see it: a method for each of their functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from meshmetrics.counting.model import AlertMessage, AlertOutcome, AlertRound
from meshmetrics.counting.store import Store


class AlertStore(Store):
    """The store, and the functions of alerts."""

    async def evaluate_alerts(self, workflow_ids: Sequence[UUID] | None) -> AlertRound:
        """Look at all rules, or at those that these workflow versions touch, and move on what
        changed. Idempotent; any number of callers at once make one transition."""
        row = await self._row(
            "select evaluated, notices from meshmetrics.evaluate_alerts(null, $1)",
            None if workflow_ids is None else list(workflow_ids),
        )
        return AlertRound(row["evaluated"], tuple(json.loads(row["notices"])))

    async def claim_acknowledgements(self) -> tuple[dict[str, Any], ...]:
        """Notices of what was acknowledged since somebody asked: each is given once, and no more
        than a few of a project at a time."""
        row = await self._row("select notices from meshmetrics.claim_acknowledgements()")
        return tuple(json.loads(row["notices"]))

    async def claim_alert_messages(
        self, lease: timedelta, group_wait: timedelta, per_hour: int, most: int
    ) -> tuple[AlertMessage, ...]:
        """Take messages that are due; nobody else gets them until the lease has run out."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                "select * from meshmetrics.claim_alert_messages($1, $2, $3, $4)",
                lease,
                group_wait,
                per_hour,
                most,
            )
        return tuple(
            AlertMessage(**{**dict(row), "deliveries": tuple(json.loads(row["deliveries"]))})
            for row in rows
        )

    async def finish_alert_message(self, message: AlertMessage, outcome: AlertOutcome) -> int:
        """Note how an attempt went; return how many deliveries that were: none where the lease
        had run out and somebody else has them."""
        row = await self._row(
            "select meshmetrics.finish_alert_message($1, $2, $3, $4, $5, $6, $7, $8, $9) as n",
            message.message_id,
            message.attempt,
            outcome.sent,
            None if outcome.retry_in is None else timedelta(seconds=outcome.retry_in),
            outcome.status,
            outcome.took_ms,
            outcome.error,
            outcome.excerpt,
            outcome.disable,
        )
        return int(row["n"])

    async def maintain_alerts(self, now: datetime | None = None) -> None:
        """Forget what is old."""
        await self._row("select meshmetrics.maintain_alerts($1)", now)
