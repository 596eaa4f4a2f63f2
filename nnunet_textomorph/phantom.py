"""The phantom: an nnU-Net raw dataset of procedural upper abdomens with lesions of known descriptors, and its truth.

A phantom is not a patient: what a method scores on it says that the method works, not how well it works on people.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from tqdm import tqdm

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.volumes import Spacing, box_around
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.phantom_anatomy import CODE, PANCREAS, Canvas, paint_anatomy
from nnunet_textomorph.phantom_reports import Finding, write_report
from nnunet_textomorph.shapes import equivalent_diameter, random_diameter, random_shape

LABELS: dict[str, dict[str, int]] = {
    "liver": {"background": 0, "liver": 1, "tumor": 2},
    "pancreas": {"background": 0, "pancreas": 1, "PDAC": 2, "PNET": 3, "cyst": 4},
    "kidney": {"background": 0, "kidney": 1, "tumor": 2},
}
ORGANS = tuple(LABELS)
HOST_TISSUES = {
    "liver": ("liver", "liver_vessel"),
    "pancreas": ("pancreas",),
    "kidney": ("kidney_cortex", "kidney_medulla"),
}
HEALTHY_SHARE = 0.15
SIZE_MIX = {"small": 0.42, "medium": 0.4, "large": 0.18}
LARGEST_MM = {"liver": 95.0, "pancreas": 65.0, "kidney": 80.0}
SMALLEST_MM = 6.0
POINT_SPREAD_MM = 0.8  # SD of the scanner's blur
NOISE_SD_HU = (8.0, 20.0)
DEFAULT_SPACING: Spacing = (2.5, 2.2, 2.2)


@dataclass(frozen=True)
class PhantomLesion:
    """The truth of one lesion; ``descriptors.size_mm`` is the longest diameter, ``diameter_mm`` an equal ball's."""

    label: int  # its value in the label map
    label_name: str
    descriptors: Descriptors
    location: str  # in words
    centroid: tuple[float, float, float]  # in voxels, (z, y, x)
    diameter_mm: float
    volume_mm3: float


@dataclass(frozen=True)
class PhantomCase:
    """One phantom patient. Arrays are (D, H, W) = (z, y, x): z to the head, y to the back, x to the patient's left."""

    ct_hu: np.ndarray  # float32, whole HU
    labels: np.ndarray  # uint8, values of LABELS[organ]
    instances: np.ndarray  # uint8: 0, or 1 + the lesion's place in ``lesions``
    tissue: np.ndarray  # uint8: place in phantom_anatomy.TISSUES of the healthy anatomy under the lesions
    spacing: Spacing  # mm, (z, y, x)
    organ: str
    lesions: tuple[PhantomLesion, ...]
    report: str
    stated: tuple[tuple[str, ...], ...]  # per lesion, which descriptors the report states
    age: int
    sex: str
    noise_sd: float  # HU


def phantom_case(
    organ: str, seed: int, index: int, with_lesions: bool = True, *, spacing: Spacing = DEFAULT_SPACING
) -> PhantomCase:
    """Draw one patient. The same (organ, seed, index, spacing) gives the same voxels, whatever was drawn before.

    ``organ``: liver, pancreas or kidney, the host of the lesions. ``with_lesions=False`` gives the same anatomy and
    noise without lesions. ``spacing``: mm, (z, y, x); the shape follows from it and from the patient's size (default:
    about 70 x 115 x 160 voxels). Raises :class:`UserError` for an unknown organ or an unusable spacing.
    """
    _check(organ, spacing)
    streams = [np.random.default_rng([seed, index, ORGANS.index(organ), part]) for part in range(4)]
    person, anatomy, lesion_rng, noise_rng = streams
    age, sex = int(np.clip(person.normal(62, 13), 22, 90)), str(person.choice(["F", "M"]))
    canvas = paint_anatomy(age, sex, spacing, anatomy)
    tissue = canvas.tissue.copy()
    instances = np.zeros(canvas.shape, np.uint8)
    lesions = _add_lesions(canvas, instances, organ, lesion_rng) if with_lesions else []

    labels = np.isin(tissue, [CODE[name] for name in HOST_TISSUES[organ]]).astype(np.uint8)
    for number, lesion in enumerate(lesions, 1):
        labels[instances == number] = lesion.label
    sd = float(noise_rng.uniform(*NOISE_SD_HU))
    for axis, s in enumerate(spacing):
        ndimage.gaussian_filter1d(canvas.hu, POINT_SPREAD_MM / s, axis, output=canvas.hu, truncate=3)
    ct = np.clip(np.rint(canvas.hu + sd * _noise(canvas, noise_rng)), -1024, 3000).astype(np.float32)
    report, stated = write_report(organ, [Finding(x.descriptors, x.location) for x in lesions], lesion_rng)
    return PhantomCase(
        ct, labels, instances, tissue, spacing, organ, tuple(lesions), report, tuple(stated), age, sex, sd
    )


