"""Write the crops that the shipped generator is trained on, and their manifest.

    python benchmarks/default_training_data.py --data ../shared/data/Dataset901_SoftTissueSarcoma --out DIR

Lesions of known descriptors are drawn (``nnunet_textomorph.lesions``) into the real soft tissue of Dataset901 and into
phantoms of three organs; the real tumors are there too, with the offline describer's texts. Six cases of Dataset901
and all phantom seeds but ``PHANTOM_SEED`` are left out, to test on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm
from training_wordings import worded

from nnunet_textomorph.generator.config import Domain
from nnunet_textomorph.generator.crops import without_noise
from nnunet_textomorph.generator.volumes import Volume, box_around, read_volume, resample, write_volume
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.describer import describe_lesions
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import rephrase
from nnunet_textomorph.phantom import HOST_TISSUES, ORGANS, phantom_case
from nnunet_textomorph.phantom_anatomy import CODE
from nnunet_textomorph.shapes import equivalent_diameter, random_diameter, random_shape

HELD_OUT = ("040", "044", "047", "048", "050", "051")
PHANTOM_SEED = 7_000_000
SPACING = (1.0, 1.0, 1.0)
SIZE_MIX = {"small": 0.5, "medium": 0.38, "large": 0.12}
SMALLEST_MM, LARGEST_MM = 4.5, 62.0
SMALLEST_INNER_MM = 12.0
COMPOSITIONS = {"solid": 0.44, "cystic": 0.12, "mixed": 0.08, "necrotic": 0.16, "calcified": 0.2}
SMALL_COMPOSITIONS = {"solid": 0.85, "cystic": 0.15}
DRIFT_HU = 5.0  # real homogeneous tumors are no flatter (benchmarks/real_against_synthetic.py)
MARGIN_MM = 20  # and voxels: context around a tumor, what the largest training window needs, and room to shift
INSIDE_SHARE = 0.85
TEXTS = 10
PHANTOM_SPACINGS = ((2.5, 2.2, 2.2), (3.0, 1.5, 1.5), (1.5, 1.8, 1.8))


def random_descriptors(organ: str, rng: np.random.Generator, diameter: float = LARGEST_MM) -> Descriptors:
    """Every combination of attenuation, texture and margin equally often, so that the text alone tells them.

    A lesion under ``SMALLEST_INNER_MM`` has no inner structure: specks of calcium would fill it.
    """
    compositions = COMPOSITIONS if diameter >= SMALLEST_INNER_MM else SMALL_COMPOSITIONS
    values: dict[str, Any] = {
        "organ": organ,
        "attenuation": rng.choice(["hypo", "iso", "hyper"], p=[0.4, 0.2, 0.4]),
        "texture": rng.choice(["homogeneous", "heterogeneous"]),
        "margin": rng.choice(["well-defined", "ill-defined"]),
        "composition": rng.choice(list(compositions), p=list(compositions.values())),
    }
    if values["composition"] == "cystic":
        values.update(attenuation="hypo", texture="homogeneous")
    if values["composition"] in ("mixed", "necrotic"):
        values.update(texture="heterogeneous")
    if organ == "pancreas" and rng.random() < 0.7:
        values["pathology"] = _pancreatic_pathology(values)
    return Descriptors.model_validate(values)


def _pancreatic_pathology(values: dict[str, Any]) -> str | None:
    if values["composition"] == "cystic":
        return "cyst"
    if values["composition"] != "solid":
        return None
    return {("hypo", "ill-defined"): "PDAC", ("hyper", "well-defined"): "PNET"}.get(
        (str(values["attenuation"]), str(values["margin"]))
    )


def texts(d: Descriptors, rng: np.random.Generator, number: int = TEXTS) -> list[str]:
    """Wordings that state most, not always all, of the descriptors, as reports do; every other one is the grammar's.

    A cyst is always called so: it is far darker than what else is hypoattenuating and homogeneous, and taken for that
    it made such tumors too dark.
    """
    found = []
    for i in range(number):
        stated = {field: value for field, value in d.model_dump().items() if value is not None}
        keep = {field: value for field, value in stated.items() if value == "cystic" or rng.random() < 0.8}
        keep = keep if len(keep) > 1 else d.model_dump()
        found.append((worded if i % 2 else rephrase)(Descriptors.model_validate(keep), rng))
    return found


def place(
    host: np.ndarray, centres: np.ndarray, diameter: float, rng: np.random.Generator
) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """A random shape and its box, about one of ``centres``, that lies in the host by ``INSIDE_SHARE``.

    None after some tries.
    """
    shape = random_shape(diameter, SPACING, rng)
    for _ in range(12):
        start = centres[rng.integers(len(centres))] - np.array(shape.shape) // 2
        box = tuple(slice(int(s), int(s) + n) for s, n in zip(start, shape.shape, strict=True))
        if start.min() >= 0 and host[box].shape == shape.shape and host[box][shape].mean() >= INSIDE_SHARE:
            return box, shape
    return None


def drawn_lesions(
    ct: np.ndarray, host: np.ndarray, organ: str, number: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, Descriptors]]:
    """Yield (CT crop with one drawn lesion, its mask, its descriptors)."""
    centres = np.argwhere(host)
    for _ in range(number if len(centres) else 0):
        diameter = random_diameter(SIZE_MIX, rng, smallest_mm=SMALLEST_MM, largest_mm=LARGEST_MM)
        placed = place(host, centres, diameter, rng)
        while placed is None and diameter > SMALLEST_MM:
            diameter *= 0.8
            placed = place(host, centres, diameter, rng)
        if placed is None:
            continue
        d = random_descriptors(organ, rng, diameter)
        tight, shape = placed
        box = tuple(
            slice(max(0, t.start - MARGIN_MM), min(n, t.stop + MARGIN_MM))
            for t, n in zip(tight, host.shape, strict=True)
        )
        mask = np.zeros([part.stop - part.start for part in box], bool)
        mask[tuple(slice(t.start - b.start, t.stop - b.start) for t, b in zip(tight, box, strict=True))] = shape
        size = round(equivalent_diameter(mask, SPACING) * rng.uniform(1.0, 1.15), 1)
        d = d.model_copy(update={"size_mm": size})
        drift = rng.uniform(0.0, DRIFT_HU)
        yield render_lesion(ct[box], mask, SPACING, d, rng, noise_mm=0.0, drift_hu=drift), mask, d


def real_names(folder: Path) -> list[str]:
    names = sorted(path.name.removesuffix("_0000.nii.gz") for path in (folder / "imagesTr").glob("*_0000.nii.gz"))
    return [name for name in names if not name.endswith(HELD_OUT)]


@dataclass
class Writer:
    """Writes crops, and keeps their manifest lines."""

    out: Path
    lines: list[str] = field(default_factory=list)

    def add(
        self, name: str, ct: np.ndarray, mask: np.ndarray, d: Descriptors, sentences: list[str], *, noisy: bool = False
    ) -> None:
        for kind, array in (("ct", np.rint(ct).astype(np.int16)), ("mask", mask.astype(np.uint8))):
            write_volume(
                self.out / "crops" / f"{name}_{kind}.nii",
                Volume(array, SPACING, (0.0, 0.0, 0.0), tuple(np.eye(3).ravel())),
            )
        line = {
            "id": name,
            "image": f"crops/{name}_ct.nii",
            "mask": f"crops/{name}_mask.nii",
            "tumor_label": 1,
            "host_label": 0,
            "organ": d.organ,
            "texts": sentences,
            "noisy": noisy,
            "descriptors": d.model_dump(exclude_none=True),
        }
        self.lines.append(json.dumps(line))


def from_real_case(data: Path, out: Path, seed: int, number: int, lesions: int) -> list[str]:
    """The crops of one CT of Dataset901: drawn lesions, and its real tumor."""
    writer, rng = Writer(out), np.random.default_rng([seed, 0, number])
    name = real_names(data)[number]
    volume = read_volume(data / "imagesTr" / f"{name}_0000.nii.gz")
    labels = read_volume(data / "labelsTr" / f"{name}.nii.gz", integer=True).array
    # lesions are drawn on what the generator is to see, the CT without its noise, so that their borders stay sharp
    raw = resample(volume.array, volume.spacing, SPACING)
    ct = without_noise(raw, Domain())
    labels_1mm = resample(labels, volume.spacing, SPACING, order=0)
    # the host's contour is rough: closing fills its pinholes; a distance from the tumor keeps both apart
    host = ndimage.binary_closing(labels_1mm == 1, iterations=2)
    away = host & ~ndimage.binary_dilation(labels_1mm == 2, iterations=6)
    for i, (crop_ct, mask, d) in enumerate(drawn_lesions(ct, away, "soft tissue", lesions, rng)):
        writer.add(f"{name}_{i:03d}", crop_ct, mask, d, texts(d, rng))
    for lesion in describe_lesions(volume.array, labels, volume.spacing, [1], [2], organ="soft tissue")[:1]:
        d = lesion.descriptors.model_copy(update={"pathology": "sarcoma"})
        mask = labels_1mm == 2
        box = box_around(mask, SPACING, MARGIN_MM)
        writer.add(f"{name}_real", raw[box], mask[box], d, texts(d, rng), noisy=True)
    return writer.lines


def from_phantom(out: Path, seed: int, organ: str, index: int, lesions: int) -> list[str]:
    """The crops of one phantom without lesions of its own."""
    writer, rng = Writer(out), np.random.default_rng([seed, 1, ORGANS.index(organ), index])
    spacing = PHANTOM_SPACINGS[index % len(PHANTOM_SPACINGS)]
    case = phantom_case(organ, PHANTOM_SEED, index, with_lesions=False, spacing=spacing)
    host = np.isin(case.tissue, [CODE[name] for name in HOST_TISSUES[organ]])
    box = box_around(host, spacing, 25.0)
    ct = without_noise(resample(case.ct_hu[box], spacing, SPACING), Domain())
    host = resample(host[box].astype(np.uint8), spacing, SPACING, order=0).astype(bool)
    for i, (crop_ct, mask, d) in enumerate(drawn_lesions(ct, host, organ, lesions, rng)):
        writer.add(f"{organ}_{index:03d}_{i:02d}", crop_ct, mask, d, texts(d, rng))
    return writer.lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of Dataset901")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-real-case", type=int, default=120)
    parser.add_argument("--phantoms", type=int, default=55, help="per organ")
    parser.add_argument("--per-phantom", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    (args.out / "crops").mkdir(parents=True, exist_ok=True)
    given = (args.out, args.seed)
    pool = ProcessPoolExecutor(args.jobs)
    try:
        jobs = [
            pool.submit(from_real_case, args.data, *given, number, args.per_real_case)
            for number in range(len(real_names(args.data)))
        ]
        jobs += [
            pool.submit(from_phantom, *given, organ, index, args.per_phantom)
            for index in range(args.phantoms)
            for organ in ORGANS
        ]
        lines = [line for job in tqdm(jobs, desc="CT and phantoms") for line in job.result()]
    finally:
        pool.shutdown(cancel_futures=True)
    (args.out / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} lesions in {args.out / 'manifest.jsonl'}")


if __name__ == "__main__":
    main()
