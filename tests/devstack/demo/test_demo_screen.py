"""What the screen looks like, at any size and with any figures."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from meshmetrics.devstack.demo.alerts import RULE_SAYS
from meshmetrics.devstack.demo.daemon import DaemonFigures
from meshmetrics.devstack.demo.display import LinesDisplay
from meshmetrics.devstack.demo.receiver import Received
from meshmetrics.devstack.demo.screen import screen
from meshmetrics.devstack.demo.stats import Totals
from meshmetrics.devstack.demo.text import seconds, share
from meshmetrics.devstack.demo.view import Alerting, Places, ProjectTable, View, WorkflowRow
from meshmetrics.devstack.engine.workflows import simulated_projects

LATEST = ("success", "failure", "canceled") * 12
OPENED = Received(
    datetime(2026, 11, 23, 12, 59, 59),  # noqa: DTZ001 (local time)
    "opened",
    "Payment webhook relay: 3 failures in a row",
    True,
)
RESOLVED = replace(OPENED, kind="resolved", text="Payment webhook relay: over after 59 min")
LARGE = View(
    elapsed=4000.0,
    places=Places(
        "postgresql://postgres:0123456789abcdef@127.0.0.1:65535/postgres",
        "http://127.0.0.1:65535",
        "http://127.0.0.1:65535",
        "/tmp/meshmetrics-demo-abcdefgh/daemon.log",
        "/tmp/meshmetrics-demo-abcdefgh/webhooks.log",
    ),
    projects=tuple(
        ProjectTable(
            project.name,
            f"metrics:{project.id}",
            True,
            tuple(
                WorkflowRow(workflow.name, Totals(98_000, 1000, 999), LATEST, timedelta(minutes=59))
                for workflow in project.workflows
            ),
        )
        for project in simulated_projects(1)
    ),
    finished=99_999,
    counted=99_999,
    shown=99_999,
    per_second=99.9,
    broadcasts=9999,
    p50=12_345.0,
    p99=12_345.0,
    daemon=DaemonFigures(True, False, 99_999, 9999, 99, 30.0),
    since_sweep=29.0,
    drift=0,
    since_audit=9.0,
    alerting=Alerting("Payment webhook relay", RULE_SAYS, True, 71.0, (OPENED, RESOLVED) * 20, 40),
    keys=True,
)


def drawn(view: View, width: int, height: int) -> list[str]:
    """The lines as a terminal without colours shows them."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(screen(view, width, height))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (80, 50), (100, 32), (155, 40), (160, 24), (160, 50), (200, 60)]
)
def test_nothing_is_cut_or_wrapped(width: int, height: int) -> None:
    lines = drawn(LARGE, width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    assert not [line for line in lines if "…" in line]
    text = "\n".join(lines)
    for project in LARGE.projects:
        for row in project.rows:
            assert row.name in text
    assert "curl http://127.0.0.1:65535/readyz" in text
    assert "q stops everything" in lines[-1]


def test_a_narrow_terminal_cuts_and_does_not_wrap() -> None:
    lines = drawn(LARGE, 60, 24)
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 60


def test_there_is_more_where_there_is_room() -> None:
    assert "private channel" not in "\n".join(drawn(LARGE, 80, 24))
    text = "\n".join(drawn(LARGE, 80, 50))
    for project in LARGE.projects:
        assert f"{project.topic}  private channel" in text


def test_projects_stand_side_by_side_where_they_can() -> None:
    names = [project.name for project in LARGE.projects]
    assert not any(all(name in line for name in names) for line in drawn(LARGE, 120, 50))
    assert any(all(name in line for name in names) for line in drawn(LARGE, 160, 50))


def one_row(totals: Totals, since_failure: timedelta | None = None) -> str:
    row = WorkflowRow("Sync", totals, ("success", "failure", "canceled"), since_failure)
    view = replace(LARGE, projects=(ProjectTable("Project", "metrics:x", True, (row,)),))
    return next(line for line in drawn(view, 80, 40) if line.startswith("Sync"))


def test_a_row_says_rate_outcomes_and_counts() -> None:
    assert one_row(Totals(8, 2, 1), timedelta(seconds=90)).split() == [
        *("Sync", "80.0", "%", "━━━━━━━━··", "●✕○", "11", "2", "1", "min")
    ]


def test_few_runs_are_no_percentage() -> None:
    line = one_row(Totals(2, 2, 100))
    assert "not enough runs" in line
    assert "%" not in line


def test_a_share_is_never_rounded_to_a_whole_that_it_is_not() -> None:
    assert [share(value) for value in (1.0, 0.9999, 0.0001, 0.0)] == ["100", "99.9", "0.1", "0.0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (90_000, "1 d"), (7200, "2 h")],
)
def test_a_duration_is_told_in_its_largest_unit(value: float, text: str) -> None:
    assert seconds(value) == text


def test_what_is_wrong_shows_without_colours() -> None:
    text = "\n".join(drawn(replace(LARGE, drift=3), 80, 24))
    assert "drift    3 ✕" in text
    down = replace(LARGE, daemon=replace(LARGE.daemon, stream_up=False))
    assert "○ down" in "\n".join(drawn(down, 80, 24))
    left = replace(down, daemon=replace(down.daemon, unsubscribed=True))
    assert "◐ unsubscribed, sweeps count" in "\n".join(drawn(left, 80, 24))
    stopped = "\n".join(drawn(replace(LARGE, realtime_up=False), 80, 24))
    assert "○ stopped" in stopped
    assert "r starts Realtime" in stopped


def test_lines_are_for_where_no_screen_is() -> None:
    out = io.StringIO()
    display = LinesDisplay(out)
    for elapsed in (0.0, 4.9, 5.1, 9.0, 10.0):
        display.show(replace(LARGE, elapsed=elapsed))
    lines = out.getvalue().splitlines()
    assert [line for line in lines if line.startswith("database: psql postgresql://")]
    assert [line.split()[0] for line in lines if "finished" in line] == ["5", "10"]
    assert "\x1b" not in out.getvalue()


def test_the_last_notice_is_always_there_and_older_ones_where_there_is_room() -> None:
    low, high = (
        [line for line in drawn(LARGE, 80, height) if "12:59:59" in line] for height in (24, 40)
    )
    assert [line.split()[:4] for line in low] == [["webhook", "12:59:59", "●", "resolved"]]
    assert [line.split()[-4:] for line in high[1::2]] == [["failures", "in", "a", "row"]] * 2
    assert len(high) == 4


def test_before_the_first_notice_the_screen_says_when_to_expect_it() -> None:
    assert LARGE.alerting is not None
    calm = replace(LARGE.alerting, broken=False, turns_in=17.0, received=(), count=0)
    lines = drawn(replace(LARGE, alerting=calm), 80, 24)
    assert "webhook  none yet: Payment webhook relay breaks in 17 s" in lines


def test_what_is_waited_for_is_said_once_where_no_screen_is() -> None:
    out = io.StringIO()
    display = LinesDisplay(out)
    for runs in (3, 3, 3, 2):
        display.show(replace(LARGE, note=f"Waiting for {runs} runs"))
    assert out.getvalue().splitlines() == ["Waiting for 3 runs", "Waiting for 2 runs"]


def test_each_notice_is_one_line_where_no_screen_is() -> None:
    out = io.StringIO()
    display = LinesDisplay(out)
    assert LARGE.alerting is not None
    for received in ((), (OPENED,), (OPENED,), (OPENED, RESOLVED)):
        alerting = replace(LARGE.alerting, received=received, count=len(received))
        display.show(replace(LARGE, elapsed=1.0, alerting=alerting))
    said = [line for line in out.getvalue().splitlines() if line.startswith("webhook: ")]
    assert said == [f"webhook: {OPENED.line}", f"webhook: {RESOLVED.line}"]
