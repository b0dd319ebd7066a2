"""What is said about SQL is said of every Postgres that Supabase runs or will run."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", params=[18, 16, 15], ids="postgres{}".format)
def postgres_version(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version
