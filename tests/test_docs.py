"""What the documents say is what the code does."""

from __future__ import annotations

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings
from meshmetrics.settings.load import settings_table, variable

ROOT = Path(__file__).resolve().parent.parent
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


@pytest.mark.generates
def test_the_readme_lists_every_setting() -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes the table anew."""
    hold(ROOT / "README.md", "settings", settings_table())


def test_docker_compose_publishes_to_this_machine_what_the_readme_tells_to_open() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    port = str(Settings.model_fields["http_port"].default)
    assert f'ports: ["${{PUBLISH_ADDRESS:-127.0.0.1:{port}}}:{port}"]' in compose
    assert f'MESHMETRICS_HTTP_PORT: "{port}"' in compose
    assert set(re.findall(r"\b\d{4,5}\b", compose.replace("nofile: 4096", ""))) == {port}
    assert f"Open `http://localhost:{port}/`" in (ROOT / "README.md").read_text()
    assert f"EXPOSE {port}" in (ROOT / "Dockerfile").read_text()


def test_the_example_and_the_readme_name_the_settings_that_make_everything_work() -> None:
    """Sign-in included; under the names of today."""
    needed = {
        variable(name, field)
        for name, field in Settings.model_fields.items()
        if field.is_required()
    } | {"SUPABASE_PUBLISHABLE_KEY"}
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", example, re.M)) == needed
    steps = (
        (ROOT / "README.md").read_text().split("## Run it beside your project")[1].split("2. `")[0]
    )
    assert set(re.findall(r"^ +\| `([A-Z_]+)` \|", steps, re.M)) == needed


def log_calls() -> Iterator[tuple[str, str, set[str], bool]]:
    """Every log call: its event, its level, the fields it names, and whether there are more."""
    for path in (ROOT / "meshmetrics").rglob("*.py"):
        if "devstack" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(event))],
                    keywords=keywords,
                ):
                    names = {k.arg for k in keywords if k.arg not in (None, "exc_info")}
                    level = "error" if level == "exception" else level
                    yield event, level, names, any(k.arg is None for k in keywords)


def test_operations_says_of_every_event_when_it_is_logged_and_with_what() -> None:
    levels: dict[str, set[str]] = defaultdict(set)
    fields: dict[str, set[str]] = defaultdict(set)
    open_ended: set[str] = set()
    for event, level, names, more in log_calls():
        levels[event].add(level)
        fields[event] |= names
        if more:
            open_ended.add(event)
    rows = re.findall(
        r"^\| `([a-z_]+\.[a-z_]+)` \| ([a-z, ]+) \| .* \|(.*)\|$",
        (ROOT / "docs/operations.md").read_text(),
        re.M,
    )
    assert {event: set(said.split(", ")) for event, said, _ in rows} == levels
    documented = {event: set(re.findall(r"`(\w+)`", said)) for event, _, said in rows}
    assert "stream.session_started" in documented
    for event, names in fields.items():
        if event in open_ended:
            assert names <= documented[event]
        else:
            assert names == documented[event], event


@pytest.mark.generates
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


def test_every_path_that_contributing_names_exists() -> None:
    """But for those with a `<name>` in them, which are still to be made."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:meshmetrics|sql|dashboard|tests|docs)/[\w./-]+)`", text)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []
