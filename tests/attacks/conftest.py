"""Two tenants: A attacks, B is to notice nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.api.conftest import ApiOptions, client, count, options, project, service, workflow
from tests.support import Project, make_project

__all__ = ["ApiOptions", "client", "count", "options", "project", "service", "workflow"]

NOISE_SECONDS = 0.05
"""What the machine adds to a figure of milliseconds by itself: everything runs in one process."""


@pytest.fixture
async def a(owner: asyncpg.Connection) -> Project:
    """The attacker's project."""
    return await make_project(owner)


@pytest.fixture
async def b(owner: asyncpg.Connection) -> Project:
    """Somebody else's."""
    return await make_project(owner)


async def figure(call: Callable[[], Awaitable[object]], times: int = 7) -> float:
    """How many seconds a call takes: the median."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def assert_unharmed(quiet: float, attacked: float) -> None:
    """B's figure under attack is at most twice its quiet one."""
    assert attacked <= 2 * quiet + NOISE_SECONDS, f"{quiet * 1000:.1f} → {attacked * 1000:.1f} ms"
