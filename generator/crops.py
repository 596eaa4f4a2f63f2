"""Training crops: cubes of CT around tumors, on the generator's grid, cached on disk so that a CT is read once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cc3d
import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import ndimage
from tqdm import tqdm

from .config import Domain
from .errors import GeneratorError
from .files import replacing
from .manifest import ManifestLine
from .parallel import mapped
from .volumes import read_volume, resample

SIDES = (48, 64, 80, 96)  # voxels of a training window; larger tumors are seen through the largest one
CONTEXT = 10  # healthy voxels around a tumor in its window, at least
SHIFT = 8  # how far a window may be moved from the tumor's centre when there is context to spare
INT16 = (-32768, 32767)  # HU that a crop keeps; metal may be brighter, and would turn into air
LEVEL_HU = (-60.0, 30.0)  # by which a window's HU are moved: the host's level must come from the CT, not from its name
SMALLEST_VOXELS = 30  # a tumor below this has no look to learn
HOST_SHELL_MM = (2.0, 10.0)  # distance from a tumor of the tissue that is taken as its host
HOST_HU = (-30.0, 220.0)  # and its level: no fat, gas or bone
FEWEST_HOST_VOXELS = 60  # of the organ beside a tumor, to take its level from
PLAIN_HU = 50.0  # contrast of the plain tumor whose latents show the denoiser where the mask's edge lies


class Crop(NamedTuple):
    """A cached crop and the manifest line whose texts describe it."""

    path: Path
    line: str


def window_side(extent: int) -> int:
    """The side of the window for a tumor whose bounding box is ``extent`` voxels long."""
    return next((side for side in SIDES if side >= extent + 2 * CONTEXT), SIDES[-1])


def cache_crops(
    lines: Sequence[ManifestLine],
    folder: Path,
    domain: Domain,
    *,
    workers: int = 0,
    skipped: list[str] | None = None,
    progress: bool = True,
) -> list[Crop]:
    """Write one safetensors file per tumor of the manifest, unless it is there already; ``workers``: processes.

    ``skipped``: gets a sentence for each line with unusable data, which has no crop then; None: that is an error. Each
    file holds ``ct`` int16 HU and ``mask`` uint8, both (S, S, S) with S the window's side + 2 ``SHIFT``. Raises
    :class:`GeneratorError` for unusable images, for a mask without the tumor label, and for one whose tumors are all
    too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    indices = [folder / f"{_key(line, domain)}.json" for line in lines]
    missing = [(line, index) for line, index in zip(lines, indices, strict=True) if not index.is_file()]
    written = mapped(partial(_write_crops, domain=domain), missing, workers)
    bar = tqdm(written, total=len(lines), initial=len(lines) - len(missing), desc="crops", disable=not progress)
    for unusable in bar:
        if unusable is None:
            continue
        if skipped is None:
            raise GeneratorError(unusable)
        skipped.append(unusable)
    named = [(line, index) for line, index in zip(lines, indices, strict=True) if index.is_file()]
    if not named:
        raise GeneratorError(f"No line of the manifest can be used; the first: {(skipped or [''])[0]}")
    return [Crop(folder / name, line.id) for line, index in named for name in json.loads(index.read_text())]


def _write_crops(job: tuple[ManifestLine, Path], domain: Domain) -> str | None:
    """Write a manifest line's crops, and last the index that names them; returned is why it cannot be used."""
    line, index = job
    names = []
    try:
        lesions = _lesions(line, domain)
    except GeneratorError as error:
        return str(error)
    for number, (ct, mask) in enumerate(lesions):
        names.append(f"{index.stem}-{number}.safetensors")
        _save(index.with_name(names[-1]), {"ct": ct, "mask": mask})
    _write_text(index, json.dumps(names))
    return None


def without_noise(ct: np.ndarray, domain: Domain) -> np.ndarray:
    """CT (D, H, W) on the generator's grid, smoothed as the denoiser is to see it.

    CT noise (SD 15-30 HU) is most of what a small lesion's latents hold beside its level: a denoiser that has to model
    it learns texture and margin late. What is made without noise gets the host's when it is implanted.
    """
    if not domain.noise_sigma_mm:
        return ct
    return ndimage.gaussian_filter(ct, [domain.noise_sigma_mm / s for s in domain.spacing_mm])


