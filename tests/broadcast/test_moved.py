"""What is pending for a project that a workflow moved out of."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from meshmetrics.broadcast.outbox import Outbox
from tests.broadcast.changes import change


def test_nothing_of_a_moved_workflow_goes_to_its_old_project_any_more() -> None:
    outbox = Outbox(0.1)
    before = change(1)
    after = replace(before, project_id=uuid4(), moved_from=before.project_id)
    outbox.add(before, 0.0, None)
    in_flight = outbox.take(10, 1.0, hurried=True)
    outbox.add(before, 0.0, None)
    outbox.move(before.workflow_id, before.project_id, after.project_id)
    outbox.add(after, 2.0, None)
    outbox.put_back(in_flight)
    messages = outbox.take(10, 3.0, hurried=True)
    assert [one.project_id for one in messages] == [after.project_id]
