"""Tumors of any size: time, memory, contrast and evenness from 5 to 120 mm, and a picture of them.

    python benchmarks/region_sizes.py --out DIR [--sizes 5 10 20 40 62 80 120] [--generator DIR] [--bfloat16]

In a real liver (abdomen_ct), the soft tissue of a real held-out CT of Dataset901 and a phantom's liver, at the deepest
place of the organ, by two texts each: six tumors of a size. A tumor is made in one region, however large, so that there
are no windows whose seams could show; outside the blended border every voxel must be as it was, or the run stops. The
generator was trained on tumors of 4.5 to 62 mm. Beside each implant stands a lesion drawn there with the same
descriptors:

    contrast   the ruler of text_control.py: eroded tumor minus host, HU, mean of the dark and of the bright tumors
    right      how many of attenuation, texture and margin are as asked, by the same rulers
    octants    SD of the mean HU of the tumor's eight octants, which shows what drifts over a large tumor; median

Seconds are CPU seconds of one implant, the mean; memory is the most that the process had at a time, CT and generator
included. DIR gets the table, a line per implant (rows.jsonl) and a picture of a tumor of each size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from text_control import FIELDS, measure, slice_through
from tqdm import tqdm
from unseen import Context, contexts

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import implant, region_shape
from nnunet_textomorph.generator.sheets import save_sheet
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import describe
from nnunet_textomorph.shapes import random_shape

SIZES_MM = (5.0, 10.0, 20.0, 40.0, 62.0, 80.0, 120.0)
LOOKS = (
    Descriptors(attenuation="hypo", texture="heterogeneous", margin="ill-defined"),
    Descriptors(attenuation="hyper", texture="homogeneous", margin="well-defined"),
)
ELONGATION = 1.2
AIR_HU = -300.0


def chosen_contexts() -> list[tuple[Context, np.ndarray]]:
    """A real liver, the roomiest soft tissue of Dataset901, a phantom's liver; and each one's deepest voxel."""
    found = contexts(1)
    real, phantom = (next(c for c in found if (c.source, c.organ) == (s, "liver")) for s in ("abdomen_ct", "phantom"))
    roomiest = max((deepest(c) for c in found if c.source == "Dataset901"), key=lambda pair: pair[0])
    sarcoma = next(c for c in found if c.name == roomiest[1])
    return [(c, deepest(c)[2]) for c in (real, sarcoma, phantom)]


def deepest(context: Context) -> tuple[float, str, np.ndarray]:
    """How deep in the organ its deepest voxel lies, in mm; the context's name; that voxel."""
    depth = ndimage.distance_transform_edt(context.host, context.spacing)
    return float(depth.max()), context.name, np.array(np.unravel_index(depth.argmax(), depth.shape))


