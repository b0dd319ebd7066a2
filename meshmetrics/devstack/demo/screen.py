"""The demo's screen: pure functions from a View to what rich draws.

Readable without colours: outcomes have shapes of their own, and only the terminal's named colours
are used, which its owner chose to be readable on its background.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meshmetrics.devstack.demo.table import SHAPES, project_table
from meshmetrics.devstack.demo.text import milliseconds, seconds
from meshmetrics.devstack.demo.view import View

SIDE_BY_SIDE = 156
"""Columns from which the projects stand side by side."""
LABEL = 9
PLACES = 2
"""How many addresses come before older notices."""
NOTICES = 3


def screen(view: View, width: int, height: int) -> RenderableType:
    """Everything, for a terminal of that size; what matters least goes first where it is low."""
    beside = width >= SIDE_BY_SIDE
    heights = [len(project.rows) + 1 for project in view.projects]
    tables = max(heights) if beside else sum(heights)
    header, figures, keys = _header(view), _figures(view), _keys(view)
    alerts, history = _alerts(view)
    room = max(0, height - len(header) - tables - len(figures) - len(alerts) - len(keys))
    # First come a place or two, then older notices, then air, then the other places.
    known = _places(view)
    places = known[: min(PLACES, room)]
    history = history[: room - len(places)]
    room -= len(places) + len(history)
    gaps = [""] * min(room, 3 if beside else len(view.projects) + 2)
    places += known[len(places) : len(places) + room - len(gaps)]
    parts: list[RenderableType] = [*header]

    def gap() -> None:
        if gaps:
            parts.append(Text(gaps.pop()))

    gap()
    if beside:
        row = Table.grid(expand=True, padding=(0, 1, 0, 0))
        for _ in view.projects:
            row.add_column(ratio=1)
        each = (width - 2) // len(view.projects)
        row.add_row(*(project_table(project, each) for project in view.projects))
        parts.append(row)
    else:
        for number, project in enumerate(view.projects):
            if number:
                gap()
            parts.append(project_table(project, width))
    gap()
    parts += [*figures, *alerts, *history]
    gap()
    return Group(*parts, *places, *keys)


def _header(view: View) -> list[Text]:
    places = view.places
    legend = [part for name, shape in SHAPES.items() for part in ("  ", shape, f" {name}")]
    title = _line(("meshmetrics demo", "bold"), f" {_clock(view)} · the last 24 hours:", *legend)
    ports = " · ".join(
        f"{name} :{address.rpartition(':')[2].partition('/')[0]}"
        for name, address in (
            ("Postgres", places.postgres),
            ("Realtime", places.realtime),
            ("daemon", places.daemon),
        )
    )
    return [title, _line(f"All on this machine: {ports}", style="dim")]


def _figures(view: View) -> list[Text]:
    daemon = view.daemon
    if not view.realtime_up:
        stream = ("○ stopped", "bold red")
    elif daemon.stream_up:
        stream = ("● up", "green")
    elif daemon.unsubscribed:
        stream = ("◐ unsubscribed, sweeps count", "yellow")
    else:
        stream = ("○ down", "bold red")
    sweep = "" if view.since_sweep is None else f" (full {seconds(view.since_sweep)} ago)"
    if view.drift is None:
        drift, audit = ("first audit under way", "dim"), ""
    else:
        drift = (f"{view.drift:,} ✕", "bold red") if view.drift else ("0", "bold green")
        audit = f"  all counts audited {seconds(view.since_audit)} ago"
    return [
        _labelled(
            "runs",
            "finished ",
            (f"{view.finished:,}", "bold"),
            " → counted ",
            (f"{view.counted:,}", "bold"),
            " → seen by subscribers ",
            (f"{view.shown:,}", "bold"),
            f"  {view.per_second:.1f}/s",
        ),
        _labelled(
            "delay",
            "commit → broadcast p50 ",
            (milliseconds(view.p50), "bold"),
            ", p99 ",
            (milliseconds(view.p99), "bold"),
            " in the last minute",
        ),
        _labelled(
            "stream",
            stream,
            f"  {daemon.events:,} events, {daemon.by_sweep:,} by sweeps{sweep},"
            f" {view.broadcasts:,} broadcasts",
        ),
        _labelled("drift", drift, audit),
    ]


def _alerts(view: View) -> tuple[list[Text], list[Text]]:
    """The last webhook, and the lines to add where there is room."""
    it = view.alerting
    if it is None:
        return [], []
    verb = "recovers" if it.broken else "breaks"
    turn = f"{it.workflow} {verb} in {seconds(it.turns_in)}"
    if not it.received:
        return [_labelled("webhook", ("none yet", "bold"), f": {turn}")], [
            _labelled("", (it.rule, "dim"))
        ]
    newest, *older = reversed(it.received)
    style = "bold red" if newest.kind == "opened" else "bold green"
    rows = [_labelled("", (received.line, "dim")) for received in older[:NOTICES]]
    rows.append(_labelled("", (turn, "dim")))
    return [_labelled("webhook", (newest.line, style))], rows


def _places(view: View) -> list[Text]:
    """The most useful first."""
    places = view.places
    return [
        _labelled("open", (places.daemon, "bold"), "  the dashboard, in a browser"),
        _labelled("", f"curl {places.daemon}/readyz", ("  or /healthz, /metrics", "dim")),
        _labelled("", f"psql {places.postgres}"),
        _labelled("", f"tail -f {places.log}"),
        *([_labelled("", f"tail -f {places.webhooks}")] if view.alerting else ()),
        *(
            _labelled("", f"{project.topic}", ("  private channel", "dim"))
            for project in view.projects
        ),
    ]


def _keys(view: View) -> list[Text]:
    if view.note:
        return [_line(view.note, style="bold")]
    if not view.keys:
        return [_line("Ctrl-C stops everything", style="dim")]
    verb = "stops" if view.realtime_up else "starts"
    what = "Realtime; sweeps take over" if view.realtime_up else "Realtime; the stream recovers"
    return [_line(("r", "bold"), f" {verb} {what}   ", ("q", "bold"), " stops everything")]


def _labelled(label: str, *parts: str | tuple[str, str]) -> Text:
    return _line((f"{label:<{LABEL}}", "dim"), *parts)


def _line(*parts: str | tuple[str, str], style: str = "") -> Text:
    return Text.assemble(*parts, style=style, no_wrap=True, overflow="ellipsis")


def _clock(view: View) -> str:
    minutes, rest = divmod(int(view.elapsed), 60)
    return f"{minutes}:{rest:02}"
