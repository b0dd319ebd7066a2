"""The receipt of a period: counts and hashes that anyone can compute from MeshHook's tables alone.

docs/verify-yourself.md says how.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meshmetrics.auditing.store import AuditStore
from meshmetrics.commands.connecting import CommandError

PERIOD = timedelta(days=30)
SETTLED = timedelta(minutes=1)
"""What ended longer ago is counted."""


async def write_receipt(
    audits: AuditStore, path: Path, from_at: datetime | None, to_at: datetime | None
) -> int:
    """Write the receipt of a period to a file; return the number of runs in it.

    Times without an offset are UTC. Without `to_at` the period ends a minute ago, at a full
    minute; without `from_at` it begins 30 days before its end.

    Raises CommandError where the period is empty or the file cannot be written.
    """
    now = await audits.database.now()
    end = _aware(to_at) if to_at else (now - SETTLED).replace(second=0, microsecond=0)
    begin = _aware(from_at) if from_at else end - PERIOD
    if begin >= end:
        raise CommandError("the period of the receipt is empty", "let --from be before --to")
    receipt = await audits.receipt(begin, end)
    try:
        await asyncio.to_thread(path.write_text, json.dumps(receipt, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise CommandError(
            f"the receipt cannot be written ({error.strerror})", "correct the path of --receipt"
        ) from error
    return sum(w["success"] + w["failure"] + w["canceled"] for w in receipt["workflows"])


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
