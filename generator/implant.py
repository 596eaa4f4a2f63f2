"""Putting a generated tumor into a CT: without seams, with the host's noise, and nothing changed farther out.

The generator sees a region around the tumor on its own grid and gives it back with a tumor in it, smooth (no
autoencoder carries CT noise through a factor of 4). Of that, only the tumor and a few millimetres around it are taken:

    x' = (1 - w) x + w G + sqrt(1 - (1 - w)²) n

with x the CT, G the generator's image, w a weight that falls from 1 at the tumor to 0 at its blended border's end, and
n noise with the spectrum and the power that the host has and G lacks. The factor of n keeps the noise's power constant
across the border, where x brings (1 - w) of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import fft, ndimage

from .config import Domain, Sampler
from .errors import GeneratorError
from .volumes import Spacing, box_around

CONTEXT_MM = 10.0  # healthy tissue around the tumor that the generator sees, at least
SMALLEST_SIDE = 48  # voxels of the generator's grid: the smallest window it was trained on
SMALLEST_MM = 12.0  # a smaller tumor is made magnified: within one latent voxel there is no room for a look
MOST_MAGNIFIED = 2.5
MOST_VOXELS = 256**3  # of a region; 160**3 take 2.4 GB (benchmarks/region_sizes.py)
BORDER_MM = (1.5, 4.0)  # outside the tumor: where the blend begins, and where it ends
HOST_MM = (3.0, 15.0)  # distance from the tumor of the voxels whose level and noise are taken as the host's
MOST_OFFSET_HU = 15.0  # the generator's error of level that is put right; more would be a tumor's faint surround
FINE_MM, COARSE_MM = 1.0, 2.5  # Gaussian scales above which a pattern is no longer noise: for its power, its spectrum
DECODER_BLUR = 1.0  # sigma, in voxels of the generator's grid, of the edges that its decoder makes
FINEST_ROUNDS = 6  # of correcting the finest pattern, which is not orthogonal to the rest
MOST_FINE = 4.0  # times its median magnitude: what of the finest pattern passes for noise
FEWEST_VOXELS = 60  # of host, to measure noise from


class TumorGenerator(Protocol):
    """What :func:`implant` needs of a generator (``generator.Generator`` is one)."""

    @property
    def domain(self) -> Domain: ...
    @property
    def region_multiple(self) -> int: ...
    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        solver: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        host: np.ndarray | None = None,
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Implant:
    """``ct_hu``: float32 (D, H, W) with the tumor; ``changed``: bool, where it may differ from the CT given."""

    ct_hu: np.ndarray
    changed: np.ndarray


def implant(
    ct_hu: np.ndarray,
    spacing: Spacing,
    tumor_mask: np.ndarray,
    text: str,
    generator: TumorGenerator,
    rng: np.random.Generator,
    *,
    solver: Sampler | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    hu_range: tuple[float, float] | None = None,
    host_mask: np.ndarray | None = None,
) -> Implant:
    """Put a tumor that ``text`` describes into a CT, at the voxels of ``tumor_mask``.

    Args:
        ct_hu: CT in HU, (D, H, W).
        spacing: mm, (z, y, x); any.
        tumor_mask: bool (D, H, W), not empty. It may touch the array's edge.
        text: the description.
        generator: see :class:`TumorGenerator`.
        rng: source of everything random.
        solver, steps, guidance: of the generator's sampling; None for its defaults.
        hu_range: limits that the CT was clipped to, to clip the tumor to as well.
        host_mask: bool (D, H, W), the tissue whose level and noise the tumor gets; None: what looks like the tissue
            around the tumor.

    Raises:
        GeneratorError: an empty mask, arrays of different shapes or not of three axes, and what the generator refuses.
    """
    _check(ct_hu, tumor_mask, host_mask)
    tumor_mask = tumor_mask.astype(bool)
    around = box_around(tumor_mask, spacing, HOST_MM[1] + 1.0)
    ct, tumor = ct_hu[around].astype(np.float32), tumor_mask[around]
    distance = ndimage.distance_transform_edt(~tumor, spacing)
    host = _host(ct, distance, None if host_mask is None else host_mask[around])

    made = _generate(ct_hu, spacing, tumor_mask, host_mask, around, text, generator, rng, solver, steps, guidance)
    made += _offset(ct - made, host & (distance < HOST_MM[0] + 4.0))
    noise = _host_noise(ct, made, host, host & (distance <= CONTEXT_MM), spacing, rng)
    weight = _weight(distance)
    blended = (1.0 - weight) * ct + weight * made + np.sqrt(1.0 - (1.0 - weight) ** 2) * noise
    blended = _with_finest_as_in(ct, host, blended, weight, spacing)
    if hu_range is not None:
        blended = np.clip(blended, *hu_range)

    result = ct_hu.astype(np.float32, copy=True)
    changed = np.zeros(ct_hu.shape, bool)
    changed[around] = weight > 0
    result[around] = np.where(weight > 0, blended, ct)
    return Implant(result, changed)


def region_shape(
    voxels: Sequence[int], spacing: Sequence[float], domain: Domain, multiple: int, magnified: float = 1.0
) -> tuple[int, int, int]:
    """The size (D, H, W), in voxels of the generator's grid, of the region for a tumor in a box of ``voxels``."""
    grid = np.asarray(domain.spacing_mm)
    extent = np.asarray(voxels) * np.asarray(spacing) * magnified / grid
    d, h, w = np.ceil(np.maximum(extent + 2 * CONTEXT_MM / grid, SMALLEST_SIDE) / multiple).astype(int) * multiple
    return int(d), int(h), int(w)


