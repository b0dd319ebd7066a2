"""The operations that read the metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from meshmetrics.api.http.as_caller import Page, Reader, Reading, Selection
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
    request: Request, api: Api, who: Signed, parameters: Annotated[SummaryParameters, Query()]
) -> Response:
    """All workflows together, and one row per workflow: worst first by default."""
    query = parameters.query(who.user_id)
    selection, after = parameters.selection(), None
    if parameters.cursor is not None:
        cursor = api.cursors.read(parameters.cursor, query)
        after = cursor.after
        selection = replace(selection, from_at=cursor.from_at, to_at=cursor.to_at)
    async with api.reader.reading(who) as reading:
        totals = await reading.totals(selection)
        rows = await reading.summary(selection, parameters.page(parameters.limit, after))
        counters = await _live_counters(reading, selection, parameters.live)
    next_cursor = None
    if rows and rows[0]["remaining"] > len(rows):
        next_cursor = api.cursors.write(
            Cursor(selection.from_at, selection.to_at, _key(rows[-1])), query
        )
    summary = Summary.model_validate(
        {
            **_comparison(totals),
            "workflows": totals["workflows"],
            "matching": rows[0]["matching"] if rows else 0,
            "rows": [_row(row) for row in rows],
            "next": next_cursor,
            "held": counters,
        }
    )
    return cached(request, summary)


@router.get("/workflows/history", response_model=History, responses=NOT_MODIFIED)
async def workflows_history(
    request: Request, api: Api, who: Signed, parameters: Annotated[HistoryParameters, Query()]
) -> Response:
    """All workflows together, over time."""
    selection = parameters.selection()
    async with api.reader.reading(who) as reading:
        totals = await reading.totals(selection)
        series = await reading.series(selection, parameters.bucket, parameters.tz)
        counters = await _live_counters(reading, selection, parameters.live)
    history = History.model_validate(
        {
            **_comparison(totals),
            **_series(series, parameters.tz),
            "workflows": totals["workflows"],
            "held": counters,
        }
    )
    return cached(request, history)


@router.get(
    "/workflows/export.csv",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "All rows of `summary`, with the same rounding of the period",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
async def workflows_export(
    api: Api, who: Signed, parameters: Annotated[TableParameters, Query()]
) -> StreamingResponse:
    """The whole table as CSV (UTF-8, comma, CRLF). A text that a spreadsheet would run as a formula
    begins with `'`."""
    pages = _pages(api.reader, who, parameters.selection(), parameters.page(EXPORT_PAGE, None))
    first = await anext(pages)  # reports an invalid parameter before the response begins

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
    parameters: Annotated[WorkflowParameters, Query()],
) -> Response:
    """One workflow, by the id of any of its versions: all-time, in a period, in the period before,
    and over time. Another tenant's workflow is 404, as one that does not exist."""
    from_at, to_at = parameters.period()
    async with api.reader.reading(who) as reading:
        row = await reading.workflow(workflow_id, from_at, to_at, parameters.versions)
        if row is None:
            raise Problem(404, "there is no such workflow, or it belongs to another tenant")
        selection = Selection(
            from_at, to_at, [row["project_id"]], [workflow_id], versions=parameters.versions
        )
        series = await reading.series(selection, parameters.bucket, parameters.tz)
        counters = await _live_counters(reading, selection, parameters.live)
    response = Workflow.model_validate(
        {
            **row,
            **_comparison(row),
            **_series(series, parameters.tz),
            "workflow_id": row["latest_id"],
            "totals": _totals(row),
            "held": counters,
        }
    )
    return cached(request, response)


async def _live_counters(
    reading: Reading, selection: Selection, live: bool
) -> dict[UUID, dict[str, Any]] | None:
    """The counters of the versions that the response counts, if it is to be kept `live`."""
    if not live:
        return None
    rows = await reading.versions(selection.projects, selection.workflows, selection.versions)
    return {row["workflow_id"]: dict(row) for row in rows}


async def _pages(
    reader: Reader, who: Caller, selection: Selection, page: Page
) -> AsyncIterator[list[asyncpg.Record]]:
    """The table page by page, at least one: a slow client does not keep a transaction open."""
    while True:
        async with reader.reading(who) as reading:
            rows = await reading.summary(selection, page)
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
