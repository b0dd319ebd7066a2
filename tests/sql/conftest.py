"""What is said about SQL is said of every Postgres that Supabase runs or will run."""

from __future__ import annotations

import pytest

from tests.support.databases import EVERY_VERSION


@pytest.fixture(scope="session", params=EVERY_VERSION)
def postgres_version(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version
