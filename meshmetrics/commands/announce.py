"""Broadcasts what a command changed, so that subscribers need not wait for the next run."""

from __future__ import annotations

import asyncio
from datetime import datetime

from meshmetrics.broadcast.publisher import Publisher, Sent
from meshmetrics.counting.store import CountingStore
from meshmetrics.daemon.daemon import realtime_http
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings

SECONDS = 30.0


async def announce(store: CountingStore, settings: Settings, since: datetime) -> int:
    """Broadcast the workflows counted since then; return how many Realtime accepted.

    If Realtime is unreachable, that is fewer than were counted: subscribers then notice the gap by
    the revision of the next broadcast.
    """
    workflows: set[object] = set()

    def sent(message: Sent) -> None:
        workflows.update(change.workflow_id for change in message.changes)

    async with realtime_http(settings) as client:
        publisher = Publisher(
            store,
            client,
            settings.supabase_url,
            Telemetry(),
            per_second=settings.broadcasts_per_second,
            resend_since=since,
            on_sent=sent,
        )
        publisher.stop()  # makes `run` send everything once, and return
        try:
            async with asyncio.timeout(SECONDS):
                await publisher.run()
        except TimeoutError:
            pass
    return len(workflows)
