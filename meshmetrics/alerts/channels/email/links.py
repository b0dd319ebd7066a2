"""What recipients of mail can do by a link: confirm, unsubscribe, and take that back."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import struct
import time
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Purpose = Literal["confirm", "unsubscribe", "subscribe"]
SECONDS: dict[Purpose, float] = {
    "confirm": 3 * 86_400.0,
    "unsubscribe": 400 * 86_400.0,  # recipients look for the link in old mails
    "subscribe": 400 * 86_400.0,
}
"""How long a link is good for."""
PATH = "/api/mail/"

_CODES: dict[Purpose, bytes] = {"confirm": b"c", "unsubscribe": b"u", "subscribe": b"s"}
_PURPOSES = {code: purpose for purpose, code in _CODES.items()}
_BODY = struct.Struct(">cI16s16s16s32s")
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a mail goes to, and for which channel."""

    channel_id: UUID
    project_id: UUID
    target: bytes
    """SHA-256 of the channel's sealed target, which is another one whenever it is written."""
    address: bytes
    """Keyed hash of the address."""


class Links:
    """Writes and reads links, by keys derived from those that seal the channels' targets."""

    def __init__(self, keys: str, base_url: str | None) -> None:
        """`keys`: Fernet keys, the newest first, commas between. `base_url`: where recipients reach
        the API; without one there are no links."""
        secrets = [base64.urlsafe_b64decode(key.strip()) for key in keys.split(",")]
        self._signing = [hmac.digest(s, b"meshmetrics mail link", "sha256") for s in secrets]
        self._hashing = [hmac.digest(s, b"meshmetrics mail address", "sha256") for s in secrets]
        self.base_url = base_url

    def hashes(self, address: str) -> list[bytes]:
        """The address's hash by each key, the newest first. Upper case and what follows a `+` make
        no other address."""
        name, _, domain = address.lower().rpartition("@")
        text = f"{name.partition('+')[0]}@{domain}".encode()
        return [hmac.digest(key, text, "sha256")[:16] for key in self._hashing]

    def url(self, purpose: Purpose, recipient: Recipient) -> str:
        """A link. There has to be a base URL."""
        return f"{self.base_url}{PATH}{self.token(purpose, recipient)}"

    def token(self, purpose: Purpose, recipient: Recipient) -> str:
        """The part of a link that says who may do what."""
        body = _BODY.pack(
            _CODES[purpose],
            int(time.time() + SECONDS[purpose]),
            recipient.channel_id.bytes,
            recipient.project_id.bytes,
            recipient.address,
            recipient.target,
        )
        signed = body + _sign(self._signing[0], body)
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")

    def read(self, token: str) -> tuple[Purpose, Recipient] | None:
        """What `token` wrote under any of the keys; None for all else, and once it has expired."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", token, re.ASCII):
            return None
        try:
            signed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            body, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
            code, until, channel, project, address, target = _BODY.unpack(body)
        except (binascii.Error, struct.error):
            return None
        good = [hmac.compare_digest(_sign(key, body), signature) for key in self._signing]
        if not any(good) or until < time.time():
            return None
        return _PURPOSES[code], Recipient(UUID(bytes=channel), UUID(bytes=project), target, address)


def _sign(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_SIGNATURE_BYTES]
