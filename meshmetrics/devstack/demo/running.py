"""The demo while it runs: the engine, the members who watch, and the figures of both."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from meshmetrics.auditing.model import Difference
from meshmetrics.auditing.store import AuditStore
from meshmetrics.database.store import Database
from meshmetrics.devstack.demo.alerts import RULE_SAYS, make_rule
from meshmetrics.devstack.demo.daemon import DaemonFigures
from meshmetrics.devstack.demo.stack import Stack
from meshmetrics.devstack.demo.stats import Latencies
from meshmetrics.devstack.demo.view import Alerting, Places, View
from meshmetrics.devstack.demo.watch import Watcher
from meshmetrics.devstack.engine.engine import BREAK_PERIOD, Ended, Engine
from meshmetrics.devstack.realtime import mint

REFRESH_SECONDS = 1.0
AUDIT_SECONDS = 10.0
SETTLE_SECONDS = 40.0
"""How long counting may take to catch up with a stopped engine: more than the longest pause
between sweeps, so that nothing is called drift that was merely on its way."""
SHOWN_SECONDS = 3.0
"""How long the last broadcasts may take once all is counted."""
RATE_SECONDS = 10.0
DELAY_SECONDS = 60.0
"""What the speeds and delays on the screen are about; the end's are about all."""


@dataclass(frozen=True, slots=True)
class Result:
    """The final figures."""

    finished: int
    left_open: int
    counted: int
    drift: int
    broadcasts: int
    p50: float | None
    p99: float | None

    def as_json(self) -> dict[str, Any]:
        """Times in milliseconds; null where no run was broadcast."""
        return {
            "runs_finished": self.finished,
            "runs_left_open": self.left_open,
            "runs_counted": self.counted,
            "drift": self.drift,
            "broadcasts": self.broadcasts,
            "commit_to_broadcast_ms": {"p50": self.p50, "p99": self.p99},
        }


