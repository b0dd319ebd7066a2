"""A member of a project watching its rates: the official client, the user's own token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import BroadcastPayload

from meshmetrics.devstack.demo.rates import ProjectRates, totals_of
from meshmetrics.devstack.demo.stats import Totals
from meshmetrics.devstack.demo.view import ProjectTable, WorkflowRow
from meshmetrics.devstack.engine.workflows import SimulatedProject
from meshmetrics.devstack.realtime import mint
from meshmetrics.runtime.logs import describe

log = structlog.get_logger()

PATIENCE = 10.0
PAUSE = 1.0
"""Seconds between attempts to join; before each the rates are read anew."""

OnTotals = Callable[[UUID, Totals, float | None], None]


class Watcher:
    """Joins `metrics:<project_id>` and keeps that project's rates.

    It does what a dashboard does: joins first and reads then, so that nothing falls in between;
    applies what follows on what it knows, and refetches where something is missing. The client
    may lose its way when the server goes, so each session has a new one.
    """

    def __init__(
        self, project: SimulatedProject, *, url: str, jwt_secret: str, dsn: str, on_totals: OnTotals
    ) -> None:
        """`dsn`: of the API's login role. `on_totals` gets every total, with the
        arrival (by the loop's clock) of its broadcast, or None if the total was fetched."""
        self.project = project
        self.topic = f"metrics:{project.id}"
        self.rates = ProjectRates()
        self.joined = False
        self.broadcasts = 0
        """Messages received."""
        self._on_totals = on_totals
        self._url = url
        self._secret = jwt_secret
        self._dsn = dsn

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._session()
            except Exception as error:
                log.warning("demo.channel_lost", topic=self.topic, error=describe(error))
            finally:
                self.joined = False
            await asyncio.sleep(PAUSE)
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._fetch()

    def table(self) -> ProjectTable:
        """The project as its member sees it now."""
        now = datetime.now(UTC)
        rows = []
        for simulated in self.project.workflows:
            workflow = self.rates.workflows.get(simulated.slug)
            if workflow is not None:
                failed = workflow.last_failure_at
                since = None if failed is None else now - failed
                totals = workflow.within(now)
                rows.append(WorkflowRow(workflow.name, totals, tuple(workflow.latest), since))
        return ProjectTable(self.project.name, self.topic, self.joined, tuple(rows))

    async def _session(self) -> None:
        """Join, and take messages until the channel is lost."""
        arrivals: asyncio.Queue[tuple[float, dict[str, Any]] | None] = asyncio.Queue()
        clock = asyncio.get_running_loop().time

        # Called by the client, which neither awaits them nor survives what they raise.
        def take(broadcast: BroadcastPayload) -> None:
            arrivals.put_nowait((clock(), broadcast["payload"]))

        def state(state: RealtimeSubscribeStates, _error: Exception | None) -> None:
            if state != RealtimeSubscribeStates.SUBSCRIBED:
                arrivals.put_nowait(None)

        client = AsyncRealtimeClient(
            f"{self._url}/realtime/v1", mint(self._secret, "anon"), auto_reconnect=False
        )
        await client.set_auth(mint(self._secret, "authenticated", sub=str(self.project.owner)))
        channel = client.channel(
            self.topic,
            {
                "config": {
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": "", "enabled": False},
                    "private": True,
                }
            },
        )
        channel.on_broadcast("rates", take)
        try:
            async with asyncio.timeout(PATIENCE):
                await channel.subscribe(state)
                await self._fetch()
            self.joined = channel.is_joined
            while (arrived := await arrivals.get()) is not None:
                await self._take(*arrived)
        finally:
            await _close(client, channel)

    async def _take(self, at: float, message: dict[str, Any]) -> None:
        self.broadcasts += 1
        for item in message["workflows"]:
            self._on_totals(UUID(item["workflow_id"]), totals_of(item), at)
        if not self.rates.apply(message):
            await self._fetch()

    async def _fetch(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            await self.rates.fetch(connection, self.project.owner)
        finally:
            await connection.close()
        for workflow_id, version in self.rates.versions.items():
            self._on_totals(workflow_id, version.totals, None)


async def _close(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel) -> None:
    """Close the client, and the timers that it leaves running."""
    with suppress(Exception):
        async with asyncio.timeout(1):
            await client.close()
    channel.rejoin_timer.reset()
    for push in (channel.join_push, *channel.messages_waiting_for_ack.values()):
        push.destroy()
