"""An engine that ends runs at a steady rate, as the benchmarks need it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import asyncpg


class SteadyEngine:
    """Inserts runs and ends each in a second transaction, `rate` a second, spread over time."""

    def __init__(
        self, dsn: str, rate: float, on_ended: Callable[[UUID], None] | None = None
    ) -> None:
        """`on_ended` is called with a run's id as soon as its end is committed."""
        self._dsn = dsn
        self._rate = rate
        self._on_ended = on_ended
        self.ended = 0

    async def run(self, seconds: float) -> None:
        """End runs for so many seconds; return when all of them are committed."""
        connections = max(1, min(16, round(self._rate / 100)))
        async with asyncpg.create_pool(
            self._dsn, min_size=connections, max_size=connections
        ) as pool:
            places = await pool.fetch("select id, project_id from public.workflow_definitions")
            loop = asyncio.get_running_loop()
            began = loop.time()

            async def worker(first: int) -> None:
                number = first
                while number < self._rate * seconds:
                    await asyncio.sleep(max(0.0, began + number / self._rate - loop.time()))
                    place = places[number % len(places)]
                    await self._one(pool, place["id"], place["project_id"], failed=number % 20 == 0)
                    number += connections

            async with asyncio.TaskGroup() as group:
                for first in range(connections):
                    group.create_task(worker(first))

    async def _one(
        self, pool: asyncpg.Pool, workflow: UUID, project: UUID, *, failed: bool
    ) -> None:
        async with pool.acquire() as connection:
            run = await connection.fetchval(
                "insert into public.workflow_runs (workflow_id, project_id, status)"
                " values ($1, $2, 'running')"
                " returning id",
                workflow,
                project,
            )
            await connection.execute(
                "update public.workflow_runs set status = $2, finished_at = now() where id = $1",
                run,
                "failed" if failed else "succeeded",
            )
        self.ended += 1
        if self._on_ended is not None:
            self._on_ended(run)