class Running:
    """One demo. The counts are of runs that the engine ended, without its past."""

    def __init__(
        self, stack: Stack, *, seed: int, rate: float, break_period: timedelta = BREAK_PERIOD
    ) -> None:
        self.stack = stack
        self.engine = Engine(
            stack.postgres.dsn(),
            seed=seed,
            rate=rate,
            break_period=break_period,
            on_ended=self._ended,
        )
        self.past = sum(totals.runs for totals in stack.before.values())
        self.realtime_up = True
        self._latencies = Latencies(stack.before)
        self.watchers = [
            Watcher(
                project,
                url=stack.realtime.url,
                jwt_secret=stack.jwt_secret,
                dsn=stack.api_dsn,
                on_totals=self._latencies.observe,
            )
            for project in self.engine.projects
        ]
        self._watched, self._owner = next(
            (w, p) for p in self.engine.projects for w in p.workflows if w.breaks
        )
        self.counted = -self.past
        self.daemon = DaemonFigures()
        self._clock = asyncio.get_running_loop().time
        self._began: float | None = None
        self._broadcasts_before = 0
        self._swept_at: float | None = None
        self._audited: tuple[float, int] | None = None
        self._pace: deque[tuple[float, int]] = deque()

    @property
    def elapsed(self) -> float:
        """Seconds since the engine began."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def _at_an_end(self) -> int:
        """How many runs finished or were left open for good: what is to be counted."""
        return self.engine.finished + self.engine.left_open

    @property
    def shown(self) -> int:
        """How many runs the members' screens have."""
        return max(0, sum(watcher.rates.counted for watcher in self.watchers) - self.past)

    @property
    def broadcasts(self) -> int:
        """How many messages the members got since the engine began."""
        return sum(watcher.broadcasts for watcher in self.watchers) - self._broadcasts_before

    async def watch_what_breaks(self) -> None:
        """Make the rule on the workflow that breaks, and its webhook. Raises AlertsFailedError."""
        await make_rule(
            self.stack.daemon.url,
            mint(self.stack.jwt_secret, "authenticated", sub=str(self._owner.owner)),
            self._owner.id,
            self._watched.slug,
            self.stack.receiver,
        )

    async def run_engine(self, stop: asyncio.Event) -> None:
        """Run the engine until `stop`."""
        self._broadcasts_before = self.broadcasts
        self._began = self._clock()
        await self.engine.run(stop)

    async def keep_refreshing(self) -> None:
        """Refresh the daemon's figures every second, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    async def count(self) -> None:
        """Read the counters."""
        self.counted = await self.stack.counted() - self.past

    async def refresh(self) -> None:
        """Read the daemon's metrics."""
        figures = await self.stack.daemon.figures()
        if figures is not None:
            if figures.sweeps != self.daemon.sweeps:
                self._swept_at = self._clock()
            self.daemon = figures

    async def keep_auditing(self) -> None:
        """Audit every ten seconds, until cancelled."""
        while True:
            wrong = [d for d in await self._audit() if not d.pending]
            self._audited = (self._clock(), len(wrong))
            await asyncio.sleep(AUDIT_SECONDS)

    async def toggle_realtime(self) -> None:
        """Stop Realtime, or start it again."""
        if self.realtime_up:
            self.realtime_up = False
            await self.stack.realtime.stop()
        else:
            await self.stack.realtime.start()
            self.realtime_up = True

    async def settle(self, give_up: asyncio.Event, waiting: Callable[[int], None]) -> None:
        """With the engine stopped: wait until nothing is pending and all of it was broadcast, for
        three quarters of a minute at most. `waiting` is called with the number of pending runs."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while pending := sum(d.pending for d in await self._audit()):
                    waiting(pending)
                    if give_up.is_set():
                        return
                    await asyncio.sleep(0.2)
                # Runs whose step failed a moment ago are abandoned some seconds later.
                while self.counted < self._at_an_end:
                    waiting(self._at_an_end - self.counted)
                    if give_up.is_set():
                        return
                    await asyncio.sleep(0.2)
                    await self.count()
            await self.count()
            async with asyncio.timeout(SHOWN_SECONDS):
                while self.realtime_up and self.shown != self.counted:
                    if give_up.is_set():
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return

    async def result(self) -> Result:
        """Stop the daemon, so that nothing changes any more, and return the final figures.

        `drift`: the differences that an audit finds, pending or not, plus the difference between
        the counters and the runs that the engine ended. Runs set aside are not drift: they must
        not be counted.
        """
        await self.stack.daemon.stop()
        differences = await self._audit()
        counted = await self.stack.counted() - self.past
        return Result(
            finished=self.engine.finished,
            left_open=self.engine.left_open,
            counted=counted,
            drift=len(differences) + abs(self._at_an_end - counted),
            broadcasts=self.broadcasts,
            p50=self._latencies.milliseconds(0.5),
            p99=self._latencies.milliseconds(0.99),
        )

    def view(self, *, keys: bool = False, note: str = "") -> View:
        """What the display shows now."""
        now, stack = self._clock(), self.stack
        self._pace.append((now, self._at_an_end))
        while now - self._pace[0][0] > RATE_SECONDS:
            self._pace.popleft()
        since, finished = self._pace[0]
        audited_at, drift = self._audited or (now, None)
        return View(
            elapsed=self.elapsed,
            places=Places(
                stack.postgres.dsn(),
                stack.realtime.url,
                stack.daemon.url,
                str(stack.daemon.log),
                str(stack.receiver.log),
            ),
            projects=tuple(watcher.table() for watcher in self.watchers),
            finished=self._at_an_end,
            counted=max(0, self.counted),
            shown=self.shown,
            per_second=(self._at_an_end - finished) / (now - since) if now > since else 0.0,
            broadcasts=self.broadcasts,
            p50=self._latencies.milliseconds(0.5, since=now - DELAY_SECONDS),
            p99=self._latencies.milliseconds(0.99, since=now - DELAY_SECONDS),
            realtime_up=self.realtime_up,
            daemon=self.daemon,
            since_sweep=None if self._swept_at is None else now - self._swept_at,
            drift=drift,
            since_audit=now - audited_at,
            alerting=Alerting(
                self._watched.name,
                RULE_SAYS,
                self.engine.broken,
                self.engine.turns_in,
                tuple(stack.receiver.received),
                stack.receiver.count,
            ),
            keys=keys,
            note=note,
        )

    async def _audit(self) -> list[Difference]:
        """What differs, without runs that are set aside, read as the daemon's role."""
        async with asyncpg.create_pool(self.stack.daemon_dsn, min_size=0, max_size=1) as pool:
            differences = await AuditStore(Database(pool)).audit()
        return [d for d in differences if d.kind != "set_aside"]

    def _ended(self, ended: Ended) -> None:
        self._latencies.ended(ended.workflow_id, ended.status, ended.committed_at)
