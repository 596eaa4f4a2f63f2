"""Memory of nnU-Net's loader workers and of the synthesis service, over many patches, and how long both take to start.

    python benchmarks/loader_memory.py [--synthesis workers|service] [--workers 2] [--patches 1000] [--device cuda]

Forks workers as nnU-Net does, each with one thread, that put tumors into patches of 48 x 96 x 96 voxels of a phantom at
2.5 x 1 x 1 mm, every one with a tumor asked for. Told are MiB that a process has to itself (USS) and its share of what
it has in common with others (PSS), while the patches go by.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from nnunet_textomorph.bank import load_bank
from nnunet_textomorph.counters import InjectionCounters
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import region_shape
from nnunet_textomorph.phantom import phantom_case
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.processes import exit_with_parent
from nnunet_textomorph.synthesis import InWorkers, Service
from nnunet_textomorph.transform import TextoMorphTransform

SPACING = (2.5, 1.0, 1.0)
PATCH = (48, 96, 96)
INTENSITIES = {"mean": 90.0, "std": 40.0, "percentile_00_5": -60.0, "percentile_99_5": 220.0}
TOLD = (1, 10, 50)  # patches after which memory is told, and every hundredth


def memory(pid: int | None = None) -> tuple[float, float]:
    """(USS, PSS) in MiB."""
    info = psutil.Process(pid).memory_full_info()
    return info.uss / 2**20, info.pss / 2**20


def work(number: int, transform: TextoMorphTransform, case: Any, patches: int, answers: Any) -> None:
    exit_with_parent()
    torch.set_num_threads(1)
    np.random.seed(number)
    hu = np.clip(case.ct_hu, INTENSITIES["percentile_00_5"], INTENSITIES["percentile_99_5"])
    image, labels = (hu - INTENSITIES["mean"]) / INTENSITIES["std"], case.labels.astype(np.int16)
    centres = np.argwhere(labels == 1)
    for done in range(1, patches + 1):
        middle = centres[np.random.randint(len(centres))]
        start = [int(np.clip(m - p // 2, 0, n - p)) for m, p, n in zip(middle, PATCH, labels.shape, strict=True)]
        box = (None, *(slice(s, s + p) for s, p in zip(start, PATCH, strict=True)))
        transform(image=torch.from_numpy(image[box].copy()), segmentation=torch.from_numpy(labels[box].copy()))
        if done in TOLD or done % 100 == 0:
            answers.put((done, number, *memory()))
    answers.put(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthesis", choices=("workers", "service"), default="workers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patches", type=int, default=1000, help="of each worker")
    parser.add_argument("--device", default="cpu", help="of the service")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    folder = None if args.generator is None else str(args.generator)
    plan = TextoMorphPlans(
        hosts={"liver": 1}, tumors={"tumor": 2}, organ="liver", probability=1.0, generator=folder, steps=args.steps
    )
    case = phantom_case("liver", 9, 0, spacing=SPACING)

    start = time.perf_counter()
    generator = Generator.load(args.generator)
    synthesis: InWorkers | Service
    if args.synthesis == "workers":
        synthesis = InWorkers(folder, generator, load_bank(None, "liver").texts)
    else:
        largest = region_shape(PATCH, SPACING, generator.domain, generator.region_multiple)
        synthesis = Service(folder, generator.config, args.device, args.workers, largest, args.workers)
    print(f"{args.synthesis}: {time.perf_counter() - start:.1f} s until workers can be started", flush=True)

    counters = InjectionCounters(list(plan.tumors))
    transform = TextoMorphTransform(plan, SPACING, INTENSITIES, counters, synthesis)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    start = time.perf_counter()
    workers = [
        context.Process(target=work, args=(number, transform, case, args.patches, answers), daemon=True)
        for number in range(args.workers)
    ]
    for worker in workers:
        worker.start()
    running, first = len(workers), True
    while running:
        answer = answers.get()
        if answer is None:
            running -= 1
            continue
        if first:
            print(f"first patch after {time.perf_counter() - start:.1f} s more")
            first = False
        done, number, uss, pss = answer
        line = f"after {done:5d} patches: worker {number}: USS {uss:6.0f} MiB, PSS {pss:6.0f} MiB"
        if isinstance(synthesis, Service) and number == 0:
            uss, pss = memory(synthesis.pid)
            line += f"; service: USS {uss:6.0f} MiB, PSS {pss:6.0f} MiB"
        print(line, flush=True)
    seconds = time.perf_counter() - start
    print(counters.take().line())
    print(f"{args.workers * args.patches / seconds:.2f} patches a second")
    synthesis.close()


if __name__ == "__main__":
    main()
