"""The frames on the websocket: version 1.0.0 (objects), 2.0.0 (arrays and binary broadcasts).

Both carry topic, event, payload, ref and join_ref; the server's version 1 frames have no join_ref.
In version 2 a broadcast may travel in binary: kind 3 from a client, kind 4 to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Version = Literal[1, 2]
VERSIONS: dict[str | None, Version] = {None: 1, "1.0.0": 1, "2.0.0": 2}
"""`vsn` of the connect request to a version; any other is refused with 403."""

_PUSH, _BROADCAST = 3, 4


class FrameError(ValueError):
    """The data received is not a frame of the negotiated version. The real server ignores it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of a client. `payload` is whatever JSON it sent."""

    topic: str
    event: str
    payload: Any
    ref: str | None = None
    join_ref: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A user's event on its way to subscribers: `body` is JSON text, or bytes that are none.

    `binary`: version 2 receivers get it as a binary frame; `meta` is what the server
    adds about it (the id of a row of realtime.messages).
    """

    event: str
    body: bytes
    is_json: bool = True
    binary: bool = False
    meta: dict[str, Any] | None = None
    payload: str | None = None
    """The whole payload as the sender wrote it, where it came as JSON over the websocket."""


def dumps(value: Any) -> str:
    """JSON as the server writes it: compact, and with characters as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def decode(text: str, version: Version) -> Frame:
    """The client's frame in `text`. Raises FrameError."""
    try:
        value = json.loads(text)
        if version == 2:
            join_ref, ref, topic, event, payload = value
        else:
            topic, event, payload = value["topic"], value["event"], value["payload"]
            ref, join_ref = value.get("ref"), value.get("join_ref")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FrameError("no frame of this version") from error
    if not (isinstance(topic, str) and isinstance(event, str)):
        raise FrameError("topic and event are strings")
    return Frame(topic, event, payload, ref, join_ref, len(text))


def decode_binary(data: bytes) -> tuple[Frame, Broadcast]:
    """A kind 3 push: the frame it stands for, and what it broadcasts. Raises FrameError."""
    if len(data) < 7 or data[0] != _PUSH:
        raise FrameError("no binary broadcast")
    offset = 7
    parts = []
    for length in data[1:6]:
        parts.append(data[offset : offset + length])
        offset += length
    try:
        join_ref, ref, topic, event = (part.decode() for part in parts[:4])
    except UnicodeDecodeError as error:
        raise FrameError("names are UTF-8") from error
    frame = Frame(topic, "broadcast", None, ref or None, join_ref or None, len(data))
    return frame, Broadcast(event, data[offset:], is_json=data[6] == 1, binary=True)


def encode(
    version: Version, topic: str, event: str, payload: str, ref: str | None, join_ref: str | None
) -> str:
    """A server's frame; `payload` is JSON text already."""
    if version == 2:
        return f"[{dumps(join_ref)},{dumps(ref)},{dumps(topic)},{dumps(event)},{payload}]"
    return (
        f'{{"ref":{dumps(ref)},"event":{dumps(event)},"payload":{payload},"topic":{dumps(topic)}}}'
    )


def encode_broadcast(version: Version, topic: str, broadcast: Broadcast) -> str | bytes | None:
    """The frame that carries `broadcast`; None where the version cannot (bytes in version 1)."""
    if version == 2 and broadcast.binary:
        meta = dumps(broadcast.meta).encode() if broadcast.meta else b""
        topic_bytes, event_bytes = topic.encode(), broadcast.event.encode()
        lengths = [len(topic_bytes), len(event_bytes), len(meta)]
        head = bytes([_BROADCAST, *lengths, 1 if broadcast.is_json else 0])
        return head + topic_bytes + event_bytes + meta + broadcast.body
    if not broadcast.is_json:
        return None
    payload = broadcast.payload
    if payload is None:
        meta_part = f'"meta":{dumps(broadcast.meta)},' if broadcast.meta else ""
        payload = (
            f'{{"event":{dumps(broadcast.event)},{meta_part}'
            f'"payload":{broadcast.body.decode()},"type":"broadcast"}}'
        )
    return encode(version, topic, "broadcast", payload, None, None)
