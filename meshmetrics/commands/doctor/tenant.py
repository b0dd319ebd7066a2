"""A check that reads as a tenant does through the REST API, and compares with the ledger."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from meshmetrics.api.alerts.rows import Rows
from meshmetrics.api.http.as_caller import NoTenantError, Page, Reading, Selection, become
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
"""The dashboard's first request."""
EACH = Page("version", False, 0, "slug", False, 1)

T = TypeVar("T")


async def check(store: AuditStore, statement_timeout: float) -> Check:
    """Read one project as its owner; `statement_timeout`: the API's, in seconds.

    It writes nothing, and shows only counts.
    """
    now = await store.database.now()
    # Rounded up to the end of a bucket: the functions count whole buckets.
    upto = EPOCH + ((now - EPOCH) // QUARTER + 1) * QUARTER
    async with store.sampling(upto) as (connection, sample):
        if sample is None:
            return Check(NAME, "note", "there is no project yet, so nothing to read")
        try:
            await become(connection, claims_of(sample.owner), str(round(statement_timeout * 1000)))
        except NoTenantError:
            return Check(NAME, "skipped", "not read: the role cannot switch to authenticated")
        return await _read(connection, sample, Selection(EPOCH, upto))


async def _read(connection: Connection, sample: Sample, all_time: Selection) -> Check:
    """Run each read in a savepoint, so that the others run even if one fails."""
    failures: list[str] = []

    async def attempt(what: str, work: Awaitable[T]) -> T | None:
        try:
            async with connection.transaction():
                return await work
        except (asyncpg.PostgresError, Problem) as error:
            failures.append(f"{what} fails ({describe(error)})")
            return None

    reading, rows = Reading(connection), Rows(connection)
    day = Selection(all_time.to_at - timedelta(days=1), all_time.to_at)
    await attempt("the summary", reading.summary(day, LATEST))
    counted = None
    if sample.workflow_id is not None:
        one_version = Selection(
            all_time.from_at, all_time.to_at, [sample.project_id], [sample.workflow_id], None, "one"
        )
        counted = await attempt("the summary of one workflow", reading.summary(one_version, EACH))
        one = await attempt(
            "reading one workflow",
            reading.workflow(sample.workflow_id, day.from_at, day.to_at, "all"),
        )
        if one is None and not failures:
            failures.append("one workflow is hidden from the owner of its project")
    await attempt("the rule preview", rows.preview(sample.project_id, {}))
    who = f"as the owner of project {sample.project_id}"
    if failures:
        fix = (
            "the functions differ from the migrated ones: apply `meshmetrics migrate --print` again"
        )
        return Check(NAME, "wrong", f"{who}: {'; '.join(failures)}", fix)
    if sample.workflow_id is None:
        return Check(NAME, "ok", f"{who} all reads work; it has no workflow yet")
    return _compared(who, sample, counted or [])


def _compared(who: str, sample: Sample, rows: list[asyncpg.Record]) -> Check:
    seen = [
        (row["success_count"], row["failure_count"], row["canceled_count"])
        for row in rows
        if row["workflow_id"] == sample.workflow_id
    ]
    expected = (sample.success_count, sample.failure_count, sample.canceled_count)
    if seen == [expected]:
        return Check(NAME, "ok", f"{who} all reads work, and the summary equals the ledger")
    shown = _words(seen[0]) if seen else "nothing"
    text = (
        f"{who} the summary of workflow {sample.workflow_id} shows {shown};"
        f" the ledger holds {_words(expected)}"
    )
    return Check(
        NAME,
        "wrong",
        text,
        "run `meshmetrics verify` to list the differences, and `--repair` to fix them",
    )


def _words(counts: tuple[int, int, int]) -> str:
    success, failure, canceled = counts
    return f"{success:,} succeeded, {failure:,} failed, {canceled:,} canceled"
