"""The composition root: it builds the services of each role and runs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import httpx

from meshmetrics.alerts.evaluator import Evaluator
from meshmetrics.alerts.store import AlertStore
from meshmetrics.api.alerts.channels import AlertsApi
from meshmetrics.api.dashboard import Dashboard
from meshmetrics.api.http.tenant_check import BROKEN, OFF, TenantProbe
from meshmetrics.api.metrics.schemas import Standing
from meshmetrics.api.server import HttpServer, Readiness, create_app
from meshmetrics.auditing.store import AuditStore
from meshmetrics.broadcast.publisher import Sent
from meshmetrics.counting.model import Change
from meshmetrics.counting.store import CountingStore
from meshmetrics.daemon.alerting import (
    alert_services,
    make_consent,
    make_kinds,
    make_links,
    make_seal,
)
from meshmetrics.daemon.counting import counting_services, make_publisher
from meshmetrics.daemon.leader import Leader
from meshmetrics.daemon.lease import Lease, LeaseStore
from meshmetrics.daemon.rest_api import metrics_api
from meshmetrics.database.pool import open_pool
from meshmetrics.database.prepare import Preparation, await_database
from meshmetrics.database.store import Database
from meshmetrics.runtime.service import Service, Supervisor
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings
from meshmetrics.settings.keys import KeyAuth, SecretKeys
from meshmetrics.stream.state import Stream

READY_TIMEOUT = 2.0


class Daemon:
    """One daemon: the HTTP server, and the pipeline while it holds the lease."""

    def __init__(
        self,
        settings: Settings,
        *,
        api_only: bool = False,
        on_sent: Callable[[Sent], None] | None = None,
    ) -> None:
        """`api_only`: never take the lease, and so count, send and alert nothing. `on_sent` is
        called for every message that Realtime accepts, for the demo and benchmarks; it must not
        raise."""
        self.settings = settings
        self.api_only = api_only
        self.telemetry = Telemetry()
        self.stream = Stream()
        self.http: HttpServer | None = None
        self._tenants: TenantProbe | None = None
        self._evaluator: Evaluator | None = None
        self._on_sent = on_sent
        self._leader: Leader | None = None
        self._preparation: Preparation | None = None
        self._supervisor: Supervisor | None = None

    @property
    def is_standby(self) -> bool:
        """Whether another daemon holds the lease."""
        lease = self._leader.lease if self._leader else None
        return lease is not None and not lease.held

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain within `settings.shutdown` seconds.

        Raises FatalError if only the operator can help; its message says how.
        """
        s = self.settings
        dsn = s.dsn
        async with (
            open_pool(dsn, size=s.pool_size, transaction_pooler=s.transaction_pooler) as pool,
            realtime_http(s) as client,
            metrics_api(s) as api,
        ):
            self._tenants = TenantProbe(api.reader.probe)
            database = Database(pool, transaction_pooler=s.transaction_pooler)
            store, audits = CountingStore(database), AuditStore(database)
            prepare = partial(
                await_database,
                store=store,
                dsn=dsn,
                migrating=s.migrate,
                detect_pooler=s.pooler == "auto" and not s.transaction_pooler,
            )
            worker: Service
            if self.api_only:
                worker = self._preparation = Preparation(prepare)
            else:
                worker = self._leader = Leader(
                    LeaseStore(database),
                    partial(self._pipeline, store, audits, AlertStore(database), client),
                    self.telemetry,
                    prepare=prepare,
                    ttl=s.lease_ttl,
                    drain_seconds=s.shutdown - 0.3,
                )
            token = s.metrics_token.get_secret_value() if s.metrics_token else None
            app = create_app(
                partial(self._readiness, database, audits),
                self.telemetry,
                metrics_token=token,
                metrics_api=replace(api, standing=partial(_standing, store, audits)),
                alerts_api=alerts_api(s, database),
                dashboard=Dashboard(s.supabase_url, s.supabase_publishable_key, s.runs_url),
                cors_origins=s.cors_origins.split(",") if s.cors_origins else (),
            )
            self.http = HttpServer(app, *s.address)
            # Stopped in reverse order: the server reports readiness until the end.
            self._supervisor = Supervisor(
                [self.http, worker], drain_seconds=s.shutdown, on_failure=self._note_failure
            )
            await self._supervisor.run(stop)

    def _note_failure(self, name: str) -> None:
        self.telemetry.service_failures.labels(name).inc()

    def _pipeline(
        self,
        store: CountingStore,
        audits: AuditStore,
        alerts: AlertStore,
        client: httpx.AsyncClient,
        lease: Lease,
    ) -> Sequence[Service]:
        """The services of the lease's holder. They stop in reverse order: first no new hints, then
        the inbox is counted, then the unsent changes are sent."""
        s, telemetry = self.settings, self.telemetry
        self.stream = Stream()
        publisher = make_publisher(
            s, store, client, telemetry, last_alive=lease.last_alive, on_sent=self._on_sent
        )
        evaluator, notifier = alert_services(
            s,
            alerts,
            lambda notice: publisher.announce(notice.project_id, "alert", notice.document()),
            telemetry,
        )
        self._evaluator = evaluator

        def publish(changes: Sequence[Change], *, counted: float, committed: float | None) -> None:
            publisher.publish(changes, counted=counted, committed=committed)
            evaluator.touch(change.workflow_id for change in changes)

        return [
            publisher,
            *([notifier] if notifier else []),
            evaluator,
            *counting_services(s, store, audits, self.stream, publish, publisher, telemetry),
        ]

    async def _readiness(self, database: Database, audits: AuditStore) -> Readiness:
        """The state of database, lease, stream and services.

        An API-only daemon is ready even if no daemon counts; it reports which one does.
        """
        parts = {"database": await _database_state(database)}
        lease = self._leader.lease if self._leader else None
        if self.api_only:
            parts["lease"] = "not taken: API only"
            parts["stream"] = "not listening: API only"
            if self._preparation is None or not self._preparation.done:
                parts["counting"] = "unknown"
            elif parts["database"] == "ok":
                parts["counting"] = await _counting_state(audits)
        elif lease is None:
            parts["lease"] = "unknown"
        elif not lease.held:
            parts["lease"] = f"standby for {lease.holder_name}"
            parts["stream"] = "not listening: standby"
        else:
            parts["lease"] = "held"
            up = self.stream.up_since
            if up is not None:
                now = time.monotonic()
                parts["stream"] = f"up for {now - up:.0f} s"
                if self.stream.behind(now):
                    parts["stream"] += f", {self.stream.lag(now):.0f} s behind"
            else:
                parts["stream"] = (
                    "unsubscribed: sweeps find the runs" if self.stream.unsubscribed else "down"
                )
        supervisors = [s for s in (self._supervisor, self._leader) if s is not None]
        failing = sorted({name for s in supervisors for name in s.failing})
        if failing:
            parts["services"] = "failing: " + ", ".join(failing)
        if self._evaluator is not None and self._evaluator.failing:
            parts["alerts"] = f"cannot be evaluated for {self._evaluator.failing} projects"
        if self._tenants is not None and parts["database"] == "ok":
            parts["api"] = await self._tenants.state()
        bad = {"unreachable", "unknown", "down", BROKEN} | ({OFF} if self.api_only else set())
        return Readiness(not failing and not bad & set(parts.values()), parts)


