"""The project's secret keys: which one is in use, and how a request carries it."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import httpx
import structlog

log = structlog.get_logger()

REFUSED = 401


class SecretKeys:
    """One key or more, the first of which is used until Supabase refuses it.

    More than one is set while keys are rotated: the new one, then the one it replaces.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)
        self._at = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def current(self) -> str:
        """The key to use now."""
        return self._keys[self._at]

    def refused(self, key: str) -> bool:
        """Use the next key, because Supabase refused this one with 401; after the last key the
        first again. Return whether there is another key."""
        if len(self._keys) == 1:
            return False
        if key == self.current:  # else another request has already switched keys
            log.warning("keys.refused", position=self._at + 1, count=len(self._keys))
            self._at = (self._at + 1) % len(self._keys)
        return True


class KeyAuth(httpx.Auth):
    """Sends the current key with each request; after a 401, the same request with the next key."""

    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What httpx calls for every request."""
        for _ in range(len(self._keys)):
            key = self._keys.current
            request.headers["apikey"] = key
            request.headers.pop("Authorization", None)
            if not is_opaque(key):
                request.headers["Authorization"] = f"Bearer {key}"
            response = yield request
            if response.status_code != REFUSED or not self._keys.refused(key):
                return


def is_opaque(key: str) -> bool:
    """Whether the key is one of 2026 (`sb_secret_…`), which is not a JWT. Supabase accepts those
    only as `apikey`, and refuses them as a bearer token."""
    return key.startswith("sb_")
