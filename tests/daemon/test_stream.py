"""Every way in which a stream is known to go wrong: the daemon notices, comes back, and has
counted everything meanwhile.

The numbers are those of the known hazards of the Realtime client. Those without a test of their
own: 2 (async callbacks are never awaited) and 7 (channels made in callbacks) would break every
test here; 8 (a broadcast gives no sign of delivery) is why test_publisher.py tests HTTP; 9 and
10 (rows and keys in log lines) are in test_process.py and in the odd events below; 11 is a speed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from realtime import AsyncRealtimeClient
from structlog.testing import capture_logs

from meshmetrics.devstack.realtime import RealtimeServer, Timing
from meshmetrics.stream.session import Session, SessionEndedError, SessionTimes
from tests.daemon.conftest import BY_EVENTS, JWT_SECRET, KEY, Running, World
from tests.support import (
    eventually,
    finish_run,
    insert_run,
    make_project,
    make_workflow,
    resume_run,
)
from tests.support.databases import DatabaseClone

pytestmark = pytest.mark.slow


async def end_a_run(world: World, status: str = "succeeded") -> None:
    await finish_run(world.owner, await insert_run(world.owner, world.workflow), status)


async def end_many(world: World) -> None:
    """More at once than `stream_runs_per_second` is in the tests that set it."""
    await world.owner.execute(
        "insert into public.workflow_runs (project_id, workflow_id, status, finished_at)"
        " select $1, $2, 'failed', now() from generate_series(1, 100)",
        world.workflow.project_id,
        world.workflow.id,
    )


async def came_back(world: World, running: Running, sessions: float) -> None:
    """A new session is up, and an event that it brought was counted."""
    await eventually(lambda: running.value("stream_sessions_total") > sessions and running.up)
    events = running.value("events_received_total")
    await end_a_run(world)
    await eventually(lambda: running.value("events_received_total") > events)
    await eventually(world.counted)


async def test_events_are_counted_as_they_come(world: World) -> None:
    async with world.running(**BY_EVENTS) as running:
        await end_a_run(world, "succeeded")
        run = await insert_run(world.owner, world.workflow)
        await finish_run(world.owner, run, "failed")
        await eventually(world.counted)
        await resume_run(world.owner, run)
        await finish_run(world.owner, run, "succeeded")
        await insert_run(world.owner, world.workflow, "canceled")  # inserted already ended
        await eventually(world.counted)
        await eventually(lambda: running.value("runs_counted_total", source="event") >= 4)
        assert running.value("runs_counted_total", source="sweep") == 0


async def test_runs_that_begin_send_no_event(world: World) -> None:
    async with world.running() as running:
        for _ in range(5):
            await insert_run(world.owner, world.workflow)
        await end_a_run(world)
        await eventually(lambda: running.value("events_received_total") >= 1)
        await eventually(world.counted)
        assert running.value("events_received_total") == 1


async def test_what_ended_while_the_stream_was_down_is_counted_as_soon_as_it_is_up_again(
    world: World,
) -> None:
    async with world.running(**BY_EVENTS, backoff_cap=0.5) as running:
        await eventually(lambda: running.value("sweeps_total", kind="regular") >= 2)
        world.realtime.faults.refuse = True
        await world.realtime.disconnect()
        await eventually(lambda: running.value("stream_lost_total", reason="connect_failed") >= 1)
        await end_a_run(world)
        sweeps = running.value("sweeps_total", kind="regular")
        world.realtime.faults.refuse = False
        await eventually(lambda: running.up)
        await eventually(world.counted)
        assert running.value("sweeps_total", kind="regular") > sweeps


Fault = Callable[[RealtimeServer], Any]

FAULTS: dict[str, Fault] = {
    "the connection is cut": lambda server: server.disconnect(),
    "the server closes normally": lambda server: server.disconnect(1000),
    "the server restarts": lambda server: server.disconnect(1012),
    "phx_close": lambda server: server.close_channels(),
    "phx_error": lambda server: server.fail_channels(),
    "a system error": lambda server: server.system_error(),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_session_is_replaced_after(world: World, fault: Fault) -> None:
    async with world.running() as running:
        sessions = running.value("stream_sessions_total")
        done = fault(world.realtime)
        if done is not None:
            await done
        await end_a_run(world)
        await came_back(world, running, sessions)


ODD: dict[str, tuple[object, str]] = {
    "no record": ({"data": {"type": "UPDATE", "record": None}}, "event"),
    "an empty record": ({"data": {"type": "UPDATE", "record": {}}}, "event"),
    "an id that is none": ({"data": {"type": "UPDATE", "record": {"id": "x"}}}, "event"),
    "an id that is a number": ({"data": {"type": "UPDATE", "record": {"id": 7}}}, "event"),
    "no data": ({"data": None}, "frame"),
    "an unknown shape": ({"what": ["is", "this"]}, "frame"),
}


@pytest.mark.parametrize(("payload", "kind"), ODD.values(), ids=ODD.keys())
async def test_hazard_1_an_odd_event_is_logged_and_counted_and_the_rest_goes_on(
    world: World, payload: dict[str, Any], kind: str
) -> None:
    async with world.running(**BY_EVENTS, probe_interval=60) as running:
        await end_a_run(world)
        await eventually(lambda: running.value("events_received_total") == 1)
        if isinstance(payload.get("data"), dict):
            payload = {"ids": ids_of(world), "data": {**FULL, **payload["data"]}}
        with capture_logs() as logged:
            world.realtime.push("postgres_changes", payload)
            await eventually(lambda: running.value("events_odd_total", kind=kind) == 1)
        assert [line["event"] for line in logged if line["event"] == "stream.odd"]
        await end_a_run(world)
        await eventually(lambda: running.value("events_received_total") == 2)
        await eventually(world.counted)


FULL = {
    "schema": "public",
    "table": "workflow_runs",
    "commit_timestamp": "2026-11-23T18:56:33.077Z",
    "errors": ["Error 413: Payload Too Large"],
    "columns": [],
}


def ids_of(world: World) -> list[int]:
    """The ids of all subscriptions there are, so that the client takes the event as its own."""
    sockets = world.realtime._sockets
    entries = [e for s in sockets for c in s.channels.values() for e in c.config.described()]
    return [entry["id"] for entry in entries]


@pytest.mark.parametrize(
    "text", ["{no json", "", "[]", "null", '"x"', json.dumps({"event": "unknown"})]
)
async def test_a_frame_that_is_not_understood_is_logged_and_counted_and_the_rest_goes_on(
    world: World, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with world.running(**BY_EVENTS, probe_interval=60) as running:
        world.realtime.send_raw(text)
        await eventually(lambda: running.value("events_odd_total", kind="frame") == 1)
        await end_a_run(world)
        await eventually(lambda: running.value("events_received_total") == 1)
        await eventually(world.counted)
    assert "Unrecognized" not in "".join(capfd.readouterr())


async def test_hazard_3_a_long_outage_is_survived(world: World) -> None:
    """Longer than the client's own five attempts would last with these pauses."""
    async with world.running() as running:
        sessions = running.value("stream_sessions_total")
        await world.realtime.kill()
        await eventually(lambda: running.value("stream_lost_total", reason="connect_failed") >= 7)
        await end_a_run(world)
        await eventually(world.counted)  # by a sweep: there is no stream
        await world.realtime.start()
        await came_back(world, running, sessions)


