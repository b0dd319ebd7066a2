"""What a caller is told when the connection to the database is lost."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest

from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Caller
from meshmetrics.api.http.problems import Problem

CALLER = Caller(UUID(int=1), "{}")


class CutOff:
    """A pool whose connections are lost with this error, in the middle of something."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def acquire(self, **_: Any) -> CutOff:
        return self

    async def __aenter__(self) -> None:
        raise self._error

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("it was never entered")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset by peer"),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12"),
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_connection_is_told_as_one_to_try_again(error: Exception) -> None:
    reader = Reader(cast("asyncpg.Pool", CutOff(error)), statement_timeout=1)
    with pytest.raises(Problem) as told:
        async with reader.reading(CALLER):
            pass
    assert told.value.status == 503
    assert "Retry-After" in (told.value.headers)


async def test_our_own_fault_is_not_taken_for_a_lost_connection() -> None:
    reader = Reader(cast("asyncpg.Pool", CutOff(KeyError("ours"))), statement_timeout=1)
    with pytest.raises(KeyError):
        async with reader.reading(CALLER):
            pass
