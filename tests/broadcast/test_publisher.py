"""The publisher: prompt, merged, fair, bounded, and patient with a Realtime that refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from meshmetrics.broadcast.publisher import Publisher, Sent
from meshmetrics.counting.store import CountingStore
from meshmetrics.runtime.telemetry import Telemetry
from tests.broadcast.changes import change, delta
from tests.support import eventually, insert_run, make_project, make_workflow


class Realtime:
    """Takes broadcasts, and answers each request as told: a status, or an error to raise."""

    def __init__(self) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.times: list[float] = []
        self.answers: list[int | Exception] = []
        self.poison: UUID | None = None
        """A project that no request may mention."""
        self.meanwhile: Callable[[], None] | None = None
        """Done once while a request is under way."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url == "http://realtime.test/realtime/v1/api/broadcast"
        messages = json.loads(request.content)["messages"]
        for one in messages:
            assert one["topic"] == f"metrics:{one['payload']['project_id']}"
            assert one["private"] is True
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        answer = self.answers.pop(0) if self.answers else 202
        if isinstance(answer, Exception):
            raise answer
        if any(one["payload"]["project_id"] == str(self.poison) for one in messages):
            answer = 422
        if answer == 202:
            self.requests.append(messages)
            self.times.append(time.monotonic())
        return httpx.Response(answer)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [one["payload"] for messages in self.requests for one in messages]

    @property
    def projects(self) -> list[str]:
        return [one["project_id"] for one in self.messages]


class NoStore(CountingStore):
    def __init__(self) -> None:
        pass


Publish = Callable[..., None]


@asynccontextmanager
async def publishing(
    realtime: Realtime, store: CountingStore | None = None, **options: Any
) -> AsyncIterator[Publisher]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(realtime)) as client:
        publisher = Publisher(
            store or NoStore(),
            client,
            "http://realtime.test",
            Telemetry(),
            **{"project_per_second": 5.0, "retry_cap": 0.01, **options},
        )
        task = asyncio.create_task(publisher.run())
        await publisher.started.wait()
        yield publisher
        publisher.stop()
        await asyncio.wait_for(task, 5)


def told(publisher: Publisher, *changes: Any, committed: float | None = None) -> None:
    publisher.publish(changes, counted=time.monotonic(), committed=committed)


async def test_a_change_of_a_quiet_project_is_sent_at_once() -> None:
    realtime = Realtime()
    async with publishing(realtime, project_per_second=0.1) as publisher:
        told(publisher, change(1, delta(0, success=1)))
        await eventually(lambda: realtime.requests)
        told(publisher, change(1, delta(0, success=1)))  # another project
        await eventually(lambda: len(realtime.requests) == 2)


async def test_a_busy_project_is_told_the_sum_when_its_turn_comes() -> None:
    realtime = Realtime()
    workflow, project = uuid4(), uuid4()
    async with publishing(realtime) as publisher:
        for revision in range(1, 11):
            told(
                publisher,
                change(
                    revision, delta(0, success=1), workflow_id=workflow, project_id=project,
                    success=revision,
                ),
            )  # fmt: skip
            await asyncio.sleep(0)
            if revision == 1:
                await eventually(lambda: realtime.requests)
        await eventually(lambda: len(realtime.requests) == 2)
    [[first], [second]] = [message["workflows"] for message in realtime.messages]
    assert (first["base_revision"], first["revision"]) == (0, 1)
    assert (second["base_revision"], second["revision"], second["success_count"]) == (1, 10, 10)
    assert [d["success"] for d in second["deltas"]] == [9]
    assert realtime.times[1] - realtime.times[0] >= 0.19


async def test_many_projects_travel_in_one_request_within_the_budget() -> None:
    realtime = Realtime()
    async with publishing(realtime, per_second=20) as publisher:
        told(publisher, *(change(1) for _ in range(30)))
        await eventually(lambda: len(realtime.messages) == 30)
    assert len(realtime.requests[0]) == 10
    assert len(set(realtime.projects)) == 30
    assert realtime.times[-1] - realtime.times[0] >= 0.9


async def test_a_project_with_much_to_say_does_not_keep_others_waiting() -> None:
    realtime = Realtime()
    loud, soft = uuid4(), uuid4()
    async with publishing(realtime, per_second=2, project_per_second=1000) as publisher:
        many = [change(1, *map(delta, range(100)), project_id=loud) for _ in range(60)]
        told(publisher, *many)
        told(publisher, change(1, project_id=soft))
        await eventually(lambda: sum(len(m["workflows"]) for m in realtime.messages) == 61)
    assert realtime.projects.index(str(soft)) == 1
    assert realtime.projects.count(str(loud)) >= 3


async def test_a_change_that_came_while_a_request_failed_is_merged_behind_what_that_held() -> None:
    realtime = Realtime()
    workflow, project, minute = uuid4(), uuid4(), delta(0, success=1)
    realtime.answers = [500]
    async with publishing(realtime) as publisher:

        def meanwhile() -> None:
            told(publisher, change(2, minute, workflow_id=workflow, project_id=project))

        realtime.meanwhile = meanwhile
        told(publisher, change(1, minute, workflow_id=workflow, project_id=project))
        await eventually(lambda: realtime.requests)
    [[sent]] = [message["workflows"] for message in realtime.messages]
    assert (sent["base_revision"], sent["revision"]) == (0, 2)
    assert [d["success"] for d in sent["deltas"]] == [2]


