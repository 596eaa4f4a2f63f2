"""The service: what it makes is what workers make, for several at a time, and nothing of it is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from nnunet_textomorph import synthesis
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import Sampling
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.synthesis import InWorkers, Service, SynthesisError

SHAPE = (16, 32, 32)
TEXTS = ("a hypoattenuating mass", "a large mass with ill defined margins", "a mass in the liver")


def region(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    ct = np.random.default_rng(seed).normal(50.0, 20.0, (1, *shape)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[0, 5:10, 8:20, 10:20] = True
    return ct, mask


def ask(synthesis: InWorkers | Service | Generator, seed: int) -> np.ndarray:
    return synthesis.synthesize(*region(seed), [TEXTS[seed % 3]], seed=seed, steps=2)


def rounding(generator: Generator) -> float:
    """Half precision rounds otherwise in a batch of another size."""
    return 10.0 if generator.bfloat16 else 1.0


@pytest.fixture(scope="module")
def generator(generator_folder: Path) -> Generator:
    return Generator.load(generator_folder)


@pytest.fixture(scope="module")
def service(generator: Generator, generator_folder: Path) -> Iterator[Service]:
    made = Service(str(generator_folder), generator.config, "cpu", 4, (32, 32, 32))
    yield made
    made.close()


def test_the_service_makes_what_workers_make(service: Service, generator: Generator, generator_folder: Path) -> None:
    for seed in range(3):
        expected = ask(generator, seed)
        assert np.abs(ask(InWorkers(str(generator_folder), generator, TEXTS), seed) - expected).max() == 0
        assert np.abs(ask(service, seed) - expected).mean() < 0.05 * rounding(generator)
    assert np.abs(ask(generator, 1) - ask(generator, 2)).max() > 1


def test_regions_of_a_batch_do_not_mix(generator: Generator) -> None:
    regions = [region(seed) for seed in range(3)]
    ct, mask = (np.concatenate([each[i] for each in regions]) for i in range(2))
    for solver in ("unipc", "ddpm"):
        sampling = Sampling(solver=solver, steps=2, guidance=2.0)
        together = generator.sampled(ct, mask, TEXTS, [0, 1, 2], sampling)
        for seed in range(3):
            alone = generator.sampled(*regions[seed], [TEXTS[seed]], seed, sampling)
            assert np.abs(together[seed] - alone[0]).mean() < 0.05 * rounding(generator)


def _work(service: Service, seed: int, answers: multiprocessing.Queue) -> None:
    torch.set_num_threads(1)  # as nnU-Net does in its workers: OpenMP does not survive a fork
    answers.put((seed, ask(service, seed)))


def test_several_workers_get_their_own_answers(service: Service, generator: Generator) -> None:
    """Forked ones, as nnU-Net's; spawned ones: test_trainer_ends.py."""
    context = multiprocessing.get_context()
    answers = context.Queue()
    workers = [context.Process(target=_work, args=(service, seed, answers), daemon=True) for seed in range(3)]
    for worker in workers:
        worker.start()
    found = dict(answers.get(timeout=300) for _ in workers)
    for seed in range(3):
        assert np.abs(found[seed] - ask(generator, seed)).mean() < 0.05 * rounding(generator)


def test_what_the_generator_refuses_is_refused(service: Service) -> None:
    ct, mask = region(0)
    with pytest.raises(GeneratorError, match="text is empty"):
        service.synthesize(ct, mask, ["-"], seed=0)
    with pytest.raises(ValueError, match="does not fit"):
        service.synthesize(*region(0, (64, 64, 64)), [TEXTS[0]], seed=0)


def test_a_service_that_was_killed_is_told(generator: Generator, generator_folder: Path) -> None:
    made = Service(str(generator_folder), generator.config, "cpu", 1, SHAPE)
    assert made.ended() is None
    os.kill(made.pid, signal.SIGKILL)
    with pytest.raises(SynthesisError, match="ended"):
        ask(made, 0)
    assert "signal 9" in str(made.ended())
    made.close()


def test_a_service_that_hangs_is_given_up(
    generator: Generator, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Service(str(generator_folder), generator.config, "cpu", 1, SHAPE)
    monkeypatch.setattr(synthesis, "PATIENCE", 1.0)
    os.kill(made.pid, signal.SIGSTOP)
    with pytest.raises(SynthesisError, match="not answered for 1 seconds"):
        ask(made, 0)
    process = psutil.Process(made.pid)
    made.close()
    assert not process.is_running()


def test_a_generator_that_cannot_be_loaded_there_is_told(generator: Generator, tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="no such folder"):
        Service(str(tmp_path / "nowhere"), generator.config, "cpu", 1, SHAPE)


MAIN = """
import multiprocessing, signal, sys, time
from pathlib import Path
import numpy as np
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.processes import exit_with_parent
from nnunet_textomorph.synthesis import Service

def work(service):
    exit_with_parent()
    ct = np.random.default_rng(0).normal(50.0, 20.0, (1, 16, 32, 32)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[0, 5:10, 8:20, 10:20] = True
    while True:
        service.synthesize(ct, mask, ["a mass"], seed=0, steps=2)
        print("made", flush=True)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests by & has it ignored
    folder = sys.argv[1]
    service = Service(folder, Generator.load(folder).config, "cpu", 2, (16, 32, 32))
    for _ in range(2):
        multiprocessing.get_context("fork").Process(target=work, args=(service,), daemon=True).start()
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(how: signal.Signals, generator_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(MAIN)
    main = subprocess.Popen(
        [sys.executable, str(script), str(generator_folder)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert main.stdout is not None
    for line in main.stdout:
        if line == "made\n":
            break
    started = psutil.Process(main.pid).children(recursive=True)
    assert len(started) >= 3  # service, two workers
    main.send_signal(how)
    try:
        main.wait(240)
    finally:
        main.kill()
        main.stdout.close()
    psutil.wait_procs(started, timeout=60)
    assert not [process for process in started if process.is_running() and process.status() != "zombie"]
    pids = [str(process.pid) for process in (*started, main)]
    assert not [name for name in _shared_memory() if any(pid in name.replace("_", "-").split("-") for pid in pids)]


def _shared_memory() -> list[str]:
    folder = Path("/dev/shm")
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