async def test_hazard_4_a_server_that_accepts_and_closes_is_not_stormed(world: World) -> None:
    async with world.running(backoff_cap=2) as running:
        sessions = running.value("stream_sessions_total")
        world.realtime.faults.close_on_connect = True
        await world.realtime.disconnect()
        await asyncio.sleep(1.5)
        lost = sum(
            s.value
            for m in running.daemon.telemetry.registry.collect()
            for s in m.samples
            if s.name == "meshmetrics_stream_lost_total"
        )
        assert 2 <= lost <= 25
        world.realtime.faults.close_on_connect = False
        await came_back(world, running, sessions)


async def test_hazard_5_a_server_that_answers_nothing_any_more_is_noticed(world: World) -> None:
    async with world.running() as running:
        sessions = running.value("stream_sessions_total")
        world.realtime.faults.hang = True
        await eventually(lambda: running.value("stream_lost_total", reason="probe_timed_out") >= 1)
        await end_a_run(world)
        await eventually(world.counted)
        world.realtime.faults.hang = False
        await came_back(world, running, sessions)


async def test_hazard_5_unanswered_heartbeats_do_no_harm_while_the_probe_is_answered(
    world: World,
) -> None:
    async with world.running() as running:
        world.realtime.faults.ignore_heartbeats = True
        await asyncio.sleep(0.6)
        assert running.value("stream_sessions_total") == 1
        assert running.up


