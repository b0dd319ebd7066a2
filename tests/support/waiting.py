"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], within: float = 10.0, *, what: str = "condition"
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T], within: float = 10.0, *, what: str = "condition"
) -> T: ...
async def eventually(
    condition: Callable[[], T | Awaitable[T]], within: float = 10.0, *, what: str = "condition"
) -> T:
    """Return the first truthy value of `condition`, looked at every 20 ms.

    A failed assertion inside it counts as not yet. Raises AssertionError, showing the last
    value, when there was none for `within` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        last: object
        try:
            result = condition()
            value: T = await result if inspect.isawaitable(result) else result
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if loop.time() > deadline:
            raise AssertionError(f"{what} not met within {within} s; last: {last!r}")
        await asyncio.sleep(0.02)
