"""Trainings in processes of their own: spawned workers, several ranks, and what is left when one of them is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tiny_classes import NUMBER as CLASSES_NUMBER
from tiny_classes import TinyClasses, standard
from tiny_nnunet import TinyNnUNet

from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, infer_plan, save_plan

pytestmark = pytest.mark.slow

SEGMENTER = "nnUNetTrainerTextoMorph"
TRAINERS = Path(__file__).parents[1] / "trainers"
PATIENCE = 1200.0  # seconds, on a machine that others use too

TRAIN = """
import multiprocessing, signal, sys, torch
from nnunetv2.run.run_training import get_trainer_from_args

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests by & has it ignored
    if len(sys.argv) > 1:
        multiprocessing.set_start_method(sys.argv[1])
    torch.set_num_threads(1)
    device = torch.device("cpu")
    get_trainer_from_args("985", "3d_fullres", 0, "nnUNetTrainerTextoMorph", device=device).run_training()
"""

RANKS = """
import os, sys
import numpy as np, torch, torch.distributed as dist, torch.multiprocessing as mp
from nnunetv2.run.run_training import find_free_network_port, get_trainer_from_args
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

def on_cpu(network, device_ids):
    return torch.nn.parallel.DistributedDataParallel(network)

def run(rank):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    module.DDP = on_cpu
    trainer = get_trainer_from_args("985", "3d_fullres", 0, "nnUNetTrainerTextoMorph")
    trainer.device, trainer.grad_scaler = torch.device("cpu"), None  # nnU-Net takes GPUs for granted here
    trainer.run_training()
    print("drew", np.random.get_state()[1].sum(), flush=True)
    dist.destroy_process_group()

if __name__ == "__main__":
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(find_free_network_port()))
    mp.spawn(run, nprocs=2)
"""


def of_the_classifier(code: str) -> str:
    """The same training, of the classifier and its dataset."""
    return code.replace("985", CLASSES_NUMBER).replace(SEGMENTER, f"{SEGMENTER}Classifier")


class Training:
    """A training in a process of its own."""

    def __init__(self, dataset: TinyNnUNet | TinyClasses, code: str, *arguments: str, workers: int) -> None:
        script = dataset.root / "train.py"
        script.write_text(code)
        self.output = dataset.root / "output.txt"
        environment = {
            **os.environ,
            **dataset.environment,
            "nnUNet_extTrainer": str(TRAINERS),
            "nnUNet_n_proc_DA": str(workers),
            "OMP_NUM_THREADS": "1",
        }
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(script), *arguments],
                cwd=dataset.root,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def told(self) -> str:
        return self.output.read_text(errors="replace")

    def await_epoch(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while "tumors injected" not in self.told():
            assert self.process.poll() is None, self.told()[-3000:]
            assert time.monotonic() < deadline, self.told()[-3000:]
            time.sleep(0.5)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """Whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def service(self) -> int:
        found = re.search(r"synthesized by process (\d+)", self.told())
        assert found
        return int(found[1])


@pytest.fixture
def dataset(tmp_path: Path, generator_folder: Path) -> TinyNnUNet:
    made = TinyNnUNet(tmp_path)
    for i in range(2):
        made.add(i, f"case_{i}", [((9, 20, 20), 5.0, 2)], [])
    made.preprocess()
    plan(made, generator=str(generator_folder))
    return made


@pytest.fixture
def classes(tmp_path: Path, generator_folder: Path) -> TinyClasses:
    made = TinyClasses(tmp_path)
    made.prepare(standard(made))
    made.plan(generator=str(generator_folder))
    return made


@pytest.fixture
def start() -> Iterator[Callable[..., Training]]:
    """Begin a training that does not outlast the test, however that ends."""
    begun: list[Training] = []

    def begin(dataset: TinyNnUNet | TinyClasses, code: str, *arguments: str, workers: int) -> Training:
        begun.append(Training(dataset, code, *arguments, workers=workers))
        return begun[-1]

    yield begin
    for training in begun:
        training.end()


def plan(dataset: TinyNnUNet, **changes: object) -> None:
    short = {"iterations_per_epoch": 4, "validation_iterations_per_epoch": 1, "largest_mm": 14.0, "steps": 1}
    known = {**infer_plan(dataset.dataset_json).model_dump(), **short, "probability": 1.0}
    save_plan(TextoMorphPlans(**{**known, **changes}), dataset.preprocessed / FILE_NAME)


