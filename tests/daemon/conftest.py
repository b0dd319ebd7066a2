"""A daemon in this process, on a real database and the development Realtime server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic_settings import SettingsConfigDict

from meshmetrics.broadcast.publisher import Sent
from meshmetrics.daemon.daemon import Daemon
from meshmetrics.devstack.realtime import RealtimeServer, Timing, mint
from meshmetrics.settings.fields import Settings
from tests.sql.plain import assert_counted
from tests.support import Workflow, eventually, make_project, make_workflow
from tests.support.databases import DatabaseClone

JWT_SECRET = "a-secret-of-at-least-thirty-two-characters"
KEY = mint(JWT_SECRET, role="service_role")

QUICK = {
    "http_port": 0,
    "migrate": False,
    "lease_ttl": 2,
    "probe_interval": 0.2,
    "probe_timeout": 0.4,
    "connect_timeout": 1,
    "backoff_cap": 0.2,
    "sweep_min": 0.1,
    "sweep_max": 0.5,
    "sweep_overlap": 1,
    "missed_after": 0.3,
    "silent_after": 0.6,
}
"""Everything that takes seconds in production takes fractions of one."""


BY_EVENTS: dict[str, Any] = {"sweep_min": 60, "sweep_max": 60, "sweep_quick": 0}
"""Once the stream is up nothing is found by sweeps: what is counted was announced."""


LOSE_PUBLIC = """
do $$
declare f regprocedure;
begin
  for f in
    select p.oid from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname ~ '^workflow_(metrics|alert)_'
  loop
    execute format('alter function %s set search_path = pg_catalog, pg_temp', f);
  end loop;
end $$
"""
"""Takes `public` out of the path of what tenants read through: MeshHook's own user_project_ids()
then fails in it."""


class TestSettings(Settings):
    """What the test says, whatever the environment does."""

    __test__ = False
    model_config = SettingsConfigDict(env_prefix="NOBODY_SETS_THIS_", env_file=None)


@dataclass
class Running:
    """A daemon that runs in this process."""

    daemon: Daemon
    sent: list[Sent] = field(default_factory=list)

    def value(self, name: str, **labels: str) -> float:
        """Of a metric, without the prefix."""
        metrics = self.daemon.telemetry.registry
        return metrics.get_sample_value(f"meshmetrics_{name}", labels) or 0.0

    @property
    def up(self) -> bool:
        """Whether the stream is up."""
        return self.daemon.stream.up_since is not None

    async def get(self, path: str, **headers: str) -> httpx.Response:
        assert self.daemon.http is not None
        async with httpx.AsyncClient(timeout=30) as client:
            url = f"http://127.0.0.1:{self.daemon.http.port}{path}"
            return await client.get(url, headers=headers)


class World:
    """The database, Realtime, one workflow; and daemons as a test starts them."""

    def __init__(
        self,
        database: DatabaseClone,
        realtime: RealtimeServer,
        owner: asyncpg.Connection,
        workflow: Workflow,
    ) -> None:
        self.database = database
        self.realtime = realtime
        self.owner = owner
        self.workflow = workflow

    def settings(self, **changes: Any) -> Settings:
        values = {
            "supabase_url": self.realtime.url,
            "supabase_secret_key": KEY,
            "database_url": self.database.worker_dsn,
            **QUICK,
            **changes,
        }
        return TestSettings.model_validate(values)

    @asynccontextmanager
    async def running(self, *, until_up: bool = True, **changes: Any) -> AsyncIterator[Running]:
        """A daemon, with these settings over the quick ones, that holds the lease; with its
        stream up and swept for, unless told otherwise. It is stopped at the end, and must stop
        cleanly."""

        def ready(running: Running) -> bool:
            if not until_up:
                return running.value("lease_held") == 1
            # One sweep at the start and one for the session: what comes now is the stream's.
            return running.up and running.value("sweeps_total", kind="regular") >= 2

        async with self._running(ready, **changes) as running:
            yield running

    @asynccontextmanager
    async def running_as_standby(self) -> AsyncIterator[Running]:
        """A daemon beside one that holds the lease."""
        async with self._running(lambda running: running.daemon.is_standby) as running:
            yield running

    @asynccontextmanager
    async def serving_only(self, **changes: Any) -> AsyncIterator[Running]:
        """A daemon that serves the API and nothing else, as soon as it answers."""

        def answers(running: Running) -> bool:
            return running.daemon.http is not None and running.daemon.http.started.is_set()

        async with self._running(answers, api_only=True, **changes) as running:
            yield running

    @asynccontextmanager
    async def _running(
        self, ready: Callable[[Running], bool], *, api_only: bool = False, **changes: Any
    ) -> AsyncIterator[Running]:
        sent: list[Sent] = []
        daemon = Daemon(self.settings(**changes), api_only=api_only, on_sent=sent.append)
        running = Running(daemon, sent)
        stop = asyncio.Event()
        task = asyncio.create_task(running.daemon.run(stop))
        try:

            def is_ready() -> bool:
                if task.done():
                    task.result()
                return ready(running)

            await eventually(is_ready, what="the daemon working")
            yield running
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)

    async def counted(self) -> bool:
        """For `eventually`: counters and buckets equal a plain group by."""
        await assert_counted(self.owner)
        return True


@pytest.fixture
async def login(database: DatabaseClone, owner: asyncpg.Connection) -> AsyncIterator[str]:
    """The DSN of a login that counts and can read as a tenant."""
    name = f"login_{uuid4().hex[:8]}"
    await owner.execute(f"create role {name} login in role meshmetrics_worker, authenticated")
    yield database.dsn(name)
    await owner.execute(f"drop role {name}")


@pytest.fixture
async def realtime(database: DatabaseClone) -> AsyncIterator[RealtimeServer]:
    """A Realtime server that is quick, and has stopped at the end whatever a test did to it."""
    server = RealtimeServer(
        database_dsn=database.owner_dsn, jwt_secret=JWT_SECRET, timing=Timing.quick()
    )
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)
        yield server


@pytest.fixture
async def world(
    database: DatabaseClone, realtime: RealtimeServer, owner: asyncpg.Connection
) -> World:
    workflow = await make_workflow(owner, await make_project(owner))
    return World(database, realtime, owner, workflow)
