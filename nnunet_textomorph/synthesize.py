"""One described tumor into one's own CT."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.config import GeneratorConfig, Solver
from nnunet_textomorph.generator.generator import has_words
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.volumes import Volume, read_volume, write_volume
from nnunet_textomorph.generators import generator_reference, load_generator
from nnunet_textomorph.orientation import axial_axes, to_lps
from nnunet_textomorph.preview import save_preview
from nnunet_textomorph.requests import place
from nnunet_textomorph.shapes import equivalent_diameter, random_shape

if TYPE_CHECKING:
    from nnunet_textomorph.generators import AnyGenerator

DEFAULT_DIAMETER_MM = 25.0
INSIDE_SHARE = 0.8  # of a tumor, at least, lies in its host
TRIES = 12  # random shapes of the wanted diameter
SOFTEST_HU, DENSEST_HU = -300.0, 300.0  # the median of soft tissue in any CT lies between


class SynthesisRequest(BaseModel):
    """One tumor that ``textomorph synthesize`` is asked for: its options, and the first fields of ``request.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    image: str
    organ_mask: str
    label: int = Field(ge=1)
    organ: str
    text: str
    diameter_mm: float | None = None
    tumor_mask: str | None = None
    generator: str | None = None
    solver: Solver | None = None
    steps: int | None = Field(default=None, ge=1, le=200)
    guidance: float | None = None
    seed: int = 0
    tumor_value: int = Field(default=100, ge=1, le=32767)


@dataclass(frozen=True)
class Synthesis:
    """What :func:`make` made.

    ``before``: the CT as it was read; ``image``: with the tumor, in the file's type; ``label``: the organ's mask with
    the tumor's value in it; ``tumor``: bool; all (D, H, W). ``facts``: all of ``request.json`` but the command.
    """

    before: Volume
    image: Volume
    label: Volume
    tumor: np.ndarray
    facts: dict[str, Any]


def synthesize(request: SynthesisRequest, out: Path) -> Path:
    """Write ``image.nii.gz``, ``label.nii.gz``, ``preview.png`` and ``request.json`` into the new folder ``out``.

    The image keeps its grid, and, where the tumor does not reach, its voxels; the label is the organ's mask with the
    tumor's value in it. Without a tumor mask, a random shape of ``diameter_mm`` (25 mm by default; the diameter of a
    ball of its volume) is placed in the host. Raises :class:`UserError` or :class:`GeneratorError` for unusable input;
    nothing is written then.
    """
    check_request(request)
    parent = next(p for p in out.absolute().parents if p.exists())
    if not parent.is_dir():
        raise UserError(f"{parent}: is a file; give --out a folder that can be made.")
    if not os.access(parent, os.W_OK):
        raise UserError(f"{parent}: cannot be written into; give --out a folder that can be made.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; give --out a new one.")
    image, labels = read_volume(request.image), read_volume(request.organ_mask, integer=True)
    write(make(request, image, labels, load_generator(request.generator)), out)
    return out


def check_request(request: SynthesisRequest) -> None:
    """Raise :class:`UserError` for what can be told without reading a file."""
    if not has_words(request.text):
        raise UserError('The text is empty; describe the tumor, as in "a hypoattenuating mass".')
    if request.diameter_mm is not None and request.tumor_mask is not None:
        raise UserError("A diameter and a tumor mask exclude each other; give one of them.")
    if request.diameter_mm is not None and not 0 < request.diameter_mm < np.inf:
        raise UserError(f"The diameter is {request.diameter_mm:g} mm; give one above 0 mm.")
    if request.guidance is not None and not 0 <= request.guidance < np.inf:
        raise UserError(f"A guidance of {request.guidance:g} cannot be; give 0 or more.")
    if request.tumor_value == request.label:
        raise UserError(f"The tumor's value {request.tumor_value} is the host's label; give another value.")
    if request.seed < 0:
        raise UserError(f"The seed is {request.seed}; give 0 or more.")


