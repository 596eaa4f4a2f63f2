"""Are implants without seams and as noisy as their host? A network must not find tumors by their smoothness.

    python benchmarks/seams_and_noise.py [--implants 24] [--generator DIR] [--verbose]

On unseen contexts: voxels outside the blended border must be bit-identical; the SD of the difference between neighbours
within a slice, inside the tumor, is compared with that in the host's shell around it. The tumor's outermost voxels are
left out: a sharp edge is no noise. Nor is the texture of heterogeneous tumors, which voxels of 3 mm cannot tell from
noise: they are reported apart, and every tumor is implanted twice, with noise drawn anew. What differs between the two
is noise and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from held_out_prompts import held_out_prompts
from scipy import ndimage
from text_control import asked_for
from tqdm import tqdm
from unseen import contexts, place

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import BORDER_MM, implant

EDGE_MM = 2.0
WAYS = ("inside / host, by SD", "inside / host, by median", "of two implants of one tumor / host, by median")


class OneTumor:
    """A generator that gives its first answer again and again."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._made: np.ndarray | None = None
        self.domain, self.region_multiple = generator.domain, generator.region_multiple

    def synthesize(
        self, context_hu: np.ndarray, mask: np.ndarray, texts: Sequence[str], *, seed: int, **settings: object
    ) -> np.ndarray:
        if self._made is None:
            self._made = self._generator.synthesize(context_hu, mask, texts, seed=seed, **settings)  # type: ignore[arg-type]
        return self._made


def fine_sds(ct: np.ndarray, where: np.ndarray) -> np.ndarray:
    """SD over ``where`` of what differs from voxel to voxel within the slice, and the same by the median.

    The first counts vessels, fat strands and the host's edges as noise; the second hardly does.
    """
    differences = []
    for axis in (1, 2):
        pairs = np.roll(where, 1, axis) & where
        differences.append((ct - np.roll(ct, 1, axis))[pairs])
    found = np.concatenate(differences)
    return np.array([found.std(), 1.4826 * np.median(np.abs(found - np.median(found)))]) / np.sqrt(2.0)


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
        tumor = OneTumor(generator)
        made, again = (
            implant(context.ct_hu, context.spacing, mask, text, tumor, rng, host_mask=context.host) for _ in range(2)
        )
        if not np.array_equal(made.ct_hu[~made.changed], context.ct_hu[~made.changed].astype(np.float32)):
            raise SystemExit(f"{context.name}: voxels outside the border have changed")
        outside = ndimage.distance_transform_edt(~mask, context.spacing)
        if made.changed[outside > BORDER_MM[1]].any():
            raise SystemExit(f"{context.name}: the border is wider than {BORDER_MM[1]} mm")
        shell = context.host & (outside > BORDER_MM[1]) & (outside < 14)
        depth = ndimage.distance_transform_edt(mask, context.spacing)
        core = depth > min(max(EDGE_MM, *context.spacing), 0.5 * depth.max())
        host = fine_sds(made.ct_hu, shell)
        noise = fine_sds(made.ct_hu - again.ct_hu, core)[1] / np.sqrt(2.0)
        ratios.append(np.append(fine_sds(made.ct_hu, core) / host, noise / host[1]))
        groups.append(f"{context.source}, {d.texture}")
        if args.verbose:
            tqdm.write(f"{context.name}, {d.attenuation}, {d.texture}, {d.margin}: {ratios[-1].round(2)}")
    print(f"voxels outside the {BORDER_MM[1]:g} mm border: bit-identical in {len(ratios)} of {len(ratios)} implants")
    for number, way in enumerate(WAYS):
        print(f"fine noise {way}")
        for group in sorted(set(groups)):
            r = np.array([x[number] for x, g in zip(ratios, groups, strict=True) if g == group])
            share = ((r > 0.7) & (r < 1.3)).mean()
            print(
                f"  {group:26s} median {np.median(r):.2f}, {r.min():.2f}-{r.max():.2f}, "
                f"within 0.7-1.3 in {100 * share:.0f} % of {len(r)}"
            )


if __name__ == "__main__":
    main()
