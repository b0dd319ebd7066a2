"""One server for the whole suite, and a topic of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from tests.devstack.protocol.target import (
    Target,
    make_source,
    named_by_environment,
    prepared,
    serving,
)
from tests.devstack.protocol.wire import Wire, wire

HERE = Path(__file__).parent
NAMES = itertools.count(1)

Connect = Callable[..., Awaitable[Wire]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "local_server: needs our own server (its faults, limits and waits), so it is left out"
        " where the suite runs against a real one",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The suite shares one server, so its tests share one event loop."""
    real = named_by_environment() is not None
    kept = []
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if real and item.get_closest_marker("local_server"):
                continue
        kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_target() -> AsyncIterator[Target]:
    async with AsyncExitStack() as stack:
        real = named_by_environment()
        if real is not None:
            await stack.enter_async_context(prepared(real.database_url))
            yield real
            return
        postgres = await stack.enter_async_context(EmbeddedPostgres())
        await make_source(postgres.dsn())
        await stack.enter_async_context(prepared(postgres.dsn()))
        yield await stack.enter_async_context(serving(postgres.dsn()))


@pytest.fixture
def target(session_target: Target) -> Target:
    """The server under test. It is shared: who needs other limits, faults or waits, starts one."""
    return session_target


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> int:
    """The protocol's version."""
    number: int = request.param
    return number


@pytest.fixture
def topic() -> str:
    """A topic nobody else uses."""
    return f"realtime:topic-{next(NAMES)}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sql(session_target: Target) -> AsyncIterator[asyncpg.Connection]:
    """The database behind the server, as its owner."""
    connection = await asyncpg.connect(session_target.database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def row_id(target: Target, sql: asyncpg.Connection) -> int:
    """The id of a row that no other test makes. All changes of earlier tests have gone out."""
    number = next(NAMES)
    entry = {"event": "INSERT", "schema": "public", "table": "protocol_tide"}
    async with wire(target) as watcher:
        await watcher.subscribe("realtime:tide", target.service_key, entry)
        await sql.execute("insert into public.protocol_tide values ($1)", number)
        while (await watcher.change())["record"]["id"] != number:
            pass
    return number


@pytest_asyncio.fixture(loop_scope="session")
async def open_wire(target: Target) -> AsyncIterator[Connect]:
    """Opens connections; they are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def open_one(version: int = 1, token: str | None = None) -> Wire:
            return await stack.enter_async_context(wire(target, version, token))

        yield open_one
