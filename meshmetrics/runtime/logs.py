"""Structured logs: one line per event, without payloads and keys.

Lines go to standard error, readable on a terminal and JSON elsewhere. Every line passes `redact`,
including those of libraries. The log level of libraries that log their traffic has a minimum.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

MINIMUM_LEVELS = {
    # At DEBUG these log keys and frames; realtime logs whole rows at ERROR.
    "realtime": logging.ERROR,
    "websockets": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "hpack": logging.WARNING,
    "asyncio": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
}

LINES_PER_SECOND = 10
"""Lines of one event in a second; further ones are counted and not written."""
ONE_A_SECOND = {"run.set_aside"}
"""Events that a tenant can cause without end."""
MAX_EVENTS = 1000
"""Events that are remembered."""

HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(r"(token|secret|passw|apikey|api_key|authorization|dsn|jwt)", re.I)
_SECRET_SHAPES = (
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),  # a JWT
    (re.compile(r"\bsb_(secret|publishable)_[\w-]+"), HIDDEN),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:api_?key|access_token|token)=)[^&\s\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(://[^/:@\s]*:)[^@\s]+@"), rf"\1{HIDDEN}@"),  # a password in a URL
    # Postgres may quote a whole row in these parts of an error.
    (re.compile(r"\b(DETAIL|CONTEXT):\s.*"), rf"\1: {HIDDEN}"),
)


def redactor(secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """A function that hides keys, tokens and passwords in a text, and every one of these values."""
    values = sorted({s for s in secrets if len(s) >= 4}, key=len, reverse=True)

    def hide(text: str) -> str:
        for value in values:
            text = text.replace(value, HIDDEN)
        for shape, hidden in _SECRET_SHAPES:
            text = shape.sub(hidden, text)
        return text

    return hide


def describe(error: BaseException) -> str:
    """One line about an error: its class and the first line of its message. The further lines of a
    database error may quote a row."""
    lines = str(error).splitlines()
    text = redactor()(lines[0])[:200] if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Repeats:
    """Lets a few lines of each event through in a second. The first line after that says in
    `repeated` how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._events: dict[str, tuple[float, int]] = {}

    def passes(self, event: str) -> int | None:
        """How many lines were left out before this one; None where it is to be left out too."""
        most = 1 if event in ONE_A_SECOND else LINES_PER_SECOND
        now = self._clock()
        began, lines = self._events.get(event, (now, 0))
        repeated = 0
        if now - began >= 1:
            repeated = max(0, lines - most)
            began, lines = now, 0
        if event not in self._events and len(self._events) >= MAX_EVENTS:
            self._events.clear()
        self._events[event] = (began, lines + 1)
        return repeated if lines < most else None

    def processor(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """For structlog: of warnings and errors."""
        if method in ("debug", "info"):
            return event
        repeated = self.passes(str(event["event"]))
        if repeated is None:
            raise structlog.DropEvent
        if repeated:
            event["repeated"] = repeated
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """For the standard library's handlers: libraries' lines, by logger and level."""
        return self.passes(f"{record.name} {record.levelno}") is not None


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["auto", "json", "console"] = "auto",
    secrets: Sequence[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's logging. Idempotent."""
    out = stream or sys.stderr
    readable = out.isatty() if style == "auto" else style == "console"
    repeats = Repeats()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _redact_with(redactor(secrets)),
        _order,
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if readable
        else structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    )
    structlog.configure(
        processors=[repeats.processor, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # so that module-level loggers follow a later call
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(repeats.filter)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_library, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name, minimum in MINIMUM_LEVELS.items():
        logging.getLogger(name).setLevel(max(minimum, LEVELS[level]))


def _redact_with(hide: Callable[[str], str]) -> Processor:
    def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if _SECRET_NAMES.search(key):
                event[key] = HIDDEN
            elif isinstance(value, str):
                event[key] = hide(value)
            elif isinstance(value, float) and key.endswith("_ms"):
                event[key] = round(value, 3)
            elif not isinstance(value, (int, float, bool, type(None))):
                event[key] = _hide_inside(value, hide)
        return event

    return redact


def _order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put time, level and event first."""
    first = {key: event.pop(key) for key in ("at", "level", "event")}
    return {**first, **event}


def _hide_inside(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {
            k: HIDDEN if _SECRET_NAMES.search(str(k)) else _hide_inside(v, hide)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_hide_inside(v, hide) for v in value]
    if isinstance(value, (int, float, bool, type(None))):
        return value
    return hide(str(value))


def _name_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Make a library's text a field of the event `library.log`: the text is not a stable name."""
    record: logging.LogRecord = event["_record"]
    event["text"] = event["event"]
    event["event"] = "library.log"
    event["logger"] = record.name
    return event