def write_phantom(
    out: Path | str,
    organ: str,
    cases: int,
    seed: int,
    *,
    spacing: Spacing = DEFAULT_SPACING,
    progress: bool = True,
) -> Path:
    """Write an nnU-Net raw dataset of ``cases`` phantom patients with lesions of ``organ`` into the new folder ``out``.

    In it: dataset.json, imagesTr/ORGAN_0000_0000.nii.gz, labelsTr/ORGAN_0000.nii.gz, and beside them reports.jsonl
    (``{"id", "report"}``), lesions.csv (the truth, one line per lesion) and patients.csv (case, age, sex).
    nnU-Net finds a raw dataset only under a name like ``Dataset123_Liver`` in ``nnUNet_raw``: name ``out`` so when
    it is to be trained on. Case i depends on the seed and i alone, so a larger phantom begins with the smaller one.

    Returns ``out``. Raises :class:`UserError` when ``out`` is not empty, for an unknown organ, or a number of cases
    below 1; nothing is written then, and an interrupted run leaves no ``out``.
    """
    out = Path(out)
    _check(organ, spacing)
    if cases < 1:
        raise UserError(f"A phantom of {cases} cases is empty; give --cases 1 or more.")
    if seed < 0:
        raise UserError(f"The seed {seed} is negative; give --seed 0 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; give --out a new folder.")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = out.absolute().with_name(f".partial-{os.getpid()}-{out.name}")
    try:
        _write(partial, organ, cases, seed, spacing, progress)
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _check(organ: str, spacing: Sequence[float]) -> None:
    if organ not in LABELS:
        raise UserError(f"{organ!r} is no organ of the phantom; choose one of {', '.join(ORGANS)}.")
    if len(spacing) != 3 or not all(0.5 <= s <= 10 for s in spacing):
        raise UserError(f"A spacing of {tuple(spacing)} mm is unusable; give three values from 0.5 to 10.")


def _write(folder: Path, organ: str, cases: int, seed: int, spacing: Spacing, progress: bool) -> None:
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    reports, lesion_rows, patient_rows = [], [], []
    for index in tqdm(range(cases), desc=f"phantom ({organ})", unit="case", disable=not progress):
        name = f"{organ}_{index:04d}"
        case = phantom_case(organ, seed, index, spacing=spacing)
        _write_image(folder / "imagesTr" / f"{name}_0000.nii.gz", case.ct_hu.astype(np.int16), spacing)
        _write_image(folder / "labelsTr" / f"{name}.nii.gz", case.labels, spacing)
        reports.append(json.dumps({"id": name, "report": case.report}))
        patient_rows.append({"case": name, "age": case.age, "sex": case.sex})
        for number, (lesion, stated) in enumerate(zip(case.lesions, case.stated, strict=True)):
            lesion_rows.append(_row(name, number, lesion, stated, case.noise_sd))
    (folder / "reports.jsonl").write_text("".join(f"{line}\n" for line in reports), encoding="utf-8")
    (folder / "lesions.csv").write_text(_table(lesion_rows, LESION_COLUMNS), encoding="utf-8")
    (folder / "patients.csv").write_text(_table(patient_rows, ("case", "age", "sex")), encoding="utf-8")
    description = {
        "channel_names": {"0": "CT"},
        "labels": LABELS[organ],
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "description": f"Procedural phantom, not patients: upper abdomens with {organ} lesions, seed {seed}",
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


DESCRIPTORS = tuple(Descriptors.model_fields)
LESION_COLUMNS = (
    "case",
    "lesion",
    "label",
    "label_name",
    "z",
    "y",
    "x",
    "diameter_mm",
    "volume_mm3",
    "location",
    *DESCRIPTORS,
    "stated",
    "noise_sd",
)


def _row(name: str, number: int, lesion: PhantomLesion, stated: Sequence[str], noise_sd: float) -> dict[str, object]:
    z, y, x = (round(v, 1) for v in lesion.centroid)
    return {
        "case": name,
        "lesion": number,
        "label": lesion.label,
        "label_name": lesion.label_name,
        "z": z,
        "y": y,
        "x": x,
        "diameter_mm": round(lesion.diameter_mm, 2),
        "volume_mm3": round(lesion.volume_mm3, 1),
        "location": lesion.location,
        **{key: value for key, value in lesion.descriptors.model_dump().items() if value is not None},
        "stated": " ".join(stated),
        "noise_sd": round(noise_sd, 1),
    }


def _table(rows: Sequence[dict[str, object]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_image(path: Path, array: np.ndarray, spacing: Spacing) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(array.shape[::-1], spacing[::-1], strict=True)])
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)  # noise hardly compresses anyway


