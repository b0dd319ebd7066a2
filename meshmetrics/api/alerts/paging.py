"""Query parameters that the operations on alerts share."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

Project = Annotated[UUID | None, Query(description="Only this project's")]
Limit = Annotated[int, Query(ge=1, le=200, description="Most rows of a page")]
After = Annotated[UUID | None, Query(description="`next` of the page before")]

LongLimit = Annotated[int, Query(ge=1, le=500, description="Most rows of a page")]
AfterRow = Annotated[
    UUID | None, Query(description="`id` of the last row of the page before, if that was full")
]
