"""The types of the dashboard's API client match the committed OpenAPI document."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NPM = Path(__file__).resolve().parents[2] / ".ci" / "npm"


def test_the_generated_types_match_the_document() -> None:
    """`.ci/npm run api` regenerates them."""
    check = subprocess.run(
        [NPM, "run", "--silent", "api", "--", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
