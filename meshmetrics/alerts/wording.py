"""What notices say in words: for Slack, e-mail and all channels that people read."""

from __future__ import annotations

from meshmetrics.alerts.notice import Delivered, MeasuredOpen, Notice, NoticeRule, TrialNotice

_HEADS = {
    "opened": "Alert",
    "reopened": "Again",
    "reminder": "Still open",
    "flapping": "Flapping",
    "no_data": "No runs",
    "resolved": "Resolved",
    "acknowledged": "Acknowledged",
}


def headline(notice: Delivered | Notice) -> str:
    """One line: what happened, to what."""
    if isinstance(notice, TrialNotice):
        return "Test: notices of this channel arrive"
    workflow = notice.workflow
    subject = (workflow.name or workflow.slug) if workflow else "all workflows"
    return one_line(f"{_HEADS[notice.kind]}: {subject}: {notice.rule.name}")


def lines(notice: Delivered | Notice) -> list[str]:
    """What was measured, one item per line."""
    if isinstance(notice, TrialNotice):
        return ["A member of the project sent this notice to test the channel."]
    text = _measured_lines(notice)
    if notice.previous.success_rate is not None:
        text.append(f"Before that: {percent(notice.previous.success_rate)}")
    if notice.began_with:
        text.append(f"Began with version {notice.began_with.version}")
    if notice.kind == "resolved":
        text.append(f"It lasted {duration(notice.seconds)} ({notice.close_reason})")
    else:
        text.append(f"Since {notice.opened_at}")
    return text


def _measured_lines(notice: Notice) -> list[str]:
    measured, rule = notice.measured, notice.rule
    if notice.cause == "no_data":
        return [f"Last finished run: {measured.last_finished_at or 'none'}"]
    if notice.open is not None:
        return _open_lines(notice.open, rule)
    total = measured.success_count + measured.failure_count
    if total == 0:  # consecutive failures have no window that runs could be counted in
        return [f"{rule.consecutive} or more consecutive failures"]
    text = f"{measured.success_count} of {total} runs succeeded"
    if measured.success_rate is not None:
        text += f": {percent(measured.success_rate)}"
        if measured.success_rate_low is not None and measured.success_rate_high is not None:
            interval = (percent(measured.success_rate_low), percent(measured.success_rate_high))
            text += f" ({' to '.join(interval)})"
    if measured.from_ is not None:
        text += f", since {measured.from_}"
    return [text, f"Rule: {_condition(rule)}"]


def _condition(rule: NoticeRule) -> str:
    """The condition of a rule on finished runs, in words."""
    if rule.metric == "consecutive_failures":
        return f"{rule.consecutive} consecutive failures"
    if rule.metric == "failure_count":
        comparison = "more" if rule.comparison == "above" else "fewer"
        return f"{comparison} than {rule.threshold:g} failed runs"
    return f"{rule.metric.replace('_', ' ')} {rule.comparison} {percent(rule.threshold)}"


def _open_lines(counts: MeasuredOpen, rule: NoticeRule) -> list[str]:
    """What is open, and what the rule allows."""
    text = f"{counts.open} open runs, {counts.overdue} of them overdue"
    if counts.oldest_open_at is not None:
        text += f"; the oldest started at {counts.oldest_open_at}"
    if rule.metric == "overdue_count":
        allowed = f"more than {rule.threshold:g} overdue runs"
    else:
        allowed = f"a run open for longer than {duration(rule.threshold)}"
    return [text, f"Rule: {allowed}"]


def percent(share: float) -> str:
    """0.9642 as 96.4 %."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{minutes // 1440} days"


def one_line(text: str) -> str:
    """Without line breaks and other control characters: it may become a header."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]
