"""What notices say in words, and as the document that webhooks and the broadcast carry."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

_HEADS = {
    "opened": "Alert",
    "reopened": "Again",
    "reminder": "Still open",
    "flapping": "Flapping",
    "no_data": "No runs",
    "resolved": "Resolved",
    "test": "Test",
}


def dress(notice: dict[str, Any], dashboard_url: str | None) -> dict[str, Any]:
    """The notice with its links, where it is known how the dashboard is reached."""
    incident = notice.get("incident_id")
    runs = [
        {**run, "url": dashboard_url and f"{dashboard_url}/runs/{run['run_id']}"}
        for run in notice.get("failed_runs", [])
    ]
    url = dashboard_url and incident and f"{dashboard_url}/alerts/incidents/{quote(incident)}"
    return {**notice, "failed_runs": runs, "url": url or dashboard_url}


def headline(notice: dict[str, Any]) -> str:
    """One line: what happened, to what."""
    kind = str(notice["kind"])
    if kind == "test":
        return "Test: notices of this channel arrive"
    workflow = notice.get("workflow")
    what = (workflow["name"] or workflow["slug"]) if workflow else "all workflows"
    return one_line(f"{_HEADS[kind]}: {what}: {notice['rule']['name']}")


def lines(notice: dict[str, Any]) -> list[str]:
    """What was measured, a line each."""
    if notice["kind"] == "test":
        return ["Somebody asked for this notice to see whether it arrives."]
    measured, before, rule = notice["measured"], notice["previous"], notice["rule"]
    found = []
    if notice["cause"] == "no_data":
        found.append(f"Last finished run: {measured['last_finished_at'] or 'none'}")
    elif notice.get("open") is not None:
        found += _open_lines(notice["open"], rule)
    else:
        total = measured["success_count"] + measured["failure_count"]
        text = f"{measured['success_count']} of {total} runs succeeded"
        if measured["success_rate"] is not None:
            low, high = measured["success_rate_low"], measured["success_rate_high"]
            text += f": {percent(measured['success_rate'])} ({percent(low)} to {percent(high)})"
        found.append(f"{text}, since {measured['from']}")
        found.append(f"Rule: {rule['metric']} {rule['comparison']} {rule['threshold']:g}")
    if before["success_rate"] is not None:
        found.append(f"Before that: {percent(before['success_rate'])}")
    if notice["began_with"]:
        found.append(f"Began with version {notice['began_with']['version']}")
    if notice["kind"] == "resolved":
        found.append(f"It lasted {duration(notice['seconds'])} ({notice['close_reason']})")
    else:
        found.append(f"Since {notice['opened_at']}")
    return found


def _open_lines(counts: dict[str, Any], rule: dict[str, Any]) -> list[str]:
    """What is open, and what the rule allows."""
    text = f"{counts['open']} open runs, {counts['overdue']} of them overdue"
    if counts["oldest_open_at"] is not None:
        text += f"; the oldest started at {counts['oldest_open_at']}"
    if rule["metric"] == "overdue_count":
        allowed = f"more than {rule['threshold']:g} overdue runs"
    else:
        allowed = f"a run open for longer than {duration(rule['threshold'])}"
    return [text, f"Rule: {allowed}"]


def percent(share: float) -> str:
    """0.9642 as 96.4 %."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{minutes // 1440} days"


def one_line(text: str) -> str:
    """Without line breaks and other control characters: it may become a header."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]
