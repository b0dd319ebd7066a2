"""16 receivers that sent `100 Continue` without end took the lease away, and 16 names that hang
made every other delivery wait for 19 s."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from meshmetrics.alerts.outbound import Guard, Rules
from meshmetrics.alerts.resolver import Resolver
from tests.alerts.receiver import receiving
from tests.attacks.conftest import assert_unharmed, figure

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" * 2000


@pytest.fixture
def endless() -> Iterator[int]:
    """The port of a receiver, in threads of its own, that never stops saying 100 Continue."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            peer.settimeout(5)
            while True:
                peer.sendall(INTERIM)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                threading.Thread(target=answer, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


async def test_neither_endless_answers_nor_hanging_names_delay_another_delivery(
    endless: int,
) -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> Sequence[str]:
        if host.startswith("hangs"):
            release.wait(20)
        return ["127.0.0.1"]

    async with receiving() as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])
        guard = Guard(
            Rules(
                http=True,
                ports=frozenset({port, endless}),
                networks=(ipaddress.ip_network("127.0.0.0/8"),),
            ),
            resolve=Resolver(lookup, seconds=2),
            timeout=5,
        )

        async def deliver_b() -> None:
            assert (await guard.post(receiver.url, b"{}", {})).status == 200

        quiet = await figure(deliver_b)
        hanging = [
            asyncio.create_task(guard.post(f"http://hangs.{n}.test:{port}/", b"", {}))
            for n in range(16)
        ]
        talking = [
            asyncio.create_task(guard.post(f"http://talks.test:{endless}/", b"", {}))
            for _ in range(16)
        ]
        await asyncio.sleep(0)
        attacked = await figure(deliver_b)
        failures = await asyncio.gather(*talking, *hanging, return_exceptions=True)
        release.set()
    assert_unharmed(quiet, attacked)
    assert all(isinstance(failure, ConnectionError) for failure in failures)
    assert "without end" in str(failures[0])
    assert "cannot be resolved" in str(failures[-1])
