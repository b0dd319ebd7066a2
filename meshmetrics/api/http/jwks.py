"""The project's public keys, fetched without making anyone wait who need not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import jwt
import structlog

from meshmetrics.runtime.logs import describe

log = structlog.get_logger()

FRESH_SECONDS = 600.0
"""How long keys are used before they are fetched again, in the background."""
PAUSE_SECONDS = 30.0
"""Least time between two fetches, so that tokens with made-up key ids cause no more of them."""
TIMEOUT = 5.0
MOST_KEYS = 20
ALGORITHMS = {("EC", "P-256"): "ES256", ("RSA", None): "RS256"}


def jwks_url(supabase_url: str) -> str:
    """Where a project publishes its signing keys."""
    return f"{supabase_url}/auth/v1/.well-known/jwks.json"


class Jwks:
    """Keys by id, of one address. Keys once fetched are used until a fetch says otherwise."""

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._client = client
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id, if it is one for that algorithm.

        Waits for a fetch only where the id is not known; not more often than every
        `PAUSE_SECONDS`, whatever ids are asked for. Raises `ConnectionError` where no keys could
        be had at all.
        """
        known = self._keys.get(kid)
        if known is None:
            await self._fetch()
            known = self._keys.get(kid)
            if known is None and self._fetched_at is None:
                raise ConnectionError("the project's public keys cannot be fetched")
        elif self._fetched_at is None or self._clock() - self._fetched_at > FRESH_SECONDS:
            self._begin()
        return known if known is not None and known.algorithm_name == algorithm else None

    async def close(self) -> None:
        """Give up a fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    async def _fetch(self) -> None:
        task = self._begin()
        if task is not None:
            await asyncio.wait({task})

    def _begin(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one unless the last was just now."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < PAUSE_SECONDS:
            return None
        self._tried_at = now
        self._fetching = asyncio.create_task(self._fetch_now(), name="jwks")
        return self._fetching

    async def _fetch_now(self) -> None:
        try:
            response = await self._client.get(self._url, timeout=TIMEOUT)
            response.raise_for_status()
            self._keys = usable_keys(response.json()["keys"])
        except Exception as error:  # whatever is wrong with the answer, the old keys go on
            log.warning("auth.keys_unavailable", error=describe(error))
        else:
            self._fetched_at = self._clock()
            log.info("auth.keys_fetched", count=len(self._keys))


def usable_keys(documents: list[dict[str, object]]) -> dict[str, jwt.PyJWK]:
    """The signing keys among them, each bound to the one algorithm of its kind."""
    found = {}
    for document in documents[:MOST_KEYS]:
        algorithm = ALGORITHMS.get((str(document.get("kty")), _curve(document)))
        if algorithm is None or document.get("alg", algorithm) != algorithm:
            continue
        if document.get("use", "sig") != "sig" or not isinstance(document.get("kid"), str):
            continue
        try:
            found[str(document["kid"])] = jwt.PyJWK(document, algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.warning("auth.key_unusable", error=describe(error))
    return found


def _curve(document: dict[str, object]) -> str | None:
    return str(document["crv"]) if document.get("kty") == "EC" and "crv" in document else None
