"""Everything the demo runs: Postgres with a history of runs, Realtime, and the daemon."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
from cryptography.fernet import Fernet

from meshmetrics.database.migrate import migrate
from meshmetrics.devstack.demo.daemon import DaemonProcess
from meshmetrics.devstack.demo.receiver import Receiver
from meshmetrics.devstack.demo.stats import Totals
from meshmetrics.devstack.engine.engine import Engine
from meshmetrics.devstack.engine.workflows import simulated_projects
from meshmetrics.devstack.postgres.server import EmbeddedPostgres, free_port
from meshmetrics.devstack.realtime import RealtimeServer, mint
from meshmetrics.devstack.schema import create_source

DAYS = 30
DAEMON_LOGIN = "meshmetrics_demo"
API_LOGIN = "authenticator"
"""The API logs in as this role, then switches to the user's role."""
TEN_YEARS = 10 * 365 * 86_400
ABANDONED_AFTER = 3
"""Seconds, not ten minutes: a run whose step failed soon counts as abandoned."""
BACKOFF_CAP = 5
"""Seconds, not the daemon's half minute: recovery from a stopped Realtime is quick to see."""
GROUP_WAIT = 2
"""Seconds, not half a minute: each notice shows up at once."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and how to reach it."""

    directory: Path
    postgres: EmbeddedPostgres
    realtime: RealtimeServer
    daemon: DaemonProcess
    receiver: Receiver
    """Of the webhooks that the daemon sends."""
    jwt_secret: str
    owner: asyncpg.Connection
    """A connection that sees everything."""
    before: Mapping[UUID, Totals]
    """How the runs of each workflow version ended, by MeshHook's own table, before the engine."""

    @property
    def api_dsn(self) -> str:
        return self.postgres.dsn(user=API_LOGIN)

    @property
    def daemon_dsn(self) -> str:
        return self.postgres.dsn(user=DAEMON_LOGIN)

    async def counted(self) -> int:
        """How many runs are in the counters."""
        counted: int = await self.owner.fetchval(
            "select coalesce(sum(success_count + failure_count + canceled_count), 0)::bigint"
            " from public.workflow_run_metrics"
        )
        return counted


@asynccontextmanager
async def stack(
    seed: int, step: Callable[[str], None], *, days: int = DAYS, daemon_port: int = 0
) -> AsyncIterator[Stack]:
    """Start everything, with the past that the engine makes of `seed`; stop it in reverse order.

    `step` is called with the name of each step before it begins; if it raises, the start ends.
    Raises PostgresNotFoundError, PostgresFailedError, DaemonFailedError.
    """
    async with AsyncExitStack() as stopping:
        directory = Path(tempfile.mkdtemp(prefix="meshmetrics-demo-"))
        stopping.callback(shutil.rmtree, directory, ignore_errors=True)
        step("Starting Postgres")
        postgres = await stopping.enter_async_context(
            EmbeddedPostgres(password=secrets.token_hex(8))
        )
        owner = await asyncpg.connect(postgres.dsn())
        stopping.callback(owner.terminate)
        step("Making MeshHook's tables")
        await create_source(owner)
        step(f"Making two projects and {days} days of runs")
        await Engine(postgres.dsn(), seed=seed).populate(days)
        step("Installing meshmetrics into the database")
        await migrate(postgres.dsn())
        await owner.execute(
            f"create role {DAEMON_LOGIN} login in role meshmetrics_worker, authenticated"
        )
        for role in (API_LOGIN, DAEMON_LOGIN):
            await owner.execute(f"alter role {role} password '{postgres.password}'")
        step("Starting Realtime and the daemon")
        secret = secrets.token_urlsafe(32)
        # A port that is still free when the server was stopped and is started again.
        realtime = RealtimeServer(
            database_dsn=postgres.dsn(),
            jwt_secret=secret,
            port=free_port(),
            users={
                f"{project.owner_email} ({project.name})": project.owner
                for project in simulated_projects(seed)
            },
        )
        await realtime.start()
        stopping.push_async_callback(realtime.stop)
        receiver = Receiver(directory / "webhooks.log")
        await receiver.start()
        stopping.push_async_callback(receiver.stop)
        daemon = DaemonProcess(
            {
                "SUPABASE_URL": realtime.url,
                "SUPABASE_SECRET_KEY": mint(secret, "service_role", expires_in=TEN_YEARS),
                "SUPABASE_JWT_SECRET": secret,
                "SUPABASE_PUBLISHABLE_KEY": mint(secret, "anon", expires_in=TEN_YEARS),
                "DATABASE_URL": postgres.dsn(user=DAEMON_LOGIN),
                "MESHMETRICS_MIGRATE": "false",
                "MESHMETRICS_HTTP_PORT": str(daemon_port),
                "MESHMETRICS_LOG_FORMAT": "json",
                "MESHMETRICS_ABANDONED_AFTER": str(ABANDONED_AFTER),
                "MESHMETRICS_BACKOFF_CAP": str(BACKOFF_CAP),
                "MESHMETRICS_ALERT_KEYS": Fernet.generate_key().decode(),
                "MESHMETRICS_ALERT_GROUP_WAIT": str(GROUP_WAIT),
                "MESHMETRICS_ALERT_MESSAGES_PER_HOUR": "200",
                **receiver.settings,
            },
            directory,
        )
        stopping.push_async_callback(daemon.stop)
        await daemon.start()
        before = await _ended(owner)
        yield Stack(directory, postgres, realtime, daemon, receiver, secret, owner, before)


async def _ended(owner: asyncpg.Connection) -> dict[UUID, Totals]:
    rows = await owner.fetch(
        "select workflow_id, count(*) filter (where status = 'succeeded') as success,"
        # Without live runs yet, whatever is still running was left so when its step failed.
        " count(*) filter (where status in ('failed', 'running')) as failure,"
        " count(*) filter (where status = 'canceled') as canceled"
        " from public.workflow_runs group by workflow_id"
    )
    return {
        row["workflow_id"]: Totals(row["success"], row["failure"], row["canceled"]) for row in rows
    }
