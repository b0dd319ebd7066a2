"""The operations that read the metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from meshmetrics.api.http.as_caller import Page, Reader, Reading, Wanted
from meshmetrics.api.http.auth import Caller
from meshmetrics.api.http.cursors import Cursor
from meshmetrics.api.http.dependencies import Api, Signed, bearer
from meshmetrics.api.http.etags import NOT_MODIFIED, cached
from meshmetrics.api.http.problems import Problem, responses
from meshmetrics.api.metrics import export
from meshmetrics.api.metrics.parameters import (
    HistoryParameters,
    SummaryParameters,
    TableParameters,
    WorkflowParameters,
)
from meshmetrics.api.metrics.schemas import Counts, History, OpenRuns, Summary, Workflow

EXPORT_PAGE = 500

router = APIRouter(
    prefix="/api/metrics",
    tags=["metrics"],
    dependencies=[Depends(bearer)],
    responses=responses(401, 422, 429, 431, 500, 503),
)


@router.get("/workflows/summary", response_model=Summary, responses=NOT_MODIFIED)
async def workflows_summary(
    request: Request, api: Api, who: Signed, asked: Annotated[SummaryParameters, Query()]
) -> Response:
    """All workflows together, and a row for each: worst first, unless sorted otherwise."""
    question = asked.question(who.user_id)
    wanted, after = asked.wanted(), None
    if asked.cursor is not None:
        cursor = api.cursors.read(asked.cursor, question)
        after = cursor.after
        wanted = replace(wanted, from_at=cursor.from_at, to_at=cursor.to_at)
    async with api.reader.reading(who) as reading:
        totals = await reading.totals(wanted)
        rows = await reading.summary(wanted, asked.page(asked.limit, after))
        held = await _held(reading, wanted, asked.live)
    following = None
    if rows and rows[0]["remaining"] > len(rows):
        following = api.cursors.write(
            Cursor(wanted.from_at, wanted.to_at, _key(rows[-1])), question
        )
    answer = Summary.model_validate(
        {
            **_comparison(totals),
            "workflows": totals["workflows"],
            "matching": rows[0]["matching"] if rows else 0,
            "rows": [_row(row) for row in rows],
            "next": following,
            "held": held,
        }
    )
    return cached(request, answer)


@router.get("/workflows/history", response_model=History, responses=NOT_MODIFIED)
async def workflows_history(
    request: Request, api: Api, who: Signed, asked: Annotated[HistoryParameters, Query()]
) -> Response:
    """All workflows together, over time."""
    wanted = asked.wanted()
    async with api.reader.reading(who) as reading:
        totals = await reading.totals(wanted)
        series = await reading.series(wanted, asked.bucket, asked.tz)
        held = await _held(reading, wanted, asked.live)
    answer = History.model_validate(
        {
            **_comparison(totals),
            **_series(series, asked.tz),
            "workflows": totals["workflows"],
            "held": held,
        }
    )
    return cached(request, answer)


@router.get(
    "/workflows/export.csv",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The table of `summary`, all pages; a period is as rounded there",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
async def workflows_export(
    api: Api, who: Signed, asked: Annotated[TableParameters, Query()]
) -> StreamingResponse:
    """The whole table as CSV (UTF-8, comma, CRLF). A text that a spreadsheet would take for a
    formula has a `'` before it."""
    pages = _pages(api.reader, who, asked.wanted(), asked.page(EXPORT_PAGE, None))
    first = await anext(pages)  # what is wrong with the question is said before the answer begins

    async def body() -> AsyncIterator[bytes]:
        yield export.head() + export.lines(first)
        async for rows in pages:
            yield export.lines(rows)

    return StreamingResponse(
        body(),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": 'attachment; filename="workflows.csv"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get(
    "/workflow/{workflow_id}",
    response_model=Workflow,
    responses={**NOT_MODIFIED, **responses(404)},
)
async def workflow(
    request: Request,
    api: Api,
    who: Signed,
    workflow_id: UUID,
    asked: Annotated[WorkflowParameters, Query()],
) -> Response:
    """One workflow, of which any version's id may be given: since ever, in a period, before
    it, and over time. Another tenant's workflow is as unknown as one that does not exist."""
    from_at, to_at = asked.period()
    async with api.reader.reading(who) as reading:
        row = await reading.workflow(workflow_id, from_at, to_at, asked.versions)
        if row is None:
            raise Problem(404, "there is no such workflow, or it is not yours")
        wanted = Wanted(from_at, to_at, [row["project_id"]], [workflow_id], versions=asked.versions)
        series = await reading.series(wanted, asked.bucket, asked.tz)
        held = await _held(reading, wanted, asked.live)
    answer = Workflow.model_validate(
        {
            **row,
            **_comparison(row),
            **_series(series, asked.tz),
            "workflow_id": row["latest_id"],
            "totals": _totals(row),
            "held": held,
        }
    )
    return cached(request, answer)


async def _held(reading: Reading, wanted: Wanted, told: bool) -> dict[UUID, dict[str, Any]] | None:
    """The counters of the versions that are counted in the answer, if they are asked for."""
    if not told:
        return None
    rows = await reading.versions(wanted.projects, wanted.workflows, wanted.versions)
    return {row["workflow_id"]: dict(row) for row in rows}


async def _pages(
    reader: Reader, who: Caller, wanted: Wanted, page: Page
) -> AsyncIterator[list[asyncpg.Record]]:
    """The table page by page, at least one: a slow client holds up no transaction."""
    while True:
        async with reader.reading(who) as reading:
            rows = await reading.summary(wanted, page)
        yield rows
        if not rows or rows[0]["remaining"] == len(rows):
            return
        page = replace(page, after=_key(rows[-1]))


def _key(row: asyncpg.Record) -> tuple[float, str, UUID]:
    return row["sort_number"], row["sort_text"], row["workflow_id"]


def _comparison(row: asyncpg.Record) -> dict[str, Any]:
    starts_at = row["starts_at"]
    return {
        "period": {**row, "from": starts_at, "to": row["ends_at"]},
        "previous": {"from": row["previous_starts_at"], "to": starts_at, **_previous(row)},
        "success_rate_change": row["success_rate_change"],
        **{name: row[name] for name in OpenRuns.model_fields},
    }


def _series(rows: list[asyncpg.Record], tz: str) -> dict[str, Any]:
    points = [{**row, "start": row["starts_at"], "end": row["ends_at"]} for row in rows]
    return {"tz": tz, "bucket": rows[0]["bucket"], "series": points}


def _totals(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, **{name: row["total_" + name] for name in Counts.model_fields}}


def _row(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "previous": _previous(row)}


def _previous(row: asyncpg.Record) -> dict[str, Any]:
    return {name: row["previous_" + name] for name in Counts.model_fields}
