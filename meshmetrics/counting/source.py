"""Watches the engine's tables, which the engine may alter or recreate at any time."""

from __future__ import annotations

import structlog

from meshmetrics.counting.store import CountingStore

log = structlog.get_logger()


class SourceWatch:
    """Logs what changed in the engine's tables, once for each change."""

    def __init__(self, store: CountingStore) -> None:
        self._store = store
        self._flaws: tuple[str, ...] = ()

    async def check(self) -> None:
        """Check the tables; log the flaws if they differ from those of the last check."""
        flaws = await self._store.source_flaws()
        if flaws and flaws != self._flaws:
            log.warning(
                "source.changed",
                flaws=flaws,
                remedy="run `meshmetrics migrate`, then `meshmetrics doctor`",
            )
        self._flaws = flaws