def mask_about(context: Context, centre: np.ndarray, diameter_mm: float, rng: np.random.Generator) -> np.ndarray:
    """A shape about ``centre``, moved into the CT; what would lie in air is cut off."""
    shape = random_shape(diameter_mm, context.spacing, rng, elongation=ELONGATION)
    size = np.array(context.ct_hu.shape)
    short = np.maximum(np.array(shape.shape) - size, 0)
    shape = shape[tuple(slice(n // 2, n // 2 + s) for n, s in zip(short, size, strict=True))]
    start = np.clip(centre - np.array(shape.shape) // 2, 0, size - shape.shape)
    box = tuple(slice(s, s + n) for s, n in zip(start, shape.shape, strict=True))
    mask = np.zeros(context.host.shape, bool)
    mask[box] = shape & (ndimage.median_filter(context.ct_hu[box], 3) > AIR_HU)
    return mask


def octants_sd(ct: np.ndarray, mask: np.ndarray, spacing: Spacing) -> float:
    """SD in HU of the means of ``ct`` over the eight octants, about its centre, of the tumor's inside."""
    inside = ndimage.distance_transform_edt(mask, spacing)
    core = np.argwhere(inside > min(5.0, 0.5 * inside.max()))
    octant = ((core > core.mean(0)) * (1, 2, 4)).sum(1)
    values = ct[tuple(core.T)]
    return float(np.std([values[octant == k].mean() for k in np.unique(octant)]))


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """The most memory since :func:`reset_peak`, resident."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


@dataclass(frozen=True)
class Made:
    """``row``: what was measured. ``pictures``: slices through the tumor, before, after, and with a drawn lesion."""

    row: dict[str, Any]
    pictures: dict[str, np.ndarray]


def make(context: Context, centre: np.ndarray, size: float, d: Descriptors, generator: Generator, seed: int) -> Made:
    """One implant of ``size`` mm and one drawn lesion."""
    rng = np.random.default_rng([int(size), seed])
    mask, host = mask_about(context, centre, size, rng), context.host
    voxels = [f.stop - f.start for f in ndimage.find_objects(mask.astype(np.uint8))[0]]
    reset_peak()
    start = time.process_time()
    made = implant(context.ct_hu, context.spacing, mask, describe(d), generator, rng, host_mask=host)
    seconds, memory = time.process_time() - start, peak_mib()
    if not np.array_equal(made.ct_hu[~made.changed], context.ct_hu[~made.changed].astype(np.float32)):
        raise SystemExit(f"{context.name}, {size:g} mm: voxels outside the border have changed")
    solid = d.model_copy(update={"composition": "solid"})
    drawn = render_lesion(context.ct_hu, mask, context.spacing, solid, rng, host=host)
    row: dict[str, Any] = {
        "mm": size,
        "context": f"{context.source}, {context.organ}",
        "attenuation": d.attenuation,
        "region": region_shape(voxels, context.spacing, generator.domain, generator.region_multiple),
        "in_host": float(host[mask].mean()),
        "seconds": seconds,
        "mib": memory,
    }
    for kind, ct in (("implant", made.ct_hu), ("drawn", drawn)):
        found = measure(context.ct_hu, ct, mask, host, context.spacing)
        hits = [found.says(field) == getattr(d, field) for field in FIELDS]
        row[kind] = {**asdict(found), "right": sum(hits), "octants": octants_sd(ct, mask, context.spacing)}
    cut = (mask, context.spacing, size + 50.0)
    three = {"before": context.ct_hu, "implant": made.ct_hu, "drawn": drawn}
    return Made(row, {name: slice_through(ct, *cut) for name, ct in three.items()})


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row per size."""
    head = ["mm", "largest region", "seconds", "MiB"]
    kinds = ("implant", "drawn")
    head += [f"{what}, {kind}" for what in ("dark, HU", "bright, HU", "right", "octants, HU") for kind in kinds]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for size in dict.fromkeys(row["mm"] for row in rows):
        of = [row for row in rows if row["mm"] == size]
        region = " x ".join(map(str, max((row["region"] for row in of), key=math.prod)))
        seconds, memory = np.mean([row["seconds"] for row in of]), max(row["mib"] for row in of)
        cells = [f"{size:g}", region, f"{seconds:.1f}", f"{memory:.0f}"]
        for attenuation in ("hypo", "hyper"):
            for kind in kinds:
                contrasts = [row[kind]["contrast_hu"] for row in of if row["attenuation"] == attenuation]
                cells.append(f"{np.mean(contrasts):+.0f}")
        cells += [f"{sum(row[kind]['right'] for row in of)} of {len(FIELDS) * len(of)}" for kind in kinds]
        cells += [f"{np.median([row[kind]['octants'] for row in of]):.1f}" for kind in kinds]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", type=float, default=list(SIZES_MM), help="mm")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--bfloat16", action="store_true", help="sample in it, whatever the CPU")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    generator = Generator.load(args.generator)
    generator.bfloat16 |= args.bfloat16
    places = chosen_contexts()
    rows, pictures, titles = [], [], []
    for number, size in enumerate(tqdm(args.sizes)):
        for (at, (context, centre)), look in itertools.product(enumerate(places), range(len(LOOKS))):
            d = LOOKS[look].model_copy(update={"organ": context.organ})
            made = make(context, centre, size, d, generator, 2 * at + look)
            rows.append(made.row)
            with open(args.out / "rows.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(made.row) + "\n")
            if (at, look) == (number % 2, number // 2 % 2):  # the real CT in turns
                pictures.append(made.pictures)
                titles.append(f"{size:g} mm, {made.row['context']}: {d.attenuation}, {d.texture}, {d.margin}")
    (args.out / "region_sizes.md").write_text(table(rows))
    save_sheet(args.out / "region_sizes.png", pictures, (-120, 220), titles)
    print(table(rows))


if __name__ == "__main__":
    main()
