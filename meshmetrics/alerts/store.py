"""Alerts' SQL functions: a method for each, and no other SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from meshmetrics.counting.model import AlertMessage, AlertOutcome, AlertRound
from meshmetrics.database.store import Database


class AlertStore:
    """Evaluates alert rules and queues, claims and finishes messages."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def evaluate_alerts(self, workflow_ids: Sequence[UUID] | None) -> AlertRound:
        """Look at all rules, or at those that these workflow versions touch, and move on what
        changed. Idempotent; any number of callers at once make one transition."""
        row = await self.database.row(
            "select evaluated, notices from meshmetrics.evaluate_alerts(null, $1)",
            None if workflow_ids is None else list(workflow_ids),
        )
        return AlertRound(row["evaluated"], tuple(json.loads(row["notices"])))

    async def claim_acknowledgements(self) -> tuple[dict[str, Any], ...]:
        """Notices of what was acknowledged since somebody asked: each is given once, and no more
        than a few of a project at a time."""
        row = await self.database.row("select notices from meshmetrics.claim_acknowledgements()")
        return tuple(json.loads(row["notices"]))

    async def claim_alert_messages(
        self, lease: timedelta, group_wait: timedelta, per_hour: int, most: int
    ) -> tuple[AlertMessage, ...]:
        """Take messages that are due; nobody else gets them until the lease has run out."""
        rows = await self.database.rows(
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
        row = await self.database.row(
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
        await self.database.row("select meshmetrics.maintain_alerts($1)", now)
