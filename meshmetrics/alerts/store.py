"""Alerts' SQL functions: a method for each, and no other SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from meshmetrics.alerts.model import AlertMessage, AlertOutcome, AlertProject, AlertRound
from meshmetrics.alerts.notice import Notice, read_notices
from meshmetrics.database.session import SECONDS
from meshmetrics.database.store import Database


class AlertStore:
    """Evaluates alert rules and queues, claims and finishes messages."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def alert_projects(self, workflow_ids: Sequence[UUID] | None) -> tuple[AlertProject, ...]:
        """The projects to evaluate: all, or those of these workflow versions. Without those that
        failed and are not due again."""
        rows = await self.database.rows(
            "select * from meshmetrics.alert_projects($1)",
            None if workflow_ids is None else list(workflow_ids),
        )
        return tuple(
            AlertProject(
                row["project_id"],
                row["pairs"],
                row["excess"],
                row["failures"],
                None if row["touched"] is None else frozenset(row["touched"]),
            )
            for row in rows
        )

    async def evaluate_alerts(
        self,
        workflow_ids: Sequence[UUID] | None,
        project_ids: Sequence[UUID] | None = None,
        *,
        seconds: float = SECONDS,
    ) -> AlertRound:
        """Evaluate the rules of all or of these projects, or those that these workflow versions
        touch, and write every transition: all of it or, after `seconds` or an error, nothing.
        Idempotent; any number of callers at once make one transition."""
        row = await self.database.row_within(
            seconds,
            "select evaluated, notices from meshmetrics.evaluate_alerts(null, $1, $2)",
            None if workflow_ids is None else list(workflow_ids),
            None if project_ids is None else list(project_ids),
        )
        return AlertRound(row["evaluated"], read_notices(row["notices"]))

    async def record_alert_failure(self, project_id: UUID, reason: str) -> tuple[int, timedelta]:
        """A project's rules could not be evaluated. Returns how often in a row, and when to try
        again."""
        row = await self.database.row(
            "select failures, retry_in from meshmetrics.record_alert_failure($1, $2)",
            project_id,
            reason,
        )
        return row["failures"], row["retry_in"]

    async def clear_alert_failure(self, project_id: UUID) -> bool:
        """A project's rules were evaluated. Returns whether they had failed before."""
        row = await self.database.row(
            "select meshmetrics.clear_alert_failure($1) as failed", project_id
        )
        return bool(row["failed"])

    async def count_alert_failures(self) -> int:
        """How many projects' rules cannot be evaluated."""
        row = await self.database.row("select meshmetrics.count_alert_failures() as n")
        return int(row["n"])

    async def claim_acknowledgements(self) -> tuple[Notice, ...]:
        """Notices of incidents acknowledged since the last call: each is returned once, and no more
        than a few of a project at a time."""
        row = await self.database.row("select notices from meshmetrics.claim_acknowledgements()")
        return read_notices(row["notices"])

    async def claim_alert_messages(
        self,
        lease: timedelta,
        group_wait: timedelta,
        per_hour: int,
        most: int,
        *,
        per_project: int | None = None,
        under_way: Sequence[UUID] = (),
        avoided: Sequence[UUID] = (),
    ) -> tuple[AlertMessage, ...]:
        """Lease messages that are due: no other caller gets them until the lease has expired.

        `per_project`: most messages under way at once, of which `under_way` (project ids, one for
        each message) are already. `avoided`: channels that get none now.
        """
        rows = await self.database.rows(
            "select * from meshmetrics.claim_alert_messages($1, $2, $3, $4, $5, $6, $7)",
            lease,
            group_wait,
            per_hour,
            most,
            most if per_project is None else per_project,
            list(under_way),
            list(avoided),
        )
        return tuple(
            AlertMessage(**{**dict(row), "deliveries": tuple(json.loads(row["deliveries"]))})
            for row in rows
        )

    async def release_alert_message(self, message: AlertMessage, retry_in: timedelta) -> None:
        """Put a message back without an attempt."""
        await self.database.row(
            "select meshmetrics.release_alert_message($1, $2, $3)",
            message.message_id,
            message.attempt,
            retry_in,
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
