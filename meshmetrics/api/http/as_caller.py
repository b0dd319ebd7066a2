"""Reads as the caller: one transaction with the caller's role and claims, so that RLS decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import asyncpg

from meshmetrics.api.http.auth import Caller, claims_of
from meshmetrics.api.http.problems import from_database
from meshmetrics.api.http.shares import Shares
from meshmetrics.database.store import Connection

ACQUIRE_SECONDS = 5.0
STRANGER = Caller(UUID(int=0), claims_of(UUID(int=0)))
"""A tenant who owns no project."""

_AS_CALLER = (
    "select set_config('role', 'authenticated', true),"
    " set_config('request.jwt.claims', $1, true), set_config('statement_timeout', $2, true)"
)
_TOTALS = "select * from public.workflow_metrics_totals($1, $2, $3, $4, $5, $6)"
_SERIES = "select * from public.workflow_metrics_series($1, $2, $3, $4, $5, $6, $7)"
_WORKFLOW = "select * from public.workflow_metrics_workflow($1, $2, $3, $4)"
_SUMMARY = (
    "select * from public.workflow_metrics_summary("
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
)
MAX_ROWS = 20_000
"""Rows of an answer that is not paged, as in the statements here."""
_VERSIONS = "select * from public.workflow_metrics_versions($1, $2, $3) limit 20000"
_RECENT = (
    "select r.*, r.outcome = 'failure' and exists ("
    "select from public.workflow_run_abandonments a where a.run_id = r.run_id) as abandoned"
    " from public.workflow_metrics_recent($1, $2, $3) with ordinality r order by r.ordinality"
    " limit 20000"
)
_UNKNOWN_STATUSES = "select status, runs from public.workflow_metrics_unknown_statuses()"
_OUTCOMES = (
    "select project_id, slug,"
    " string_agg(left(outcome, 1), '' order by finished_at desc, run_id) as outcomes"
    " from public.workflow_metrics_recent($1, $2, $3) group by project_id, slug order by 1, 2"
    " limit 5000"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """A period, and the workflows in it; None selects all that the caller may see."""

    from_at: datetime
    to_at: datetime
    projects: Sequence[UUID] | None = None
    workflows: Sequence[UUID] | None = None
    search: str | None = None
    versions: str = "all"


@dataclass(frozen=True, slots=True)
class Page:
    """Filters and order of the summary's rows, and the sort key of the last row already read."""

    group_by: str
    only_failing: bool
    min_runs: int
    sort_by: str
    descending: bool
    limit: int
    after: tuple[float, str, UUID] | None = None


class NoTenantError(Exception):
    """The database user cannot act as a tenant: it is not a member of `authenticated`."""


async def become(connection: Connection, claims: str, statement_timeout: str) -> None:
    """Act as the tenant of these claims until the transaction ends; `statement_timeout` in ms.

    Raises NoTenantError.
    """
    try:
        await connection.fetchrow(_AS_CALLER, claims, statement_timeout)
    except asyncpg.InsufficientPrivilegeError as error:
        raise NoTenantError(str(error)) from error


