"""The server under test: ours, or a real Supabase Realtime named by the environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from meshmetrics.devstack.realtime import RealtimeServer, Timing, mint
from meshmetrics.devstack.schema import create_source

ENVIRONMENT = (
    "MESHMETRICS_TEST_SUPABASE_URL",
    "MESHMETRICS_TEST_DATABASE_URL",
    "MESHMETRICS_TEST_SERVICE_ROLE_KEY",
    "MESHMETRICS_TEST_JWT_SECRET",
)
SECRET = "the secret of a development server, long enough"
USER = "11111111-1111-1111-1111-111111111111"

# The tables of the recorded frames. Small ids are the tests' own.
TABLES = """
create table public.protocol_open (
  id bigint primary key, tenant text, state text, payload jsonb, n int,
  updated_at timestamptz default now());
create table public.protocol_full (like public.protocol_open including all);
create table public.protocol_rls (like public.protocol_open including all);
create table public.protocol_rls_full (like public.protocol_open including all);
create table public.protocol_no_policy (like public.protocol_open including all);
create table public.protocol_unpublished (like public.protocol_open including all);
create table public.protocol_no_key (n int);
create table public.protocol_tide (id bigint primary key);
alter table public.protocol_open alter payload set storage external;
alter table public.protocol_full alter payload set storage external;
alter table public.protocol_full replica identity full;
alter table public.protocol_rls_full replica identity full;
alter table public.protocol_rls enable row level security;
alter table public.protocol_rls_full enable row level security;
alter table public.protocol_no_policy enable row level security;
create policy tenant on public.protocol_rls to authenticated
  using (tenant = auth.jwt() ->> 'tenant');
create policy tenant on public.protocol_rls_full to authenticated
  using (tenant = auth.jwt() ->> 'tenant');
grant all on public.protocol_open, public.protocol_full, public.protocol_rls,
  public.protocol_rls_full, public.protocol_no_policy, public.protocol_no_key
  to anon, authenticated, service_role;
alter publication supabase_realtime add table public.protocol_open, public.protocol_full,
  public.protocol_rls, public.protocol_rls_full, public.protocol_no_policy,
  public.protocol_no_key, public.protocol_tide;
create policy "protocol read" on realtime.messages for select to authenticated using (
  split_part((select realtime.topic()), ':', 1) = 'run'
  and split_part((select realtime.topic()), ':', 2) = (auth.jwt() ->> 'tenant'));
create policy "protocol write" on realtime.messages for insert to authenticated with check (
  split_part((select realtime.topic()), ':', 1) = 'run'
  and split_part((select realtime.topic()), ':', 2) = (auth.jwt() ->> 'tenant')
  and coalesce(auth.jwt() ->> 'can_write', 'true') = 'true');
"""
NO_TABLES = """
drop policy if exists "protocol read" on realtime.messages;
drop policy if exists "protocol write" on realtime.messages;
drop table if exists public.protocol_open, public.protocol_full, public.protocol_rls,
  public.protocol_rls_full, public.protocol_no_policy, public.protocol_unpublished,
  public.protocol_no_key, public.protocol_tide;
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A running Realtime server and the database behind it."""

    url: str
    database_url: str
    service_key: str
    jwt_secret: str
    local: RealtimeServer | None = None

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/realtime/v1/websocket"

    @property
    def server(self) -> RealtimeServer:
        """The local server; tests that need it are marked `local_server`."""
        assert self.local is not None
        return self.local

    def token(self, role: str = "anon", *, secret: str | None = None, **claims: Any) -> str:
        return mint(secret or self.jwt_secret, role, **claims)

    def tenant(self, name: str, **claims: Any) -> str:
        """The token of a user of that tenant."""
        return self.token("authenticated", sub=USER, tenant=name, **claims)


def named_by_environment() -> Target | None:
    """The real server to run against, if all four variables are set."""
    found = [os.environ.get(name, "") for name in ENVIRONMENT]
    if not any(found):
        return None
    missing = [name for name, value in zip(ENVIRONMENT, found, strict=True) if not value]
    if missing:
        raise RuntimeError(f"set all four or none; missing: {', '.join(missing)}")
    url, database_url, service_key, jwt_secret = found
    return Target(url.rstrip("/"), database_url, service_key, jwt_secret)


async def make_source(database_url: str) -> None:
    """Supabase's parts in an empty database."""
    connection = await asyncpg.connect(database_url)
    try:
        await create_source(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def prepared(database_url: str) -> AsyncIterator[None]:
    """The suite's tables and policies in that database, removed in the end."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(NO_TABLES)
        await connection.execute(TABLES)
        yield
        await connection.execute(NO_TABLES)
    finally:
        await connection.close()


@asynccontextmanager
async def serving(database_url: str, **options: Any) -> AsyncIterator[Target]:
    """A local server, with short waits unless `options` of RealtimeServer say otherwise."""
    options.setdefault("timing", Timing.quick())
    server = RealtimeServer(database_dsn=database_url, jwt_secret=SECRET, **options)
    await server.start()
    try:
        yield Target(server.url, database_url, mint(SECRET, "service_role"), SECRET, server)
    finally:
        await server.stop()