async def test_hazard_6_a_close_of_an_older_join_ends_the_session_instead_of_deafening_it(
    world: World,
) -> None:
    async with world.running(**BY_EVENTS) as running:
        topic = joined_topic(world)
        frame = {"topic": topic, "event": "phx_close", "payload": {}, "ref": "0"}
        world.realtime.send_raw(json.dumps(frame))
        await came_back(world, running, 1)
        assert joined_topic(world) != topic  # so that no late close can be mistaken for its own


def joined_topic(world: World) -> str:
    [topic] = {topic for socket in world.realtime._sockets for topic in socket.channels}
    return topic


async def test_silence_with_healthy_heartbeats_is_noticed_and_the_session_replaced(
    world: World,
) -> None:
    async with world.running() as running:
        await end_a_run(world)
        await eventually(lambda: running.value("events_received_total") == 1)
        world.realtime.faults.silent = True
        with capture_logs() as logged:

            async def replaced() -> bool:
                await end_a_run(world, "failed")
                return running.value("stream_lost_total", reason="silent") >= 1

            await eventually(replaced)
            await eventually(world.counted)
        assert "sweep.found_missed" in [line["event"] for line in logged]
        world.realtime.faults.silent = False
        await came_back(world, running, running.value("stream_sessions_total") - 1)


async def test_realtime_down_from_the_start_and_back_later(world: World) -> None:
    await world.realtime.stop()
    async with world.running(until_up=False) as running:
        for status in ("succeeded", "failed", "canceled"):
            await end_a_run(world, status)
        await eventually(world.counted)
        assert not running.up
        assert (await running.get("/readyz")).status_code == 503
        await world.realtime.start()
        await came_back(world, running, 0)
        assert (await running.get("/readyz")).status_code == 200


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_refusal_slows_the_listener_down(world: World, status: int) -> None:
    world.realtime.faults.connect_error = (status, "go away")
    with capture_logs() as logged:
        async with world.running(until_up=False, backoff_cap=1) as running:
            await eventually(lambda: [line for line in logged if line["event"] == "stream.lost"])
            [line] = [line for line in logged if line["event"] == "stream.lost"]
            assert line["reason"] == "connect_failed"
            assert line["retry_in_ms"] >= 1000  # a quarter of four times the cap, at least
            assert running.value("stream_up") == 0


async def test_a_wrong_subscription_is_told_from_a_working_one(world: World) -> None:
    """The join is answered ok, and then comes a system error: no change would ever arrive."""
    await world.owner.execute("alter publication supabase_realtime drop table workflow_runs")
    async with world.running(until_up=False) as running:
        await eventually(lambda: running.value("stream_lost_total", reason="channel_error") >= 2)
        await end_a_run(world)
        await eventually(world.counted)
        await world.owner.execute("alter publication supabase_realtime add table workflow_runs")
        await came_back(world, running, 0)


