"""Alerts said plainly: one rule, one workflow, all its runs in a list. What the SQL is held to."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
DAY = timedelta(hours=24)
BREACH = ("rate", "count", "consecutive")


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of k of n."""
    z = 1.959964
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if k == 0 else middle - reach), (1.0 if k == n else middle + reach)


@dataclass
class Rule:
    """A rule on the success rate; the defaults are those of the table."""

    threshold: float = 0.95
    window: timedelta = DAY
    window_min_runs: int = 20
    min_runs: int = 5
    method: str = "wilson"
    consecutive: int = 3
    recovery_runs: int = 10
    reopen_within: timedelta = DAY
    repeat_every: timedelta = DAY


def columns(rule: Rule) -> dict[str, Any]:
    """The same rule as columns of the table."""
    given = asdict(rule)
    for name in ("window", "reopen_within", "repeat_every"):
        given[f"{name}_seconds"] = int(given.pop(name).total_seconds())
    return given


@dataclass
class Run:
    at: datetime
    good: bool


@dataclass
class Incident:
    number: int
    cause: str
    opened_from: datetime
    opened_until: datetime
    opened: tuple[int, int]
    notified_at: datetime
    closed_at: datetime | None = None
    reason: str | None = None
    reopened: list[datetime] = field(default_factory=list)
    flapping: bool = False


@dataclass
class Alert:
    """A rule and how it stands."""

    rule: Rule
    runs: list[Run] = field(default_factory=list)
    state: str | None = None
    epoch: datetime = BEGINNING
    incident: Incident | None = None
    past: list[Incident] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def window(self, now: datetime) -> list[Run]:
        """The runs that are looked at."""
        after = sorted(
            (r for r in self.runs if r.at > self.epoch), key=lambda r: (r.at, not r.good)
        )
        inside = [r for r in after if r.at >= now - self.rule.window]
        last = after[-self.rule.window_min_runs :] if self.rule.window_min_runs else []
        return last if len(last) > len(inside) else inside

    def in_row(self, until: datetime) -> int:
        """Failures behind the last success."""
        known = [r for r in self.runs if r.at <= until]
        success = max((r.at for r in known if r.good), default=BEGINNING)
        return sum(not r.good and r.at > max(success, self.epoch) for r in known)

    def judge(self, seen: list[Run], in_row: int) -> str:
        good, n = sum(r.good for r in seen), len(seen)
        if self.rule.consecutive and in_row >= self.rule.consecutive:
            return "consecutive"
        if n < self.rule.min_runs:
            return "insufficient"
        if good / n >= self.rule.threshold:
            return "ok"
        if self.rule.method == "plain" or wilson(good, n)[1] < self.rule.threshold:
            return "rate"
        return "pending"

    def evaluate(self, now: datetime) -> None:
        """One look."""
        seen = self.window(now)
        end = max((r.at for r in self.runs), default=BEGINNING)
        verdict = self.judge(seen, self.in_row(end))
        if self.incident is None:
            if verdict in BREACH:
                self.open(now, verdict, seen, end)
            else:
                self.state = verdict
            return
        reason = self.closing(seen)
        if reason:
            if reason == "recovered":
                self.epoch = max(self.epoch, end)
            self.incident.closed_at, self.incident.reason = now, reason
            self.past.append(self.incident)
            self.incident, self.state = None, "ok"
            self.notices.append("resolved")
            return
        if not self.incident.flapping and now - self.incident.notified_at >= self.rule.repeat_every:
            self.incident.notified_at = now
            self.notices.append("reminder")
        if verdict not in BREACH:
            self.state = "recovering"
        else:
            self.state = "flapping" if self.incident.flapping else "firing"

    def open(self, now: datetime, cause: str, seen: list[Run], end: datetime) -> None:
        after = sorted(
            (r for r in self.runs if r.at > self.epoch), key=lambda r: (r.at, not r.good)
        )
        begin = min(r.at for r in [*seen, *after[-max(self.rule.consecutive, 1) :]])
        begin = min(begin, now - self.rule.window) if self.extended(now) is False else begin
        inside = [r for r in self.runs if begin <= r.at <= end and r.at > self.epoch]
        counts = sum(r.good for r in inside), sum(not r.good for r in inside)
        old = [
            i
            for i in self.past
            if i.reason == "recovered"
            and i.closed_at
            and now - i.closed_at < self.rule.reopen_within
        ]
        self.state = "firing"
        if not old:
            number = len({i.number for i in self.past}) + 1
            self.incident = Incident(number, cause, begin, end, counts, now)
            self.notices.append("opened")
            return
        it = self.incident = max(old, key=lambda i: i.closed_at or BEGINNING)
        self.past.remove(it)
        recent = [t for t in it.reopened if now - t < DAY]
        still = it.flapping and bool(recent)
        it.flapping = still or len(recent) >= 2
        self.notices.append("flapping" if it.flapping and not still else "reopened")
        it.cause, it.closed_at, it.reason, it.notified_at = cause, None, None, now
        it.opened_from, it.opened_until, it.opened = begin, end, counts
        it.reopened = [*recent, now]
        if it.flapping:
            self.state = "flapping"

    def extended(self, now: datetime) -> bool:
        return any(r.at < now - self.rule.window for r in self.window(now))

    def closing(self, seen: list[Run]) -> str | None:
        it, rule = self.incident, self.rule
        assert it is not None
        then = [
            r for r in self.runs if it.opened_from <= r.at <= it.opened_until and r.at > self.epoch
        ]
        counts = sum(r.good for r in then), sum(not r.good for r in then)
        if counts != it.opened and self.judge(then, self.in_row(it.opened_until)) not in BREACH:
            return "corrected"
        since = [r for r in self.runs if r.at > it.opened_until]
        good = sum(r.good for r in since)
        share = sum(r.good for r in seen) / len(seen) if seen else 0
        if min(len(seen), len(since)) >= rule.min_runs and share >= (1 + rule.threshold) / 2:
            return "recovered"
        failure = max((r.at for r in self.runs if not r.good), default=BEGINNING)
        row = sum(r.good and r.at > max(failure, it.opened_until) for r in self.runs)
        if row >= rule.recovery_runs and good / len(since) >= rule.threshold:
            return "recovered"
        return None
