"""Where a page ended: opaque to clients, signed, and good only for the question it came from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshmetrics.api.http.problems import wrong

_TAKES = "the `next` of an answer to the same question, unchanged"
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Cursor:
    """The period that the first page was of, so that all pages are, and the last row's key."""

    from_at: datetime
    to_at: datetime
    after: tuple[float, str, UUID]


class Cursors:
    """Writes and reads cursors. Every replica with the same secret reads every other's."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"meshmetrics cursor\0" + secret.encode()).digest()

    def write(self, cursor: Cursor, question: str) -> str:
        """A cursor as text. `question`: all that has to stay the same from page to page."""
        number, text, workflow_id = cursor.after
        body = json.dumps(
            [
                cursor.from_at.isoformat(),
                cursor.to_at.isoformat(),
                repr(number),
                text,
                workflow_id.hex,
            ],
            separators=(",", ":"),
        ).encode()
        return base64.urlsafe_b64encode(self._sign(body, question) + body).decode().rstrip("=")

    def read(self, text: str, question: str) -> Cursor:
        """What `write` wrote for the same question. Raises Problem for any other text."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise wrong("cursor", text, _TAKES) from None
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body, question)):
            raise wrong("cursor", text, _TAKES)
        from_at, to_at, number, sort_text, workflow_id = json.loads(body)
        return Cursor(
            datetime.fromisoformat(from_at),
            datetime.fromisoformat(to_at),
            (float(number), sort_text, UUID(workflow_id)),
        )

    def _sign(self, body: bytes, question: str) -> bytes:
        whole = len(body).to_bytes(4, "big") + body + question.encode()
        return hmac.digest(self._key, whole, "sha256")[:_SIGNATURE_BYTES]
