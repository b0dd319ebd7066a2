"""Notices: read once from SQL's JSON, and given back as the same JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from meshmetrics.alerts.channels.contract import Message
from meshmetrics.alerts.channels.webhook.kind import body
from meshmetrics.alerts.notice import read_delivery, read_notices
from meshmetrics.alerts.wording import headline, lines

# What webhooks and broadcasts carry: documented, and kept as it is.
WRITTEN: dict[str, Any] = {
    "kind": "resolved",
    "at": "2026-11-23T12:40:00.5+00:00",
    "project_id": "00000000-0000-4000-8000-0000000000a1",
    "incident_id": "00000000-0000-4000-8000-0000000000e1",
    "opened_at": "2026-11-23T12:10:00+00:00",
    "seconds": 1800.5,
    "cause": "rate",
    "close_reason": "recovered",
    "rule": {
        "id": "00000000-0000-4000-8000-0000000000f1",
        "name": "Orders fail",
        "severity": "warning",
        "metric": "failure_count",
        "comparison": "above",
        "threshold": 3,
        "window_seconds": 3600,
        "consecutive": 3,
        "no_data_after_seconds": None,
    },
    "workflow": {"slug": "orders", "name": None},
    "measured": {
        "from": None,
        "to": "2026-11-23T12:40:00.5+00:00",
        "success_count": 17,
        "failure_count": 3,
        "success_rate": 0.85,
        "success_rate_low": 0.64,
        "success_rate_high": 0.948,
        "last_finished_at": "2026-11-23T12:39:59.123456+00:00",
    },
    "open": None,
    "previous": {"success_count": 4, "failure_count": 0, "success_rate": 1},
    "began_with": {"workflow_id": "00000000-0000-4000-8000-0000000000b1", "version": 2},
    "failed_runs": [
        {
            "run_id": "00000000-0000-4000-8000-0000000000c1",
            "finished_at": "2026-11-23T12:39:59+00:00",
        }
    ],
}


def exactly(document: object) -> str:
    """Text in which 1 and 1.0 differ, as they do for some receivers."""
    return json.dumps(document, sort_keys=True)


def test_a_broadcast_carries_what_sql_wrote() -> None:
    (notice,) = read_notices(json.dumps([WRITTEN]))
    assert exactly(notice.document()) == exactly(WRITTEN)


@pytest.mark.parametrize("dashboard", ["https://dash.test", None])
def test_a_webhook_carries_what_sql_wrote_with_the_deliverys_id_and_links(
    dashboard: str | None,
) -> None:
    delivery_id, run = str(uuid4()), WRITTEN["failed_runs"][0]
    delivery = {"id": delivery_id, "kind": "reminder", "notice": WRITTEN, "created_at": "x"}
    notice = read_delivery(delivery, dashboard)
    at = datetime(2026, 11, 23, 12, 40, tzinfo=UTC)
    project = uuid4()
    sent = body(
        Message(
            id=uuid4(),
            project_id=project,
            channel_id=uuid4(),
            first_attempt_at=at,
            digest=True,
            target="https://x.test",
            target_digest=bytes(32),
            secrets=("s",),
            notices=[notice],
        )
    )
    incident_url = f"https://dash.test/alerts/incidents/{WRITTEN['incident_id']}"
    run_url = f"https://dash.test/runs/{run['run_id']}"
    assert exactly(json.loads(sent)) == exactly(
        {
            "type": "alert.notices",
            "timestamp": "2026-11-23T12:40:00+00:00",
            "data": {
                "project_id": str(project),
                "digest": True,
                "notices": [
                    {
                        **WRITTEN,
                        "kind": "reminder",
                        "id": delivery_id,
                        "url": dashboard and incident_url,
                        "failed_runs": [{**run, "url": dashboard and run_url}],
                    }
                ],
            },
        }
    )


def test_a_test_notice_carries_a_link_and_nothing_measured() -> None:
    delivery = {"id": str(uuid4()), "kind": "test", "notice": {}}
    notice = read_delivery(delivery, "https://dash.test")
    assert notice.document() == {
        "kind": "test",
        "id": delivery["id"],
        "url": "https://dash.test",
        "failed_runs": [],
    }
    assert headline(notice) == "Test: notices of this channel arrive"


def test_a_notice_from_before_open_runs_gets_no_field_that_it_had_not() -> None:
    older = {name: value for name, value in WRITTEN.items() if name != "open"}
    (notice,) = read_notices(json.dumps([older]))
    assert exactly(notice.document()) == exactly(older)
    assert lines(notice)[0].startswith("17 of 20 runs succeeded: 85.0 % (64.0 % to 94.8 %)")


def test_a_notice_that_lacks_what_was_measured_is_refused() -> None:
    with pytest.raises(ValidationError, match="measured"):
        read_notices('[{"kind": "opened"}]')