def make(request: SynthesisRequest, image: Volume, labels: Volume, generator: AnyGenerator) -> Synthesis:
    """Make the tumor of a checked request in ``image``, the CT, with ``labels``, the organ mask; both stay as they are.

    Raises :class:`UserError` or :class:`GeneratorError` for unusable input.
    """
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
    made = implant(
        image.array,
        image.spacing,
        tumor,
        prompt(request.text, request.organ),
        generator,
        rng,
        solver=request.solver,
        steps=request.steps,
        guidance=request.guidance,
        host_mask=host,
    )
    label = labels.array.copy()
    label[tumor] = request.tumor_value
    facts = {
        **identity(request, generator.config, generator.weights_hash),
        "tumor_diameter_mm": round(equivalent_diameter(tumor, image.spacing), 2),
        "nnunet_textomorph": version("nnunet-textomorph"),
        "torch": version("torch"),
    }
    result = _cast(np.where(made.changed, made.ct_hu, image.array), _dtype(request.image))
    return Synthesis(image, image.with_array(result), labels.with_array(label), tumor, facts)


def identity(request: SynthesisRequest, config: GeneratorConfig, weights: str) -> dict[str, Any]:
    """What a result follows from: the request with whole paths and the generator's defaults, and its weights' hash."""
    paths = {name: getattr(request, name) for name in ("image", "organ_mask", "tumor_mask")}
    return {
        **request.model_dump(),
        **{name: str(Path(path).resolve()) for name, path in paths.items() if path is not None},
        "generator": generator_reference(request.generator),
        "prompt": prompt(request.text, request.organ),
        **config.sampling_of(request.solver, request.steps, request.guidance).model_dump(),
        "generator_weights": weights,
    }


def prompt(text: str, organ: str) -> str:
    """The text that the generator reads: the organ is added where the text does not name it."""
    text = text.strip()
    if not organ or organ.lower() in text.lower():
        return text
    return f"{text.rstrip('.')} in the {organ}."


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
    smaller_than_host = INSIDE_SHARE * np.pi / 6 * diameter**3 <= host.sum() * np.prod(image.spacing)
    for _ in range(TRIES if smaller_than_host else 0):
        shape = random_shape(diameter, image.spacing, rng)
        tumor_or_none = place(shape, host, rng, inside_share=INSIDE_SHARE)
        if tumor_or_none is not None:
            return tumor_or_none
    widest = 2.0 * float(ndimage.distance_transform_edt(np.pad(host, 1), image.spacing).max())
    raise UserError(
        f"A tumor of {diameter:g} mm found no room in label {request.label} of {request.organ_mask}, which is "
        f"{widest:.0f} mm wide at its widest; give a smaller diameter."
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


def write(made: Synthesis, out: Path) -> None:
    """Write into a folder beside ``out`` and rename it, so that there is all or nothing.

    ``out`` is replaced where it is an empty folder. Raises ``OSError`` where it cannot be written.
    """
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_path(out)
    temporary.mkdir()
    try:
        write_volume(temporary / "image.nii.gz", made.image)
        write_volume(temporary / "label.nii.gz", made.label)
        axes = axial_axes(made.image.direction)
        flips = to_lps(made.image.direction, axes)
        arrays = (made.before.array, made.image.array, made.tumor)
        before, after, tumor = (array.transpose(axes)[flips] for array in arrays)
        z, y, x = (made.image.spacing[axis] for axis in axes)
        save_preview(temporary / "preview.png", before, after, tumor, spacing=(z, y, x), title=made.facts["prompt"])
        (temporary / "request.json").write_text(json.dumps({**made.facts, "command": sys.argv}, indent=2) + "\n")
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def partial_path(out: Path) -> Path:
    """Where this process puts together what gets the name ``out`` when it is whole."""
    return out.absolute().parent / f".partial-{os.getpid()}-{out.name}"
