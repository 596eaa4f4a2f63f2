"""One described tumor into one's own CT."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.generator import has_words
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.latents import weights_hash
from nnunet_textomorph.generator.volumes import Volume, read_volume, write_volume
from nnunet_textomorph.preview import save_preview
from nnunet_textomorph.requests import place
from nnunet_textomorph.shapes import equivalent_diameter, random_shape

DEFAULT_DIAMETER_MM = 25.0
INSIDE_SHARE = 0.8  # of a tumor, at least, lies in its host
TRIES = 12  # random shapes of the wanted diameter
SOFTEST_HU, DENSEST_HU = -300.0, 300.0  # the median of soft tissue in any CT lies between


@dataclass(frozen=True)
class SynthesisRequest:
    """What ``textomorph synthesize`` is asked for; its fields are those of ``request.json``."""

    image: str
    organ_mask: str
    label: int
    organ: str
    text: str
    diameter_mm: float | None = None
    tumor_mask: str | None = None
    generator: str | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    tumor_value: int = 100


def synthesize(request: SynthesisRequest, out: Path) -> Path:
    """Write ``image.nii.gz``, ``label.nii.gz``, ``preview.png`` and ``request.json`` into the new folder ``out``.

    The image keeps its grid, and, where the tumor does not reach, its voxels; the label is the organ's mask with the
    tumor's value in it. Without a tumor mask, a random shape of ``diameter_mm`` (25 mm by default; the diameter of a
    ball of its volume) is placed in the host. Raises :class:`UserError` or :class:`GeneratorError` for unusable input;
    nothing is written then.
    """
    _check(request, out)
    image = read_volume(request.image)
    labels = read_volume(request.organ_mask, integer=True)
    _same_grid(request.image, image, request.organ_mask, labels)
    host = labels.array == request.label
    if not host.any():
        present = ", ".join(str(v) for v in np.unique(labels.array) if v)
        raise UserError(
            f"{request.organ_mask}: holds no label {request.label}; it holds {present or 'background only'}."
        )
    level = float(np.median(image.array[host]))
    if not SOFTEST_HU < level < DENSEST_HU:
        raise UserError(
            f"{request.image}: the median of label {request.label} is {level:.0f}, no soft tissue; give a CT in HU."
        )
    if np.ptp(image.array[host]) == 0:
        raise UserError(f"{request.image}: label {request.label} has one value only, {level:g}; give a CT, not a mask.")
    rng = np.random.default_rng(request.seed)
    tumor = _tumor(request, image, host, rng)
    generator = Generator.load(request.generator)
    made = implant(
        image.array,
        image.spacing,
        tumor,
        prompt(request.text, request.organ),
        generator,
        rng,
        steps=request.steps,
        guidance=request.guidance,
        host_mask=host,
    )
    kind = _dtype(request.image)
    result = np.where(made.changed, made.ct_hu, image.array)
    label = labels.array.copy()
    label[tumor] = request.tumor_value
    facts = {
        **asdict(request),
        **_absolute(request),
        "prompt": prompt(request.text, request.organ),
        "tumor_diameter_mm": round(equivalent_diameter(tumor, image.spacing), 2),
        "steps": request.steps or generator.config.sampling.steps,
        "guidance": generator.config.sampling.guidance if request.guidance is None else request.guidance,
        "generator_weights": weights_hash(generator.networks),
        "nnunet_textomorph": version("nnunet-textomorph"),
        "torch": version("torch"),
    }
    _write(out, image.with_array(_cast(result, kind)), labels.with_array(label), image, tumor, result, facts)
    return out


def prompt(text: str, organ: str) -> str:
    """The text that the generator reads: the organ is added where the text does not name it."""
    text = text.strip()
    if not organ or organ.lower() in text.lower():
        return text
    return f"{text.rstrip('.')} in the {organ}."


def _absolute(request: SynthesisRequest) -> dict[str, str]:
    """The paths of the request, so that it can be repeated from any folder."""
    paths = {name: getattr(request, name) for name in ("image", "organ_mask", "tumor_mask", "generator")}
    return {name: str(Path(path).resolve()) for name, path in paths.items() if path is not None}


def _check(request: SynthesisRequest, out: Path) -> None:
    if not has_words(request.text):
        raise UserError('The text is empty; describe the tumor, as in --text "a hypoattenuating mass".')
    if request.diameter_mm is not None and request.tumor_mask is not None:
        raise UserError("--diameter-mm and --tumor-mask exclude each other; give one of them.")
    if request.diameter_mm is not None and not 0 < request.diameter_mm < np.inf:
        raise UserError(f"--diameter-mm is {request.diameter_mm:g}; give a diameter above 0 mm.")
    if request.tumor_value == request.label:
        raise UserError(f"--tumor-value {request.tumor_value} is the host's label; give another value.")
    if request.seed < 0:
        raise UserError(f"--seed is {request.seed}; give 0 or more.")
    parent = next(p for p in out.absolute().parents if p.exists())
    if not parent.is_dir():
        raise UserError(f"{parent}: is a file; give --out a folder that can be made.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; give --out a new one.")


def _same_grid(path: str, image: Volume, mask_path: str, mask: Volume) -> None:
    if not image.same_grid(mask):
        raise UserError(
            f"{mask_path}: its grid ({mask.grid_text()}) is not that of {path} ({image.grid_text()}); resample it."
        )


def _tumor(request: SynthesisRequest, image: Volume, host: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if request.tumor_mask is not None:
        mask = read_volume(request.tumor_mask, integer=True)
        _same_grid(request.image, image, request.tumor_mask, mask)
        tumor = mask.array > 0
        if not (tumor & host).any():
            what = "lies wholly outside" if tumor.any() else "is empty, it has no voxel in"
            raise UserError(f"{request.tumor_mask}: {what} label {request.label} of {request.organ_mask}.")
        if tumor.sum() > host.sum():
            raise UserError(f"{request.tumor_mask}: the tumor is larger than its host, label {request.label}.")
        return tumor
    diameter = request.diameter_mm or DEFAULT_DIAMETER_MM
    for _ in range(TRIES):
        shape = random_shape(diameter, image.spacing, rng)
        tumor_or_none = place(shape, host, rng, inside_share=INSIDE_SHARE)
        if tumor_or_none is not None:
            return tumor_or_none
    widest = 2.0 * float(ndimage.distance_transform_edt(np.pad(host, 1), image.spacing).max())
    raise UserError(
        f"A tumor of {diameter:g} mm found no room in label {request.label} of {request.organ_mask}, which is "
        f"{widest:.0f} mm wide at its widest; give a smaller --diameter-mm."
    )


def _dtype(path: str) -> np.dtype:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    kind = sitk.GetArrayFromImage(sitk.Image(1, 1, reader.GetPixelID())).dtype
    return kind


def _cast(array: np.ndarray, kind: np.dtype) -> np.ndarray:
    """To the CT's own type, as far as that holds HU (an unsigned type does not)."""
    if np.issubdtype(kind, np.integer):
        kind = kind if np.iinfo(kind).min < 0 else np.dtype(np.int32)
        info = np.iinfo(kind)
        return np.clip(np.rint(array), info.min, info.max).astype(kind)
    return array.astype(kind)


