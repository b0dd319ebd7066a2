"""Services: started in order, stopped in reverse, watched in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from meshmetrics.runtime.service import FatalError, Service, Supervisor, full_jitter
from tests.support import eventually


class Recorder(Service):
    """Writes down when it starts and stops."""

    name = "recorder"

    def __init__(self, story: list[str], label: str) -> None:
        super().__init__()
        self.story = story
        self.label = label

    async def run(self) -> None:
        self.story.append(f"{self.label} starts")
        self.started.set()
        await self.stopping.wait()
        await asyncio.sleep(0)  # something to drain
        self.story.append(f"{self.label} drained")


class Scripted(Service):
    """Each run ends as the script says; after its end it runs until stopped."""

    name = "scripted"

    def __init__(self, *script: BaseException | None) -> None:
        super().__init__()
        self.script = list(script)
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        self.started.set()
        if self.script:
            end = self.script.pop(0)
            if end is not None:
                raise end
            return
        await self.stopping.wait()


class Once(Scripted):
    restart = False


class Finite(Scripted):
    may_finish = True


class Stubborn(Service):
    name = "stubborn"
    drain_seconds = 0.05

    async def run(self) -> None:
        self.started.set()
        await asyncio.Event().wait()


@asynccontextmanager
async def supervised(
    services: Sequence[Service], drain_seconds: float = 1.0
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(
        services, drain_seconds=drain_seconds, restart_base=0.001, restart_cap=0.001
    )
    stop = asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    for service in services:
        await asyncio.wait_for(service.started.wait(), 5)
    yield supervisor
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_services_start_in_order_and_stop_in_reverse_each_drained_before_the_next() -> None:
    story: list[str] = []
    async with supervised([Recorder(story, "a"), Recorder(story, "b")]):
        pass
    assert story == ["a starts", "b starts", "b drained", "a drained"]


async def test_a_service_starts_only_after_the_one_before_it_works() -> None:
    class Slow(Recorder):
        async def run(self) -> None:
            await asyncio.sleep(0.02)
            await super().run()

    story: list[str] = []
    async with supervised([Slow(story, "slow"), Recorder(story, "next")]):
        assert story == ["slow starts", "next starts"]


async def test_a_service_that_crashes_is_logged_counted_and_run_again() -> None:
    failed: list[str] = []
    service = Scripted(ValueError("one"), ValueError("two"))
    stop = asyncio.Event()
    supervisor = Supervisor([service], restart_base=0.001, on_failure=failed.append)
    with capture_logs() as logged:
        task = asyncio.create_task(supervisor.run(stop))
        await eventually(lambda: service.runs == 3)
        assert supervisor.failing == {"scripted"}
        stop.set()
        await task
    assert failed == ["scripted", "scripted"]
    lines = [line for line in logged if line["event"] == "service.failed"]
    assert [line["attempt"] for line in lines] == [1, 2]
    assert isinstance(lines[0]["exc_info"], ValueError)


async def test_a_service_that_returns_early_counts_as_failed() -> None:
    service = Scripted(None)
    with capture_logs() as logged:
        async with supervised([service]):
            await eventually(lambda: service.runs == 2)
    assert "before it was stopped" in str(logged[0]["exc_info"])


async def test_a_cancellation_that_leaks_out_of_a_library_counts_as_failed() -> None:
    service = Scripted(asyncio.CancelledError())
    async with supervised([service]):
        await eventually(lambda: service.runs == 2)


async def test_a_service_that_may_finish_is_not_run_again() -> None:
    service = Finite(None)
    story: list[str] = []
    with capture_logs() as logged:
        async with supervised([service, Recorder(story, "other")]) as supervisor:
            await asyncio.sleep(0.01)
            assert not supervisor.failing
    assert service.runs == 1
    assert story == ["other starts", "other drained"]
    assert not logged


async def test_siblings_drain_when_a_service_that_is_not_restarted_fails() -> None:
    story: list[str] = []
    with pytest.raises(ValueError, match="for good"):
        await Supervisor([Recorder(story, "a"), Once(ValueError("for good"))]).run(asyncio.Event())
    assert story == ["a starts", "a drained"]


async def test_a_fatal_error_ends_even_what_would_be_restarted() -> None:
    with pytest.raises(FatalError, match="wrong password"):
        await Supervisor([Scripted(FatalError("wrong password"))]).run(asyncio.Event())


async def test_a_service_that_fails_at_first_does_not_keep_the_others_from_starting() -> None:
    class NeverStarted(Scripted):
        async def run(self) -> None:
            raise ValueError("not yet")

    story: list[str] = []
    stop = asyncio.Event()
    services = [NeverStarted(), Recorder(story, "next")]
    task = asyncio.create_task(Supervisor(services, restart_base=0.001).run(stop))
    await eventually(lambda: story == ["next starts"])
    stop.set()
    await task


async def test_one_that_does_not_drain_is_cancelled_and_the_others_still_drain() -> None:
    story: list[str] = []
    with capture_logs() as logged:
        async with supervised([Recorder(story, "a"), Stubborn()]):
            pass
    assert story == ["a starts", "a drained"]
    assert [line["event"] for line in logged] == ["service.drain_timeout"]


async def test_all_together_stop_within_the_time_for_draining() -> None:
    class Patient(Stubborn):
        drain_seconds = 60.0

    with capture_logs() as logged:
        async with supervised([Patient(), Patient(), Patient()], drain_seconds=0.1):
            pass  # the 5 s that `supervised` waits would not do for three times 60
    assert len(logged) == 3


async def test_stopping_twice_is_stopping_once() -> None:
    service = Recorder([], "a")
    async with supervised([service]):
        service.stop()
        service.stop()
    assert service.story == ["a starts", "a drained"]


async def test_passing_errors_are_logged_in_one_line() -> None:
    service = Scripted(OSError("connection refused"))
    stop = asyncio.Event()
    supervisor = Supervisor(
        [service], restart_base=0.001, is_transient=lambda error: isinstance(error, OSError)
    )
    with capture_logs() as logged:
        task = asyncio.create_task(supervisor.run(stop))
        await eventually(lambda: service.runs == 2)
        stop.set()
        await task
    assert logged[0]["error"] == "OSError: connection refused"
    assert "exc_info" not in logged[0]


def test_full_jitter_grows_to_its_cap_and_uses_the_whole_range() -> None:
    def waits(attempt: int) -> list[float]:
        return [full_jitter(attempt, base=1, cap=30) for _ in range(400)]

    assert all(0.1 <= wait <= 1 for wait in waits(1))
    assert all(0.1 <= wait <= 4 for wait in waits(3))
    late = waits(1000)
    assert max(late) <= 30
    assert max(late) > 25
    assert min(late) < 5
