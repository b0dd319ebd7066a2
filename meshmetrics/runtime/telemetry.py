"""Every Prometheus metric. Each daemon has its own registry."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
MAX_STATUSES = 20
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
        self.stream_lag = self._gauge(
            "stream_lag_seconds", "From a change's commit to the arrival of its event, last seen"
        )
        self.stream_left = self._gauge(
            "stream_left", "1 while more runs finish than Realtime can carry, and sweeps find them"
        )
        self.stream_sessions = self._counter("stream_sessions", "Realtime sessions started")
        self.stream_lost = self._counter("stream_lost", "Realtime sessions lost", "reason")
        self.events = self._counter("events_received", "Events received from Realtime")
        self.odd_events = self._counter(
            "events_odd", "Frames and events that could not be parsed", "kind"
        )
        self.last_event = self._gauge("last_event_timestamp_seconds", "When the last event arrived")

        # Counting
        self.inbox_size = self._gauge("inbox_runs", "Runs waiting to be counted")
        self.inbox_overflows = self._counter(
            "inbox_overflows", "Times that the inbox was full; the next sweep finds those runs"
        )
        self.runs_counted = self._counter(
            "runs_counted", "Runs counted, or counted again with another outcome", "source"
        )
        self.runs_set_aside = self._counter("runs_set_aside", "Runs that could not be counted")
        self.count_seconds = self._histogram("count_seconds", "Duration of one count", FAST)
        self.count_batch = self._histogram("count_batch_runs", "Runs in one count", SIZES)
        self.count_failures = self._counter("count_failures", "Failed counts", "kind")
        self.received_to_counted = self._histogram(
            "received_to_counted_seconds",
            "From an event's arrival to the commit that counts its run",
            FAST,
        )

        # Open runs
        self.open_runs = self._gauge("open_runs", "Open runs")
        self.overdue_runs = self._gauge("overdue_runs", "Open runs past their workflow's deadline")
        self.abandoned_runs = self._gauge(
            "abandoned_runs", "Runs that the engine abandoned, counted as failures"
        )
        self.unknown_status_runs = self._gauge(
            "unknown_status_runs", "Runs with a status that is mapped to no outcome", "status"
        )
        self.open_runs_seconds = self._histogram(
            "open_runs_seconds", "Duration of one check of all open runs", FAST
        )

        # Sweeping
        self.sweeps = self._counter("sweeps", "Sweeps finished", "kind")
        self.sweep_seconds = self._histogram("sweep_seconds", "Duration of one sweep", FAST)
        self.sweep_pause = self._gauge("sweep_pause_seconds", "Current pause between sweeps")
        self.found_missed = self._counter(
            "sweep_found_missed", "Runs that a sweep found and no event announced"
        )
        self.backfilled = self._counter("backfill_scanned", "Rows that the back-fill read")
        self.backfill_done = self._gauge("backfill_done", "1 once all older runs are counted")
        self.pruned_buckets = self._counter(
            "pruned_buckets", "Buckets deleted after their retention"
        )
        self.retired_runs = self._counter("retired_runs", "Ledger rows whose run was deleted")

        # Auditing
        self.drift = self._gauge(
            "drift", "Differences found by the last audit, without pending ones", "kind"
        )
        self.set_aside = self._gauge("set_aside_runs", "Runs set aside now")
        self.audit_seconds = self._gauge("audit_seconds", "Duration of the last audit")
        self.last_audit = self._gauge(
            "last_audit_timestamp_seconds", "When the last finished audit began"
        )

        # Broadcasting
        self.broadcast_messages = self._counter("broadcast_messages", "Messages sent to Realtime")
        self.broadcast_requests = self._counter(
            "broadcast_requests", "Requests to send messages", "result"
        )
        self.broadcast_dropped = self._counter(
            "broadcast_dropped", "Changes given up after Realtime refused them"
        )
        self.broadcast_pending = self._gauge(
            "broadcast_pending_projects", "Projects with changes still to be sent"
        )
        self.broadcast_rate = self._gauge("broadcast_rate", "Current limit of messages per second")
        self.counted_to_broadcast = self._histogram(
            "counted_to_broadcast_seconds",
            "From a count's commit to Realtime accepting its message",
            FAST,
        )
        self.commit_to_broadcast = self._histogram(
            "commit_to_broadcast_seconds",
            "From a run's commit (database clock) to Realtime accepting its message",
            FAST,
        )

        # Alerts
        self.alert_round_seconds = self._histogram(
            "alert_round_seconds", "Duration of one evaluation of alert rules", FAST
        )
        self.alert_evaluations = self._counter(
            "alert_evaluations", "Evaluations of a rule for a workflow"
        )
        self.alert_notices = self._counter("alert_notices", "Notices queued", "kind")
        self.alert_projects_failing = self._gauge(
            "alert_projects_failing", "Projects whose alert rules cannot be evaluated"
        )
        self.alert_deliveries = self._counter(
            "alert_deliveries", "Delivery attempts", "channel", "result"
        )
        self.alert_delivery_seconds = self._histogram(
            "alert_delivery_seconds", "Duration of one delivery attempt", FAST
        )

        # The REST API
        self.http_seconds = self._histogram(
            "http_request_seconds", "Duration of one request", FAST, "method", "route", "status"
        )
        self.http_in_flight = self._gauge("http_requests_in_flight", "Requests in progress")
        self.http_errors = self._counter(
            "http_errors", "Requests answered with a server error", "route"
        )

        # The process
        self.lease_held = self._gauge("lease_held", "1 while this daemon holds the lease")
        self.service_failures = self._counter(
            "service_failures", "Failed services; each is restarted", "service"
        )

    def set_unknown_statuses(self, runs: Mapping[str, int]) -> None:
        """Set the runs of each unknown status. The rarest share one series, because the engine
        chooses the statuses, and must not decide the number of series."""
        self.unknown_status_runs.clear()
        by_count = sorted(runs.items(), key=lambda item: (-item[1], item[0]))
        for status, count in by_count[:MAX_STATUSES]:
            self.unknown_status_runs.labels(status[:100]).inc(count)
        if rest := sum(count for _, count in by_count[MAX_STATUSES:]):
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
