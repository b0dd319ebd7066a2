"""Suppresses the Realtime client's log lines, because its errors contain whole frames with rows.

Only one of its lines reports something that we cannot detect otherwise: an unparsable frame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar

on_odd_frame: ContextVar[Callable[[str], None] | None] = ContextVar("on_odd_frame", default=None)
"""Called for each frame that the client running in this context could not parse."""

_UNPARSABLE = "Unrecognized message format"


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        callback = on_odd_frame.get()
        if callback is not None and str(record.msg).startswith(_UNPARSABLE):
            callback("frame")


_handler = _Handler()


def install() -> None:
    """Handle the client's log lines, so that no other handler gets them. Idempotent."""
    logger = logging.getLogger("realtime")
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    if _handler not in logger.handlers:
        logger.addHandler(_handler)
