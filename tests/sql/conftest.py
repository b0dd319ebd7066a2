"""What is said about SQL is said of every Postgres that Supabase runs or will run."""

from __future__ import annotations

import pytest

from meshmetrics.local.postgres_binaries import IN_WHEEL, installed_in_system

# The wheel's and the system's: Debian 12 has 15, Debian 13 has 17. Where the system has none, 15
# is not left out: its tests fail, and say what to install.
SYSTEM = [version for version in installed_in_system() if version >= 15] or [15]
VERSIONS = sorted({*IN_WHEEL, *SYSTEM}, reverse=True)


@pytest.fixture(scope="session", params=VERSIONS, ids="postgres{}".format)
def postgres_version(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version
