"""Runs the pipeline while this daemon holds the lease; otherwise the daemon is a standby."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import uuid4

import structlog

from meshmetrics.daemon.lease import Lease, LeaseStore
from meshmetrics.database.errors import is_transient, remedy
from meshmetrics.runtime.logs import describe
from meshmetrics.runtime.service import Service, Supervisor
from meshmetrics.runtime.telemetry import Telemetry

log = structlog.get_logger()

POLL_SECONDS = 0.8
RELEASE_SECONDS = 0.5


class Leader(Service):
    """Takes the lease, runs the services of `build` while it holds it, and releases it.

    A holder that cannot renew stops its pipeline when its lease expires, because a standby may have
    taken it by then. Two holders for a moment are harmless.
    """

    name = "leader"

    def __init__(
        self,
        store: LeaseStore,
        build: Callable[[Lease], Sequence[Service]],
        telemetry: Telemetry,
        *,
        prepare: Callable[[Service], Awaitable[None]],
        ttl: float,
        drain_seconds: float,
    ) -> None:
        """`ttl` and `drain_seconds`: in seconds. `prepare` returns when the database is ready, or
        when the service passed to it is stopping. `build` makes new services each time."""
        super().__init__()
        self._store = store
        self._build = build
        self._prepare = prepare
        self._telemetry = telemetry
        self._ttl = ttl
        self._pipeline_drain = max(0.5, drain_seconds - RELEASE_SECONDS - 0.2)
        self.drain_seconds = drain_seconds
        self._holder = uuid4()
        self._holder_name = f"{socket.gethostname()}:{os.getpid()}"
        self.lease: Lease | None = None
        """As last read; None before the first read, and while the database is unreachable."""
        self._supervisor: Supervisor | None = None

    @property
    def failing(self) -> frozenset[str]:
        """Services of the pipeline that failed recently."""
        return frozenset(self._supervisor.failing if self._supervisor else ())

    async def run(self) -> None:
        """Work or be a standby until stopped."""
        self.started.set()
        await self._prepare(self)
        holder_name = None
        while not self.stopping.is_set():
            requested_at = time.monotonic()
            lease = await self._take()
            if lease is not None and lease.held:
                await self._work(lease, requested_at + self._ttl)
                holder_name = None
                continue
            if lease is not None and lease.holder_name != holder_name:
                holder_name = lease.holder_name
                log.info("lease.standby", holder=holder_name)
            await self.pause(min(POLL_SECONDS, self._ttl / 3))

    async def _take(self) -> Lease | None:
        """Take or renew the lease; None if the database is unreachable."""
        try:
            async with asyncio.timeout(self._ttl / 2):
                self.lease = await self._store.take_lease(
                    self._holder, self._holder_name, timedelta(seconds=self._ttl)
                )
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("lease.unreachable", error=describe(error))
            self.lease = None
        return self.lease

    async def _work(self, lease: Lease, expires: float) -> None:
        log.info("lease.taken", last_alive=lease.last_alive)
        self._telemetry.lease_held.set(1)
        lost = asyncio.Event()
        renewing = asyncio.create_task(self._renew(expires, lost))
        self._supervisor = Supervisor(
            self._build(lease),
            drain_seconds=self._pipeline_drain,
            on_failure=lambda name: self._telemetry.service_failures.labels(name).inc(),
            is_transient=is_transient,
            remedy=remedy,
        )
        try:
            await self._supervisor.run(lost)
        finally:
            self._supervisor = None
            self._telemetry.lease_held.set(0)
            renewing.cancel()
            await asyncio.wait({renewing})
            await self._release()
        if not renewing.cancelled() and (error := renewing.exception()) is not None:
            raise error

    async def _renew(self, expires: float, lost: asyncio.Event) -> None:
        """Renew the lease until stopped or lost, then set `lost`."""
        try:
            while not await self.pause(self._ttl / 4):
                requested_at = time.monotonic()
                lease = await self._take()
                if lease is not None and lease.held:
                    expires = requested_at + self._ttl
                elif lease is not None or time.monotonic() >= expires - self._ttl / 4:
                    log.warning("lease.lost", holder=lease.holder_name if lease else None)
                    return
        finally:
            lost.set()

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._store.release_lease(self._holder)
        except Exception as error:
            log.warning("lease.not_released", error=describe(error))
        else:
            log.info("lease.released")
