"""Does the generator obey composition, and prompts of four descriptors at once?

    python benchmarks/composition_control.py [--implants 96] [--generator DIR] [--sheet PNG] [--bfloat16]
    python benchmarks/composition_control.py --canonical      # in the words of the canonical description
    python benchmarks/composition_control.py --autoencoded    # drawn lesions, encoded and decoded: the most to reach
    python benchmarks/composition_control.py --thresholds --implants 160  # the best, on drawn lesions of another seed

Solid, cystic, necrotic and calcified tumors are asked for equally often, each with attenuation, texture and margin, in
the contexts of ``unseen.py`` and the words of ``held_out_prompts.py``. A lesion with the same descriptors is drawn in
each implant's place, and judged by the same rulers: how often they see in it what was asked for, and how often what was
not, is all that they can tell. (A cyst is one by its level, near water, and its evenness: so is, to the ruler, a dark
even solid tumor in muscle of 50 HU.) Attenuation, texture and margin are judged as in ``text_control.py``.

    cystic      mean of the eroded tumor within ``WATER_HU`` of ``WATER``, and homogeneous
    necrotic    median between 30 and 45 % of the way in, minus that beyond 65 %: above ``CORE_DROP_HU``
    calcified   volume, deeper than 20 %, that is 100 HU brighter than the tumor's median: above ``CALCIUM_MM3``
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from held_out_prompts import held_out_prompts
from scipy import ndimage
from text_control import FIELDS, Measured, PerfectDenoiser, measure, slice_pair
from tqdm import tqdm
from unseen import Context, contexts, place

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import SOLVERS
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.sheets import save_sheet
from nnunet_textomorph.generator.volumes import Spacing, box_around
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import describe

DIAMETERS_MM = (20.0, 40.0)
# thresholds as --thresholds finds them, rounded
WATER, WATER_HU = 9.0, 13.0  # drawn cysts have 0 to 18 HU
CORE_DROP_HU = 12.0
CALCIUM_MM3, CALCIUM_HU = 35.0, 100.0
COMPOSITIONS = ("solid", "cystic", "necrotic", "calcified")


@dataclass(frozen=True)
class Inside:
    """``off_water_hu``: the mean's distance to ``WATER``."""

    off_water_hu: float
    core_drop_hu: float
    calcium_mm3: float

    def shows(self, composition: str, texture: str) -> bool:
        """Whether a tumor whose texture was judged so looks like that; solid: like none of the others."""
        if composition == "cystic":
            return self.off_water_hu < WATER_HU and texture == "homogeneous"
        if composition == "necrotic":
            return self.core_drop_hu > CORE_DROP_HU
        if composition == "calcified":
            return self.calcium_mm3 > CALCIUM_MM3
        return not any(self.shows(other, texture) for other in COMPOSITIONS if other != "solid")


def look_inside(ct_hu: np.ndarray, mask: np.ndarray, spacing: Spacing) -> Inside:
    """Arrays (D, H, W), HU, mm."""
    box = box_around(mask, spacing, 2.0)
    ct, depth = ct_hu[box], ndimage.distance_transform_edt(mask[box], spacing)
    share = depth / depth.max()
    core = ct[share > 0.65]
    outer = ct[(share > 0.3) & (share < 0.45)]
    level = float(ct[depth > min(3.0, 0.4 * depth.max())].mean())
    bright = (share > 0.2) & (ct > np.median(ct[share > 0.2]) + CALCIUM_HU)
    return Inside(
        off_water_hu=abs(level - WATER),
        core_drop_hu=float(np.median(outer) - np.median(core)) if outer.size else 0.0,
        calcium_mm3=float(bright.sum() * np.prod(spacing)),
    )


