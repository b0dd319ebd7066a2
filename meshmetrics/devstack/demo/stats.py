"""The demo's statistics: percentiles, and how long runs take to be seen."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

MIN_RUNS = 5
"""Below so many runs a percentage says too little to stand there."""
KEPT_SAMPLES = 50_000


@dataclass(frozen=True, slots=True)
class Totals:
    """How many runs of one workflow version ended how."""

    success: int = 0
    failure: int = 0
    canceled: int = 0

    @property
    def runs(self) -> int:
        return self.success + self.failure + self.canceled


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed; None without any."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Latencies:
    """How long it takes from a run's commit to the broadcast that has it, in seconds.

    Broadcasts name no runs, but their counters are absolute: the n-th success of a workflow is
    in the first broadcast that says n successes or more. So it is with cancelations; failures are
    left out, because a failed run may be resumed, and then leaves its counter again.
    """

    def __init__(self, before: Mapping[UUID, Totals]) -> None:
        """`before`: the totals before the first of these runs."""
        self._samples: deque[tuple[float, float]] = deque(maxlen=KEPT_SAMPLES)
        self._before = before
        self._lines: dict[tuple[UUID, str], _Line] = {}

    def ended(self, workflow_id: UUID, status: str, at: float) -> None:
        """A run ended; its commit was seen at `at`, in seconds of any steady clock."""
        if status in ("succeeded", "canceled"):
            line = self._line(workflow_id, status)
            line.ended += 1
            if line.ended <= line.seen:  # the broadcast was quicker than the engine's own answer
                self._samples.append((at, 0.0))
            else:
                line.waiting.append(at)

    def observe(self, workflow_id: UUID, totals: Totals, at: float | None) -> None:
        """A broadcast with these totals arrived at `at`. None: the totals were fetched, and their
        runs are not sampled."""
        before = self._before.get(workflow_id, Totals())
        for status, count in (
            ("succeeded", totals.success - before.success),
            ("canceled", totals.canceled - before.canceled),
        ):
            line = self._line(workflow_id, status)
            while line.seen < count:
                line.seen += 1
                if line.waiting:
                    committed = line.waiting.popleft()
                    if at is not None:
                        self._samples.append((at, max(0.0, at - committed)))

    def milliseconds(self, share: float, *, since: float = -math.inf) -> float | None:
        """A percentile of those that arrived since then, to a tenth; None if none did."""
        value = percentile((delay for at, delay in self._samples if at >= since), share)
        return None if value is None else round(value * 1000, 1)

    def _line(self, workflow_id: UUID, status: str) -> _Line:
        return self._lines.setdefault((workflow_id, status), _Line(deque()))


@dataclass(slots=True)
class _Line:
    """The runs of one workflow and outcome, in the order of their ends."""

    waiting: deque[float]
    ended: int = 0
    seen: int = 0
