"""Alerts' SQL functions: a method for each, and no other SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from meshmetrics.alerts.model import AlertMessage, AlertOutcome, AlertRound
from meshmetrics.alerts.notice import Notice, read_notices
from meshmetrics.database.store import Database


class AlertStore:
    """Evaluates alert rules and queues, claims and finishes messages."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def evaluate_alerts(self, workflow_ids: Sequence[UUID] | None) -> AlertRound:
        """Evaluate all rules, or those that these workflow versions touch, and write every
        transition. Idempotent; any number of callers at once make one transition."""
        row = await self.database.row(
            "select evaluated, notices from meshmetrics.evaluate_alerts(null, $1)",
            None if workflow_ids is None else list(workflow_ids),
        )
        return AlertRound(row["evaluated"], read_notices(row["notices"]))

    async def claim_acknowledgements(self) -> tuple[Notice, ...]:
        """Notices of incidents acknowledged since the last call: each is returned once, and no more
        than a few of a project at a time."""
        row = await self.database.row("select notices from meshmetrics.claim_acknowledgements()")
        return read_notices(row["notices"])

    async def claim_alert_messages(
        self, lease: timedelta, group_wait: timedelta, per_hour: int, most: int
    ) -> tuple[AlertMessage, ...]:
        """Lease messages that are due: no other caller gets them until the lease has expired."""
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
        """Record how an attempt went. Returns the number of deliveries: 0 where the lease had
        expired and another daemon has claimed them."""
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
        """Delete what is older than the retention."""
        await self.database.row("select meshmetrics.maintain_alerts($1)", now)
