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
OFF = "off: the role in DATABASE_URL is no member of authenticated"
BROKEN = "cannot read as a tenant: the logs and `meshmetrics doctor` say why"
FRESH_SECONDS = 30.0
"""How long a good answer is good for: readiness probes come every few seconds."""
BROKEN_SECONDS = 5.0
"""And one that is not good, so that readiness is soon back."""
TIMEOUT = 2.0


class TenantProbe:
    """Reads as a tenant now and then, and knows the answer in between."""

    def __init__(
        self, probe: Callable[[], Awaitable[None]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`probe` reads as a tenant, and raises what went wrong."""
        self._probe = probe
        self._clock = clock
        self._state = OK
        self._until: float | None = None

    async def state(self) -> str:
        """OK, OFF or BROKEN, as of the last half minute."""
        now = self._clock()
        if self._until is None or now >= self._until:
            self._state = await self._read()
            self._until = now + (FRESH_SECONDS if self._state == OK else BROKEN_SECONDS)
        return self._state

    async def _read(self) -> str:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._probe()
        except NoTenantError:
            return OFF
        except (Problem, TimeoutError):
            return self._state  # the database is busy or away: another part says so
        except Exception as error:
            log.warning("api.cannot_read", error=describe(error))
            return BROKEN
        return OK
