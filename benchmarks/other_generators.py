"""How tumors of the generators behind ``--generator`` come out in CT that none was trained on, and a picture of them.

    python benchmarks/other_generators.py lefusion cgan difftumor shipped [--implants 24] [--picture OUT.png]

Twelve places, by turns of 10, 20 and 38 mm: held-out CT of Dataset901, abdomen_ct and phantoms of new seeds. Told of
each generator are the contrasts, medians of the inner voxels less the host's around them; shares of dark and bright
tumors; the SD of inner voxels beside the host's, both with CT noise; and the processor's time per implant on one
thread. ``shipped`` is the generator with text, asked for dark and bright masses by turns.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from unseen import DATA, contexts, place

from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.volumes import Spacing, box_around
from nnunet_textomorph.generators import load_generator

SIZES_MM = (10.0, 20.0, 38.0)
ORDER = (0, 6, 8, 10, 12, 3, 7, 9, 1, 6, 11, 13)  # of the contexts
CONTEXT_MM = 34.0
SEED = 5
CLEAR_HU = 15.0  # contrasts below are neither dark nor bright
TEXTS = ("A hypoattenuating heterogeneous mass.", "A hyperattenuating mass.")
SHOWN, HALF_MM, GRAY_HU = 8, 32.0, (-100.0, 220.0)


@dataclass(frozen=True)
class Place:
    """A part of a CT (D, H, W) in HU, where its tumor is to be, and the host (both bool)."""

    name: str
    ct_hu: np.ndarray
    mask: np.ndarray
    host: np.ndarray
    spacing: Spacing


def places(data: Path) -> list[Place]:
    """The twelve places, the same in every run."""
    rng, found, unseen = np.random.default_rng(SEED), [], contexts(2, data)
    for number, index in enumerate(ORDER):
        context, diameter = unseen[index], SIZES_MM[number % len(SIZES_MM)]
        while (mask := place(context, diameter, rng)) is None:
            diameter *= 0.9
        box = box_around(mask, context.spacing, CONTEXT_MM)
        parts = (context.ct_hu[box].astype(np.float32), mask[box], context.host[box])
        found.append(Place(f"{context.name} {diameter:.0f} mm", *parts, context.spacing))
    return found


def measured(at: Place, ct_hu: np.ndarray) -> tuple[float, float, float]:
    """(contrast, SD inside, SD of the host) in HU."""
    inner = ndimage.binary_erosion(at.mask)
    inner = inner if inner.sum() > 20 else at.mask
    distance = ndimage.distance_transform_edt(~at.mask, at.spacing)
    beside = (distance > 4.0) & (distance < 15.0)
    host = beside & at.host if (beside & at.host).sum() > 30 else beside
    level = np.median(at.ct_hu[host])
    return float(np.median(ct_hu[inner]) - level), float(ct_hu[inner].std()), float(at.ct_hu[host].std())


def slice_of(at: Place, ct_hu: np.ndarray) -> np.ndarray:
    """The axial slice with most of the tumor, about it."""
    z = int(at.mask.sum((1, 2)).argmax())
    y, x = (int(c) for c in np.argwhere(at.mask[z]).mean(0))
    half = int(HALF_MM / at.spacing[1])
    return ct_hu[z, max(0, y - half) : y + half, max(0, x - half) : x + half]


def draw(path: Path, at: list[Place], rows: dict[str, list[np.ndarray]]) -> None:
    """A picture: a row per generator, the CT without tumors first."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = {"none": [each.ct_hu for each in at], **rows}
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(2.1 * SHOWN, 2.2 * len(rows)), squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, each, image in zip(line, at, images, strict=False):
            axis.imshow(slice_of(each, image), cmap="gray", vmin=GRAY_HU[0], vmax=GRAY_HU[1])
            if name == "none":
                axis.contour(slice_of(each, each.mask), [0.5], colors="r", linewidths=0.6)
            title = each.name if name == "none" else f"{name} {measured(each, image)[0]:+.0f} HU"
            axis.set_title(title, fontsize=7)
            axis.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=75)


def main() -> None:
    """The command: see the file's beginning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="+")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--implants", type=int, default=24)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    at, rows = places(args.data), {}
    for name in args.generators:
        generator = load_generator(None if name == "shipped" else name)
        told, images, begun = [], [], time.process_time()
        for number in range(args.implants):
            turn, index = divmod(number, len(at))
            each = at[index]
            text = TEXTS[index % len(TEXTS)] if name == "shipped" else "A mass."
            rng = np.random.default_rng(100 * turn + index)
            made = implant(each.ct_hu, each.spacing, each.mask, text, generator, rng, host_mask=each.host).ct_hu
            told.append(measured(each, made))
            images += [made] if turn == 0 else []
        seconds = (time.process_time() - begun) / args.implants
        contrast, inside, host = np.array(told).T
        quantiles = " ".join(f"{q:+.0f}" for q in np.quantile(contrast, (0.05, 0.25, 0.5, 0.75, 0.95)))
        print(
            f"{name:10s} contrast {quantiles} HU (5, 25, 50, 75, 95 %), mean size {np.abs(contrast).mean():.0f}; "
            f"dark {100 * (contrast < -CLEAR_HU).mean():.0f} %, bright {100 * (contrast > CLEAR_HU).mean():.0f} %; "
            f"SD inside {np.median(inside):.0f}, host {np.median(host):.0f}; {seconds:.2f} s",
            flush=True,
        )
        rows[name] = images
    if args.picture:
        draw(args.picture, at, rows)


if __name__ == "__main__":
    main()
