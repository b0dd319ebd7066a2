"""Servers that live as long as the test run, and databases that live as long as a test."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import uuid4

import asyncpg
import pytest

from meshmetrics.database.migrate import migrate
from meshmetrics.devstack.postgres.binaries import IN_WHEEL, installed_in_system
from meshmetrics.devstack.postgres.server import EmbeddedPostgres
from meshmetrics.devstack.schema import create_source

T = TypeVar("T")

SYSTEM_VERSIONS = [version for version in installed_in_system() if version >= 15] or [15]
VERSIONS = sorted({*IN_WHEEL, *SYSTEM_VERSIONS}, reverse=True)
"""The Postgres versions to test on: those Supabase hosts (15, 17) and the newest. 17 and 18 come in
wheels; 15 comes from Debian 12, and where it is missing the tests fail and name the package."""

NEWEST = VERSIONS[0]
"""Where a test runs that does not say otherwise."""
EVERY_VERSION = [
    pytest.param(
        version, id=f"postgres{version}", marks=[] if version == NEWEST else pytest.mark.slow
    )
    for version in VERSIONS
]
"""The parameters of a `postgres_version` fixture, for a module or suite whose result may depend on
the version. What only calls functions that tests/sql proves on each version needs the newest."""

WORKER_LOGIN = "meshmetrics_test_worker"
HOSTED_LOGIN = "meshmetrics_test_hosted"
"""A role with the rights that `postgres` has on hosted Supabase, where it is no superuser."""

Template = Literal["empty", "source", "migrated"]


@dataclass(frozen=True, slots=True)
class DatabaseClone:
    """A database of one test."""

    name: str
    server: EmbeddedPostgres

    def dsn(self, user: str = "postgres") -> str:
        return self.server.dsn(self.name, user)

    @property
    def owner_dsn(self) -> str:
        """As the superuser who owns everything in it."""
        return self.dsn()

    @property
    def worker_dsn(self) -> str:
        """As a role that is a member of meshmetrics_worker and has no other rights."""
        return self.dsn(WORKER_LOGIN)


class Servers:
    """The servers of a test run, by version, each started when first asked for."""

    def __init__(self) -> None:
        self._servers: dict[int, EmbeddedPostgres] = {}

    def get(self, version: int) -> EmbeddedPostgres:
        if version not in self._servers:
            self._servers[version] = run_apart(_start(version))
        return self._servers[version]

    def close(self) -> None:
        for server in self._servers.values():
            run_apart(server.close())


def in_memory() -> Path | None:
    """A file system in memory, where there is one with room: cloning a database makes some 300
    files and is ten times as fast there."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**31:
        return memory
    return None


async def _start(version: int) -> EmbeddedPostgres:
    server = EmbeddedPostgres(version, temporary_in=in_memory())
    try:
        await server.start()
        await _make_templates(server)
    except BaseException:
        await server.close()
        raise
    return server


async def _make_templates(server: EmbeddedPostgres) -> None:
    """`source`: Supabase's parts and MeshHook's tables; `migrated`: with our own as well, by a role
    that is no superuser, as on hosted Supabase."""
    await _execute(server.dsn(), "create database source")
    source = await asyncpg.connect(server.dsn("source"))
    try:
        await create_source(source)
    finally:
        await source.close()
    await _execute(
        server.dsn(),
        f"create role {HOSTED_LOGIN} login createrole createdb replication bypassrls"
        " in role anon, authenticated, service_role, supabase_realtime_admin, pg_monitor,"
        " pg_read_all_data",
        "create database migrated template source",
    )
    await migrate(await hand_over(DatabaseClone("migrated", server)))
    await _execute(server.dsn(), f"create role {WORKER_LOGIN} login in role meshmetrics_worker")


# Sequences that a column owns, and indexes, follow their table.
_HAND_OVER_PUBLIC = f"""
do $$
declare
  statement text;
begin
  for statement in
    select format('alter %s %s owner to {HOSTED_LOGIN}',
                  case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass)
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
    union all
    select format('alter function %s owner to {HOSTED_LOGIN}', p.oid::regprocedure)
    from pg_proc p where p.pronamespace = 'public'::regnamespace
  loop
    execute statement;
  end loop;
end
$$
"""


async def hand_over(database: DatabaseClone) -> str:
    """Make a `source` database belong to the role that `postgres` is on hosted Supabase; return
    the DSN of that role."""
    await _execute(
        database.owner_dsn,
        f"alter schema public owner to {HOSTED_LOGIN}",
        _HAND_OVER_PUBLIC,
        f"grant create on database {database.name} to {HOSTED_LOGIN}",
        f"alter publication supabase_realtime owner to {HOSTED_LOGIN}",
        f"grant usage on schema auth to {HOSTED_LOGIN}",
        f"grant select, insert on auth.users to {HOSTED_LOGIN}",
    )
    return database.dsn(HOSTED_LOGIN)


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def cloned(
    server: EmbeddedPostgres, template: Template = "migrated"
) -> AsyncIterator[DatabaseClone]:
    """A database of its own, dropped at the end with whatever still holds on to it."""
    name = f"test_{uuid4().hex[:12]}"
    source = "template1" if template == "empty" else template
    await _execute(server.dsn(), f"create database {name} template {source} strategy file_copy")
    try:
        yield DatabaseClone(name, server)
    finally:
        if server.running:
            await _execute(
                server.dsn(),
                # A slot that is being read just now would keep it from being dropped.
                "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots"
                f" where database = '{name}' and active",
                f"drop database {name} with (force)",
            )


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop and thread of its own, whatever loop is around."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
