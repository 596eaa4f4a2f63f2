"""Memory that is freed goes back to the system, and after each tumor that a worker makes."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterable

import psutil
import pytest

from nnunet_textomorph.processes import return_freed_memory
from nnunet_textomorph.synthesis import InWorkers

SIZE, NUMBER = 100_000, 2000  # of blocks: below what glibc maps on its own


class Gaps:
    """Stands for a generator: it frees nine of ten blocks, between those that it keeps."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None)
        self.libc.malloc.restype = ctypes.c_void_p
        self.kept: list[int] = []
        self.memory = 0

    def synthesize(self) -> None:
        blocks = [self.libc.malloc(ctypes.c_size_t(SIZE)) for _ in range(NUMBER)]
        for block in blocks:
            ctypes.memset(block, 1, SIZE)
        self.kept = blocks[::10]
        self._free(block for i, block in enumerate(blocks) if i % 10)
        self.memory = psutil.Process().memory_info().rss

    def close(self) -> None:
        self._free(self.kept)

    def _free(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self.libc.free(ctypes.c_void_p(block))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to give memory back")
@pytest.mark.parametrize("by_a_worker", [False, True])
def test_freed_memory_between_what_is_kept_is_given_back(by_a_worker: bool) -> None:
    gaps = Gaps()
    if by_a_worker:
        InWorkers(None, gaps).synthesize()  # type: ignore[arg-type]
    else:
        gaps.synthesize()
        return_freed_memory()
    given_back = gaps.memory - psutil.Process().memory_info().rss
    gaps.close()
    assert given_back > 0.6 * 0.9 * SIZE * NUMBER
