"""Reads as a tenant does through the REST API, and compares with the ledger."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from meshmetrics.api.alerts.rows import Rows
from meshmetrics.api.http.as_caller import NoTenantError, Page, Reading, Wanted, become
from meshmetrics.api.http.auth import claims_of
from meshmetrics.api.http.problems import Problem
from meshmetrics.auditing.model import Sample
from meshmetrics.auditing.store import AuditStore
from meshmetrics.commands.doctor.check import Check
from meshmetrics.database.store import Connection
from meshmetrics.runtime.logs import describe

NAME = "tenants"
QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = Page("workflow", False, 0, "last_success_at", True, 50)
"""What the dashboard reads first."""
EACH = Page("version", False, 0, "slug", False, 1)

T = TypeVar("T")


async def check(store: AuditStore, statement_timeout: float) -> Check:
    """Read one project as its owner; `statement_timeout`: seconds, as the API has it.

    Nothing is written, and nothing of what is read is shown.
    """
    now = await store.database.now()
    # The end of a bucket, so that the counts are those of whole buckets.
    upto = EPOCH + ((now - EPOCH) // QUARTER + 1) * QUARTER
    async with store.sampling(upto) as (connection, sample):
        if sample is None:
            return Check(NAME, "note", "no project yet: nothing to read as its owner")
        try:
            await become(connection, claims_of(sample.owner), str(round(statement_timeout * 1000)))
        except NoTenantError:
            return Check(NAME, "skipped", "not read: the role cannot become authenticated")
        return await _read(connection, sample, Wanted(EPOCH, upto))


async def _read(connection: Connection, sample: Sample, ever: Wanted) -> Check:
    """Each reading in a savepoint, so that one that fails does not end the others."""
    failures: list[str] = []

    async def attempt(what: str, work: Awaitable[T]) -> T | None:
        try:
            async with connection.transaction():
                return await work
        except (asyncpg.PostgresError, Problem) as error:
            failures.append(f"{what} fails ({describe(error)})")
            return None

    reading, rows = Reading(connection), Rows(connection)
    day = Wanted(ever.to_at - timedelta(days=1), ever.to_at)
    await attempt("the summary", reading.summary(day, LATEST))
    counted = None
    if sample.workflow_id is not None:
        alone = Wanted(
            ever.from_at, ever.to_at, [sample.project_id], [sample.workflow_id], None, "one"
        )
        counted = await attempt("the summary of one workflow", reading.summary(alone, EACH))
        one = await attempt(
            "reading one workflow",
            reading.workflow(sample.workflow_id, day.from_at, day.to_at, "all"),
        )
        if one is None and not failures:
            failures.append("one workflow is not shown to the owner of its project")
    await attempt("the rule preview", rows.preview(sample.project_id, {}))
    who = f"as the owner of project {sample.project_id}"
    if failures:
        fix = "the functions are not as migrated: apply `meshmetrics migrate --print` again"
        return Check(NAME, "wrong", f"{who}: {'; '.join(failures)}", fix)
    if sample.workflow_id is None:
        return Check(NAME, "ok", f"{who} all reading works; it has no workflow yet")
    return _compared(who, sample, counted or [])


def _compared(who: str, sample: Sample, rows: list[asyncpg.Record]) -> Check:
    seen = [
        (row["success_count"], row["failure_count"], row["canceled_count"])
        for row in rows
        if row["workflow_id"] == sample.workflow_id
    ]
    due = (sample.success_count, sample.failure_count, sample.canceled_count)
    if seen == [due]:
        return Check(NAME, "ok", f"{who} all reading works, and the summary equals the ledger")
    shown = _words(seen[0]) if seen else "nothing"
    text = (
        f"{who} the summary of workflow {sample.workflow_id} shows {shown};"
        f" the ledger holds {_words(due)}"
    )
    return Check(NAME, "wrong", text, "`meshmetrics verify` says where; `--repair` corrects it")


def _words(counts: tuple[int, int, int]) -> str:
    success, failure, canceled = counts
    return f"{success:,} succeeded, {failure:,} failed, {canceled:,} canceled"
