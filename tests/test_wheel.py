"""`pip install .` brings the dashboard, or says what it lacks to build it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hatch_build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def copy_of_the_tree(directory: Path) -> Path:
    """What git would hand over, with the dashboard's packages so that none are fetched."""
    tree = directory / "tree"
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    (tree / "dashboard" / "node_modules").symlink_to(ROOT / "dashboard" / "node_modules")
    return tree


@pytest.mark.timeout(240)
def test_a_wheel_of_a_fresh_tree_holds_the_dashboard_and_the_sql(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "meshmetrics/_dashboard/index.html" in names
    assert "meshmetrics/_sql/migrations/0001_core.sql" in names
    assert hatch_build.up_to_date(tree)
    later = (tree / "meshmetrics/_dashboard/index.html").stat().st_mtime + 10
    os.utime(tree / "dashboard/vite.config.ts", (later, later))
    assert not hatch_build.up_to_date(tree)


def test_without_node_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(hatch_build.DashboardError, match=r"without Node: install Node 22\.17"):
        hatch_build.find_node({"PATH": str(tmp_path)})
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v20.1.0\n")
    old.chmod(0o755)
    with pytest.raises(hatch_build.DashboardError, match=r"with Node v20\.1\.0: install Node"):
        hatch_build.find_node({"PATH": str(tmp_path)})