class Reading:
    """One transaction of a caller. All its results are of one snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def totals(self, selection: Selection) -> asyncpg.Record:
        """All selected workflows together."""
        row: asyncpg.Record
        (row,) = await self._connection.fetch(
            _TOTALS,
            selection.from_at,
            selection.to_at,
            selection.projects,
            selection.workflows,
            selection.search,
            selection.versions,
        )
        return row

    async def series(self, selection: Selection, bucket: str, zone: str) -> list[asyncpg.Record]:
        """All selected workflows together, over time. `search` is ignored."""
        return await self._connection.fetch(
            _SERIES,
            selection.from_at,
            selection.to_at,
            bucket,
            zone,
            selection.projects,
            selection.workflows,
            selection.versions,
        )

    async def workflow(
        self, workflow_id: UUID, from_at: datetime, to_at: datetime, versions: str
    ) -> asyncpg.Record | None:
        """One workflow; None if the caller sees none with this id."""
        return await self._connection.fetchrow(_WORKFLOW, workflow_id, from_at, to_at, versions)

    async def summary(self, selection: Selection, page: Page) -> list[asyncpg.Record]:
        """One row per selected workflow."""
        number, text, workflow_id = page.after or (None, None, None)
        return await self._connection.fetch(
            _SUMMARY,
            selection.from_at,
            selection.to_at,
            selection.projects,
            selection.workflows,
            selection.search,
            selection.versions,
            page.group_by,
            page.only_failing,
            page.min_runs,
            page.sort_by,
            page.descending,
            page.limit,
            number,
            text,
            workflow_id,
        )

    async def versions(
        self,
        projects: Sequence[UUID] | None = None,
        workflows: Sequence[UUID] | None = None,
        versions: str = "all",
    ) -> list[asyncpg.Record]:
        """The workflow versions that the caller sees, each with its revision."""
        return await self._connection.fetch(_VERSIONS, projects, workflows, versions)

    async def recent(
        self, projects: Sequence[UUID] | None, workflows: Sequence[UUID] | None, max_runs: int
    ) -> list[asyncpg.Record]:
        """The outcomes of each workflow's last runs, newest first."""
        return await self._connection.fetch(_RECENT, projects, workflows, max_runs)

    async def outcomes(
        self, projects: Sequence[UUID] | None, workflows: Sequence[UUID] | None, max_runs: int
    ) -> list[asyncpg.Record]:
        """The same, with one letter per run and one row per workflow."""
        return await self._connection.fetch(_OUTCOMES, projects, workflows, max_runs)

    async def unknown_statuses(self) -> list[asyncpg.Record]:
        """The statuses of the caller's runs that are not mapped to an outcome."""
        return await self._connection.fetch(_UNKNOWN_STATUSES)


class Reader:
    """Opens transactions of callers on a pool of its own, so that reading never takes a connection
    from counting. The pool's user must be a member of `authenticated`."""

    def __init__(self, pool: asyncpg.Pool, *, statement_timeout: float, share: int = 1) -> None:
        """`statement_timeout`: the timeout of one statement, in seconds. `share`: connections that
        one caller may use at the same time."""
        self._pool = pool
        self._statement_timeout = str(round(statement_timeout * 1000))
        self._shares = Shares(share)

    @asynccontextmanager
    async def reading(self, caller: Caller) -> AsyncIterator[Reading]:
        """One read-only transaction of the caller. Raises Problem, as `writing` does."""
        async with self._transaction(caller, "repeatable_read", readonly=True) as connection:
            yield Reading(connection)

    async def probe(self) -> None:
        """Read the summary as a tenant who has no project.

        Raises NoTenantError, Problem if the database does not answer, and the database's own
        error if reading is broken.
        """
        now = datetime.now(UTC)
        page = Page("workflow", False, 0, "failure_rate_low", True, 1)
        async with self.reading(STRANGER) as reading:
            await reading.summary(Selection(now - timedelta(hours=1), now), page)

    @asynccontextmanager
    async def writing(self, caller: Caller) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """One transaction of the caller.

        Raises Problem for an invalid parameter (422), for too many requests at once (429), and if
        the database does not answer in time (503).
        """
        async with self._transaction(caller, "read_committed", readonly=False) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(
        self,
        caller: Caller,
        isolation: Literal["read_committed", "repeatable_read"],
        *,
        readonly: bool,
    ) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        try:
            async with (
                self._shares.of(caller.user_id),
                self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection,
                connection.transaction(isolation=isolation, readonly=readonly),
            ):
                await become(connection, caller.claims, self._statement_timeout)
                yield connection
        except Exception as error:
            problem = from_database(error)
            if problem is None:
                raise
            raise problem from error
