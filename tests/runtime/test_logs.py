"""Logs: stable names, JSON where machines read them, and no secrets anywhere."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog

from meshmetrics.runtime import logs

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJlLXdvdWxk"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; everything is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.MINIMUM_LEVELS}
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_where_no_terminal_is(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    structlog.get_logger().info("run.counted", runs=2, took_ms=1.23456789)
    [line] = lines(stream)
    assert list(line)[:3] == ["at", "level", "event"]
    assert line["event"] == "run.counted"
    assert line["took_ms"] == 1.235
    assert line["at"].endswith("Z")


def test_a_line_is_readable_on_a_terminal(stream: io.StringIO) -> None:
    stream.isatty = lambda: True  # type: ignore[method-assign]
    logs.configure(stream=stream)
    structlog.get_logger().info("run.counted", runs=2)
    assert "run.counted" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_less_urgent_lines_are_left_out(stream: io.StringIO) -> None:
    logs.configure(stream=stream, level="warning")
    structlog.get_logger().info("run.counted")
    logging.getLogger("some.library").info("hello")
    structlog.get_logger().warning("stream.lost")
    assert [line["event"] for line in lines(stream)] == ["stream.lost"]


def test_bound_context_is_on_every_line(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    with structlog.contextvars.bound_contextvars(session="abc"):
        structlog.get_logger().info("stream.lost")
    assert lines(stream)[0]["session"] == "abc"


@pytest.mark.parametrize(
    "value",
    [
        f"joined with {TOKEN}",
        "sb_secret_abcdef0123",
        "Authorization: Bearer abcdefgh12345678",
        "wss://host/realtime/v1/websocket?apikey=abcdefgh12345678&vsn=1.0.0",
        "postgresql://postgres:abcdefgh12345678@host/db",
        "DETAIL:  Failing row contains (abcdefgh12345678, x).",
        "xx hunter2-literal xx",
        {"nested": ["Bearer abcdefgh12345678"]},
        ValueError("Bearer abcdefgh12345678"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_secrets_are_hidden_wherever_they_are(stream: io.StringIO, value: object) -> None:
    logs.configure(stream=stream, level="debug", secrets=["hunter2-literal"])
    structlog.get_logger().info("some.event", value=value, text="harmless")
    logging.getLogger("some.library").warning("said %s", value)
    text = stream.getvalue()
    for secret in (TOKEN, "abcdefgh12345678", "abcdef0123", "hunter2"):
        assert secret not in text
    assert text.count(logs.HIDDEN) == 2
    assert "harmless" in text


@pytest.mark.parametrize("name", ["api_key", "access_token", "Authorization", "database_dsn"])
def test_a_field_named_like_a_secret_is_hidden_whatever_it_holds(
    stream: io.StringIO, name: str
) -> None:
    logs.configure(stream=stream)
    structlog.get_logger().info("some.event", **{name: "plain"}, inside={name: "plain"})
    assert lines(stream)[0][name] == logs.HIDDEN
    assert lines(stream)[0]["inside"] == {name: logs.HIDDEN}


def test_tracebacks_are_redacted_too(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    try:
        raise ValueError(f"no such key {TOKEN}")
    except ValueError as error:
        structlog.get_logger().error("service.failed", exc_info=error)
    [line] = lines(stream)
    assert "ValueError" in line["exception"]
    assert TOKEN not in line["exception"]


def test_what_libraries_log_goes_the_same_way(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logging.getLogger("some.library").warning("said %s", "this")
    [line] = lines(stream)
    assert (line["event"], line["text"], line["logger"]) == (
        "library.log",
        "said this",
        "some.library",
    )


def test_libraries_that_log_keys_and_rows_are_pinned_even_at_debug(stream: io.StringIO) -> None:
    logs.configure(stream=stream, level="debug")
    logging.getLogger("websockets.client").debug("> GET /websocket?apikey=…")
    logging.getLogger("httpx").info("HTTP Request: POST …")
    logging.getLogger("realtime._async.client").info("channel …")
    assert stream.getvalue() == ""


def test_an_error_is_described_in_one_line_without_the_row_it_is_about() -> None:
    error = asyncpg.CheckViolationError("new row violates a check\nDETAIL:  Failing row (secret)")
    assert logs.describe(error) == "CheckViolationError: new row violates a check"
    assert logs.describe(TimeoutError()) == "TimeoutError"


def test_repeated_lines_are_counted_and_not_written() -> None:
    now = 100.0
    repeats = logs.Repeats(lambda: now)
    passed = [repeats.passes("run.set_aside") for _ in range(1000)]
    assert passed == [0] + [None] * 999
    now += 1
    assert repeats.passes("run.set_aside") == 999
    assert repeats.passes("run.set_aside") is None
    assert repeats.passes("another.event") == 0


def test_the_lines_of_a_flood_end_in_the_log_as_one_with_their_number(
    stream: io.StringIO,
) -> None:
    logs.configure(style="json", stream=stream)
    log = structlog.get_logger()
    for run in range(50):
        log.warning("run.set_aside", run_id=run)
    time.sleep(1.05)
    log.warning("run.set_aside", run_id=50)
    first, last = lines(stream)
    assert (first["run_id"], last["run_id"], last["repeated"]) == (0, 50, 49)
