"""Changes as count_runs would give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from meshmetrics.counting.model import Change, Delta

MINUTE = datetime(2026, 11, 23, 12, 34, tzinfo=UTC)


def delta(minutes: int = 0, success: int = 0, failure: int = 0, canceled: int = 0) -> Delta:
    return Delta(MINUTE + timedelta(minutes=minutes), success, failure, canceled)


def change(
    revision: int,
    *deltas: Delta,
    told: bool = True,
    base: int | None = None,
    workflow_id: UUID | None = None,
    project_id: UUID | None = None,
    success: int = 0,
    failure: int = 0,
    slug: str = "nightly",
) -> Change:
    """A change to `revision` from `base` (the revision before); `told`: with deltas."""
    return Change(
        workflow_id=workflow_id or uuid4(),
        project_id=project_id or uuid4(),
        slug=slug,
        base_revision=revision - 1 if base is None else base,
        revision=revision,
        success_count=success,
        failure_count=failure,
        canceled_count=0,
        last_success_at=MINUTE if success else None,
        last_failure_at=None,
        last_updated=MINUTE + timedelta(seconds=revision, microseconds=5),
        deltas=deltas if told else None,
    )
