"""What the Realtime client logs, scrubbed: its error lines hold whole frames, rows included.

Of its lines only one says what we do not learn otherwise: that a frame was not understood.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar

on_odd_frame: ContextVar[Callable[[str], None] | None] = ContextVar("on_odd_frame", default=None)
"""Told of frames that the client running in this context could not understand."""

_UNDERSTANDS_NOT = "Unrecognized message format"


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        told = on_odd_frame.get()
        if told is not None and str(record.msg).startswith(_UNDERSTANDS_NOT):
            told("frame")


_handler = _Handler()


def install() -> None:
    """Take the client's log lines, so that they go nowhere else. May be called again."""
    logger = logging.getLogger("realtime")
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    if _handler not in logger.handlers:
        logger.addHandler(_handler)
