"""Single keys of a terminal, without waiting for the end of a line."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[bool]:
    """Call `pressed` with each key while in the context; yields whether there is a keyboard.

    The terminal gets back the modes it had.
    """
    if not sys.stdin.isatty():
        yield False
        return
    number = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(number)

    def read() -> None:
        typed = os.read(number, 64)
        if not typed:  # the terminal is gone
            loop.remove_reader(number)
        for key in typed.decode(errors="ignore"):
            pressed(key)

    tty.setcbreak(number)
    loop.add_reader(number, read)
    try:
        yield True
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
