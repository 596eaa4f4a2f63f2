"""Does the tumor obey its text? Measured on voxels, by rulers that share nothing with the describer.

    python benchmarks/text_control.py [--implants 120] [--generator DIR] [--solver S] [--steps K] [--guidance G]
    python benchmarks/text_control.py --prompts fresh    # a second set of prompts, whole sentences by one writer
    python benchmarks/text_control.py --prompts fresh-2  # a third, of another
    python benchmarks/text_control.py --prompts known    # wordings of the training: what is lost in reading others?
    python benchmarks/text_control.py --drawn        # the same rulers on lesions drawn with known descriptors
    python benchmarks/text_control.py --autoencoded  # on drawn lesions, encoded, decoded, implanted: the most to reach

Contexts are ones that the shipped generator never saw: six held-out CT of Dataset901, abdomen_ct, phantoms of new
seeds. So are the prompts: ``held_out_prompts.py`` in wordings that share only plain terms of the field with the
training's, ``fresh_prompts.jsonl`` and ``fresh_prompts_2.jsonl`` as sentences by writers who had seen no other wording.
Attenuation, texture and margin are asked for in every combination. Beside the accuracy stands that of shuffled texts:
each implant judged by the text of another, which falls to chance if, and only if, the looks come from the text.

The rulers, with thresholds set on drawn lesions (``--drawn --seed 1``) before any implant was measured:
  attenuation  mean of the eroded tumor minus the host's shell: hypo below -15 HU, hyper above +15 HU
  texture      SD in the eroded tumor, smoothed by 1.5 mm and freed of its mean at each depth, minus 0.3 of the same
               before the implant (noise and anatomy): heterogeneous above 9.7 HU
  margin       the contrast's step across the contour (2 mm inside to 2 mm outside) as a share of the contrast deep
               inside: well-defined above 0.76; not judged for isoattenuating tumors, which have no visible margin
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from held_out_prompts import held_out_prompts
from scipy import ndimage
from tqdm import tqdm
from training_wordings import worded
from unseen import Context, contexts, place

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.autoencoder import normalize
from nnunet_textomorph.generator.config import SOLVERS
from nnunet_textomorph.generator.crops import without_noise
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.sheets import save_sheet
from nnunet_textomorph.generator.volumes import Spacing, box_around
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors

ATTENUATION_HU = 15.0
TEXTURE_HU, TEXTURE_BEFORE = 9.7, 0.3
MARGIN_SHARE = 0.76
DIAMETERS_MM = (20.0, 45.0)
CLIP_HU = (-100.0, 200.0)  # a calcification or gas in the host is no texture
FIELDS = ("attenuation", "texture", "margin")


@dataclass(frozen=True)
class Measured:
    contrast_hu: float
    texture_hu: float
    margin_share: float

    def says(self, field: str) -> str:
        if field == "attenuation":
            c = self.contrast_hu
            return "hypo" if c < -ATTENUATION_HU else "hyper" if c > ATTENUATION_HU else "iso"
        if field == "texture":
            return "heterogeneous" if self.texture_hu > TEXTURE_HU else "homogeneous"
        return "well-defined" if self.margin_share > MARGIN_SHARE else "ill-defined"


def measure(
    before: np.ndarray, after: np.ndarray, mask: np.ndarray, host: np.ndarray, spacing: tuple[float, float, float]
) -> Measured:
    """The three rulers; arrays (D, H, W), HU, mm."""
    box = box_around(mask, spacing, 17.0)
    before, after, mask, host = np.clip(before[box], *CLIP_HU), np.clip(after[box], *CLIP_HU), mask[box], host[box]
    outside = ndimage.distance_transform_edt(~mask, spacing)
    inside = ndimage.distance_transform_edt(mask, spacing)
    level = float(np.median(after[host & (outside > 4.5) & (outside < 14.0)]))
    core = inside > min(3.0, 0.4 * inside.max())
    deep = inside > min(5.0, 0.6 * inside.max())
    contrast = float(np.median(after[deep])) - level
    reach = max(2.0, *spacing) + 0.1
    rim, surround = (inside > 0) & (inside <= reach), host & (outside > 0) & (outside <= reach)
    beyond = float(np.median(after[surround])) - level if surround.any() else 0.0
    step = float(np.median(after[rim])) - level - beyond
    return Measured(
        contrast_hu=float(after[core].mean() - level),
        texture_hu=_texture_sd(after, mask, core, inside, spacing)
        - TEXTURE_BEFORE * _texture_sd(before, mask, core, inside, spacing),
        margin_share=step / contrast if abs(contrast) > 1.0 else 1.0,
    )


def _texture_sd(
    ct: np.ndarray, mask: np.ndarray, core: np.ndarray, depth: np.ndarray, spacing: tuple[float, float, float]
) -> float:
    """SD over ``core`` after smoothing within ``mask``, without the mean at each depth (a wide border's slope)."""
    sigma = [1.5 / s for s in spacing]
    share = np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), sigma), 1e-3)
    values = (ndimage.gaussian_filter(np.where(mask, ct, 0.0).astype(np.float32), sigma) / share)[core]
    layer = np.rint(depth[core] / 1.5).astype(int)
    means = np.bincount(layer, values) / np.maximum(np.bincount(layer), 1)
    return float((values - means[layer]).std())


