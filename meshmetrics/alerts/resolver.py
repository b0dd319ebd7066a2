"""Looks up host names that tenants chose, in threads of its own: a name server that never answers
holds up its own names and nothing else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence

MAX_LOOKUPS = 64
"""Lookups under way at the same time. One that hangs keeps its thread until the system gives up."""
MAX_OF_DOMAIN = 4
"""Of those, for names that end in the same two labels: they usually have the same name servers."""
LOOKUP_SECONDS = 5.0
"""How long a delivery waits for its lookup."""

Lookup = Callable[[str, int], Sequence[str]]


def system_lookup(host: str, port: int) -> Sequence[str]:
    """Every address of a host, from the system's resolver. Blocks. Raises OSError, UnicodeError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Resolver:
    """Resolves names in threads of its own. Deliveries to the same host share one lookup."""

    def __init__(self, lookup: Lookup = system_lookup, *, seconds: float = LOOKUP_SECONDS) -> None:
        self._lookup = lookup
        self._seconds = seconds
        self._under_way: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}
        self._of_domain: Counter[str] = Counter()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Every address of a host. Raises OSError (TimeoutError included), UnicodeError."""
        key = (host, port)
        found = self._under_way.get(key)
        if found is None:
            found = self._begin(key)
        async with asyncio.timeout(self._seconds):
            return await asyncio.shield(found)

    def _begin(self, key: tuple[str, int]) -> asyncio.Future[Sequence[str]]:
        host, port = key
        domain = ".".join(host.rstrip(".").rsplit(".", 2)[-2:])
        if self._of_domain[domain] >= MAX_OF_DOMAIN or len(self._under_way) >= MAX_LOOKUPS:
            raise ConnectionError(f"too many names of {domain} are being resolved")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        self._under_way[key] = found
        self._of_domain[domain] += 1

        def ended(addresses: Sequence[str], error: BaseException | None) -> None:
            del self._under_way[key]
            self._of_domain -= Counter({domain: 1})
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)
                found.exception()  # no caller may be waiting any more

        def look_up() -> None:
            addresses: Sequence[str] = ()
            failure: BaseException | None = None
            try:
                addresses = self._lookup(host, port)
            except Exception as error:  # of any kind: the waiting task raises it
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended, addresses, failure)

        # Daemon threads: stopping waits for no name server.
        threading.Thread(target=look_up, name=f"resolve {host[:60]}", daemon=True).start()
        return found
