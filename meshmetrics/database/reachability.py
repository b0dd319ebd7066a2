"""Why the database cannot be reached, where waiting does not help; and what to write instead.

The only place that knows how poolers, TLS and the network fail to connect.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from meshmetrics.runtime.logs import describe

POOLER = (
    "DATABASE_URL leads through a transaction pooler, which may give each transaction another"
    " session: set MESHMETRICS_POOLER=transaction"
)
_NO_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_SOCKETS = ("/", "@")
_PROBES = 3
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What waiting does not cure, for the operator."""

    text: str
    may_pass: bool = False
    """Whether it may still pass within seconds of a start: a name that is about to exist."""


async def obstacle(error: BaseException, hosts: Sequence[str]) -> Obstacle | None:
    """What stands between us and the database at `hosts`, by an error met there; None for an error
    that waiting may cure."""
    for cause in _causes(error):
        if text := _reason(cause):
            return Obstacle(text)
    if not any(host.startswith(_SOCKETS) for host in hosts) and any(
        isinstance(cause, (FileNotFoundError, PermissionError)) for cause in _causes(error)
    ):
        return Obstacle(
            "a file that DATABASE_URL names (sslrootcert, sslcert, sslkey or sslcrl) cannot be"
            f" read ({describe(error)}): correct its path"
        )
    if any(isinstance(cause, (OSError, TimeoutError, UnicodeError)) for cause in _causes(error)):
        return await _network(hosts)
    return None


async def is_transaction_pooler(dsn: str) -> bool:
    """Whether two connections at once come to share a session.

    Raises what connecting raises. May miss a pooler whose sessions others use at the moment.
    """
    first = await asyncpg.connect(dsn, statement_cache_size=0, timeout=_TIMEOUT)
    try:
        second = await asyncpg.connect(dsn, statement_cache_size=0, timeout=_TIMEOUT)
        try:
            for _ in range(_PROBES):
                before = await _session(first)
                async with second.transaction():
                    if before in (await _session(second), -1) or before != await _session(first):
                        return True
        except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
            return True
        else:
            return False
        finally:
            await second.close(timeout=1)
    finally:
        await first.close(timeout=1)


async def _session(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        session: int = await connection.fetchval("select pg_catalog.pg_backend_pid()")
    return session


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _reason(error: BaseException) -> str | None:
    """By what the server, the pooler or the driver said."""
    text = describe(error)
    if isinstance(
        error, (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
    ):
        return POOLER
    if isinstance(error, asyncpg.InternalServerError) and re.search(
        r"tenant.*not found|not found.*tenant", text, re.I
    ):
        return (
            f"the pooler does not know the user ({text}): through Supabase's pooler the user is"
            " postgres.<project ref>, and the host is that of the project's region"
        )
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in text:
        return f"the pooler refuses a parameter of DATABASE_URL ({text}): leave it out"
    if isinstance(error, asyncpg.UndefinedObjectError) and "configuration parameter" in text:
        return (
            f"the server does not know a setting in DATABASE_URL's options ({text}): leave it out"
        )
    if isinstance(error, asyncpg.ClientConfigurationError):
        return f"DATABASE_URL cannot be used: {text}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({text}): add sslrootcert=FILE to"
            " DATABASE_URL with the certificate that Supabase offers for download, or use"
            " sslmode=require"
        )
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return (
            "the server does not speak TLS, which sslmode in DATABASE_URL demands: use"
            " sslmode=prefer, or sslmode=disable"
        )
    return None


async def _network(hosts: Sequence[str]) -> Obstacle | None:
    """By names and addresses, where none of the hosts can ever answer."""
    found = [await _host(host) for host in hosts]
    return found[0] if found and all(found) else None


async def _host(host: str) -> Obstacle | None:
    if host.startswith(_SOCKETS):
        return None  # a socket: its server may be about to start
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT):
            addresses = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno not in _NO_NAME:
            return None
        return Obstacle(
            f"the host {host} does not exist: correct the host name in DATABASE_URL (a Supabase"
            " project that is paused or deleted has none)",
            may_pass=True,
        )
    except UnicodeError:
        return Obstacle(f"{host} is not a host name: correct it in DATABASE_URL")
    except TimeoutError:
        return None
    if any(family != socket.AF_INET6 or _has_route(to) for family, _, _, _, to in addresses):
        return None
    return Obstacle(
        f"{host} has IPv6 addresses only, and this machine has no IPv6: use the connection string"
        " of the session pooler (Supabase: Connect → Session pooler)"
    )


def _has_route(address: tuple[Any, ...]) -> bool:
    """Whether the machine knows a way to an IPv6 address. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address[0], 9, *address[2:]))
    except OSError:
        return False
    return True