def asked_for(number: int, organs: list[str], rng: np.random.Generator) -> list[Descriptors]:
    """Every combination equally often, in random order."""
    found = []
    for i in range(number):
        values = {
            "attenuation": ("hypo", "hyper", "iso")[i % 3],
            "texture": ("homogeneous", "heterogeneous")[i // 3 % 2],
            "margin": ("well-defined", "ill-defined")[i // 6 % 2],
            "organ": organs[i],
        }
        found.append(Descriptors.model_validate(values))
    return found


@cache
def _written(file: str) -> list[dict[str, str]]:
    path = Path(__file__).with_name(file)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written_prompts(d: Descriptors, file: str) -> list[str]:
    """The file's sentences, ten or twenty, that ask for ``d``."""
    asked = {field: getattr(d, field) for field in FIELDS}
    return [
        p["text"].replace("{organ}", str(d.organ))
        for p in _written(file)
        if {field: p[field] for field in FIELDS} == asked
    ]


def known_prompts(d: Descriptors) -> list[str]:
    """Wordings that the shipped generator was trained on."""
    rng = np.random.default_rng(0)
    return [worded(d, rng) for _ in range(40)]


PROMPTS = {
    "known": known_prompts,
    "held-out": held_out_prompts,
    "fresh": partial(written_prompts, file="fresh_prompts.jsonl"),
    "fresh-2": partial(written_prompts, file="fresh_prompts_2.jsonl"),
}


class PerfectDenoiser:
    """Stands for a generator whose denoiser makes what drawn lesions look like; its autoencoder is the real one."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.domain, self.region_multiple = generator.domain, generator.region_multiple

    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        host: np.ndarray,
        **_settings: object,
    ) -> np.ndarray:
        """``texts``: the descriptors as JSON."""
        d = Descriptors.model_validate_json(texts[0])
        d = d.model_copy(update={"composition": d.composition or "solid"})
        smooth = without_noise(context_hu[0].astype(np.float32), self.domain)
        rng = np.random.default_rng(seed)
        drawn = render_lesion(smooth, mask[0], self.domain.spacing_mm, d, rng, noise_mm=0.0, host=host[0])
        with torch.inference_mode():
            latents = self._generator.networks.autoencoder.encode(
                normalize(torch.from_numpy(drawn)[None, None], self.domain)
            )
            return self._generator.decoded(latents)


def table(rows: list[tuple[Context, Descriptors, Measured]], rng: np.random.Generator) -> None:
    """Accuracy per value and source, and that of shuffled texts."""
    print(f"{'':14s}{'value':14s}{'right':>8s}{'of':>6s}   mean of the ruler")
    ruler = {"attenuation": "contrast_hu", "texture": "texture_hu", "margin": "margin_share"}
    for field in FIELDS:
        judged = [r for r in rows if field != "margin" or r[1].attenuation != "iso"]
        for value in sorted({getattr(d, field) for _, d, _ in judged}):
            of = [
                (m.says(field) == value, getattr(m, ruler[field])) for _, d, m in judged if getattr(d, field) == value
            ]
            right, values = zip(*of, strict=True)
            print(f"{field:14s}{value:14s}{100 * np.mean(right):6.1f} %{len(of):6d}   {np.mean(values):.2f}")
        hits = [m.says(field) == getattr(d, field) for _, d, m in judged]
        order = rng.permuted(np.tile(np.arange(len(judged)), (200, 1)), axis=1)
        said = np.array([m.says(field) for _, _, m in judged])
        asked = np.array([getattr(d, field) for _, d, _ in judged])
        by_source = {
            s: [h for h, r in zip(hits, judged, strict=True) if r[0].source == s] for s in {r[0].source for r in judged}
        }
        sources = ", ".join(f"{s} {100 * np.mean(h):.0f} % of {len(h)}" for s, h in sorted(by_source.items()))
        print(f"{field:14s}{'all':14s}{100 * np.mean(hits):6.1f} %{len(hits):6d}   {sources}")
        print(f"{field:14s}{'shuffled':14s}{100 * np.mean(said[order] == asked):6.1f} %{len(hits):6d}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--implants", type=int, default=120)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--prompts", choices=list(PROMPTS), default="held-out")
    parser.add_argument("--solver", choices=SOLVERS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--drawn", action="store_true", help="judge drawn lesions, not implants: the rulers' own accuracy"
    )
    parser.add_argument("--autoencoded", action="store_true", help="judge drawn lesions that were encoded and decoded")
    parser.add_argument("--sheet", type=Path, help="PNG of some implants")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    places = contexts()
    generator = None if args.drawn else Generator.load(args.generator)
    source = PerfectDenoiser(generator) if args.autoencoded and generator is not None else generator

    rows, pictures, titles = [], [], []
    chosen = [places[i % len(places)] for i in rng.permutation(args.implants)]
    for context, d in tqdm(list(zip(chosen, asked_for(args.implants, [c.organ for c in chosen], rng), strict=True))):
        mask = None
        while mask is None:
            mask = place(context, float(rng.uniform(*DIAMETERS_MM)), rng)
        if source is None:
            solid = d.model_copy(update={"composition": "solid"})
            ct = render_lesion(context.ct_hu, mask, context.spacing, solid, rng, host=context.host)
            text = ""
        else:
            text = d.model_dump_json() if args.autoencoded else str(rng.choice(PROMPTS[args.prompts](d)))
            ct = implant(
                context.ct_hu,
                context.spacing,
                mask,
                text,
                source,
                rng,
                solver=args.solver,
                steps=args.steps,
                guidance=args.guidance,
                host_mask=context.host,
            ).ct_hu
        found = measure(context.ct_hu, ct, mask, context.host, context.spacing)
        rows.append((context, d, found))
        if args.verbose:
            print(context.source, d.attenuation, d.texture, d.margin, found)
        if args.sheet and len(pictures) < 24:
            pictures.append(slice_pair(context, ct, mask))
            looks = f"{found.contrast_hu:+.0f} HU, SD {found.texture_hu:.0f}, {found.margin_share:.2f}"
            titles.append(f"{d.attenuation}, {d.texture}, {d.margin}: {looks}")
    table(rows, rng)
    if args.sheet:
        save_sheet(args.sheet, pictures, (-100, 200), titles)


def slice_pair(context: Context, ct: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """One axial slice through the tumor, before and after, 72 mm wide."""
    pair = {"before": context.ct_hu, "after": ct}
    return {name: slice_through(image, mask, context.spacing, 72.0) for name, image in pair.items()}


def slice_through(ct: np.ndarray, mask: np.ndarray, spacing: Spacing, side_mm: float) -> np.ndarray:
    """One axial slice through the tumor's centre, ``side_mm`` wide where the CT is: (1, h, w)."""
    z, y, x = (int(v) for v in np.argwhere(mask).mean(axis=0))
    h, w = (int(side_mm / 2 / s) for s in spacing[1:])
    return ct[z : z + 1, max(0, y - h) : y + h, max(0, x - w) : x + w]


if __name__ == "__main__":
    main()
