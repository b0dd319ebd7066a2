"""Every Prometheus metric, in one place. Each daemon has its own registry."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
MOST_STATUSES = 20
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Telemetry:
    """The metrics of one daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        # The stream
        self.stream_up = self._gauge("stream_up", "1 while changes are flowing from Realtime")
        self.stream_left = self._gauge(
            "stream_left", "1 while runs end too fast for Realtime, and sweeps find them alone"
        )
        self.stream_sessions = self._counter("stream_sessions", "Realtime sessions that came up")
        self.stream_lost = self._counter("stream_lost", "Realtime sessions that ended", "reason")
        self.events = self._counter("events_received", "Events taken from the stream")
        self.odd_events = self._counter(
            "events_odd", "Frames and events that could not be understood", "kind"
        )
        self.last_event = self._gauge("last_event_timestamp_seconds", "When the last event came")

        # Counting
        self.inbox_size = self._gauge("inbox_runs", "Runs waiting to be counted")
        self.inbox_overflows = self._counter("inbox_overflows", "Hints left to the next sweep")
        self.runs_counted = self._counter(
            "runs_counted", "Runs whose place in the counters changed", "source"
        )
        self.runs_set_aside = self._counter("runs_set_aside", "Runs that could not be counted")
        self.count_seconds = self._histogram("count_seconds", "Time of one count", FAST)
        self.count_batch = self._histogram("count_batch_runs", "Runs in one count", SIZES)
        self.count_failures = self._counter("count_failures", "Counts that failed", "kind")
        self.received_to_counted = self._histogram(
            "received_to_counted_seconds", "From an event's arrival to its commit as counted", FAST
        )

        # Open runs
        self.open_runs = self._gauge("open_runs", "Runs that have not ended")
        self.overdue_runs = self._gauge(
            "overdue_runs", "Open runs that are open for longer than their workflow's deadline"
        )
        self.abandoned_runs = self._gauge(
            "abandoned_runs", "Runs that the engine left open for good, counted as failures"
        )
        self.unknown_status_runs = self._gauge(
            "unknown_status_runs", "Runs whose status no outcome is mapped to", "status"
        )
        self.open_runs_seconds = self._histogram(
            "open_runs_seconds", "Time of looking through all open runs once", FAST
        )

        # Sweeping
        self.sweeps = self._counter("sweeps", "Sweeps finished", "kind")
        self.sweep_seconds = self._histogram("sweep_seconds", "Time of one sweep", FAST)
        self.sweep_pause = self._gauge("sweep_pause_seconds", "Present pause between sweeps")
        self.found_missed = self._counter(
            "sweep_found_missed", "Runs that a sweep counted and no event announced"
        )
        self.backfilled = self._counter("backfill_scanned", "Rows the back-fill looked at")
        self.backfill_done = self._gauge("backfill_done", "1 once all older runs are counted")
        self.pruned_buckets = self._counter("pruned_buckets", "Buckets that aged out")
        self.retired_runs = self._counter("retired_runs", "Ledger rows whose run is gone")

        # Auditing
        self.drift = self._gauge(
            "drift", "Differences that the last audit found and that were not pending", "kind"
        )
        self.set_aside = self._gauge("set_aside_runs", "Runs that cannot be counted at present")
        self.audit_seconds = self._gauge("audit_seconds", "How long the last audit took")
        self.last_audit = self._gauge(
            "last_audit_timestamp_seconds", "When the last finished audit began"
        )

        # Broadcasting
        self.broadcast_messages = self._counter("broadcast_messages", "Messages sent to Realtime")
        self.broadcast_requests = self._counter(
            "broadcast_requests", "Requests to send messages", "result"
        )
        self.broadcast_dropped = self._counter(
            "broadcast_dropped", "Changes that could not be sent and were given up"
        )
        self.broadcast_pending = self._gauge("broadcast_pending_projects", "Projects waiting")
        self.broadcast_rate = self._gauge("broadcast_rate", "Messages a second allowed at present")
        self.counted_to_broadcast = self._histogram(
            "counted_to_broadcast_seconds", "From a change's commit to Realtime having it", FAST
        )
        self.commit_to_broadcast = self._histogram(
            "commit_to_broadcast_seconds",
            "From a run's commit (database clock) to Realtime having its change",
            FAST,
        )

        # Alerts
        self.alert_round_seconds = self._histogram(
            "alert_round_seconds", "Time of one look at the alert rules", FAST
        )
        self.alert_evaluations = self._counter(
            "alert_evaluations", "Alert rules looked at, times workflows"
        )
        self.alert_notices = self._counter("alert_notices", "Notices to be told", "kind")
        self.alert_deliveries = self._counter(
            "alert_deliveries", "Attempts to deliver a message", "channel", "result"
        )
        self.alert_delivery_seconds = self._histogram(
            "alert_delivery_seconds", "Time of one attempt to deliver", FAST
        )

        # The REST API
        self.http_seconds = self._histogram(
            "http_request_seconds", "Time of one request", FAST, "method", "route", "status"
        )
        self.http_in_flight = self._gauge("http_requests_in_flight", "Requests being answered")
        self.http_errors = self._counter(
            "http_errors", "Requests that failed through no fault of the caller's", "route"
        )

        # The process
        self.lease_held = self._gauge("lease_held", "1 while this daemon is the one that works")
        self.service_failures = self._counter("service_failures", "Services that failed", "service")

    def set_unknown_statuses(self, runs: Mapping[str, int]) -> None:
        """The runs of each unknown status. Those of the fewest runs are one series together: the
        engine's tenants choose statuses, and must not choose how many series there are."""
        self.unknown_status_runs.clear()
        most = sorted(runs.items(), key=lambda item: (-item[1], item[0]))
        for status, count in most[:MOST_STATUSES]:
            self.unknown_status_runs.labels(status[:100]).inc(count)
        if rest := sum(count for _, count in most[MOST_STATUSES:]):
            self.unknown_status_runs.labels("other").inc(rest)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"meshmetrics_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"meshmetrics_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"meshmetrics_{name}", text, labels, buckets=buckets, registry=self.registry
        )
