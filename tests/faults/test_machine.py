"""Any interleaving of what can happen ends equal to a fresh group by, at every grain.

A hypothesis state machine: the engine's writes, open transactions, hints that are lost, repeated
and reordered, sweeps, counters side by side, connections that are lost in the middle of a count,
deletions and chores, in any order. What it finds it shrinks to the shortest story.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from meshmetrics.auditing.store import AuditStore
from meshmetrics.counting.backfill import Backfill
from meshmetrics.counting.counter import Counter
from meshmetrics.counting.store import CountingStore
from meshmetrics.counting.sweeper import Sweeper, SweepTimes
from meshmetrics.database.errors import is_transient
from meshmetrics.database.store import Database
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.stream.inbox import Inbox
from meshmetrics.stream.run_rate import RunRate
from meshmetrics.stream.state import Stream
from tests.faults.conftest import SEED, scaled
from tests.sql.plain import (
    assert_projects_add_up,
    counted_buckets,
    counted_counters,
    plain_buckets,
    plain_counters,
)
from tests.support import Workflow, finish_run, insert_run, make_project, make_workflow
from tests.support.databases import Servers, cloned

pytestmark = pytest.mark.slow

T = TypeVar("T")

EXAMPLES = scaled(25, 1000)
STEPS = scaled(40, 80)

TERMINAL = {"succeeded": "success", "failed": "failure", "canceled": "canceled"}
statuses = st.sampled_from(["running", "paused", *TERMINAL])
ages = st.sampled_from([0, 0, 1, 14, 16, 61, 1500, 3000, 20_000]).map(
    lambda minutes: timedelta(minutes=minutes)
)
numbers = st.integers(min_value=0, max_value=10_000)
several = st.lists(numbers, min_size=1, max_size=12)


class Machine(RuleBasedStateMachine):
    """Each example has a database of its own, and drives the loop by hand."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.server = server
        self.stack = AsyncExitStack()
        self.runs: list[UUID] = []
        self.workflows: list[Workflow] = []
        self.open: asyncpg.transaction.Transaction | None = None
        self.opened: list[UUID] = []

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, 30)

        return self.runner.run(bounded())

    def patiently(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """As a supervisor does: again, when a connection was lost."""

        async def again_and_again() -> None:
            for _ in range(50):
                try:
                    await work()
                except Exception as error:
                    if not is_transient(error):
                        raise
                    await asyncio.sleep(0.01)
                else:
                    return
            raise AssertionError("the connections never recovered")

        self.do(again_and_again())

    @initialize(history=st.integers(min_value=0, max_value=20))
    def begin(self, history: int) -> None:
        """A database with some runs from before meshmetrics."""
        self.do(self._begin(history))

    async def _begin(self, history: int) -> None:
        database = await self.stack.enter_async_context(cloned(self.server))
        self.owner = await asyncpg.connect(database.owner_dsn)
        self.slow = await asyncpg.connect(database.owner_dsn)
        self.pools = [
            await asyncpg.create_pool(database.worker_dsn, min_size=0, max_size=3) for _ in range(2)
        ]
        self.stores = [CountingStore(Database(pool)) for pool in self.pools]
        inbox, telemetry = Inbox(1000), Telemetry()
        # Batches so small that a walk takes several steps.
        self.counters = [
            Counter(store, inbox, lambda *_, **__: None, telemetry, batch=7, retry_base=0.001)
            for store in self.stores
        ]
        self.sweeper = Sweeper(
            self.stores[0], self.counters[0], inbox, Stream(), RunRate(0), asyncio.Event(),
            telemetry, times=SweepTimes(), batch=5,
        )  # fmt: skip
        self.backfill = Backfill(
            self.stores[1], self.counters[1], telemetry, batch=4, overlap=1, settle_pause=0.01
        )
        for _ in range(2):
            project = await make_project(self.owner)
            self.workflows += [await make_workflow(self.owner, project) for _ in range(2)]
        for number in range(history):
            at = datetime.now(UTC) - timedelta(days=2, minutes=number)
            status = list(TERMINAL)[number % 3]
            workflow = self.workflows[number % 4]
            self.runs.append(
                await insert_run(self.owner, workflow, status, finished_at=at, updated_at=at)
            )

    def run_of(self, number: int) -> UUID:
        return self.runs[number % len(self.runs)]

    def free(self, number: int) -> UUID | None:
        """A run that no open transaction has locked."""
        run = self.run_of(number)
        return None if run in self.opened else run

    # What the engine and the tenants do.

    @rule(workflow=numbers, status=statuses, age=ages)
    def insert(self, workflow: int, status: str, age: timedelta) -> None:
        if not self.workflows:
            return
        at = datetime.now(UTC) - age if status in TERMINAL else None
        chosen = self.workflows[workflow % len(self.workflows)]
        self.runs.append(self.do(insert_run(self.owner, chosen, status, finished_at=at)))

    @precondition(lambda self: self.runs)
    @rule(run=numbers, status=statuses, age=ages)
    def change(self, run: int, status: str, age: timedelta) -> None:
        chosen = self.free(run)
        if chosen is not None:
            self.do(self._change(self.owner, chosen, status, age))

    async def _change(
        self, connection: asyncpg.Connection, run: UUID, status: str, age: timedelta
    ) -> None:
        await connection.execute(
            "update public.workflow_runs set status = $2, finished_at = $3 where id = $1",
            *(run, status, datetime.now(UTC) - age if status in TERMINAL else None),
        )

    @precondition(lambda self: self.runs)
    @rule(run=numbers)
    def delete(self, run: int) -> None:
        """Its count stays as it was last counted: `history` keeps that for the end."""
        chosen = self.free(run)
        if chosen is None:
            return
        self.do(
            self.owner.execute(
                "create table if not exists public.history (like meshmetrics.counted_runs);"
            )
        )
        self.do(
            self.owner.execute(
                "with gone as (delete from public.workflow_runs where id = $1 returning id)"
                " insert into public.history select l.* from meshmetrics.counted_runs l"
                " join gone on gone.id = l.run_id",
                chosen,
            )
        )
        self.runs.remove(chosen)

    @precondition(lambda self: self.open is None and len(self.workflows) > 1)
    @rule(workflow=numbers)
    def delete_workflow(self, workflow: int) -> None:
        chosen = self.workflows.pop(workflow % len(self.workflows))
        self.do(
            self.owner.execute("delete from public.workflow_definitions where id = $1", chosen.id)
        )
        left = self.do(self.owner.fetch("select id from public.workflow_runs"))
        self.runs = [row["id"] for row in left]

    @precondition(lambda self: self.open is None)
    @rule(workflow=numbers, changed=several, status=statuses, age=ages)
    def open_transaction(
        self, workflow: int, changed: list[int], status: str, age: timedelta
    ) -> None:
        """Of which nobody sees anything until it commits, behind whatever happened meanwhile."""
        self.do(self._open(workflow, changed, status, age))

    async def _open(self, workflow: int, changed: list[int], status: str, age: timedelta) -> None:
        self.open = self.slow.transaction()
        await self.open.start()
        chosen = self.workflows[workflow % len(self.workflows)]
        self.opened = [await insert_run(self.slow, chosen)]
        await finish_run(self.slow, self.opened[0], "failed")
        for run in {self.run_of(number) for number in changed} if self.runs else ():
            await self._change(self.slow, run, status, age)
            self.opened.append(run)

    @precondition(lambda self: self.open is not None)
    @rule(commit=st.booleans())
    def close_transaction(self, commit: bool) -> None:
        assert self.open is not None
        self.do(self.open.commit() if commit else self.open.rollback())
        if commit:
            self.runs.append(self.opened[0])
        self.open, self.opened = None, []

    # What the daemons do.

    @precondition(lambda self: self.runs)
    @rule(runs=several, times=st.integers(min_value=1, max_value=3), counter=st.integers(0, 1))
    def hints(self, runs: list[int], times: int, counter: int) -> None:
        """Some of them, in any order, some again; all others are lost."""
        ids = [self.run_of(number) for number in runs]
        for _ in range(times):
            self.patiently(lambda: self.counters[counter].count(ids, source="event"))

    @precondition(lambda self: self.runs)
    @rule(one=several, other=several)
    def two_counters_at_once(self, one: list[int], other: list[int]) -> None:
        async def both() -> None:
            await asyncio.gather(
                self.counters[0].count([self.run_of(n) for n in one], source="event"),
                self.counters[1].count([self.run_of(n) for n in other], source="event"),
                self.sweeper._sweep(expecting=True),
            )

        self.patiently(both)

    @rule()
    def sweep(self) -> None:
        self.patiently(lambda: self.sweeper._sweep(expecting=True))

    @precondition(lambda self: self.open is None)  # it would wait for what is open
    @rule()
    def fill_back(self) -> None:
        self.patiently(self.backfill.run)

    @precondition(lambda self: self.runs)
    @rule(runs=several, after=st.floats(min_value=0, max_value=0.004))
    def lose_connections(self, runs: list[int], after: float) -> None:
        """In the middle of a count, which is repeated until it is done."""

        async def count_and_lose() -> None:
            ids = [self.run_of(n) for n in runs]
            counting = asyncio.create_task(self.counters[0].count(ids, source="event"))
            await asyncio.sleep(after)
            await self.owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and usename like '%worker%'"
            )
            await counting

        self.do(count_and_lose())

    @rule(scanned=st.sampled_from([1, 3, 1000]))
    def chores(self, scanned: int) -> None:
        self.patiently(lambda: self.stores[1].maintain(None, scanned))

    # And what must be true in the end.

    def teardown(self) -> None:
        try:
            if hasattr(self, "backfill"):
                if self.open is not None:
                    self.do(self.open.commit())
                self.patiently(lambda: self.sweeper._sweep(expecting=True))
                self.patiently(self.backfill.run)
                self.do(self._end())
        finally:
            self.do(self._close())
            self.runner.close()

    async def _end(self) -> None:
        await assert_projects_add_up(self.owner)
        assert await AuditStore(self.stores[0].database).audit() == ()
        # The deleted ones again, as they were counted: then a plain group by says it all. Of the
        # last of each outcome it cannot: whether a deleted run still is that may go either way.
        if await self.owner.fetchval("select to_regclass('public.history')") is not None:
            await self.owner.execute(
                "insert into public.workflow_runs"
                " (id, project_id, workflow_id, status, finished_at)"
                " select h.run_id, d.project_id, d.id, s.status, h.finished_at"
                " from public.history h join public.workflow_definitions d on d.id = h.workflow_id"
                " join meshmetrics.status_outcomes s on s.outcome = h.outcome"
            )
        counted = await counted_counters(self.owner)
        plain = await plain_counters(self.owner)
        assert {k: v[:3] for k, v in counted.items()} == {k: v[:3] for k, v in plain.items()}
        assert await counted_buckets(self.owner) == await plain_buckets(self.owner)

    async def _close(self) -> None:
        for pool in getattr(self, "pools", ()):
            pool.terminate()
        for name in ("owner", "slow"):
            if hasattr(self, name):
                getattr(self, name).terminate()
        await self.stack.aclose()


@pytest.mark.timeout(scaled(600, 7200))  # most of it for shrinking what it found
def test_any_interleaving_ends_equal_to_a_fresh_group_by(servers: Servers) -> None:
    server = servers.get(18)
    random.seed(SEED)

    @seed(SEED)
    def machine() -> Machine:
        return Machine(server)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type] # a factory does as well
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
