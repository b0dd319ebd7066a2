"""The Postgres that the benchmarks run on, and MeshHook's rows in bulk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from meshmetrics.counting.store import CountingStore
from meshmetrics.database.migrate import migrate
from meshmetrics.database.pool import open_pool
from meshmetrics.database.store import Database
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.devstack.schema import create_source

SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum_naptime": "5s",
}


@dataclass(frozen=True, slots=True)
class Stack:
    """A migrated database, a connection as its owner and the daemon's store."""

    server: EmbeddedPostgres
    dsn: str
    owner: asyncpg.Connection
    store: CountingStore


@asynccontextmanager
async def database(*, workflows: int, durable: bool = False) -> AsyncIterator[Stack]:
    """MeshHook's database with one project of `workflows` workflows and no runs. `durable`: with
    commits that wait for the disk, as in production."""
    async with EmbeddedPostgres(settings=SETTINGS, durable=durable) as server:
        dsn = server.dsn()
        owner = await asyncpg.connect(dsn)
        try:
            await create_source(owner)
            await migrate(dsn)
            await owner.execute(
                "insert into auth.users (id, email) values (gen_random_uuid(), 'u')"
            )
            await owner.execute(
                "insert into public.projects (owner, name) select id, 'bench' from auth.users"
            )
            await owner.execute(
                "insert into public.workflow_definitions"
                " (project_id, slug, version, name, definition, status)"
                " select p.id, 'w' || i, 1, 'w' || i, '{}', 'published'"
                " from public.projects p, generate_series(1, $1::integer) i",
                workflows,
            )
            async with open_pool(dsn, size=4, transaction_pooler=False) as pool:
                yield Stack(server, dsn, owner, CountingStore(Database(pool)))
        finally:
            await owner.close()


async def insert_finished(owner: asyncpg.Connection, runs: int, days: float) -> None:
    """`runs` finished runs, spread evenly over the last `days` and at random over the workflows;
    one in twenty failed."""
    async with owner.transaction():
        await owner.execute("alter table public.workflow_runs disable trigger user")
        await owner.execute(
            "insert into public.workflow_runs"
            " (project_id, workflow_id, status, started_at, finished_at, updated_at)"
            " select w.project_id, w.id,"
            "  case when random() < 0.05 then 'failed' else 'succeeded' end, g.at, g.at, g.at"
            " from (select now() - make_interval(secs => $2 * 86400 * (1 - i::float / $1)) as at,"
            "         1 + floor(random() * (select count(*) from public.workflow_definitions)) as n"
            "       from generate_series(1, $1::integer) i) g"
            " join (select *, row_number() over () as n from public.workflow_definitions) w"
            "  using (n)",
            runs,
            days,
        )
        await owner.execute("alter table public.workflow_runs enable trigger user")
    await owner.execute("vacuum analyze public.workflow_runs")
