from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devstack.demo.process import Demo


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Not pytest's own directory: the user that Postgres runs as could not get into it.
    with tempfile.TemporaryDirectory(prefix="demo-test-") as outer:
        Path(outer).chmod(0o755)
        directory = Path(outer) / "tmp"
        directory.mkdir(mode=0o755)
        demo = Demo(directory)
        yield demo
        if demo.process is not None and demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
        shutil.rmtree(directory, ignore_errors=True)
