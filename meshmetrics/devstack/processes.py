"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_owner() -> None:
    """As `preexec_fn`: the process gets SIGTERM when its parent dies, even by `kill -9`.

    Linux only; elsewhere this does nothing, and a killed parent leaves the process behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
