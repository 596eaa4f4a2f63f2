"""Work that CPUs prepare for training: in other processes, or a step ahead in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from accelerate.utils import parse_flag_from_env
from torch.utils.data import DataLoader, Dataset

from .errors import GeneratorError

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_cpu() -> bool:
    """Whether accelerate is to be told of the CPU: without a GPU it does not find out by itself that processes were
    launched together, and each would do all of the work."""
    return bool(parse_flag_from_env("ACCELERATE_USE_CPU")) or not torch.accelerator.is_available()


class _Mapped(Dataset[Any]):
    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.function(self.items[index])
        except (GeneratorError, OSError) as error:  # as a value: torch would wrap it in a worker's traceback
            return error


def mapped(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """``function`` of each item, in order, computed by ``workers`` processes (0: by this one).

    ``function`` must be picklable, and where processes are spawned (macOS, Windows) the calling script needs its
    ``if __name__ == "__main__"``. Tensors in results are handed over in shared memory, of which two results a worker
    wait. Raises :class:`GeneratorError` and ``OSError`` as ``function`` does; other errors come in torch's wrapping.
    """
    workers = min(workers, len(items))
    loader = DataLoader(_Mapped(function, items), batch_size=None, num_workers=workers, collate_fn=_as_it_is)
    for result in loader:
        if isinstance(result, (GeneratorError, OSError)):
            raise result
        yield result


def ahead(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``function`` of each item, in order, each computed by a thread while the caller works on the one before."""
    if not items:
        return
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(function, items[0])
        for item in items[1:]:
            result = pending.result()
            pending = thread.submit(function, item)
            yield result
        yield pending.result()


def _as_it_is(result: Result) -> Result:
    return result
