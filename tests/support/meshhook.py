"""MeshHook's rows: users, projects, workflows and runs, and acting as one of the users."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


@dataclass(frozen=True, slots=True)
class Project:
    id: UUID
    owner: UUID


@dataclass(frozen=True, slots=True)
class Workflow:
    """One version of a workflow."""

    id: UUID
    project_id: UUID
    slug: str


async def make_user(connection: Connection) -> UUID:
    user_id = uuid4()
    await connection.execute(
        "insert into auth.users (id, email) values ($1, $2)", user_id, f"{user_id}@example.org"
    )
    return user_id


async def make_project(
    connection: Connection, owner: UUID | None = None, *, name: str = "project"
) -> Project:
    """A project of `owner`, or of a user made for it."""
    owner = owner or await make_user(connection)
    project_id = await connection.fetchval(
        "insert into public.projects (owner, name) values ($1, $2) returning id", owner, name
    )
    return Project(project_id, owner)


async def make_workflow(
    connection: Connection,
    project: Project,
    slug: str | None = None,
    *,
    version: int = 1,
    name: str | None = None,
) -> Workflow:
    """A published version of a workflow; with a slug of its own unless one is given."""
    slug = slug or f"flow-{uuid4().hex[:8]}"
    workflow_id = await connection.fetchval(
        "insert into public.workflow_definitions"
        " (project_id, slug, version, name, definition, status)"
        " values ($1, $2, $3, $4, '{}', 'published') returning id",
        project.id,
        slug,
        version,
        name or slug,
    )
    return Workflow(workflow_id, project.id, slug)


async def insert_run(
    connection: Connection,
    workflow: Workflow,
    status: str = "running",
    *,
    finished_at: datetime | None = None,
    **columns: Any,
) -> UUID:
    """A run as it is inserted; any other column (`updated_at`, `id`, …) by name."""
    values = {
        "project_id": workflow.project_id,
        "workflow_id": workflow.id,
        "status": status,
        "finished_at": finished_at,
        **columns,
    }
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    run_id: UUID = await connection.fetchval(
        f"insert into public.workflow_runs ({', '.join(values)}) values ({places}) returning id",
        *values.values(),
    )
    return run_id


async def finish_run(
    connection: Connection,
    run_id: UUID,
    status: str = "succeeded",
    *,
    finished_at: datetime | None = None,
) -> None:
    """End a run as the engine does: status and finished_at (now, if not given) in one statement."""
    done = await connection.execute(
        "update public.workflow_runs set status = $2, finished_at = coalesce($3, now())"
        " where id = $1",
        run_id,
        status,
        finished_at,
    )
    assert done == "UPDATE 1", f"no run {run_id}"


async def resume_run(connection: Connection, run_id: UUID) -> None:
    """Send a run that ended back to running."""
    done = await connection.execute(
        "update public.workflow_runs set status = 'running', finished_at = null where id = $1",
        run_id,
    )
    assert done == "UPDATE 1", f"no run {run_id}"


@asynccontextmanager
async def acting_as(
    connection: Connection, user_id: UUID | None, *, role: str = "authenticated", **claims: Any
) -> AsyncIterator[None]:
    """One transaction as a request with that user's token: its role, its claims, nothing else.

    `role="anon"` with no user is a request with the anon key. The connection's own user must be
    able to become that role.
    """
    if user_id is not None:
        claims["sub"] = str(user_id)
    async with connection.transaction():
        await connection.execute(
            "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
            role,
            json.dumps({"role": role, **claims}),
        )
        yield
