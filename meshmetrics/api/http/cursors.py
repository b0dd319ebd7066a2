"""Page cursors: opaque to clients, signed, and valid only for the query they came from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshmetrics.api.http.problems import wrong

_TAKES = "the unchanged `next` of a response to the same query"
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Cursor:
    """The first page's period, which all pages share, and the sort key of the last row."""

    from_at: datetime
    to_at: datetime
    after: tuple[float, str, UUID]


class Cursors:
    """Writes and reads cursors. Replicas with the same secret accept each other's."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"meshmetrics cursor\0" + secret.encode()).digest()

    def write(self, cursor: Cursor, query: str) -> str:
        """A cursor as text. `query`: everything that must stay the same from page to page."""
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
        return base64.urlsafe_b64encode(self._sign(body, query) + body).decode().rstrip("=")

    def read(self, text: str, query: str) -> Cursor:
        """The cursor that `write` encoded for the same query. Raises Problem for any other text."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise wrong("cursor", text, _TAKES) from None
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body, query)):
            raise wrong("cursor", text, _TAKES)
        from_at, to_at, number, sort_text, workflow_id = json.loads(body)
        return Cursor(
            datetime.fromisoformat(from_at),
            datetime.fromisoformat(to_at),
            (float(number), sort_text, UUID(workflow_id)),
        )

    def _sign(self, body: bytes, query: str) -> bytes:
        whole = len(body).to_bytes(4, "big") + body + query.encode()
        return hmac.digest(self._key, whole, "sha256")[:_SIGNATURE_BYTES]