def _noise(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """CT noise, SD about 1: correlated between neighbours, stronger in the body's middle where few photons arrive."""
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    for axis, sigma_mm in enumerate((0.9, 1.5, 1.5)):
        ndimage.gaussian_filter1d(noise, sigma_mm / canvas.spacing[axis], axis, output=noise, truncate=3)
    noise /= noise.std()
    centre = np.clip(1 - (canvas.x / 170) ** 2 - (canvas.y / 125) ** 2, 0, 1)
    return noise * (0.8 + 0.3 * centre)


# ---------------------------------------------------------------- lesions


def _add_lesions(canvas: Canvas, instances: np.ndarray, organ: str, rng: np.random.Generator) -> list[PhantomLesion]:
    """Draw this patient's lesions into ``canvas.hu`` and number their voxels in ``instances``."""
    if rng.random() < HEALTHY_SHARE:
        return []
    count = int(rng.choice([1, 2, 3, 4], p=[0.62, 0.2, 0.11, 0.07] if organ != "pancreas" else [0.86, 0.12, 0.02, 0]))
    host = np.isin(canvas.tissue, [CODE[name] for name in HOST_TISSUES[organ]])
    kind = _draw_kind(organ, rng)
    wanted = []
    for _ in range(count):
        diameter = random_diameter(SIZE_MIX, rng, smallest_mm=SMALLEST_MM, largest_mm=LARGEST_MM[organ])
        kind = kind if rng.random() < 0.7 else _draw_kind(organ, rng)  # lesions of one patient are mostly alike
        wanted.append((diameter, kind))
    lesions: list[PhantomLesion] = []
    for diameter, pathology in sorted(wanted, key=lambda pair: -pair[0]):  # the large ones find room first
        mask = _place(host, instances, canvas, organ, diameter, rng)
        if mask is None:
            continue
        descriptors = _descriptors(organ, pathology, mask, canvas.spacing, rng)
        _draw(canvas, host, mask, organ, descriptors, rng)
        instances[mask] = len(lesions) + 1
        lesions.append(_truth(canvas, mask, organ, descriptors))
    return lesions


def _place(
    host: np.ndarray, instances: np.ndarray, canvas: Canvas, organ: str, diameter: float, rng: np.random.Generator
) -> np.ndarray | None:
    """A mask of about the wanted size where the organ has room; smaller when it has not; None when nothing fits."""
    voxels = np.flatnonzero(host & (instances == 0))
    if not voxels.size:
        return None
    taken = ndimage.binary_dilation(instances > 0, iterations=3) if instances.any() else np.zeros_like(host)
    # A lesion displaces the organ, fat and soft neighbours; never bone, lung, great vessels or another lesion.
    tissues = ("bone", "lung", "heart", "air", "disc", "canal", "stomach_content")
    kept = (
        ("vessel", "muscle", "spleen") if organ == "pancreas" else ("vessel", "muscle", "spleen", "liver", "pancreas")
    )
    forbidden = np.isin(canvas.tissue, [CODE[t] for t in (*tissues, *kept)]) & ~host | taken
    for attempt in range(8):
        size = diameter * 0.88**attempt
        inside = {
            "liver": 0.97 if size < 20 else 0.9,
            "kidney": 0.9 if size < 12 else 0.5 if size < 35 else 0.22,
            "pancreas": 0.85 if size < 10 else 0.55 if size < 20 else 0.3 if size < 35 else 0.1,
        }[organ]
        shape = random_shape(size, canvas.spacing, rng)
        corner = None
        for centre in rng.choice(voxels, 60):
            start = np.array(np.unravel_index(centre, host.shape)) - np.array(shape.shape) // 2
            if (start < 0).any() or (start + shape.shape > host.shape).any():
                continue
            box = tuple(slice(a, a + n) for a, n in zip(start, shape.shape, strict=True))
            if host[box][shape].mean() >= inside and forbidden[box][shape].mean() < 0.08:
                corner = box
                break
        if corner is None:
            continue
        mask = np.zeros(host.shape, bool)
        mask[corner] = shape & ~forbidden[corner]
        mask[corner] = cc3d.largest_k(mask[corner], k=1, connectivity=6).astype(bool)
        if mask.sum() >= 8:
            return mask
    return None


def _draw(
    canvas: Canvas, host: np.ndarray, mask: np.ndarray, organ: str, descriptors: Descriptors, rng: np.random.Generator
) -> None:
    """Render the lesion, its attenuation relative to the organ even where it bulges out of it.

    What lies under the bulge becomes organ tissue first, and the renderer, which takes the level around the tumor for
    the host's, is shown nothing but organ there.
    """
    level = float(np.median(canvas.hu[host & (canvas.tissue != CODE["liver_vessel"])]))
    box = box_around(mask, canvas.spacing, 12.0)
    own, inside = host[box], mask[box]
    if organ == "liver":
        own = ndimage.binary_dilation(own)  # its partial-volume rim stays a rim
    soft = ndimage.gaussian_filter(inside.astype(np.float32), [0.8 / s for s in canvas.spacing], truncate=3)
    canvas.hu[box] += np.where(own, 0, soft) * (level - canvas.hu[box])
    organ_only = np.where(host[box] | inside, canvas.hu[box], np.float32(level))
    canvas.hu[box] += render_lesion(organ_only, inside, canvas.spacing, descriptors, rng) - organ_only


def _truth(canvas: Canvas, mask: np.ndarray, organ: str, descriptors: Descriptors) -> PhantomLesion:
    z, y, x = (float(v) for v in np.argwhere(mask).mean(0))
    labels = LABELS[organ]
    name = descriptors.pathology if descriptors.pathology in labels else "tumor"
    return PhantomLesion(
        label=labels[str(name)],
        label_name=str(name),
        descriptors=descriptors,
        location=_location(canvas, organ, (z, y, x)),
        centroid=(z, y, x),
        diameter_mm=equivalent_diameter(mask, canvas.spacing),
        volume_mm3=float(mask.sum() * np.prod(canvas.spacing)),
    )


def _location(canvas: Canvas, organ: str, centroid: tuple[float, float, float]) -> str:
    voxel = tuple(round(v) for v in centroid)
    x, y, z = (float(c[voxel]) for c in (canvas.x, canvas.y, canvas.z))  # in the reference anatomy
    if organ == "pancreas":
        nearest = int(np.argmin(((np.array(PANCREAS) - (x, y, z)) ** 2).sum(1)))
        return ("head", "head", "neck", "body", "body", "tail")[nearest]
    if organ == "kidney":
        height = z - (-22 if x > 0 else -34)
        pole = "upper pole" if height > 18 else "lower pole" if height < -18 else "interpolar region"
        return f"{'left' if x > 0 else 'right'} kidney, {pole}"
    if x > -25:
        return "segment 2" if z > 42 else "segment 3"
    if x > -55 and y < 0:
        return "segment 4"
    if y < -5:
        return "segment 8" if z > 20 else "segment 5"
    return "segment 7" if z > 20 else "segment 6"


def _longest_mm(mask: np.ndarray, spacing: Spacing) -> float:
    """The longest diameter in mm, over 200 directions, voxels taken as small balls."""
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.array(spacing)
    directions = np.random.default_rng(0).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = points @ directions.T
    return float(np.ptp(along, axis=0).max() + np.cbrt(np.prod(spacing)))


# What lesions of each kind look like: pathology -> weight; then each descriptor's values with their weights.
KINDS: dict[str, dict[str, float]] = {
    "liver": {"metastasis": 0.4, "HCC": 0.3, "cyst": 0.15, "hemangioma": 0.15},
    "pancreas": {"PDAC": 0.45, "PNET": 0.28, "cyst": 0.27},
    "kidney": {"RCC": 0.72, "cyst": 0.28},
}
CYST = {
    "attenuation": {"hypo": 1.0},
    "composition": {"cystic": 1.0},
    "margin": {"well-defined": 1.0},
    "enhancement": {"none": 1.0},
    "texture": {"homogeneous": 1.0},
}
LOOKS: dict[str, dict[str, dict[str, float]]] = {
    "cyst": CYST,
    "PDAC": {
        "attenuation": {"hypo": 0.92, "iso": 0.08},
        "composition": {"solid": 0.78, "necrotic": 0.12, "mixed": 0.1},
        "margin": {"ill-defined": 0.85, "well-defined": 0.15},
        "enhancement": {"hypo": 1.0},
        "texture": {"heterogeneous": 0.6, "homogeneous": 0.4},
    },
    "PNET": {
        "attenuation": {"hyper": 0.88, "iso": 0.12},
        "composition": {"solid": 0.8, "calcified": 0.1, "mixed": 0.1},
        "margin": {"well-defined": 0.85, "ill-defined": 0.15},
        "enhancement": {"arterial": 0.5, "hyper": 0.5},
        "texture": {"homogeneous": 0.55, "heterogeneous": 0.45},
    },
    "metastasis": {
        "attenuation": {"hypo": 0.88, "hyper": 0.07, "iso": 0.05},
        "composition": {"solid": 0.75, "necrotic": 0.2, "calcified": 0.05},
        "margin": {"ill-defined": 0.6, "well-defined": 0.4},
        "enhancement": {"hypo": 1.0},
        "texture": {"heterogeneous": 0.5, "homogeneous": 0.5},
    },
    "HCC": {
        "attenuation": {"hypo": 0.6, "hyper": 0.25, "iso": 0.15},
        "composition": {"solid": 0.75, "necrotic": 0.15, "mixed": 0.1},
        "margin": {"well-defined": 0.5, "ill-defined": 0.5},
        "enhancement": {"washout": 0.7, "arterial": 0.3},
        "texture": {"heterogeneous": 0.7, "homogeneous": 0.3},
    },
    "hemangioma": {
        "attenuation": {"hyper": 1.0},
        "composition": {"solid": 1.0},
        "margin": {"well-defined": 1.0},
        "enhancement": {"hyper": 1.0},
        "texture": {"homogeneous": 0.75, "heterogeneous": 0.25},
    },
    "RCC": {
        "attenuation": {"hypo": 0.75, "hyper": 0.15, "iso": 0.1},
        "composition": {"solid": 0.6, "necrotic": 0.15, "mixed": 0.15, "calcified": 0.1},
        "margin": {"well-defined": 0.7, "ill-defined": 0.3},
        "enhancement": {"arterial": 0.4, "hyper": 0.3, "hypo": 0.3},
        "texture": {"heterogeneous": 0.7, "homogeneous": 0.3},
    },
}


def _draw_from(weights: dict[str, float], rng: np.random.Generator) -> str:
    values = np.array(list(weights.values()))
    return str(list(weights)[int(rng.choice(len(values), p=values / values.sum()))])


def _draw_kind(organ: str, rng: np.random.Generator) -> str:
    return _draw_from(KINDS[organ], rng)


def _descriptors(
    organ: str, pathology: str, mask: np.ndarray, spacing: Spacing, rng: np.random.Generator
) -> Descriptors:
    look = {name: _draw_from(weights, rng) for name, weights in LOOKS[pathology].items()}
    if look["composition"] in ("necrotic", "mixed", "calcified") and equivalent_diameter(mask, spacing) < 15:
        look["composition"] = "solid"  # too small to show parts
    if look["composition"] in ("necrotic", "mixed", "calcified") or look["attenuation"] == "iso":
        look["texture"] = "heterogeneous"  # what has parts is not uniform, and a uniform isodense lesion is invisible
    if look["attenuation"] == "hyper" and look["enhancement"] == "hypo":
        look["enhancement"] = "hyper"
    if look["attenuation"] == "hypo" and look["enhancement"] == "hyper":
        look["enhancement"] = "arterial"
    size = round(_longest_mm(mask, spacing), 1)
    return Descriptors.model_validate({"organ": organ, "pathology": pathology, "size_mm": size, **look})