def _magnification(tumor_mask: np.ndarray, spacing: Spacing) -> float:
    """By how much a tumor is magnified before the generator sees it."""
    diameter = (6.0 / np.pi * tumor_mask.sum() * np.prod(spacing)) ** (1 / 3)
    return float(np.clip(SMALLEST_MM / diameter, 1.0, MOST_MAGNIFIED))


def _check(ct_hu: np.ndarray, tumor_mask: np.ndarray, host_mask: np.ndarray | None) -> None:
    if ct_hu.ndim != 3:
        raise GeneratorError(f"The CT has the shape {ct_hu.shape}; give one volume (D, H, W), without other axes.")
    for name, mask in (("tumor", tumor_mask), ("host", host_mask)):
        if mask is not None and mask.shape != ct_hu.shape:
            raise GeneratorError(f"The {name} mask has the shape {mask.shape}, the CT {ct_hu.shape}; give both alike.")
    if not tumor_mask.any():
        raise GeneratorError("The tumor mask is empty; mark the voxels where the tumor is to be.")


def _weight(distance: np.ndarray) -> np.ndarray:
    """1 up to the border's beginning, 0 from its end, smooth between; of the distance outside the tumor in mm."""
    begin, end = BORDER_MM
    t = np.clip((end - distance) / (end - begin), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def _host(ct: np.ndarray, distance: np.ndarray, host_mask: np.ndarray | None) -> np.ndarray:
    """Tissue around the tumor of one kind: no vessel, fat or bone beside it."""
    near = (distance > HOST_MM[0]) & (distance <= HOST_MM[1])
    if host_mask is not None and (near & host_mask.astype(bool)).sum() < FEWEST_VOXELS:
        host_mask = None
    if host_mask is not None:
        near &= host_mask.astype(bool)
    values = ct[near]
    if not values.size:
        return near
    if host_mask is None:  # the soft tissue there, if there is some
        soft = values[(values > -80.0) & (values < 180.0)]
        values = soft if soft.size >= FEWEST_VOXELS else values
    level = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - level))
    return near & (np.abs(ct - level) <= 3.0 * max(float(spread), 5.0))


