"""Milliseconds per random tumor shape, one thread: python benchmarks/shape_speed.py"""

from __future__ import annotations

import time

import numpy as np

from nnunet_textomorph.shapes import equivalent_diameter, random_shape

CASES = [(10, (1, 1, 1)), (30, (1, 1, 1)), (60, (1, 1, 1)), (60, (3.27, 0.98, 0.98)), (90, (0.8, 0.8, 0.8))]


def main(count: int = 100) -> None:
    for diameter, spacing in CASES:
        times, errors, largest = [], [], 0
        for seed in range(count):
            start = time.perf_counter()
            mask = random_shape(diameter, spacing, np.random.default_rng(seed))
            times.append(1000 * (time.perf_counter() - start))
            errors.append(abs(equivalent_diameter(mask, spacing) / diameter - 1))
            largest = max(largest, *mask.shape)
        print(
            f"{diameter} mm at {spacing} mm: median {np.median(times):.1f} ms, 95th percentile "
            f"{np.percentile(times, 95):.1f} ms; diameter off by {100 * np.median(errors):.2f} % (most "
            f"{100 * max(errors):.2f} %); longest side {largest} voxels"
        )


if __name__ == "__main__":
    main()
