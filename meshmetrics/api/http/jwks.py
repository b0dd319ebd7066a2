"""The project's public keys: cached, and refreshed in the background."""

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
"""How old cached keys may be before they are refreshed."""
PAUSE_SECONDS = 30.0
"""Minimum time between two fetches, so that tokens with invented key ids cannot cause more."""
TIMEOUT = 5.0
MAX_KEYS = 20
ALGORITHMS = {("EC", "P-256"): "ES256", ("RSA", None): "RS256"}


def jwks_url(supabase_url: str) -> str:
    """Where a project publishes its signing keys."""
    return f"{supabase_url}/auth/v1/.well-known/jwks.json"


class Jwks:
    """The keys of one URL, by id. They stay in use until another fetch succeeds."""

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
        """The key with that id, if it belongs to that algorithm.

        Waits for a fetch only if the id is unknown, and at most once per `PAUSE_SECONDS`.
        Raises ConnectionError if no fetch has succeeded yet.
        """
        known = self._keys.get(kid)
        if known is None:
            await self._fetch()
            known = self._keys.get(kid)
            if known is None and self._fetched_at is None:
                raise ConnectionError("the project's public keys cannot be fetched")
        elif self._fetched_at is None or self._clock() - self._fetched_at > FRESH_SECONDS:
            self._start()
        return known if known is not None and known.algorithm_name == algorithm else None

    async def close(self) -> None:
        """Cancel a fetch in progress."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    async def _fetch(self) -> None:
        task = self._start()
        if task is not None:
            await asyncio.wait({task})

    def _start(self) -> asyncio.Task[None] | None:
        """The fetch in progress, or a new one unless the last was less than a pause ago."""
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
        except (
            Exception
        ) as error:  # whatever is wrong with the response: the cached keys stay in use
            log.warning("auth.keys_unavailable", error=describe(error))
        else:
            self._fetched_at = self._clock()
            log.info("auth.keys_fetched", count=len(self._keys))


def usable_keys(documents: list[dict[str, object]]) -> dict[str, jwt.PyJWK]:
    """The signing keys among them, each bound to its one algorithm."""
    found = {}
    for document in documents[:MAX_KEYS]:
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
