"""The versions that there are, with a column of MeshHook's that may not be there."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg

from tests.support import acting_as, make_project, make_workflow

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)
VERSIONS = "select workflow_id, created_at from public.workflow_metrics_versions()"


async def test_a_version_says_when_it_was_made_where_the_table_does(
    owner: asyncpg.Connection,
) -> None:
    project = await make_project(owner)
    workflow = await make_workflow(owner, project)
    await owner.execute("update public.workflow_definitions set created_at = $1", MADE)
    async with acting_as(owner, project.owner):
        assert [tuple(row) for row in await owner.fetch(VERSIONS)] == [(workflow.id, MADE)]


async def test_a_table_that_does_not_say_when_is_read_all_the_same(
    owner: asyncpg.Connection,
) -> None:
    project = await make_project(owner)
    workflow = await make_workflow(owner, project)
    # Read before, too: plans made with the column must not be kept without it.
    async with acting_as(owner, project.owner):
        assert await owner.fetch(VERSIONS)
    await owner.execute("alter table public.workflow_definitions drop column created_at cascade")
    async with acting_as(owner, project.owner):
        assert [tuple(row) for row in await owner.fetch(VERSIONS)] == [(workflow.id, None)]