async def test_only_realtimes_word_that_changes_flow_counts_as_up(database: DatabaseClone) -> None:
    """Joined is not subscribed, and not every system message is about changes."""
    slow = replace(Timing.quick(), cold_start=0.6)
    server = RealtimeServer(database_dsn=database.owner_dsn, jwt_secret=JWT_SECRET, timing=slow)
    await server.start()
    ups: list[int] = []
    async with httpx.AsyncClient() as http:
        session = Session(
            server.url,
            KEY,
            http,
            private=False,
            times=SessionTimes(),
            on_hint=lambda *_: None,
            on_odd=lambda _: None,
        )
        task = asyncio.create_task(session.run(lambda: ups.append(1)))
        try:
            joined = await eventually(lambda: [c for s in server._sockets for c in s.channels])
            other = {"extension": "system", "status": "ok", "message": "hello", "channel": "x"}
            server.push("system", other, joined[0])
            await asyncio.sleep(0.2)
            assert not ups
            await eventually(lambda: ups)
        finally:
            task.cancel()
            await asyncio.wait({task})
            await server.stop()


async def test_where_only_private_topics_are_allowed_the_next_session_is_private(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting of Supabase's Realtime, which the development server does not have."""
    run = Session.run

    async def refuse_public(session: Session, on_up: Callable[[], None]) -> None:
        if not session._private:
            reason = '{"reason": "PrivateOnly: This project only allows private channels"}'
            raise SessionEndedError("channel_error", reason)
        await run(session, on_up)

    monkeypatch.setattr(Session, "run", refuse_public)
    async with world.running() as running:
        await came_back(world, running, 0)
        assert running.value("stream_lost_total", reason="channel_error") == 1


async def test_more_hints_than_the_inbox_holds_are_found_by_a_sweep(world: World) -> None:
    async with world.running(inbox_capacity=100, **BY_EVENTS) as running:
        async with world.owner.transaction():
            # Nobody counts meanwhile, and the engine writes on.
            await world.owner.execute("select meshmetrics.counting_lock()")
            engine = await asyncpg.connect(world.database.owner_dsn)
            for _ in range(300):
                await finish_run(engine, await insert_run(engine, world.workflow))
            await engine.close()
            await eventually(lambda: running.value("inbox_overflows_total") > 0)
        await eventually(world.counted)


async def test_dropped_delayed_repeated_and_reordered_events_change_no_count(
    world: World,
) -> None:
    faults = world.realtime.faults
    faults.drop, faults.delay, faults.reorder, faults.repeat = 0.3, 0.05, 0.1, 2
    async with world.running() as running:
        runs = [await insert_run(world.owner, world.workflow) for _ in range(60)]
        for number, run in enumerate(runs):
            await finish_run(world.owner, run, "failed" if number % 3 else "succeeded")
        for run in runs[::2]:
            await resume_run(world.owner, run)
            await finish_run(world.owner, run, "canceled")
        await eventually(world.counted)
        assert running.value("events_received_total") > 0


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "not to be closed"])
async def test_a_session_that_ended_leaves_no_task_behind(
    world: World, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one whose server did not answer any more: its probe and its heartbeat wait."""
    if not closes:  # as over a line that is cut: the closing handshake never ends

        async def close(_: AsyncRealtimeClient) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(AsyncRealtimeClient, "close", close)
        monkeypatch.setattr("meshmetrics.stream.session.CLOSE_SECONDS", 0.1)
    async with world.running() as running:
        world.realtime.faults.hang = True
        await eventually(lambda: running.value("stream_lost_total", reason="probe_timed_out") >= 1)
        world.realtime.faults.hang = False
        await eventually(lambda: running.up)
        await asyncio.sleep(0)  # what was cancelled ends
        names = [str(task.get_coro()) for task in asyncio.all_tasks()]
    assert sum("AsyncRealtimeClient._listen" in name for name in names) == 1
    assert sum("AsyncRealtimeClient._heartbeat" in name for name in names) == 1
    assert sum("AsyncPush" in name for name in names) <= 1  # of a probe under way
    names = [str(task.get_coro()) for task in asyncio.all_tasks()]
    assert not [name for name in names if "Async" in name]


async def test_a_run_that_does_not_exist_is_no_trouble(world: World) -> None:
    async with world.running(**BY_EVENTS) as running:
        payload = {"ids": ids_of(world), "data": {**FULL, "type": "UPDATE"}}
        payload["data"]["record"] = {"id": str(uuid4()), "status": "failed"}  # type: ignore[index]
        world.realtime.push("postgres_changes", payload)
        await eventually(lambda: running.value("events_received_total") == 1)
        await end_a_run(world)
        await eventually(world.counted)
        assert running.value("service_failures_total", service="counter") == 0


async def test_while_runs_end_too_fast_for_it_the_stream_is_left_and_nothing_is_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.stream.run_rate.SPAN", 1)
    monkeypatch.setattr("meshmetrics.stream.listener.RATE_CHECK_SECONDS", 0.1)
    with capture_logs() as logged:
        async with world.running(sweep_quick=0.05, stream_runs_per_second=40) as running:
            await end_many(world)
            await eventually(lambda: running.value("stream_left") == 1)
            await eventually(lambda: world.realtime.subscribers == 0)
            # It is no failure, and what ends meanwhile is counted.
            by_events = running.value("runs_counted_total", source="event")
            answer = await running.get("/readyz")
            await end_a_run(world)
            await eventually(world.counted)
            if running.value("stream_left") == 1:
                assert running.value("runs_counted_total", source="event") == by_events
                assert answer.status_code == 200
            # Runs have become few: it listens again, to the next run's event too.
            await eventually(lambda: running.up)
            assert running.value("stream_left") == 0
            events = running.value("events_received_total")
            await end_a_run(world)
            await eventually(lambda: running.value("events_received_total") > events)
            await eventually(world.counted)
            assert running.value("sweep_found_missed_total") == 0
    names = [line["event"] for line in logged]
    assert "stream.left" in names
    assert "stream.joining" in names
    assert "stream.lost" not in names


async def test_a_daemon_that_stops_while_it_has_left_the_stream_does_not_say_so_for_ever(
    world: World,
) -> None:
    async with world.running(sweep_quick=0.05, stream_runs_per_second=1) as running:
        await end_many(world)
        await eventually(lambda: running.value("stream_left") == 1)
    assert running.value("stream_left") == 0


async def test_a_stream_that_is_lost_while_it_is_joined_again_is_no_longer_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshmetrics.stream.run_rate.SPAN", 1)
    monkeypatch.setattr("meshmetrics.stream.listener.RATE_CHECK_SECONDS", 0.1)
    async with world.running(sweep_quick=0.05, stream_runs_per_second=40) as running:
        world.realtime.faults.refuse = True
        await end_many(world)
        await eventually(lambda: running.value("stream_left") == 1)
        await eventually(lambda: running.value("stream_lost_total", reason="connect_failed") >= 1)
        assert running.value("stream_left") == 0
        assert (await running.get("/readyz")).status_code == 503
        await end_a_run(world)
        await eventually(world.counted)
        await eventually(lambda: running.value("sweep_found_missed_total") >= 1)
        world.realtime.faults.refuse = False
        await eventually(lambda: running.up)


async def test_keys_that_are_no_tokens_listen_and_broadcast_and_a_refused_one_is_passed_over(
    database: DatabaseClone, owner: asyncpg.Connection
) -> None:
    """The first key is revoked; the next is one of Supabase's keys of 2026."""
    server = RealtimeServer(
        database_dsn=database.owner_dsn,
        jwt_secret=JWT_SECRET,
        timing=Timing.quick(),
        api_keys={"sb_secret_valid": "service_role"},
    )
    await server.start()
    try:
        workflow = await make_workflow(owner, await make_project(owner))
        world = World(database, server, owner, workflow)
        keys = "sb_secret_revoked,sb_secret_valid"
        async with world.running(supabase_secret_key=keys, **BY_EVENTS) as running:
            await finish_run(owner, await insert_run(owner, workflow))
            await eventually(lambda: running.sent)
        assert await world.counted()
    finally:
        await server.stop()
