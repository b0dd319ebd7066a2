"""The typed client is made of the committed OpenAPI document."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NPM = Path(__file__).resolve().parents[2] / ".ci" / "npm"


def test_the_types_of_the_api_are_those_of_the_document() -> None:
    """`.ci/npm run api` writes them anew."""
    told = subprocess.run(
        [NPM, "run", "--silent", "api", "--", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
