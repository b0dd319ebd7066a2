"""What the demo shows at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from meshmetrics.devstack.demo.daemon import DaemonFigures
from meshmetrics.devstack.demo.receiver import Received
from meshmetrics.devstack.demo.stats import Totals


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """One workflow, over the last 24 hours."""

    name: str
    totals: Totals
    latest: tuple[str, ...]
    """Its last outcomes, the newest last."""
    since_failure: timedelta | None


@dataclass(frozen=True, slots=True)
class ProjectTable:
    """One project, as its member sees it."""

    name: str
    topic: str
    joined: bool
    rows: tuple[WorkflowRow, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    postgres: str
    """The DSN."""
    realtime: str
    daemon: str
    log: str
    webhooks: str = ""
    """The log of received webhooks."""


@dataclass(frozen=True, slots=True)
class Alerting:
    """A workflow that breaks and recovers, its rule, and the notices its webhook got."""

    workflow: str
    rule: str
    broken: bool
    turns_in: float
    """Seconds until it breaks or recovers."""
    received: tuple[Received, ...] = ()
    """The latest notices, newest last."""
    count: int = 0
    """All notices received."""


@dataclass(frozen=True, slots=True)
class View:
    """Runs are those of the engine since the demo began; times are in seconds."""

    elapsed: float
    places: Places
    projects: tuple[ProjectTable, ...]
    finished: int = 0
    counted: int = 0
    shown: int = 0
    """How many the subscribers have."""
    per_second: float = 0.0
    broadcasts: int = 0
    p50: float | None = None
    """Milliseconds from commit to broadcast, over the last minute."""
    p99: float | None = None
    realtime_up: bool = True
    daemon: DaemonFigures = field(default_factory=DaemonFigures)
    since_sweep: float | None = None
    """Since the last full sweep; quick sweeps run too often to show."""
    drift: int | None = None
    """What the last audit found wrong; None before the first."""
    since_audit: float = 0.0
    alerting: Alerting | None = None
    keys: bool = False
    note: str = ""
    """What the demo waits for, if anything."""