def _generate(
    ct_hu: np.ndarray,
    spacing: Spacing,
    tumor_mask: np.ndarray,
    host_mask: np.ndarray | None,
    around: tuple[slice, ...],
    text: str,
    generator: TumorGenerator,
    rng: np.random.Generator,
    solver: Sampler | None,
    steps: int | None,
    guidance: float | None,
) -> np.ndarray:
    """The generator's image at the CT's voxels ``around`` (beyond its region: its edge values, which get no weight)."""
    domain, magnified = generator.domain, _magnification(tumor_mask, spacing)
    grid = np.asarray(domain.spacing_mm) / magnified
    step = np.asarray(spacing)
    found = ndimage.find_objects(tumor_mask.astype(np.uint8))[0]
    voxels = [f.stop - f.start for f in found]
    shape = np.array(region_shape(voxels, spacing, domain, generator.region_multiple, magnified))
    if shape.prod() > MOST_VOXELS:
        reach = " x ".join(f"{length:.0f}" for length in voxels * step)
        raise GeneratorError(
            f"The tumor mask reaches over {reach} mm, too far to be made at once; put foci that lie apart in singly."
        )
    centre = np.array([(f.start + f.stop - 1) / 2 for f in found]) * step  # mm from the first voxel's centre
    first = centre - (shape - 1) / 2 * grid

    def to_grid(array: np.ndarray) -> np.ndarray:
        return ndimage.affine_transform(array, grid / step, first / step, tuple(shape), order=1, mode="nearest")

    region = to_grid(ct_hu.astype(np.float32, copy=False))
    if magnified > 1.0:  # so is noise, of which the generator smooths out what is left
        blur = domain.noise_sigma_mm * np.sqrt(magnified**2 - 1.0)
        region = ndimage.gaussian_filter(region, [blur / s for s in domain.spacing_mm])
    share = to_grid(tumor_mask.astype(np.float32))
    mask = share >= 0.5
    if not mask.any():  # a tumor smaller than a grid voxel has one all the same
        inside = np.argwhere(tumor_mask)
        mask[tuple(np.rint((inside[len(inside) // 2] * step - first) / grid).astype(int))] = True
    made = generator.synthesize(
        region[None],
        mask[None],
        [text],
        seed=int(rng.integers(2**31)),
        solver=solver,
        steps=steps,
        guidance=guidance,
        host=None if host_mask is None else to_grid(host_mask.astype(np.float32))[None] >= 0.5,
    )[0]
    for axis, width in enumerate(step / grid):
        # a thick slice shows the mean over its thickness: a Gaussian of the same variance, less what is blurred already
        variance = (width**2 - 1.0) / 12.0 - DECODER_BLUR**2
        if variance > 0:
            made = ndimage.gaussian_filter1d(made, float(np.sqrt(variance)), axis)
    start = np.array([part.start for part in around]) * step
    size = tuple(part.stop - part.start for part in around)
    return ndimage.affine_transform(made, step / grid, (start - first) / grid, size, order=1, mode="nearest")


def _offset(error: np.ndarray, where: np.ndarray) -> float:
    """The generator's error of level in the host beside the tumor."""
    if where.sum() < FEWEST_VOXELS:
        return 0.0
    return float(np.clip(np.median(error[where]), -MOST_OFFSET_HU, MOST_OFFSET_HU))


def _host_noise(
    ct: np.ndarray, made: np.ndarray, host: np.ndarray, beside: np.ndarray, spacing: Spacing, rng: np.random.Generator
) -> np.ndarray:
    """Noise (D, H, W) in HU with the host's spectrum, of the power that the host has and ``made`` lacks.

    What ``made`` lacks is measured ``beside`` the tumor: in it, edge, texture and calcium would pass for noise.
    """
    if host.sum() < FEWEST_VOXELS:
        return np.zeros_like(ct)
    residual = np.where(host, ct - _mean_within(ct, host, spacing, COARSE_MM), 0.0)
    # white noise times the residual's amplitudes: its spectrum, at random phases
    size = [fft.next_fast_len(n, real=True) for n in ct.shape]
    amplitude = np.abs(fft.rfftn(residual, size))
    white = fft.rfftn(rng.standard_normal(size, dtype=np.float32))
    noise = fft.irfftn(white * amplitude, size)[tuple(slice(n) for n in ct.shape)]
    beside = beside if beside.sum() >= FEWEST_VOXELS else host
    lacking = _fine_sd(ct, host, spacing) ** 2 - _fine_sd(made, beside, spacing) ** 2
    power = _fine_sd(noise, host, spacing)
    return noise * (np.sqrt(max(0.0, lacking)) / max(power, 1e-6))


def _slice_axes(spacing: Spacing) -> list[int]:
    """The axes of the finest two spacings; of equal ones the last, those of an axial slice."""
    return sorted(range(3), key=lambda axis: (spacing[axis], -axis))[:2]


def _with_finest_as_in(
    ct: np.ndarray, host: np.ndarray, values: np.ndarray, weight: np.ndarray, spacing: Spacing
) -> np.ndarray:
    """``values`` with as much of the finest pattern as ``ct`` has in ``host``: where ``weight`` is 1; elsewhere by it.

    A tumor could be told by what is finer: texture where voxels are thick, and noise where CT noise is smooth, since a
    spectrum measured within the host's mask is blurred by it (benchmarks/seams_and_noise.py measures both). Slopes and
    straight edges have no such pattern.
    """
    finest = _slice_axes(spacing)
    inner, core = _inner(host, finest), _inner(weight >= 1.0, finest)
    if min(inner.sum(), core.sum()) < FEWEST_VOXELS:
        return values
    wanted = np.median(np.abs(_finest_pattern(ct, finest)[inner]))
    for _ in range(FINEST_ROUNDS):
        pattern = _finest_pattern(values, finest)
        found = max(float(np.median(np.abs(pattern[core]))), 1e-6)
        noise = np.clip(pattern, -MOST_FINE * found, MOST_FINE * found)  # a corner's or a calcification's is no noise
        values = values - weight * (1.0 - min(wanted / found, 1.5)) * noise
    return values


def _inner(where: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """What is left of ``where`` without its outermost voxels along ``axes``, or all of it where that is little."""
    inner: np.ndarray = ndimage.binary_erosion(where, np.ones([3 if axis in axes else 1 for axis in range(3)]))
    return inner if inner.sum() >= FEWEST_VOXELS else where


def _finest_pattern(values: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Second differences along two axes, with gain 1 at the finest pattern (Immerkaer's mask, 1996)."""
    for axis in axes:
        values = ndimage.convolve1d(values, [0.25, -0.5, 0.25], axis=axis)
    return values


def _fine_sd(values: np.ndarray, where: np.ndarray, spacing: Spacing) -> float:
    """SD over ``where`` of what is finer than ``FINE_MM``, by the median: edges of other tissue do not count."""
    fine = (values - _mean_within(values, where, spacing, FINE_MM))[where]
    return float(1.4826 * np.median(np.abs(fine - np.median(fine))))


def _mean_within(values: np.ndarray, seen: np.ndarray, spacing: Spacing, sigma_mm: float) -> np.ndarray:
    """Gaussian mean over the voxels of ``seen``; at least over a voxel's neighbours, whatever the spacing."""
    sigma = [max(sigma_mm / s, 0.6) for s in spacing]
    share = ndimage.gaussian_filter(seen.astype(np.float32), sigma)
    return ndimage.gaussian_filter(np.where(seen, values, 0.0).astype(np.float32), sigma) / np.maximum(share, 1e-3)
