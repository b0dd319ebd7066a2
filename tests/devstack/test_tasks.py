"""Ending tasks that lose a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from meshmetrics.devstack import tasks


async def test_a_task_whose_cleaning_up_hid_the_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    sessions = 0

    async def session() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            if sessions < 3:
                raise ConnectionError("closing failed")

    async def watch() -> None:
        nonlocal sessions
        while True:
            sessions += 1
            try:
                await session()
            except ConnectionError:
                continue

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.end(task)
    assert task.cancelled()
    assert sessions == 3


async def test_what_a_task_raised_is_left_for_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("wrong")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await tasks.end(task)
    assert isinstance(task.exception(), ValueError)
