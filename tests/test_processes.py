"""Memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes
import platform

import psutil
import pytest

from nnunet_textomorph.processes import return_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to give memory back")
def test_freed_memory_between_what_is_kept_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    size, number = 100_000, 2000  # below what glibc maps on its own
    blocks = [libc.malloc(ctypes.c_size_t(size)) for _ in range(number)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for i, block in enumerate(blocks):
        if i % 10:
            libc.free(ctypes.c_void_p(block))
    before = psutil.Process().memory_info().rss
    return_freed_memory()
    given_back = before - psutil.Process().memory_info().rss
    for block in blocks[::10]:
        libc.free(ctypes.c_void_p(block))
    assert given_back > 0.6 * 0.9 * size * number
