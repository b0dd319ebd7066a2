"""One HTTP/1.1 request and its answer, of a bounded size. The receiver is not trusted: it may send
any bytes, at any pace, without end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import h11

ANSWER_BYTES = 64 * 1024
"""All that is read of an answer: heads, interim answers (1xx) and the body's framing included."""
HEAD_BYTES = 16 * 1024
"""The longest head. h11 parses one in a few milliseconds."""
BODY_BYTES = 4096
"""So much of a body is of interest."""
READ_BYTES = 4096
"""Parsed at a time: other tasks run in between."""
MAX_INTERIM = 4
"""Interim answers (1xx) before the final one. We ask for none, and receivers send one at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    excerpt: str
    retry_after: str | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and who has to be there."""

    address: str
    port: int
    host: str
    """The name in the URL: what the certificate is for."""


async def exchange(
    endpoint: Endpoint,
    path: bytes,
    headers: Mapping[str, str],
    body: bytes,
    tls: ssl.SSLContext | None,
) -> Answer:
    """Send a POST on a connection of its own and read the beginning of the answer. `tls`: None for
    a plain connection. The caller bounds the time.

    Raises OSError (ConnectionError, ssl.SSLError) for what the network, TLS or the receiver did.
    """
    reader, writer = await asyncio.open_connection(
        endpoint.address,
        endpoint.port,
        ssl=tls,
        server_hostname=endpoint.host if tls else None,
        limit=READ_BYTES,
    )
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        request = h11.Request(
            method="POST",
            target=path,
            headers=[
                *headers.items(),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ],
        )
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(connection, reader)
    except h11.RemoteProtocolError as error:
        raise ConnectionError(f"the answer is not HTTP: {error}") from error
    except h11.LocalProtocolError as error:
        raise ConnectionError(f"the request cannot be sent: {error}") from error
    finally:
        # Not close(): that would wait for the receiver to end TLS.
        writer.transport.abort()


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    head: h11.Response | None = None
    body = bytearray()
    interim = total = 0
    while len(body) < BODY_BYTES:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            piece = await reader.read(min(READ_BYTES, ANSWER_BYTES - total))
            # Reading from a full buffer does not yield to other tasks.
            await asyncio.sleep(0)
            total += len(piece)
            if total >= ANSWER_BYTES:
                break
            connection.receive_data(piece)
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > MAX_INTERIM:
                raise ConnectionError("the receiver sends interim answers (1xx) without end")
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:  # the end of the message, or of the connection
            break
    if head is None:
        raise ConnectionError(f"no answer within {ANSWER_BYTES:,} bytes")
    text = bytes(body[:BODY_BYTES]).decode("utf-8", "replace")
    excerpt = "".join(c if c.isprintable() else " " for c in text).strip()
    waits = [v.decode("latin-1")[:100] for name, v in head.headers if name == b"retry-after"]
    return Answer(head.status_code, excerpt, waits[0] if waits else None)
