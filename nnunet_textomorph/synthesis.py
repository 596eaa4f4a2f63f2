"""Where tumors for training are synthesized: in the loader's workers, or by a service that owns the generator.

Both are a ``TumorGenerator`` (generator/implant.py), which is all that the transform knows of them. Workers compute on
the CPU, one thread each: nnU-Net forks them, so CUDA cannot be used there. The service is a spawned process on the
training device. It takes the requests of all workers that wait at a time together.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.heap import BufferWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import Domain, GeneratorConfig, Sampler, Sampling
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.generator import (
    check_regions,
    chosen_sampling,
    healthy_regions,
    region_multiple,
    sharpened,
)
from nnunet_textomorph.generators import load_generator
from nnunet_textomorph.processes import exit_with_parent, how_it_ended, return_freed_memory

if TYPE_CHECKING:
    from nnunet_textomorph.generators import AnyGenerator

BATCH_VOXELS = 8 * 64**3  # of the generator's grid, in one batch of the service; a larger region goes alone
BYTES = 5  # of a region's voxel in shared memory: float32 CT there and back, uint8 mask
END_SECONDS = 5.0
PATIENCE = 1800.0  # seconds for an answer: far more than a batch takes, so that only a process that hangs is given up


class SynthesisError(RuntimeError):
    """Tumors can no longer be synthesized; the message says why, in one sentence."""


class InWorkers:
    """Synthesis by whoever asks. Forked workers share the weights and texts' embeddings of the process they come from.

    ``texts``: whose embeddings are computed at once, up to half of what the generator keeps. A spawned worker
    loads its own.
    """

    def __init__(self, folder: str | None, generator: AnyGenerator, texts: Sequence[str] = ()) -> None:
        self.folder = folder
        self._generator: AnyGenerator | None = generator
        if texts and isinstance(generator, Generator):
            generator.text_encoder(texts[: generator.text_encoder.keep // 2])

    @property
    def generator(self) -> AnyGenerator:
        if self._generator is None:
            self._generator = load_generator(self.folder)
        return self._generator

    @property
    def domain(self) -> Domain:
        return self.generator.domain

    @property
    def region_multiple(self) -> int:
        return self.generator.region_multiple

    def synthesize(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """As :meth:`Generator.synthesize`."""
        made = self.generator.synthesize(*args, **kwargs)
        return_freed_memory()
        return made

    def ended(self) -> str | None:
        """Why it cannot go on: None, as there is no process to lose."""
        return None

    def close(self) -> None:
        """Nothing to end."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_generator": None}


class Service:
    """A process with the generator on ``device``, and the way to ask it, from this process and its children.

    ``clients``: how many ask at a time; ``largest``: the size (D, H, W) of the largest region; ``threads``: of the
    process on the CPU. Regions lie in shared memory that has no name, so nothing of it can be left behind. The process
    ends when it is closed, and when this process or all that may ask are gone.

    Raises :class:`SynthesisError` where the process does not start.
    """

    def __init__(
        self,
        folder: str | None,
        config: GeneratorConfig,
        device: str,
        clients: int,
        largest: Sequence[int],
        threads: int = 1,
    ) -> None:
        self.config = config
        self.device = device
        self._voxels = int(np.prod(largest))
        self._slots = [BufferWrapper(BYTES * self._voxels) for _ in range(clients)]
        spawn = multiprocessing.get_context("spawn")
        control, its_control = spawn.Pipe()
        pairs = [spawn.Pipe() for _ in range(clients)]
        self._connections = [ours for ours, _ in pairs]
        self._locks = [multiprocessing.Lock() for _ in range(clients)]
        self._given_out = multiprocessing.Value("i", 0)
        self._mine: tuple[int, int] | None = None  # process id, and the slot that this process asks through
        self._process: Any = spawn.Process(
            target=_serve,
            args=(folder, device, threads, its_control, [theirs for _, theirs in pairs], self._slots, self._voxels),
            daemon=True,
            name="textomorph-service",
        )
        self._control: Any = control
        self._owner = os.getpid()
        self._process.start()
        for _, theirs in [(control, its_control), *pairs]:
            theirs.close()  # so that its end is seen as the end of the pipe
        self._await_start()

    @property
    def domain(self) -> Domain:
        return self.config.domain

    @property
    def region_multiple(self) -> int:
        return region_multiple(self.config)

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        solver: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        host: np.ndarray | None = None,
    ) -> np.ndarray:
        """As :meth:`Generator.synthesize`, for one region; its beginning and its end are computed by the caller.

        Raises :class:`SynthesisError` when the service has ended, failed or hangs, and what
        :meth:`Generator.synthesize` does.
        """
        chosen = chosen_sampling(self.config, solver, steps, guidance)
        check_regions(self.config, context_hu, mask, host, texts)
        if len(texts) != 1 or mask.size > self._voxels:
            raise ValueError(f"A region of {mask.shape} does not fit the service's {self._voxels} voxels.")
        healthy = healthy_regions(context_hu, mask, host, self.domain)
        slot = self._slot()
        with self._locks[slot]:
            ct, tumor = _views(self._slots[slot], self._voxels, mask.shape[1:])
            ct[:], tumor[:] = healthy[0], mask[0]
            answer = self._ask(self._connections[slot], _Request(mask.shape[1:], texts[0], seed, chosen))
            if answer is not None:
                raise SynthesisError(answer)
            made = ct.copy()
        return sharpened(made[None], self.domain)

    def ended(self) -> str | None:
        """In words how the process ended; None while it lives, or where this is not the process that started it."""
        if self._process is None or os.getpid() != self._owner:
            return None
        gone = self._control.poll(1.0)  # it says nothing after its start: so this is the end of the pipe
        self._process.join(END_SECONDS if gone else 0.0)
        if self._process.is_alive():
            return None
        return f"the process that synthesizes tumors {how_it_ended(self._process.exitcode)}"

    def close(self) -> None:
        """End the process; only the process that started it can."""
        if self._process is None or os.getpid() != self._owner:
            return
        self._control.close()  # which it takes as the sign to end
        self._process.join(END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process = None

    def _await_start(self) -> None:
        try:
            reason = self._control.recv()
        except EOFError:
            self._process.join(END_SECONDS)
            reason = f"The process that synthesizes tumors on {self.device} {how_it_ended(self._process.exitcode)}."
        except BaseException:
            self.close()
            raise
        if reason is not None:
            self.close()
            raise SynthesisError(reason)

    def _slot(self) -> int:
        if self._mine is None or self._mine[0] != os.getpid():
            with self._given_out.get_lock():
                self._mine = os.getpid(), self._given_out.value % len(self._slots)
                self._given_out.value += 1
        return self._mine[1]

    @staticmethod
    def _ask(connection: Connection, request: _Request) -> str | None:
        try:
            connection.send(request)
            if not connection.poll(PATIENCE):
                return f"the process that synthesizes tumors has not answered for {PATIENCE:.0f} seconds"
            answer: str | None = connection.recv()
        except (EOFError, OSError):
            return "the process that synthesizes tumors ended"
        return answer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None, "_control": None, "_mine": None}