def healthy_context(
    ct: np.ndarray, mask: np.ndarray, domain: Domain, *, noisy: bool = False, host: np.ndarray | None = None
) -> np.ndarray:
    """CT (D, H, W) in HU with the tumor's voxels masked out: the host's level stands in their place.

    Section III-B masks with zeros, that is with whatever HU the middle of the window is. With the host's level, what
    the denoiser adds is the tumor's own contrast, and "isoattenuating" is nothing at all. ``noisy``: noise is smoothed
    out as well, after masking, or the tumor would be smoothed into what lies around it. ``host``: bool (D, H, W), the
    organ; without it the blurred edge to the fat around a pancreas passes for pancreas.
    """
    outside = ndimage.distance_transform_edt(~mask, domain.spacing_mm)
    tissue = (ct > HOST_HU[0]) & (ct < HOST_HU[1]) & ~mask
    beside = tissue & (outside > HOST_SHELL_MM[0]) & (outside < HOST_SHELL_MM[1])
    if host is not None and (beside & host).sum() >= FEWEST_HOST_VOXELS:
        beside &= host
    level = ct[beside] if beside.any() else ct[tissue] if tissue.any() else ct[~mask]
    masked = np.where(mask, np.median(level) if level.size else 0.0, ct).astype(np.float32)
    return np.where(mask, masked, without_noise(masked, domain)) if noisy else masked


def plain_tumor(healthy: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A healthy context (D, H, W) in HU with a tumor of one level and the mask's own edge in it."""
    return np.where(mask, healthy + np.float32(PLAIN_HU), healthy)


def load_crop(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(CT float32 HU, mask bool), both (S, S, S)."""
    arrays = load_file(path)
    return arrays["ct"].astype(np.float32), arrays["mask"].astype(bool)


def random_window(
    ct: np.ndarray, mask: np.ndarray, rng: np.random.Generator, side: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A randomly shifted, flipped, brightened or darkened and sometimes clipped window; ``side`` None: the crop's own.

    A liver is 60 HU without contrast medium and 110 HU with: where all livers of a manifest are alike, a network would
    take the level from the organ's name and make "isoattenuating" tumors brighter than the next scanner's liver.

    nnU-Net clips CT to percentiles of its foreground before anything else sees it (Dataset901: -53 to 136 HU), so half
    of the windows are clipped to random limits, as a patch may come.
    """
    side = side or ct.shape[0] - 2 * SHIFT
    start = [int(rng.integers(0, n - side + 1)) for n in ct.shape]
    box = tuple(slice(s, s + side) for s in start)
    flips = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in range(3))
    ct, mask = ct[box][flips], mask[box][flips]
    ct = ct + rng.uniform(*LEVEL_HU)
    if rng.random() < 0.5:
        ct = np.clip(ct, rng.uniform(-150.0, -30.0), rng.uniform(120.0, 250.0))
    return np.ascontiguousarray(ct), np.ascontiguousarray(mask)


def _lesions(line: ManifestLine, domain: Domain) -> list[tuple[np.ndarray, np.ndarray]]:
    try:
        image, labels = read_volume(line.image), read_volume(line.mask, integer=True)
    except GeneratorError as error:
        raise GeneratorError(f"Manifest line {line.id!r}: {error}") from None
    if not image.same_grid(labels):
        raise GeneratorError(
            f"Manifest line {line.id!r}: {line.mask}: its grid ({labels.grid_text()}) "
            f"is not that of {line.image} ({image.grid_text()})."
        )
    tumor = labels.array == line.tumor_label
    if not tumor.any():
        raise GeneratorError(
            f"Manifest line {line.id!r}: {line.mask}: holds no voxel of the tumor label {line.tumor_label}."
        )
    ct = np.clip(np.rint(resample(image.array, image.spacing, domain.spacing_mm)), *INT16)
    tumor = resample(tumor.astype(np.float32), image.spacing, domain.spacing_mm) >= 0.5
    parts = cc3d.connected_components(tumor, connectivity=26)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        mask = parts[box] == number
        if mask.sum() >= SMALLEST_VOXELS:
            side = window_side(max(mask.shape)) + 2 * SHIFT
            centre = [(part.start + part.stop) // 2 for part in box]
            found.append((_cube(ct, centre, side, np.int16), _cube(parts == number, centre, side, np.uint8)))
    if not found:
        raise GeneratorError(
            f"Manifest line {line.id!r}: {line.mask}: has tumors under {SMALLEST_VOXELS} voxels only, too small to see."
        )
    return found


def _cube(array: np.ndarray, centre: Sequence[int], side: int, dtype: type) -> np.ndarray:
    """A cube about ``centre``, moved into the array where it would leave it and padded by edge values beyond."""
    start = [min(max(c - side // 2, 0), max(n - side, 0)) for c, n in zip(centre, array.shape, strict=True)]
    cut = array[tuple(slice(s, s + side) for s in start)]
    short = [side - n for n in cut.shape]
    padding = [(n // 2, n - n // 2) for n in short]
    mode = "constant" if array.dtype == bool else "edge"
    return np.pad(cut, padding, mode=mode).astype(dtype)  # type: ignore[call-overload]


def _key(line: ManifestLine, domain: Domain) -> str:
    """Changes when the files, the label or the domain change, so that a stale crop is never used."""
    facts = [str(line.image.resolve()), str(line.mask.resolve()), line.tumor_label, domain.model_dump_json()]
    facts += [f.stat().st_mtime_ns for f in (line.image, line.mask)]
    facts += [SIDES, CONTEXT, SHIFT]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with replacing(path) as temporary:
        save_file(arrays, temporary)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)
