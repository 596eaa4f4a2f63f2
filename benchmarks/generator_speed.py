"""One implant in a 64 mm region against the paper's way, 200 guided steps on 96 mm, with the same network in one run.

    python benchmarks/generator_speed.py [--generator DIR] [--threads 2]

"Implant" is the whole of it: resampling, encoding, few-step sampling, decoding, blending. Text control of both
ways: ``text_control.py`` as it is, and with ``--solver ddpm --steps 200 --guidance 2``. On a CPU that has matrix units
for bfloat16 the networks use them; then both ways are measured in float32 too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.shapes import random_shape

TEXT = "A hypoattenuating, heterogeneous lesion with ill-defined margins."
SPACING = (1.0, 1.0, 1.0)


def median_seconds(run: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    generator = Generator.load(args.generator)
    rng = np.random.default_rng(0)
    ct = rng.normal(60.0, 12.0, (128, 128, 128)).astype(np.float32)
    shape = random_shape(30.0, SPACING, rng, elongation=1.2)
    mask = np.zeros(ct.shape, bool)
    mask[tuple(slice(64 - n // 2, 64 - n // 2 + n) for n in shape.shape)] = shape
    region, region_mask = ct[None, 16:112, 16:112, 16:112], mask[None, 16:112, 16:112, 16:112]

    def ours() -> object:
        return implant(ct, SPACING, mask, TEXT, generator, rng)

    def paper() -> object:
        return generator.synthesize(region, region_mask, [TEXT], seed=0, solver="ddpm", steps=200, guidance=2.0)

    steps = generator.config.sampling_of().steps
    ours()  # loads the text encoder
    for bfloat16 in dict.fromkeys((False, generator.bfloat16)):
        generator.bfloat16 = bfloat16
        torch.set_num_threads(args.threads)
        few, many = median_seconds(ours, 7), median_seconds(paper, 1)
        torch.set_num_threads(1)
        print(f"{'bfloat16' if bfloat16 else 'float32'}, seconds")
        print(f"  {args.threads} threads: implant in a 64 mm region, {steps} steps: {few:.2f}")
        print(f"  {args.threads} threads: 96 mm, 200 guided steps: {many:.2f}, {many / few:.0f} times as long")
        print(f"  1 thread: implant in a 64 mm region, {steps} steps: {median_seconds(ours, 7):.2f}", flush=True)


if __name__ == "__main__":
    main()