@pytest.mark.parametrize("who", ["main SIGINT", "main SIGTERM", "main SIGKILL", "service", "worker"])
def test_whoever_is_killed_nothing_is_left_and_the_user_reads_why(
    dataset: TinyNnUNet, generator_folder: Path, start: Callable[..., Training], who: str
) -> None:
    plan(dataset, generator=str(generator_folder), synthesis="service")
    training = start(dataset, TRAIN, workers=2)
    training.await_epoch()
    started = training.children()
    service = training.service()
    # forked, so that the command is the trainer's own
    own = psutil.Process(training.process.pid).cmdline()
    workers = [child for child in started if child.cmdline() == own]
    assert service in [child.pid for child in started]
    assert len(workers) == 3  # two that load for training, one for validation
    if who == "service":
        os.kill(service, signal.SIGKILL)
    elif who == "worker":
        workers[0].kill()
    else:
        training.process.send_signal(signal.Signals[who.split()[1]])
    training.process.wait(PATIENCE)
    psutil.wait_procs(started, timeout=60)
    left = [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not left
    pids = {str(child.pid) for child in started} | {str(training.process.pid)}
    shared = Path("/dev/shm").iterdir() if Path("/dev/shm").is_dir() else ()
    assert not [path for path in shared if pids & set(re.findall(r"\d+", path.name))]
    if who == "service":
        assert "TextoMorph: training stopped: the process that synthesizes tumors was killed" in training.told()
    if who == "worker":
        assert "TextoMorph: training stopped: a worker that loads data was killed (signal 9)" in training.told()
    if not who.startswith("main"):
        assert training.process.returncode == 1
        assert "--c" in training.told()


@pytest.mark.parametrize("synthesis", ["workers", "service"])
def test_spawned_workers(
    dataset: TinyNnUNet, generator_folder: Path, start: Callable[..., Training], synthesis: str
) -> None:
    plan(dataset, generator=str(generator_folder), synthesis=synthesis, epochs=2)
    training = start(dataset, TRAIN, "spawn", workers=1)
    assert training.process.wait(PATIENCE) == 0, training.told()[-3000:]
    assert training.told().count("tumors injected") == 2
    assert "WARNING: not one tumor" not in training.told()


@pytest.mark.parametrize("synthesis", ["workers", "service"])
def test_ranks_have_their_own_generators_and_seeds(
    dataset: TinyNnUNet, generator_folder: Path, start: Callable[..., Training], synthesis: str
) -> None:
    """As with -num_gpus 2, but on the CPU."""
    plan(dataset, generator=str(generator_folder), synthesis=synthesis, epochs=2)
    training = start(dataset, RANKS, workers=0)
    assert training.process.wait(PATIENCE) == 0, training.told()[-3000:]
    told = training.told()
    (log,) = dataset.root.rglob("training_log_*.txt")  # the first rank's; others may print the same
    assert log.read_text().count("tumors injected") == 2
    assert re.search(r"of 10 patches", told)  # one each in 4 iterations and in the first look at the loader
    drawn = re.findall(r"drew (\d+)", told)
    assert len(set(drawn)) == 2
    if synthesis == "service":
        assert len(set(re.findall(r"synthesized by process (\d+)", told))) == 2


def test_a_killed_worker_of_the_classifier_is_named(
    classes: TinyClasses, generator_folder: Path, start: Callable[..., Training]
) -> None:
    classes.plan(generator=str(generator_folder), epochs=50)
    training = start(classes, of_the_classifier(TRAIN), workers=2)
    training.await_epoch()
    started = training.children()
    own = psutil.Process(training.process.pid).cmdline()
    next(child for child in started if child.cmdline() == own).kill()
    assert training.process.wait(PATIENCE) == 1, training.told()[-3000:]
    assert "TextoMorph: training stopped: a worker that loads data was killed (signal 9)" in training.told()
    psutil.wait_procs(started, timeout=60)
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_what_the_ranks_of_a_classifier_saw_is_counted_together(
    classes: TinyClasses, generator_folder: Path, start: Callable[..., Training]
) -> None:
    classes.plan(generator=str(generator_folder), synthesis="workers")
    training = start(classes, of_the_classifier(RANKS), workers=0)
    assert training.process.wait(PATIENCE) == 0, training.told()[-3000:]
    (line,) = {found.strip() for found in re.findall(r"examples seen: (.*)", training.told())}  # each rank prints it
    # two in each of 4 iterations, which two ranks share
    assert sum(int(number) for number in re.findall(r"(\d+) (?:real|synthetic)", line)) == 8
