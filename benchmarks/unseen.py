"""Contexts that the shipped generator never saw, for the benchmarks: real CT, and phantoms of new seeds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from default_training_data import HELD_OUT
from scipy import ndimage

from nnunet_textomorph.generator.volumes import Spacing, read_volume
from nnunet_textomorph.phantom import HOST_TISSUES, ORGANS, phantom_case
from nnunet_textomorph.phantom_anatomy import CODE
from nnunet_textomorph.shapes import random_shape

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PHANTOM_SEED = 8_000_000  # training used another
INSIDE_SHARE = 0.9


@dataclass(frozen=True)
class Context:
    """A CT (D, H, W) in HU without a tumor in ``host`` (bool)."""

    name: str
    source: str
    organ: str
    ct_hu: np.ndarray
    host: np.ndarray
    spacing: Spacing


def contexts(phantoms: int = 2, data: Path = DATA) -> list[Context]:
    """The six held-out cases of Dataset901, liver and kidneys of abdomen_ct, ``phantoms`` per organ."""
    found = list(_sarcoma(data)) + list(_abdomen(data / "abdomen_ct"))
    if not found:
        print(f"{data}: holds no real CT; phantoms alone are measured.", file=sys.stderr)
    for organ in ORGANS:
        for index in range(phantoms):
            case = phantom_case(organ, PHANTOM_SEED, index, with_lesions=False)
            host = np.isin(case.tissue, [CODE[name] for name in HOST_TISSUES[organ]])
            found.append(Context(f"{organ} {index}", "phantom", organ, case.ct_hu, host, case.spacing))
    return found


@dataclass(frozen=True)
class RealTumor:
    """A CT (D, H, W) in HU with a tumor in ``mask`` (bool) and the soft tissue around it in ``host`` (bool)."""

    name: str
    ct_hu: np.ndarray
    mask: np.ndarray
    host: np.ndarray
    spacing: Spacing


def real_tumors(data: Path = DATA, trained_on: bool = False) -> Iterator[RealTumor]:
    """The tumors of the six held-out cases of Dataset901; ``trained_on``: of the others as well."""
    folder = data / "Dataset901_SoftTissueSarcoma"
    for path in sorted((folder / "imagesTr").glob("*_0000.nii.gz")):
        name = path.name.removesuffix("_0000.nii.gz")
        if trained_on or name.endswith(HELD_OUT):
            volume = read_volume(path)
            labels = read_volume(folder / "labelsTr" / f"{name}.nii.gz", integer=True).array
            host = ndimage.binary_closing(labels == 1, iterations=2) & (labels != 2)
            yield RealTumor(name, volume.array, labels == 2, host, volume.spacing)


def _sarcoma(data: Path) -> Iterator[Context]:
    for tumor in real_tumors(data):
        host = tumor.host & (ndimage.distance_transform_edt(~tumor.mask, tumor.spacing) > 18.0)
        yield Context(tumor.name, "Dataset901", "soft tissue", tumor.ct_hu, host, tumor.spacing)


def _abdomen(folder: Path) -> Iterator[Context]:
    volume = read_volume(folder / "ct.nii.gz")
    labels = read_volume(folder / "organs.nii.gz", integer=True).array
    for label, organ in ((1, "liver"), (3, "kidney")):
        yield Context(f"abdomen_ct {organ}", "abdomen_ct", organ, volume.array, labels == label, volume.spacing)


def place(context: Context, diameter_mm: float, rng: np.random.Generator, tries: int = 60) -> np.ndarray | None:
    """A random shape in the host, or None."""
    voxels = np.argwhere(context.host)
    for _ in range(tries):
        shape = random_shape(diameter_mm, context.spacing, rng)
        start = voxels[rng.integers(len(voxels))] - np.array(shape.shape) // 2
        if (start < 0).any():
            continue
        box = tuple(slice(int(s), int(s) + n) for s, n in zip(start, shape.shape, strict=True))
        if context.host[box].shape == shape.shape and context.host[box][shape].mean() >= INSIDE_SHARE:
            mask = np.zeros(context.host.shape, bool)
            mask[box] = shape
            return mask
    return None