def looks(number: int, organs: Sequence[str], compositions: Sequence[str] = COMPOSITIONS) -> list[Descriptors]:
    """Every composition equally often, and of each its looks; a cyst is dark and even, necrosis makes uneven."""
    values = (("hypo", "hyper", "iso"), ("homogeneous", "heterogeneous"), ("well-defined", "ill-defined"))
    found = []
    for i in range(number):
        composition = compositions[i % len(compositions)]
        attenuations, textures, margins = values
        if composition == "cystic":
            attenuations, textures = ("hypo",), ("homogeneous",)
        if composition == "necrotic":
            textures = ("heterogeneous",)
        allowed = list(itertools.product(attenuations, textures, margins))
        look = dict(zip(FIELDS, allowed[i // len(compositions) % len(allowed)], strict=True))
        found.append(Descriptors.model_validate({**look, "composition": composition, "organ": organs[i]}))
    return found


@dataclass(frozen=True)
class Judged:
    asked: Descriptors
    measured: Measured
    inside: Inside

    def shows(self, composition: str) -> bool:
        return self.inside.shows(composition, self.measured.says("texture"))

    def right(self, field: str) -> bool | None:
        """None for the margin of an isoattenuating tumor, which has none to see."""
        if field == "composition":
            return self.shows(str(self.asked.composition))
        if field == "margin" and self.asked.attenuation == "iso":
            return None
        return self.measured.says(field) == getattr(self.asked, field)

    @property
    def all_right(self) -> bool:
        return all(self.right(field) is not False for field in (*FIELDS, "composition"))


def judged(context: Context, ct: np.ndarray, mask: np.ndarray, asked: Descriptors) -> Judged:
    measured = measure(context.ct_hu, ct, mask, context.host, context.spacing)
    return Judged(asked, measured, look_inside(ct, mask, context.spacing))


def per_cent(hits: Sequence[bool]) -> str:
    return f"{100 * np.mean(hits):.0f} % of {len(hits)}" if hits else "-"


def table(groups: dict[str, list[Judged]]) -> str:
    """Markdown: what is seen where it was asked for and where not, and the four descriptors together."""
    lines = ["| | " + " | ".join(groups) + " |", "|---" * (len(groups) + 1) + "|"]

    def add(name: str, hits: Callable[[list[Judged]], list[bool]]) -> None:
        lines.append(f"| {name} | " + " | ".join(per_cent(hits(of)) for of in groups.values()) + " |")

    for c in COMPOSITIONS:
        add(f"{c}, asked for", lambda of, c=c: [j.shows(c) for j in of if j.asked.composition == c])  # type: ignore[misc]
        add(f"{c}, not asked for", lambda of, c=c: [j.shows(c) for j in of if j.asked.composition != c])  # type: ignore[misc]
    for field in FIELDS:
        add(f"{field} right", lambda of, f=field: [bool(r) for r in (j.right(f) for j in of) if r is not None])  # type: ignore[misc]
    add("all four right", lambda of: [j.all_right for j in of])
    for c in COMPOSITIONS:
        add(f"all four right, {c}", lambda of, c=c: [j.all_right for j in of if j.asked.composition == c])  # type: ignore[misc]
    return "\n".join(lines) + "\n"


def best_threshold(yes: Sequence[float], no: Sequence[float]) -> tuple[float, float]:
    """Above which values are of ``yes``, by balanced accuracy, and that accuracy."""
    values = np.sort([*yes, *no])
    tried = (values[1:] + values[:-1]) / 2
    scores = [(np.mean(np.array(yes) > t) + np.mean(np.array(no) <= t)) / 2 for t in tried]
    return float(tried[int(np.argmax(scores))]), float(max(scores))


def thresholds(of: Sequence[Judged]) -> None:
    """Print the best threshold of each ruler on drawn lesions."""
    rulers: dict[str, Callable[[Judged], float]] = {
        "cystic": lambda j: -j.inside.off_water_hu,
        "necrotic": lambda j: j.inside.core_drop_hu,
        "calcified": lambda j: j.inside.calcium_mm3,
    }
    for composition, ruler in rulers.items():
        yes = [ruler(j) for j in of if j.asked.composition == composition]
        rest = [j for j in of if j.asked.composition != composition]
        no = [ruler(j) for j in rest if composition != "cystic" or j.measured.says("texture") == "homogeneous"]
        at, score = best_threshold(yes, no)
        print(f"{composition:10s} {at:8.1f}, balanced accuracy {100 * score:.0f} %, of {len(yes)} and {len(no)}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--implants", type=int, default=96)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--compositions", nargs="+", choices=COMPOSITIONS, default=list(COMPOSITIONS))
    parser.add_argument("--canonical", action="store_true", help="ask in the canonical description's words")
    parser.add_argument(
        "--autoencoded", action="store_true", help="of implants judge drawn lesions, encoded and decoded"
    )
    parser.add_argument("--solver", choices=SOLVERS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--thresholds", action="store_true", help="look for the rulers' thresholds on drawn lesions")
    parser.add_argument("--sheet", type=Path, help="PNG of some implants")
    parser.add_argument("--bfloat16", action="store_true", help="sample in it, whatever the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng([args.seed, args.thresholds])
    places = contexts()
    chosen = [places[i % len(places)] for i in rng.permutation(args.implants)]
    generator = None if args.thresholds else Generator.load(args.generator)
    if generator is not None:
        generator.bfloat16 |= args.bfloat16
    implants: list[Judged] = []
    drawn: list[Judged] = []
    pictures, titles = [], []
    asked = looks(args.implants, [c.organ for c in chosen], args.compositions)
    source = PerfectDenoiser(generator) if args.autoencoded and generator is not None else generator
    sampling = {"solver": args.solver, "steps": args.steps, "guidance": args.guidance}
    for context, d in tqdm(list(zip(chosen, asked, strict=True))):
        mask = None
        while mask is None:
            mask = place(context, float(rng.uniform(*DIAMETERS_MM)), rng)
        ct = render_lesion(context.ct_hu, mask, context.spacing, d, rng, host=context.host)
        drawn.append(judged(context, ct, mask, d))
        if source is None:
            continue
        text = str(rng.choice([describe(d)] if args.canonical else held_out_prompts(d)))
        text = d.model_dump_json() if args.autoencoded else text
        made = implant(
            context.ct_hu, context.spacing, mask, text, source, rng, host_mask=context.host, **sampling
        ).ct_hu
        implants.append(judged(context, made, mask, d))
        if args.sheet and len(pictures) < 24:
            pictures.append({**slice_pair(context, made, mask), "drawn": slice_pair(context, ct, mask)["after"]})
            titles.append(f"{d.composition}, {d.attenuation}, {d.texture}, {d.margin}")
    if args.thresholds:
        thresholds(drawn)
        return
    print(table({"implants": implants, "drawn lesions": drawn}))
    if args.sheet:
        save_sheet(args.sheet, pictures, (-100, 250), titles)


if __name__ == "__main__":
    main()
