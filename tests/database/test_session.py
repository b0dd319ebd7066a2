"""Whatever the role has as a default, our sessions are set as counting needs them."""

from __future__ import annotations

import asyncpg
import pytest

from meshmetrics.counting.store import CountingStore
from meshmetrics.database.pool import open_pool
from meshmetrics.database.store import Database
from tests.conftest import Connect
from tests.support import Workflow, insert_run, make_project, make_workflow
from tests.support.databases import WORKER_LOGIN, DatabaseClone

DEFAULTS = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "search_path": "nowhere",
}


@pytest.fixture
async def workflow(owner: asyncpg.Connection) -> Workflow:
    return await make_workflow(owner, await make_project(owner))


@pytest.mark.parametrize("transaction_pooler", [False, True])
@pytest.mark.parametrize("name", DEFAULTS)
async def test_runs_are_counted_whatever_the_roles_defaults_are(
    database: DatabaseClone,
    owner: asyncpg.Connection,
    workflow: Workflow,
    name: str,
    transaction_pooler: bool,
) -> None:
    await owner.execute(
        f"alter role {WORKER_LOGIN} in database {database.name} set {name} = '{DEFAULTS[name]}'"
    )
    run = await insert_run(owner, workflow, "succeeded")
    async with open_pool(
        database.worker_dsn, size=1, transaction_pooler=transaction_pooler
    ) as pool:
        store = CountingStore(Database(pool, transaction_pooler=transaction_pooler))
        assert (await store.count_runs([run])).runs == 1
        assert (await store.count_open_runs()).open == 0


async def test_a_session_that_cannot_write_is_replaced(
    worker_dsn: str, owner: asyncpg.Connection, workflow: Workflow
) -> None:
    """As after a failover: the old server is read-only, the next session has the new one."""
    run = await insert_run(owner, workflow, "succeeded")
    async with open_pool(worker_dsn, size=1, transaction_pooler=False) as pool:
        store = CountingStore(Database(pool))
        async with pool.acquire() as connection:
            await connection.execute("set default_transaction_read_only = on")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await store.count_runs([run])
        assert (await store.count_runs([run])).runs == 1


async def test_an_error_of_connecting_is_never_taken_for_a_runs_fault(
    database: DatabaseClone, connect: Connect
) -> None:
    """A setting that the server refuses has the SQLSTATE of a wrong value."""
    dsn = f"{database.worker_dsn}?options=-c%20work_mem%3Dmany"
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await connect(dsn)
    async with open_pool(dsn, size=1, transaction_pooler=False) as pool:
        with pytest.raises(ConnectionError, match="cannot connect"):
            await CountingStore(Database(pool)).count_runs([])
