"""A real Postgres for the demo, development and tests: no Docker, no installation, no root."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import asyncpg

from meshmetrics.devstack.postgres.binaries import (
    find_binaries,
    give,
    identity_arguments,
    make_cluster,
    reachable_binaries,
    readable_by_others,
    unprivileged_user,
)

KEEPER = Path(__file__).with_name("keeper.py")
SECONDS_TO_START = 60

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "30",
    "max_wal_senders": "30",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Data survives a crash of Postgres but not of the machine. synchronous_commit stays on: without it
# a crash of Postgres would lose confirmed commits, which does not happen in production.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class PostgresFailedError(RuntimeError):
    """Postgres did not start; the message ends with its output."""


class EmbeddedPostgres:
    """An async context manager around one Postgres server on a free port of 127.0.0.1.

    It is for development, and stops when the context ends, and also when the owning process ends
    in any way. Without a `password`, every process on this machine can connect as any user.
    """

    def __init__(
        self,
        version: int = 18,
        *,
        data_dir: Path | None = None,
        temporary_in: Path | None = None,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> None:
        """Nothing is started yet.

        `data_dir` is reused and not removed. Without it, a temporary directory is created (in
        `temporary_in`, or in the system's default) and removed at the end. `durable` commits
        survive a crash of the machine. `settings` of postgresql.conf override ours.
        `password` is that of `postgres`; another role can connect once it has been given the same.

        Raises PostgresNotFoundError when that version is not installed.
        """
        self.version = version
        self.password = password
        self.port: int | None = None
        self._binaries = find_binaries(version)
        self._user = unprivileged_user()
        self._permanent_data_dir = data_dir
        self._temporary_in = temporary_in
        self._scratch: Path | None = None
        self._settings = SETTINGS | ({} if durable else NOT_DURABLE) | dict(settings or {})
        self._keeper: subprocess.Popen[str] | None = None

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL to connect to. The port stays the same until the context ends."""
        if self.port is None:
            raise RuntimeError("start it first")
        return self._dsn(self.port, database, user)

    def _dsn(self, port: int, database: str = "postgres", user: str = "postgres") -> str:
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"postgresql://{quote(user)}{password}@127.0.0.1:{port}/{quote(database)}"

    @property
    def running(self) -> bool:
        """Whether the server process is running."""
        return self._keeper is not None and self._keeper.poll() is None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start it, on its previous port if it had one, and wait until it accepts connections.

        Raises PostgresFailedError.
        """
        if self.running:
            return
        try:
            await asyncio.to_thread(self._prepare)
            await self._launch_somewhere()
        except BaseException:
            if self.port is None:  # it never ran: there is no data to preserve
                await self.close()
            raise

    async def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: `fast` ends sessions and flushes everything, `immediate` is a crash."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await asyncio.to_thread(keeper.communicate, mode + "\n")

    async def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start on the same port with the same data."""
        await self.stop(mode)
        await self.start()

    async def close(self) -> None:
        """Stop it permanently and remove temporary files."""
        scratch = self._scratch
        # Data that is removed next need not be flushed.
        await self.stop("fast" if self._permanent_data_dir else "immediate")
        if scratch is not None:
            self._scratch = None
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    @property
    def data_dir(self) -> Path:
        """The data directory, once started."""
        if self._permanent_data_dir is not None:
            return self._permanent_data_dir.resolve()
        if self._scratch is None:
            raise RuntimeError("start it first")
        return self._scratch / "data"

    def _prepare(self) -> None:
        if self._scratch is None:
            self._scratch = Path(
                tempfile.mkdtemp(prefix="meshmetrics-postgres-", dir=self._temporary_in)
            )
            give(self._scratch, self._user)
        self._binaries = reachable_binaries(self._binaries, self._user, self._scratch)
        data_dir = self.data_dir
        made_with = data_dir / "PG_VERSION"
        if made_with.exists():
            if made_with.read_text().strip() != str(self.version):
                raise PostgresFailedError(
                    f"{data_dir} belongs to Postgres {made_with.read_text().strip()}, "
                    f"not {self.version}"
                )
            return
        data_dir.mkdir(parents=True, exist_ok=True)
        if self._user and self._permanent_data_dir and not readable_by_others(data_dir.parent):
            raise PostgresFailedError(
                f"Postgres runs as {self._user.pw_name}, who cannot access {data_dir}"
            )
        give(data_dir, self._user)
        if output := make_cluster(self._binaries, data_dir, self._user, self.password):
            raise PostgresFailedError(f"initdb failed:\n{output}")

    async def _launch_somewhere(self) -> None:
        attempts = 1 if self.port else 5
        for attempt in range(1, attempts + 1):
            port = self.port or free_port()
            try:
                await self._launch(port)
            except PostgresFailedError as error:
                if attempt == attempts or "could not bind" not in str(error):
                    raise
            else:
                self.port = port
                return

    async def _launch(self, port: int) -> None:
        settings = self._settings | {"port": str(port)}
        log = self.data_dir / "server.log"
        size_before = log.stat().st_size if log.exists() else 0
        keeping = {
            "command": [
                str(self._binaries / "postgres"),
                "-D",
                str(self.data_dir),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            "log": str(log),
            "identity": identity_arguments(self._user),
            "remove": None if self._scratch is None else str(self._scratch),
        }
        # Not asyncio's subprocess: it belongs to the loop that started it, and another loop may
        # stop the server.
        keeper = subprocess.Popen(  # noqa: S603, ASYNC220 (a millisecond)
            [sys.executable, "-I", "-S", str(KEEPER), json.dumps(keeping)],
            stdin=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        self._keeper = keeper
        dsn = self._dsn(port)
        try:
            async with asyncio.timeout(SECONDS_TO_START):
                while not await _answers(dsn, self.data_dir):
                    if keeper.poll() is not None:
                        break
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop("immediate")
        if not self.running:
            keeper.communicate()
            self._keeper = None
            output = log.read_text(errors="replace")[size_before:] if log.exists() else ""
            raise PostgresFailedError(f"Postgres {self.version} did not start:\n{output[-2000:]}")


async def _answers(dsn: str, data_dir: Path) -> bool:
    """Whether the server at `dsn` accepts connections and uses that data directory."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
        try:
            directory: str = await connection.fetchval("show data_directory")
            return directory == str(data_dir)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return False


def free_port() -> int:
    """A free port of 127.0.0.1 below the kernel's ephemeral range.

    A server that is restarted needs its port again; a port of the ephemeral range may have become
    the local end of another connection meanwhile.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