async def _standing(store: CountingStore, audits: AuditStore) -> Standing:
    """How far the counts are verified, for the dashboard's footer."""
    records = [await audits.last_audit(kind) for kind in ("cycle", "snapshot")]
    last = max((a for a in records if a is not None), key=lambda a: a.started_at, default=None)
    backfill = await store.read_checkpoint("backfill")
    return Standing(
        audited_at=last.started_at if last else None,
        drift=last.drift if last else None,
        backfilled=backfill.done,
    )


async def _counting_state(audits: AuditStore) -> str:
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            lease = (await audits.condition())["lease"]
    except Exception:
        return "unknown"
    if lease is None or not lease["running"]:
        return "no daemon counts"
    return f"{lease['holder']} counts"


async def _database_state(database: Database) -> str:
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            await database.now()
    except Exception:
        return "unreachable"
    return "ok"


def alerts_api(settings: Settings, database: Database) -> AlertsApi:
    """What the operations on alerts need."""
    return AlertsApi(
        make_seal(settings),
        make_kinds(settings, database),
        make_links(settings),
        make_consent(settings, database),
    )


def realtime_http(settings: Settings) -> httpx.AsyncClient:
    """The client of Realtime's HTTP API. Requests are sequential, so one connection suffices."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(5.0, connect=3.0),
        # Avoids a TLS handshake for the next broadcast of a quiet project; most servers close a
        # connection after an idle minute.
        limits=httpx.Limits(max_connections=10, keepalive_expiry=50.0),
        auth=KeyAuth(SecretKeys(settings.secret_keys)),
        headers={"User-Agent": f"meshmetrics/{version('meshmetrics')}"},
    )