def _write(
    out: Path,
    image: Volume,
    label: Volume,
    before: Volume,
    tumor: np.ndarray,
    after_hu: np.ndarray,
    facts: dict[str, object],
) -> None:
    """Write into a folder beside ``out`` and rename it, so that there is all or nothing."""
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = out.absolute().parent / f".partial-{os.getpid()}-{out.name}"
    temporary.mkdir()
    try:
        write_volume(temporary / "image.nii.gz", image)
        write_volume(temporary / "label.nii.gz", label)
        axes = _axial_axes(before.direction)
        flips = _to_lps(before.direction, axes)
        ct, made, mask = (array.transpose(axes)[flips] for array in (before.array, after_hu, tumor))
        z, y, x = (before.spacing[axis] for axis in axes)
        save_preview(temporary / "preview.png", ct, made, mask, spacing=(z, y, x), title=str(facts["prompt"]))
        (temporary / "request.json").write_text(json.dumps({**facts, "command": sys.argv}, indent=2) + "\n")
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _axial_axes(direction: tuple[float, ...]) -> tuple[int, ...]:
    """The array's axes that run most nearly along the patient's (z, y, x): other than 0, 1, 2 in a coronal series."""
    along = np.abs(np.array(direction).reshape(3, 3))[::-1, ::-1]  # rows: patient z, y, x; columns: array axes
    return max(itertools.permutations(range(3)), key=lambda axes: sum(along[row, a] for row, a in enumerate(axes)))


def _to_lps(direction: tuple[float, ...], axes: tuple[int, ...]) -> tuple[slice, ...]:
    """Flips of an array with ``axes`` after which they run, near enough to look at, to the head, back and left."""
    along = np.array(direction).reshape(3, 3)[::-1, ::-1]
    return tuple(slice(None, None, -1 if along[row, axis] < 0 else 1) for row, axis in enumerate(axes))
