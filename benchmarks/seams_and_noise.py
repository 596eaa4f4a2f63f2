"""Are implants without seams and as noisy as their host? A network must not find tumors by their smoothness.

    python benchmarks/seams_and_noise.py [--implants 24] [--generator DIR] [--verbose]

On unseen contexts: voxels outside the blended border must be bit-identical, and the fine noise inside the tumor is
compared with that in the host's shell around it, by Immerkaer's mask (J. Immerkaer, Fast noise variance estimation,
1996), which is blind to an image's slopes and edges, and by the difference between neighbours within a slice, which is
not. The tumor's outermost voxels are left out: a sharp edge is no noise. Heterogeneous tumors are reported apart, since
their texture is noise to both rulers where voxels are thick. Beside them stand the real tumors of the same CT.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from held_out_prompts import held_out_prompts
from scipy import ndimage
from text_control import asked_for
from tqdm import tqdm
from unseen import contexts, place, real_tumors

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import BORDER_MM, implant
from nnunet_textomorph.generator.volumes import Spacing

EDGE_MM, SHELL_MM = 2.0, 14.0


WAYS = ("Immerkaer's mask, by median", "neighbours, by median", "neighbours, by SD")
MASK = np.outer((1.0, -2.0, 1.0), (1.0, -2.0, 1.0))


def fine_noise(ct: np.ndarray, where: np.ndarray) -> np.ndarray:
    """HU, for each of ``WAYS``: the noise over ``where``, within axial slices of ``ct`` (D, H, W).

    An SD counts vessels, fat strands and the host's edges as noise; the median hardly does.
    """

    def by_median(values: np.ndarray) -> float:
        return float(1.4826 * np.median(np.abs(values - np.median(values))))

    whole = ndimage.binary_erosion(where, np.ones((1, 3, 3)))
    masked = ndimage.convolve(ct.astype(np.float64), MASK[None])[whole if whole.sum() > 50 else where]
    differences = np.concatenate([(ct - np.roll(ct, 1, axis))[np.roll(where, 1, axis) & where] for axis in (1, 2)])
    return np.array([by_median(masked) / 6.0, by_median(differences) / np.sqrt(2.0), differences.std() / np.sqrt(2.0)])


def ratios_to_host(ct: np.ndarray, tumor: np.ndarray, host: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Noise in the tumor, less its outermost voxels, over that in the host's shell around it, for each of ``WAYS``."""
    outside = ndimage.distance_transform_edt(~tumor, spacing)
    depth = ndimage.distance_transform_edt(tumor, spacing)
    shell = host & (outside > BORDER_MM[1]) & (outside < SHELL_MM)
    core = depth > min(max(EDGE_MM, *spacing), 0.5 * depth.max())
    return fine_noise(ct, core) / fine_noise(ct, shell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--implants", type=int, default=24)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--verbose", action="store_true", help="a line per implant")
    args = parser.parse_args()
    torch.set_num_threads(2)
    generator = Generator.load(args.generator)
    rng = np.random.default_rng(args.seed)
    places = contexts(1)
    chosen = [places[i % len(places)] for i in range(args.implants)]
    ratios, groups = [], []
    for context, d in tqdm(list(zip(chosen, asked_for(args.implants, [c.organ for c in chosen], rng), strict=True))):
        mask = None
        while mask is None:
            mask = place(context, float(rng.uniform(18, 40)), rng)
        text = held_out_prompts(d)[0]
        made = implant(context.ct_hu, context.spacing, mask, text, generator, rng, host_mask=context.host)
        if not np.array_equal(made.ct_hu[~made.changed], context.ct_hu[~made.changed].astype(np.float32)):
            raise SystemExit(f"{context.name}: voxels outside the border have changed")
        outside = ndimage.distance_transform_edt(~mask, context.spacing)
        if made.changed[outside > BORDER_MM[1]].any():
            raise SystemExit(f"{context.name}: the border is wider than {BORDER_MM[1]} mm")
        ratios.append(ratios_to_host(made.ct_hu, mask, context.host, context.spacing))
        groups.append(f"{context.source}, {d.texture}")
        if args.verbose:
            tqdm.write(f"{context.name}, {d.attenuation}, {d.texture}, {d.margin}: {ratios[-1].round(2)}")
    print(f"voxels outside the {BORDER_MM[1]:g} mm border: bit-identical in {len(ratios)} of {len(ratios)} implants")
    for tumor in real_tumors():
        ratios.append(ratios_to_host(tumor.ct_hu, tumor.mask, tumor.host, tumor.spacing))
        groups.append("real tumors of Dataset901")
    for number, way in enumerate(WAYS):
        print(f"fine noise inside / host, {way}")
        for group in sorted(set(groups)):
            r = np.array([x[number] for x, g in zip(ratios, groups, strict=True) if g == group])
            share = ((r > 0.7) & (r < 1.3)).mean()
            print(
                f"  {group:26s} median {np.median(r):.2f}, {r.min():.2f}-{r.max():.2f}, "
                f"within 0.7-1.3 in {100 * share:.0f} % of {len(r)}"
            )


if __name__ == "__main__":
    main()
