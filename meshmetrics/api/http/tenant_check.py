"""Whether the REST API can read as a tenant, for `/readyz`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from meshmetrics.api.http.as_caller import NoTenantError
from meshmetrics.api.http.problems import Problem
from meshmetrics.runtime.logs import describe

log = structlog.get_logger()

OK = "ok"
OFF = "off: the role in DATABASE_URL is not a member of authenticated"
BROKEN = "cannot read as a tenant: see the logs and `meshmetrics doctor`"
FRESH_SECONDS = 30.0
"""How long a success is cached: readiness probes come every few seconds."""
BROKEN_SECONDS = 5.0
"""How long a failure is cached: shorter, so that readiness recovers soon."""
TIMEOUT = 2.0


class TenantProbe:
    """Reads as a tenant, and caches whether that works."""

    def __init__(
        self, probe: Callable[[], Awaitable[None]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`probe` reads as a tenant, and raises the error if it fails."""
        self._probe = probe
        self._clock = clock
        self._state = OK
        self._fresh_until: float | None = None

    async def state(self) -> str:
        """OK, OFF or BROKEN, at most `FRESH_SECONDS` old."""
        now = self._clock()
        if self._fresh_until is None or now >= self._fresh_until:
            self._state = await self._read()
            self._fresh_until = now + (FRESH_SECONDS if self._state == OK else BROKEN_SECONDS)
        return self._state

    async def _read(self) -> str:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._probe()
        except NoTenantError:
            return OFF
        except (Problem, TimeoutError):
            return self._state  # busy or unreachable database: the part `database` reports it
        except Exception as error:
            log.warning("api.cannot_read", error=describe(error))
            return BROKEN
        return OK
