"""A pooler between the daemon and Postgres, as Supabase puts one there."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncpg

from meshmetrics.devstack.postgres.binaries import give, identity_arguments, unprivileged_user
from meshmetrics.devstack.postgres.server import free_port
from tests.support.databases import WORKER_LOGIN, DatabaseClone
from tests.support.waiting import eventually

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
"""


@asynccontextmanager
async def pgbouncer(
    database: DatabaseClone,
    mode: Literal["session", "transaction"],
    *,
    user: str = WORKER_LOGIN,
    pool_size: int = 2,
) -> AsyncIterator[str]:
    """A pgbouncer in front of the server of `database`; yields the DSN that goes through it.

    In transaction mode, at most `pool_size` server connections are shared by all clients, so
    that whoever keeps something in a session meets somebody else's.
    """
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        raise RuntimeError("pgbouncer not found: apt-get install pgbouncer")
    identity = unprivileged_user()
    directory = Path(tempfile.mkdtemp(prefix="meshmetrics-pgbouncer-"))
    port = free_port()
    (directory / "users").write_text("".join(f'"{name}" ""\n' for name in ("postgres", user)))
    (directory / "pgbouncer.ini").write_text(
        CONFIGURATION.format(
            server_port=database.server.port,
            port=port,
            directory=directory,
            mode=mode,
            pool_size=pool_size,
        )
    )
    give(directory, identity)
    dsn = f"postgresql://{user}@127.0.0.1:{port}/{database.name}"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 (a millisecond)
            [binary, str(directory / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **identity_arguments(identity),
        )
    try:

        async def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"pgbouncer ended:\n{(directory / 'log').read_text()}")
            try:
                connection = await asyncpg.connect(dsn, statement_cache_size=0)
            except OSError:
                return False
            await connection.close()
            return True

        await eventually(ready, what="pgbouncer taking connections")
        yield dsn
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
