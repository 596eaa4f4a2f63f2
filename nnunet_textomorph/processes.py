"""That no process outlives the one that started it, and none keeps memory that it does not need."""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable

WATCH_SECONDS = 0.5

_watched_in: int | None = None  # the process id: a forked copy of it is not watched yet


def exit_with_parent() -> None:
    """End this process soon after the one that started it by ``multiprocessing`` has ended, also by SIGKILL.

    nnU-Net's loader workers would otherwise go on for ever. Does nothing in a process that is no child of that kind;
    POSIX only, as elsewhere a process cannot tell that its parent is gone.
    """
    global _watched_in
    if _watched_in == os.getpid():
        return
    _watched_in = os.getpid()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True, name="exit_with_parent").start()


def how_it_ended(exit_code: int | None) -> str:
    """An exit code of ``multiprocessing`` in words."""
    if exit_code is None:
        return "does not answer"
    if exit_code == -9:
        return "was killed (signal 9), perhaps because the machine ran out of memory"
    return f"was killed (signal {-exit_code})" if exit_code < 0 else f"ended (exit code {exit_code})"


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library (glibc) would keep it.

    Tumors differ in size, so the gaps that one leaves seldom fit the next, and each worker's memory would grow.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, macOS, Windows
        return None
    return trim


def _watch(parent: int | None) -> None:
    while os.getppid() == parent or os.name == "nt":
        time.sleep(WATCH_SECONDS)
    os._exit(1)