Synthesis = InWorkers | Service


@dataclass(frozen=True)
class _Request:
    """What goes through the pipe; the region's voxels lie in the slot. Solver, steps and guidance: ``sampling``."""

    shape: tuple[int, ...]
    text: str
    seed: int
    sampling: Sampling


def _views(slot: BufferWrapper, voxels: int, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The region's CT (float32, HU; the answer takes its place) and mask (uint8), (D, H, W), in shared memory."""
    memory = slot.create_memoryview()
    size = int(np.prod(shape))
    ct = np.frombuffer(memory, np.float32, size).reshape(shape)
    return ct, np.frombuffer(memory, np.uint8, size, offset=4 * voxels).reshape(shape)


def _serve(
    folder: str | None,
    device: str,
    threads: int,
    control: Connection,
    connections: list[Connection],
    slots: list[BufferWrapper],
    voxels: int,
) -> None:
    """The service's process: until ``control`` is closed, answer what comes through ``connections``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer, which ends this process
    exit_with_parent()
    torch.set_num_threads(threads)
    try:
        generator = Generator.load(None if folder is None else Path(folder), device)
        generator.text_encoder(["a mass"])  # loads the encoder
    except (GeneratorError, RuntimeError) as error:
        control.send(f"Tumors cannot be synthesized on {device}: {_first_line(error)}")
        return
    control.send(None)
    numbers = {connection: number for number, connection in enumerate(connections)}
    waiting: dict[int, _Request] = {}
    while numbers:
        for ready in wait([control, *numbers], timeout=0 if waiting else None):
            assert isinstance(ready, Connection)
            if ready is control:
                return
            try:
                waiting[numbers[ready]] = ready.recv()
            except (EOFError, OSError):
                numbers.pop(ready)
        batch = _batch(waiting)
        if batch:
            views = [_views(slots[number], voxels, waiting[number].shape) for number in batch]
            requests = [waiting.pop(number) for number in batch]
            for number, answer in zip(batch, _answers(generator, requests, views), strict=True):
                try:
                    connections[number].send(answer)
                except OSError:  # who asked is gone
                    numbers.pop(connections[number], None)
            return_freed_memory()


def _batch(waiting: dict[int, _Request]) -> list[int]:
    """Who is answered next, together: whoever asked first, and others with regions of the same size."""
    if not waiting:
        return []
    first = next(iter(waiting.values()))
    alike = [n for n, each in waiting.items() if (each.shape, each.sampling) == (first.shape, first.sampling)]
    return alike[: max(1, BATCH_VOXELS // int(np.prod(first.shape)))]


def _answers(
    generator: Generator, requests: Sequence[_Request], views: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[str | None]:
    """None for each region that was made and put into its slot, else the reason why not."""
    try:
        made = generator.sampled(
            np.stack([ct for ct, _ in views]),
            np.stack([mask for _, mask in views]).astype(bool),
            [request.text for request in requests],
            [request.seed for request in requests],
            requests[0].sampling,
        )
    except torch.OutOfMemoryError:
        if len(requests) > 1:
            return [_answers(generator, [r], [v])[0] for r, v in zip(requests, views, strict=True)]
        return [
            f"{generator.device} has no memory left for a tumor's region of {'x'.join(map(str, requests[0].shape))} "
            'voxels; set "synthesis": "workers" or a lower "largest_mm" in TextoMorphPlans.json'
        ]
    except Exception as error:
        traceback.print_exc()
        return [f"the synthesis of tumors failed: {_first_line(error)}"] * len(requests)
    for (ct, _), image in zip(views, made, strict=True):
        ct[:] = image
    return [None] * len(requests)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
