"""What the documents say is what the code does."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from meshmetrics.settings import settings_table
from meshmetrics.telemetry import Telemetry

ROOT = Path(__file__).resolve().parent.parent
# An event is the first argument of a log call: two words, a dot between them.
EVENT = re.compile(
    r"\blog\.(?:debug|info|warning|error|exception|critical)\(\s*\"([a-z_]+\.[a-z_]+)\""
)
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if ".venv" not in path.parts
)


def hold(path: Path, name: str, table: str) -> None:
    """The part of `path` between the marks of that name is `table`."""
    part = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    text = path.read_text()
    fresh = part.sub(lambda m: f"{m[1]}{table}\n{m[2]}", text)
    assert table in fresh, f"{path.name} has no marks for {name}"
    if os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN"):
        path.write_text(fresh)
    assert path.read_text() == fresh


def test_the_readme_lists_every_setting() -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes the table anew."""
    hold(ROOT / "README.md", "settings", settings_table())


def test_operations_names_every_event_that_is_logged_and_no_other() -> None:
    logged = {
        name
        for path in (ROOT / "meshmetrics").rglob("*.py")
        if "local" not in path.parts
        for name in EVENT.findall(path.read_text())
    }
    assert "stream.session_started" in logged
    documented = set(
        re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", (ROOT / "docs/operations.md").read_text(), re.M)
    )
    assert documented == logged


def test_operations_lists_every_metric() -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes the table anew."""
    rows = ["| metric | type | what it is |", "|---|---|---|"]
    for family in Telemetry().registry.collect():
        if family.name.startswith("meshmetrics_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            rows.append(f"| `{name}` | {family.type} | {family.documentation} |")
    assert len(rows) > 20
    hold(ROOT / "docs/operations.md", "metrics", "\n".join(rows))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text())
    assert [t for t in targets if not (path.parent / t).exists()] == []
