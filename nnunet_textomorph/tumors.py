"""Real and synthetic tumors, wherever they lie, as one list: what radiomics and the reader study look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.volumes import SUFFIXES, Volume, read_volume
from nnunet_textomorph.matching import lesions_of
from nnunet_textomorph.missed import SPECK_MM
from nnunet_textomorph.plan import infer_plan, read_json
from nnunet_textomorph.shapes import equivalent_diameter, size_class

REAL = "real"


@dataclass(frozen=True)
class Scan:
    """A CT with the tumors of one method. ``values``: of the tumors in ``labels``; ``whole``: all of them are one."""

    method: str
    name: str
    patient: str
    organ: str
    image: Path
    labels: Path
    values: tuple[int, ...]
    whole: bool


@dataclass(frozen=True)
class Tumor:
    """One tumor. ``box``: of its voxels in ``ct``, the whole volume; ``mask`` (bool) fills the box."""

    method: str
    name: str
    patient: str
    organ: str
    size: str
    diameter_mm: float
    box: tuple[slice, ...]
    mask: np.ndarray
    ct: Volume


def real_scans(dataset: Path) -> list[Scan]:
    """The training cases of an nnU-Net raw dataset; hosts and tumors by the names of its labels.

    Raises :class:`UserError` for a folder that is none, and for labels of which none is a tumor.
    """
    content = read_json(dataset / "dataset.json")
    plan = infer_plan(content, where=str(dataset / "dataset.json"))
    ending = str(content["file_ending"])
    scans = []
    for labels in sorted((dataset / "labelsTr").glob(f"*{ending}")):
        case = labels.name.removesuffix(ending)
        image = dataset / "imagesTr" / f"{case}_0000{ending}"
        values = tuple(plan.tumors.values())
        scans.append(Scan(REAL, case, case, plan.organ, image, labels, values, whole=False))
    if not scans:
        raise UserError(
            f"{dataset / 'labelsTr'}: holds no label map (*{ending}); give an nnU-Net raw dataset's folder."
        )
    return scans


def synthetic_scans(method: str, folder: Path) -> list[Scan]:
    """What ``textomorph synthesize`` wrote into ``folder``: one tumor, or many (``--batch``).

    Raises :class:`UserError` where there is none, or where a request cannot be read.
    """
    if method == REAL:
        raise UserError(f"{REAL!r} is the name of the real tumors; give the method of {folder} another name.")
    requests = sorted([*folder.glob("request.json"), *folder.glob("*/request.json")])
    if not requests:
        raise UserError(f"{folder}: holds no request.json; give a folder that textomorph synthesize wrote.")
    scans = []
    for path in requests:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            source, organ, value = str(content["image"]), str(content["organ"]), int(content["tumor_value"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: is no request of textomorph synthesize; make the tumor anew.") from None
        at = path.parent
        image, labels = at / "image.nii.gz", at / "label.nii.gz"
        scans.append(Scan(method, at.name, patient_of(source), organ, image, labels, (value,), whole=True))
    return scans


def patient_of(image: str) -> str:
    """The case that a CT is of, by its file's name."""
    name = Path(image).name
    stem = next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
    return stem.removesuffix("_0000")


def tumors_of(scan: Scan) -> Iterator[Tumor]:
    """The tumors of a CT, those under 3 mm left out. Raises :class:`UserError` naming the file that is unfit."""
    try:
        ct, labels = read_volume(scan.image), read_volume(scan.labels, integer=True)
    except (GeneratorError, OSError) as error:
        raise UserError(str(error) if isinstance(error, GeneratorError) else f"{scan.image}: {error}") from None
    if not ct.same_grid(labels):
        raise UserError(f"{scan.labels}: its grid ({labels.grid_text()}) is not that of {scan.image}; resample it.")
    if scan.whole:
        array = np.isin(labels.array, scan.values).astype(np.uint8)
        if not array.any():
            raise UserError(f"{scan.labels}: holds no tumor (label {scan.values[0]}); make it anew.")
        boxed = [(box_of(array), scan.name)]
        masks = [array[boxed[0][0]] > 0]
    else:
        found = list(lesions_of(labels.array, scan.values))
        boxed = [(tuple(lesion.box), f"{scan.name}_{number}") for number, lesion in enumerate(found)]
        masks = [lesion.mask for lesion in found]
    for (box, name), mask in zip(boxed, masks, strict=True):
        diameter = equivalent_diameter(mask, ct.spacing)
        if diameter >= SPECK_MM:
            size = size_class(diameter)
            yield Tumor(scan.method, name, scan.patient, scan.organ, size, diameter, box, mask, ct)


def box_of(mask: np.ndarray) -> tuple[slice, ...]:
    """The bounding box of a mask that is not empty."""
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)


def all_scans(synthetic: Sequence[tuple[str, Path]], real: Path | None) -> list[Scan]:
    """Real ones first. Raises :class:`UserError` where a method is named twice or there is nothing at all."""
    names = [name for name, _ in synthetic]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name!r} is named twice; give every method one folder.")
    scans = real_scans(real) if real is not None else []
    for name, folder in synthetic:
        scans += synthetic_scans(name, folder)
    if not scans:
        raise UserError("No tumors; give --synthetic NAME=FOLDER, --real DATASET_FOLDER or both.")
    return scans
