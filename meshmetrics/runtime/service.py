"""Long-lived services: one small contract, and a supervisor that starts, watches and stops them.

A plain TaskGroup would cancel siblings without letting them drain, and would not notice a service
that returns early.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import structlog

from meshmetrics.runtime.logs import describe

log = structlog.get_logger()

STABLE_SECONDS = 60.0
"""A service that ran this long has recovered: the next failure counts as its first."""


class FatalError(Exception):
    """An error that a restart inside the process cannot fix. The message is for the operator."""


class Service(ABC):
    """A long-lived service.

    `run` sets `started` once it works, continues until `stopping` is set, then finishes its work
    in progress and returns. It may be called again after it raised. `stop` is idempotent.
    """

    name: ClassVar[str]
    restart: ClassVar[bool] = True
    """Whether to run it again after a failure; otherwise a failure ends the whole group."""
    may_finish: ClassVar[bool] = False
    """Whether it may return before it is stopped, because its work is done."""
    drain_seconds: float = 1.0
    """Timeout for returning after `stop`; then it is cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.stopping = asyncio.Event()

    @abstractmethod
    async def run(self) -> None:
        """Work until `stopping`."""

    def stop(self) -> None:
        """Make it drain and return."""
        self.stopping.set()

    async def pause(self, seconds: float) -> bool:
        """Wait, at most until `stopping`; return whether it is stopping."""
        return await wait_for_event(self.stopping, seconds)


async def wait_for_event(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for the event, at most `seconds` (None: for ever); return whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


def full_jitter(attempt: int, *, base: float, cap: float) -> float:
    """Back-off in seconds after the `attempt`th failure in a row (from 1).

    It is uniform between 0 and the exponential bound, so that clients that failed together do not
    retry together; its minimum is a tenth of `base`.
    """
    bound = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return max(base / 10, random.uniform(0, bound))


class Supervisor:
    """Runs services together: starts them in order, stops them in reverse order."""

    def __init__(
        self,
        services: Sequence[Service],
        *,
        drain_seconds: float = 4.0,
        on_failure: Callable[[str], None] | None = None,
        is_transient: Callable[[Exception], bool] = lambda _: False,
        remedy: Callable[[Exception], str | None] = lambda _: None,
        restart_base: float = 0.5,
        restart_cap: float = 30.0,
    ) -> None:
        """`drain_seconds`: timeout for stopping all services. `on_failure` is called with the
        service's name at each failure. Errors that are `is_transient`, such as a restarting
        database, are logged in one line without a traceback; so are errors with a `remedy`, which
        is logged with them."""
        self._services = services
        self._drain_seconds = drain_seconds
        self._on_failure = on_failure
        self._is_transient = is_transient
        self._remedy = remedy
        self._restart_base = restart_base
        self._restart_cap = restart_cap
        self._tasks: dict[Service, asyncio.Task[None]] = {}
        self.failing: set[str] = set()
        """Services that failed and have not run for `STABLE_SECONDS` since."""

    async def run(self, stop: asyncio.Event) -> None:
        """Start all, wait for `stop`, stop all.

        Raises what a service without restart raised, after the others have drained.
        """
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            for service in self._services:
                if stop.is_set():
                    break
                task = asyncio.create_task(self._run(service), name=service.name)
                self._tasks[service] = task
                await self._wait_for_start(service, task, stopped)
            await self._until_one_ends(stopped)
        finally:
            stopped.cancel()
            await self._stop_all()
        ended = [task for task in self._tasks.values() if task.done() and not task.cancelled()]
        for error in [task.exception() for task in ended]:
            if error is not None:
                raise error

    async def _wait_for_start(
        self, service: Service, task: asyncio.Task[None], stopped: asyncio.Task[bool]
    ) -> None:
        """Wait until it has started or failed, or until all stop."""
        started = asyncio.create_task(service.started.wait())
        try:
            await asyncio.wait({started, task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()

    async def _until_one_ends(self, stopped: asyncio.Task[bool]) -> None:
        waiting = set(self._tasks.values())
        while waiting and not stopped.done():
            await asyncio.wait({*waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            ended = {task for task in waiting if task.done()}
            if any(task.cancelled() or task.exception() is not None for task in ended):
                return
            waiting -= ended

    async def _run(self, service: Service) -> None:
        """Run one service until it is stopped; restart it when it fails."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began = loop.time()
            stable = loop.call_later(STABLE_SECONDS, self.failing.discard, service.name)
            error = await _failure(service)
            stable.cancel()
            if error is None:
                self.failing.discard(service.name)
                return
            attempt = 1 if loop.time() - began > STABLE_SECONDS else attempt + 1
            self.failing.add(service.name)
            if self._on_failure is not None:
                self._on_failure(service.name)
            if isinstance(error, FatalError):
                raise error
            wait = full_jitter(attempt, base=self._restart_base, cap=self._restart_cap)
            if self._is_transient(error):
                text = f"{type(error).__name__}: {error}"
                log.warning("service.failed", service=service.name, attempt=attempt, error=text)
            elif (remedy := self._remedy(error)) is not None:
                log.error(
                    "service.failed",
                    service=service.name,
                    attempt=attempt,
                    error=describe(error),
                    remedy=remedy,
                )
            else:
                log.error("service.failed", service=service.name, attempt=attempt, exc_info=error)
            if not service.restart:
                raise error
            service.started.set()  # the services after it do not wait for its restart
            if await service.pause(wait):
                return

    async def _stop_all(self) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._drain_seconds
        for service, task in reversed(self._tasks.items()):
            service.stop()
            limit = max(0.0, min(service.drain_seconds, deadline - clock()))
            done, _ = await asyncio.wait({task}, timeout=limit)
            if not done:
                log.warning("service.drain_timeout", service=service.name, waited_ms=limit * 1000)
                task.cancel()
                await asyncio.wait({task}, timeout=0.2)


async def _failure(service: Service) -> Exception | None:
    """Run a service once; return its error, or None if it was stopped or has finished."""
    try:
        await service.run()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # This task was not cancelled: the error leaked out of a library.
        return RuntimeError(f"{service.name} was cancelled from within")
    except Exception as error:
        return error
    if service.stopping.is_set() or service.may_finish:
        return None
    return RuntimeError(f"{service.name} returned before it was stopped")
