"""Builds the services that count and broadcast from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import httpx

from meshmetrics.auditing.auditor import Auditor
from meshmetrics.auditing.store import AuditStore
from meshmetrics.broadcast.publisher import RESEND_MARGIN, Publisher, Sent
from meshmetrics.counting.backfill import Backfill
from meshmetrics.counting.counter import Counter, Publish
from meshmetrics.counting.deep_sweeper import DeepSweeper
from meshmetrics.counting.maintainer import Maintainer
from meshmetrics.counting.open_runs import OpenRunsInspector
from meshmetrics.counting.quick_sweeper import QuickSweeper
from meshmetrics.counting.source import SourceWatch
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.sweeper import Sweeper, SweepTimes
from meshmetrics.runtime.service import Service
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings
from meshmetrics.settings.keys import SecretKeys
from meshmetrics.stream.inbox import Inbox
from meshmetrics.stream.listener import Listener
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.session import SessionTimes
from meshmetrics.stream.state import Stream


def make_publisher(
    settings: Settings,
    store: CountingStore,
    client: httpx.AsyncClient,
    telemetry: Telemetry,
    *,
    last_alive: datetime | None,
    on_sent: Callable[[Sent], None] | None,
) -> Publisher:
    """The publisher. It first sends what a daemon last alive at `last_alive` may have left."""
    s = settings
    return Publisher(
        store,
        client,
        s.supabase_url,
        telemetry,
        per_second=s.broadcasts_per_second,
        project_per_second=s.project_broadcasts_per_second,
        resend_since=last_alive and last_alive - RESEND_MARGIN,
        on_sent=on_sent,
    )


def counting_services(
    settings: Settings,
    store: CountingStore,
    audits: AuditStore,
    stream: Stream,
    publish: Publish,
    publisher: Publisher,
    telemetry: Telemetry,
) -> list[Service]:
    """The counting services in start order: those that find runs come after the one that counts
    them."""
    s = settings
    sweep_requested = asyncio.Event()

    def overflow() -> None:
        telemetry.inbox_overflows.inc()
        sweep_requested.set()

    inbox = Inbox(s.inbox_capacity, overflow)
    run_rate = RunRate(s.stream_runs_per_second if s.sweep_quick else 0)
    source = SourceWatch(store)
    counter = Counter(
        store, inbox, publish, telemetry, run_rate=run_rate, source=source, batch=s.count_batch
    )
    maintainer = Maintainer(
        store, counter, source, telemetry, interval=s.maintain_interval, batch=s.maintain_batch
    )
    open_runs = OpenRunsInspector(
        store, counter, publisher.announce, telemetry, abandoned_after=s.abandoned_after
    )
    auditor = Auditor(
        store, audits, counter, telemetry, interval=s.audit_interval, batch=s.audit_batch
    )
    backfill = Backfill(store, counter, telemetry, batch=s.backfill_batch, overlap=s.sweep_overlap)
    deep = DeepSweeper(
        store, counter, telemetry, interval=s.deep_sweep_interval, batch=s.sweep_batch
    )
    times = SweepTimes(
        shortest=s.sweep_min,
        longest=s.sweep_max,
        overlap=s.sweep_overlap,
        missed_after=s.missed_after,
        silent_after=s.silent_after,
    )
    sweeper = Sweeper(
        store,
        counter,
        inbox,
        stream,
        run_rate,
        sweep_requested,
        telemetry,
        times=times,
        batch=s.sweep_batch,
    )
    quick = QuickSweeper(
        store,
        counter,
        inbox,
        run_rate,
        stream,
        telemetry,
        interval=s.sweep_quick,
        missed_after=s.missed_after,
        batch=s.sweep_batch,
    )
    listener = Listener(
        s.supabase_url,
        SecretKeys(s.secret_keys),
        inbox,
        stream,
        run_rate,
        sweep_requested,
        telemetry,
        times=SessionTimes(
            step=s.connect_timeout,
            probe_interval=s.probe_interval,
            probe_timeout=s.probe_timeout,
        ),
        backoff_cap=s.backoff_cap,
        slot_active=store.stream_slot_active,
        on_up=publisher.retry_now,
    )
    quickly = [quick] if s.sweep_quick else []
    return [counter, maintainer, open_runs, auditor, backfill, deep, sweeper, *quickly, listener]
