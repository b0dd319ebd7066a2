"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 1.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these tasks and wait until all have ended; their errors are left to the caller.

    A cancellation can be lost: if cleaning up raises another error (closing a connection whose
    statement was cancelled can), a loop that survives errors goes on and never ends. So each task
    is cancelled again until it has ended.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
