"""What processes and a thread prepare for training comes in order, and errors come as they were raised."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.parallel import ahead, mapped


def squared(number: int) -> tuple[torch.Tensor, int]:
    if number < 0:
        raise GeneratorError(f"{number} is no number of voxels; give one above 0.")
    return torch.full((3,), number**2), os.getpid()


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_the_items_order(workers: int) -> None:
    results = list(mapped(squared, list(range(9)), workers))
    assert [int(tensor[0]) for tensor, _ in results] == [n**2 for n in range(9)]
    processes = {process for _, process in results}
    assert len(processes) == max(1, workers)
    assert (os.getpid() in processes) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_worker_is_its_one_sentence(workers: int) -> None:
    results = mapped(squared, [3, -1, 4], workers)
    assert int(next(results)[0][0]) == 9
    with pytest.raises(GeneratorError) as raised:
        next(results)
    assert str(raised.value) == "-1 is no number of voxels; give one above 0."


def test_no_items_give_nothing() -> None:
    assert list(mapped(squared, [], 0)) == []
    assert list(ahead(squared, [])) == []


def test_the_next_item_is_made_while_the_caller_works() -> None:
    made: list[int] = []
    second = threading.Event()

    def make(number: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        made.append(number)
        if number == 1:
            second.set()
        return 10 * number

    results = ahead(make, range(4))
    assert next(results) == 0
    assert second.wait(timeout=30)  # without anybody asking for it
    assert list(results) == [10, 20, 30]
    assert made == [0, 1, 2, 3]


def test_an_error_ahead_reaches_the_caller_in_its_turn() -> None:
    def make(number: int) -> float:
        return 1 / (2 - number)

    results = ahead(make, range(5))
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_caller_who_stops_half_way_leaves_no_thread_behind() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    before = threading.active_count()
    results = ahead(make, range(100))
    assert [next(results), next(results)] == [0, 1]
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert made == [0, 1, 2]