@pytest.mark.parametrize(
    "trouble",
    [429, 500, 503, 401, 403, 404, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")],
    ids=str,
)
async def test_what_could_not_be_sent_is_kept_merged_and_sent_later(
    trouble: int | Exception,
) -> None:
    realtime = Realtime()
    realtime.answers = [trouble] * 10_000
    workflow, project, minute = uuid4(), uuid4(), delta(0, success=1)
    with capture_logs() as logged:
        async with publishing(realtime, per_second=1000) as publisher:
            told(publisher, change(1, minute, workflow_id=workflow, project_id=project))
            await eventually(lambda: len(realtime.answers) < 10_000)
            told(publisher, change(2, minute, workflow_id=workflow, project_id=project))
            realtime.answers.clear()
            await eventually(lambda: realtime.requests)
    assert len(realtime.messages) == 1
    [sent] = realtime.messages[0]["workflows"]
    assert (sent["base_revision"], sent["revision"]) == (0, 2)
    assert [d["success"] for d in sent["deltas"]] == [2]
    assert {line["event"] for line in logged} == {"broadcast.failed"}


async def test_a_429_slows_all_sending_down() -> None:
    realtime = Realtime()
    realtime.answers = [429]
    async with publishing(realtime, per_second=40) as publisher:
        told(publisher, *(change(1) for _ in range(20)))
        await eventually(lambda: len(realtime.messages) == 20)
    assert len(realtime.requests[0]) < 20  # although as many were allowed before
    assert realtime.times[-1] - realtime.times[0] >= 0.4  # 20 a second, half a second's at once


async def test_a_message_that_realtime_will_never_take_does_not_hold_up_the_others() -> None:
    realtime = Realtime()
    realtime.poison = uuid4()
    good = [uuid4(), uuid4()]
    with capture_logs() as logged:
        async with publishing(realtime) as publisher:
            told(
                publisher,
                *(change(1, project_id=p) for p in (good[0], realtime.poison, good[1])),
            )
            await eventually(lambda: len(realtime.messages) == 2)
            told(publisher, change(2, project_id=uuid4()))
            await eventually(lambda: len(realtime.messages) == 3)
    assert set(realtime.projects[:2]) == {str(p) for p in good}
    [line] = [line for line in logged if line["event"] == "broadcast.refused"]
    assert line["project_id"] == str(realtime.poison)


async def test_stopping_sends_what_is_pending_without_waiting_for_turns() -> None:
    realtime = Realtime()
    workflow, project = uuid4(), uuid4()
    async with publishing(realtime, project_per_second=0.1) as publisher:
        told(publisher, change(1, workflow_id=workflow, project_id=project))
        await eventually(lambda: realtime.requests)
        told(publisher, change(2, workflow_id=workflow, project_id=project))
    assert [m["workflows"][0]["revision"] for m in realtime.messages] == [1, 2]


async def test_stopping_does_not_wait_for_a_realtime_that_refuses() -> None:
    realtime = Realtime()
    realtime.answers = [500] * 1000
    with capture_logs() as logged:
        async with publishing(realtime, retry_cap=60.0) as publisher:
            told(publisher, change(1))
            await eventually(lambda: len(realtime.answers) < 1000)
    assert logged[-1]["event"] == "broadcast.left"


async def test_whoever_watches_is_told_what_was_sent_and_how_long_it_took() -> None:
    realtime = Realtime()
    seen: list[Sent] = []
    one = change(1)
    async with publishing(realtime, on_sent=seen.append) as publisher:
        told(publisher, one, committed=time.time() - 5)
        await eventually(lambda: seen)
    assert (seen[0].project_id, seen[0].changes) == (one.project_id, (one,))
    assert seen[0].since_counted >= 0
    assert 5 <= (seen[0].since_committed or 0) < 60


async def test_what_was_counted_shortly_before_a_crash_is_sent_again_on_start(
    store: CountingStore, owner: asyncpg.Connection
) -> None:
    workflow = await make_workflow(owner, await make_project(owner))
    run = await insert_run(owner, workflow, "succeeded")
    await store.count_runs([run])
    realtime = Realtime()
    async with publishing(realtime, store, resend_since=datetime.now(UTC) - timedelta(minutes=1)):
        await eventually(lambda: realtime.requests)
    [sent] = realtime.messages[0]["workflows"]
    assert sent["workflow_id"] == str(workflow.id)
    assert (sent["success_count"], sent["base_revision"], sent["deltas"]) == (1, 1, [])


async def test_nothing_old_is_sent_again_on_start(
    store: CountingStore, owner: asyncpg.Connection
) -> None:
    workflow = await make_workflow(owner, await make_project(owner))
    await store.count_runs([await insert_run(owner, workflow, "succeeded")])
    realtime = Realtime()
    async with publishing(realtime, store, resend_since=datetime.now(UTC) + timedelta(minutes=1)):
        pass
    assert realtime.requests == []
