"""Real and synthetic tumors, wherever they lie, as one list: what radiomics and the reader study look at."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.volumes import SUFFIXES, Volume, read_volume
from nnunet_textomorph.matching import lesions_of
from nnunet_textomorph.missed import SPECK_MM
from nnunet_textomorph.plan import infer_plan, organ_of, possible_hosts, read_json
from nnunet_textomorph.shapes import equivalent_diameter, size_class

REAL = "real"


@dataclass(frozen=True)
class Scan:
    """A CT with the tumors of one method in one organ. ``source``: the CT that they were put into. ``values``: of the
    tumors in ``labels``; ``whole``: all of them are one."""

    method: str
    name: str
    patient: str
    organ: str
    source: str
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
    """The training cases of an nnU-Net raw dataset, organ by organ; hosts and tumors by the names of its labels.

    Raises :class:`UserError` for a folder that is none, for labels of which none is a tumor, and for tumors that may
    lie in several organs.
    """
    content = read_json(dataset / "dataset.json")
    organs = _tumors_of_organs(content, str(dataset / "dataset.json"))
    ending = str(content["file_ending"])
    scans = []
    for labels in sorted((dataset / "labelsTr").glob(f"*{ending}")):
        case = labels.name.removesuffix(ending)
        image = dataset / "imagesTr" / f"{case}_0000{ending}"
        for organ, values in organs.items():
            name = case if len(organs) == 1 else f"{case}_{organ}"
            scans.append(Scan(REAL, name, case, organ, str(image), image, labels, values, whole=False))
    if not scans:
        raise UserError(
            f"{dataset / 'labelsTr'}: holds no label map (*{ending}); give an nnU-Net raw dataset's folder."
        )
    return scans


def _tumors_of_organs(content: dict[str, Any], where: str) -> dict[str, tuple[int, ...]]:
    """The values of each organ's tumors: a tumor is of the organ that its label names, or of the only one."""
    plan = infer_plan(content, where=where, host_labels=possible_hosts(content["labels"]))
    values: dict[str, tuple[int, ...]] = {}
    for name, value in plan.tumors.items():
        organs = sorted({organ_of(host) for host in plan.hosts_of(name)})
        if len(organs) > 1:
            raise UserError(
                f"{where}: the tumors of the label {name!r} may lie in {' or '.join(organs)}; give a label to the "
                f"tumors of each, named after it ({organs[0]}_{name})."
            )
        values[organs[0]] = (*values.get(organs[0], ()), value)
    return values


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
        organ = organ_of(re.sub(r"^\W*the\s+", "", organ, flags=re.IGNORECASE))
        scans.append(Scan(method, at.name, patient_of(source), organ, source, image, labels, (value,), whole=True))
    return _with_folders_where_names_are_shared(scans)


def _with_folders_where_names_are_shared(scans: Sequence[Scan]) -> list[Scan]:
    """In ``case_1/ct.nii.gz`` and ``case_2/ct.nii.gz`` the folder tells the patient."""
    sources: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        sources[scan.patient].add(scan.source)
    shared = {patient for patient, of in sources.items() if len(of) > 1}
    return [
        replace(scan, patient=f"{Path(scan.source).parent.name}/{scan.patient}") if scan.patient in shared else scan
        for scan in scans
    ]


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


def all_scans(synthetic: Sequence[tuple[str, Path]], real: Sequence[Path]) -> list[Scan]:
    """Real ones first, of several datasets by the datasets' names too.

    Raises :class:`UserError` where a method is named twice or there is nothing at all.
    """
    names = [name for name, _ in synthetic]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name!r} is named twice; give every method one folder.")
    scans = [replace(scan, name=_name_among(scan, dataset, real)) for dataset in real for scan in real_scans(dataset)]
    for name, folder in synthetic:
        scans += synthetic_scans(name, folder)
    if not scans:
        raise UserError("No tumors; give --synthetic NAME=FOLDER, --real DATASET_FOLDER or both.")
    return scans


def _name_among(scan: Scan, dataset: Path, datasets: Sequence[Path]) -> str:
    return scan.name if len(datasets) == 1 else f"{dataset.name}_{scan.name}"
