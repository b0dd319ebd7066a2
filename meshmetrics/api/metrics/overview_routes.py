"""Operations that a dashboard needs beside the metrics: the catalogue and the last runs."""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response

from meshmetrics.api.http.as_caller import MAX_ROWS
from meshmetrics.api.http.dependencies import Api, Signed, bearer
from meshmetrics.api.http.etags import NOT_MODIFIED, cached
from meshmetrics.api.http.problems import responses
from meshmetrics.api.metrics.parameters import RecentParameters
from meshmetrics.api.metrics.schemas import (
    Catalogue,
    Outcome,
    Project,
    Recent,
    RecentRuns,
    Standing,
    Strip,
    Strips,
    UnknownStatus,
    Version,
)

MAX_CHARACTERS = 2_000_000
"""Of the names and slugs in a catalogue."""

router = APIRouter(
    prefix="/api/metrics",
    tags=["metrics"],
    dependencies=[Depends(bearer)],
    responses=responses(401, 422, 429, 431, 500, 503),
)


def _that_fit(rows: list[asyncpg.Record]) -> list[asyncpg.Record]:
    """The first of them whose texts have MAX_CHARACTERS together."""
    lengths = accumulate(len(row["name"]) + len(row["slug"]) for row in rows)
    return [row for row, length in zip(rows, lengths, strict=True) if length <= MAX_CHARACTERS]


@router.get("/catalogue", response_model=Catalogue, responses=NOT_MODIFIED)
async def catalogue(request: Request, api: Api, who: Signed) -> Response:
    """The caller's projects, and all versions of their workflows."""
    async with api.reader.reading(who) as reading:
        found = await reading.versions()
    rows = _that_fit(found)
    complete = len(found) < MAX_ROWS and len(rows) == len(found)
    projects = [
        Project(
            project_id=project_id,
            name=name,
            versions=[
                Version.model_construct(**{field: row[field] for field in Version.model_fields})
                for row in of_project
            ],
        )
        for (project_id, name), of_project in groupby(
            rows, key=lambda row: (row["project_id"], row["project_name"])
        )
    ]
    return cached(request, Catalogue(projects=projects, complete=complete))


@router.get("/workflows/recent", response_model=RecentRuns, responses=NOT_MODIFIED)
async def workflows_recent(
    request: Request, api: Api, who: Signed, parameters: Annotated[RecentParameters, Query()]
) -> Response:
    """The outcomes of each workflow's last runs."""
    async with api.reader.reading(who) as reading:
        rows = await reading.recent(parameters.project, parameters.workflow, parameters.most)
    workflows = [
        Recent(
            project_id=project_id,
            slug=slug,
            outcomes=[
                Outcome.model_construct(**{field: row[field] for field in Outcome.model_fields})
                for row in runs
            ],
        )
        for (project_id, slug), runs in groupby(
            rows, key=lambda row: (row["project_id"], row["slug"])
        )
    ]
    return cached(request, RecentRuns(workflows=workflows))


@router.get("/workflows/outcomes", response_model=Strips, responses=NOT_MODIFIED)
async def workflows_outcomes(
    request: Request, api: Api, who: Signed, parameters: Annotated[RecentParameters, Query()]
) -> Response:
    """The outcomes of each workflow's last runs, one letter per run."""
    async with api.reader.reading(who) as reading:
        rows = await reading.outcomes(parameters.project, parameters.workflow, parameters.most)
    return cached(request, Strips(workflows=[Strip.model_construct(**dict(row)) for row in rows]))


@router.get("/standing", response_model=Standing)
async def standing(request: Request, api: Api, who: Signed) -> Response:
    """When all counts were last compared with the runs, the result, whether older runs are
    counted, and the statuses of the caller's runs that are not mapped to an outcome."""
    async with api.reader.reading(who) as reading:
        rows = await reading.unknown_statuses()
    unknown = [UnknownStatus(**dict(row)) for row in rows]
    counts = await api.standing()
    return cached(request, counts.model_copy(update={"unknown_statuses": unknown}))
