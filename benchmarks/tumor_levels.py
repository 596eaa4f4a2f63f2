"""How bright tumors of three texts come out in phantom organs, against the host, and how bright drawn lesions are.

    python benchmarks/tumor_levels.py [--cases 2] [--solver unipc --steps 10 --guidance 1.5]

One homogeneous, well-defined tumor of 16 mm deep in the organ, one text after the other in the same place; told is the
median of its inner voxels minus the host's, in HU, and in brackets its core's minus its rim's: all three are asked for
as homogeneous. A cyst's own level, 0 to 18 HU, is what drawn cysts have.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import SOLVERS
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.lesions import CONTRAST_HU
from nnunet_textomorph.phantom import DEFAULT_SPACING, ORGANS, phantom_case
from nnunet_textomorph.shapes import random_shape

SEED, DIAMETER_MM = 777, 16.0
TEXTS = {
    "cyst": "A cystic, hypoattenuating, homogeneous, well-defined lesion in the {}.",
    "hypo": "A hypoattenuating, homogeneous, well-defined mass in the {}.",
    "hyper": "A hyperattenuating, homogeneous, well-defined mass in the {}.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--cases", type=int, default=2, help="of each organ")
    parser.add_argument("--solver", choices=SOLVERS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    args = parser.parse_args()
    generator = Generator.load(args.generator)
    sampling = {"solver": args.solver, "steps": args.steps, "guidance": args.guidance}
    print(f"drawn: cyst 0 to 18 HU itself; hypo and hyper {CONTRAST_HU[0]:g} to {CONTRAST_HU[1]:g} HU from the host")
    for organ in ORGANS:
        for number in range(args.cases):
            case = phantom_case(organ, SEED, number, spacing=DEFAULT_SPACING)
            host, ct = case.labels == 1, case.ct_hu.astype(np.float32)
            depth = ndimage.distance_transform_edt(host, DEFAULT_SPACING)
            level = float(np.median(ct[depth > 3]))
            shape = random_shape(DIAMETER_MM, DEFAULT_SPACING, np.random.default_rng(number))
            mask = np.zeros(host.shape, bool)
            start = [c - n // 2 for c, n in zip(np.unravel_index(depth.argmax(), host.shape), shape.shape, strict=True)]
            mask[tuple(slice(s, s + n) for s, n in zip(start, shape.shape, strict=True))] = shape
            inside = ndimage.binary_erosion(mask)
            within = ndimage.distance_transform_edt(mask, DEFAULT_SPACING)
            within /= within.max()  # 0 outside and 1 at the deepest
            told = []
            for name, text in TEXTS.items():
                rng = np.random.default_rng(10 + number)
                made = implant(
                    ct, DEFAULT_SPACING, mask, text.format(organ), generator, rng, host_mask=host, **sampling
                ).ct_hu
                core = np.median(made[within > 0.6]) - np.median(made[(within > 0.15) & (within < 0.4)])
                told.append(f"{name} {float(np.median(made[inside])) - level:+.0f} ({core:+.0f})")
            print(f"{organ:10s} host {level:4.0f} HU: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
