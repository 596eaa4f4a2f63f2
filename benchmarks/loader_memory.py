"""Does a loader worker's memory stay flat? One process, as nnU-Net's workers run the transform, over many patches.

    python benchmarks/loader_memory.py [--patches 500] [--generator DIR]

Patches of 48 x 96 x 96 voxels of a phantom at 2.5 x 1 x 1 mm, every one with a tumor asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import psutil
import torch

from nnunet_textomorph.phantom import phantom_case
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.transform import InjectionCounters, TextoMorphTransform

SPACING = (2.5, 1.0, 1.0)
PATCH = (48, 96, 96)
INTENSITIES = {"mean": 90.0, "std": 40.0, "percentile_00_5": -60.0, "percentile_99_5": 220.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=500)
    parser.add_argument("--generator", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)
    case = phantom_case("liver", 9, 0, spacing=SPACING)
    hu = np.clip(case.ct_hu, INTENSITIES["percentile_00_5"], INTENSITIES["percentile_99_5"])
    image, labels = (hu - INTENSITIES["mean"]) / INTENSITIES["std"], case.labels.astype(np.int16)
    plan = TextoMorphPlans(
        hosts={"liver": 1},
        tumors={"tumor": 2},
        organ="liver",
        probability=1.0,
        generator=None if args.generator is None else str(args.generator),
    )
    counters = InjectionCounters()
    transform = TextoMorphTransform(plan, SPACING, INTENSITIES, counters)
    centres = np.argwhere(labels == 1)
    process = psutil.Process()
    for number in range(1, args.patches + 1):
        middle = centres[np.random.randint(len(centres))]
        start = [int(np.clip(m - p // 2, 0, n - p)) for m, p, n in zip(middle, PATCH, labels.shape, strict=True)]
        box = (None, *(slice(s, s + p) for s, p in zip(start, PATCH, strict=True)))
        transform(image=torch.from_numpy(image[box].copy()), segmentation=torch.from_numpy(labels[box].copy()))
        if number in (10, 20, 50) or number % 100 == 0:
            print(f"after {number:4d} patches: {process.memory_info().rss / 2**20:6.0f} MiB", flush=True)
    injected, no_room, seconds = counters.take()
    print(f"{injected} tumors injected, {no_room} without room, median {1000 * seconds:.0f} ms on one thread")


if __name__ == "__main__":
    main()
