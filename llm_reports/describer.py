"""What a lesion looks like, measured from its voxels: the offline describer.

Rules, not learning: each descriptor is one measurement and one threshold, given below. Arrays are (D, H, W) in
(z, y, x) order, spacing in mm in the same order, intensities in HU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from .descriptors import Descriptors
from .errors import ReportError
from .phrasing import describe

SMALL_MM = 10.0  # below this, texture, margin and composition cannot be judged
RING_MM = (2.0, 12.0)  # distance from the tumor of the host voxels that it is compared with
CONTRAST_HU = 17.0  # |tumor - host| from which a lesion is hypo- or hyperattenuating
TEXTURE_SD_HU = 3.8  # SD beyond noise from which a texture is heterogeneous
MARGIN_MM = 7.0  # width of the border, 0 to 100 %, from which a margin is ill-defined
CYST_HU = (-15.0, 25.0)
CALCIUM_HU = 150.0
CORE_DROP_HU = 18.0  # how much darker a necrotic core is than the tumor around it
MIXED_SD_HU = 12.0  # SD of the coarse pattern from which solid and cystic parts are told apart


@dataclass(frozen=True)
class LesionDescription:
    """One lesion. ``centroid`` in voxels (z, y, x); ``size_mm``: longest diameter; ``too_small``: under 10 mm."""

    index: int
    label: int
    centroid: tuple[float, float, float]
    size_mm: float
    too_small: bool
    descriptors: Descriptors
    description: str


@dataclass(frozen=True)
class Measurements:
    """The numbers behind the descriptors (HU and mm). ``contrast_hu`` is tumor minus host."""

    host_hu: float
    contrast_hu: float
    texture_sd_hu: float
    border_mm: float
    core_drop_hu: float
    coarse_sd_hu: float
    calcium_mm3: float
    size_mm: float


def describe_lesion(
    ct_hu: np.ndarray,
    tumor_mask: np.ndarray,
    host_mask: np.ndarray,
    spacing: Sequence[float],
    *,
    organ: str | None = None,
) -> Descriptors:
    """Measure one lesion.

    ``ct_hu`` float (D, H, W); ``tumor_mask`` and ``host_mask`` bool (D, H, W); ``spacing`` mm (z, y, x). The margin of
    an isoattenuating lesion and all but attenuation and size of one under 10 mm are ``None``: they cannot be seen.
    Raises :class:`ReportError` when a mask is empty or the shapes differ.
    """
    m = measure(ct_hu, tumor_mask, host_mask, spacing)
    attenuation = "iso" if abs(m.contrast_hu) < CONTRAST_HU else "hypo" if m.contrast_hu < 0 else "hyper"
    if m.size_mm < SMALL_MM:
        return Descriptors.model_validate({"organ": organ, "attenuation": attenuation, "size_mm": m.size_mm})
    texture = "heterogeneous" if m.texture_sd_hu > TEXTURE_SD_HU else "homogeneous"
    margin = None if attenuation == "iso" else "ill-defined" if m.border_mm > MARGIN_MM else "well-defined"
    return Descriptors.model_validate(
        {
            "organ": organ,
            "attenuation": attenuation,
            "texture": texture,
            "margin": margin,
            "composition": _composition(m, attenuation, texture),
            "size_mm": m.size_mm,
        }
    )


def describe_lesions(
    ct_hu: np.ndarray,
    segmentation: np.ndarray,
    spacing: Sequence[float],
    host_labels: Sequence[int],
    tumor_labels: Sequence[int],
    organ: str | None = None,
) -> list[LesionDescription]:
    """Every connected tumor (26 neighbours) of a label map, in the order of its labels.

    Raises :class:`ReportError` for differing shapes, or a label that the segmentation does not hold.
    """
    if segmentation.shape != ct_hu.shape:
        raise ReportError(f"The segmentation's shape {segmentation.shape} is not the CT's {ct_hu.shape}.")
    present = set(np.unique(segmentation).tolist())
    for kind, labels in (("host", host_labels), ("tumor", tumor_labels)):
        if not present & set(labels):
            raise ReportError(
                f"The segmentation holds no {kind} label {list(labels)}; it holds {sorted(present)}; name one."
            )
    host = np.isin(segmentation, list(host_labels))
    lesions: list[LesionDescription] = []
    for label in tumor_labels:
        parts = cc3d.connected_components(segmentation == label, connectivity=26)
        for part in range(1, int(parts.max()) + 1):
            mask = parts == part
            d = describe_lesion(ct_hu, mask, host, spacing, organ=organ)
            z, y, x = (float(v) for v in np.argwhere(mask).mean(axis=0))
            size = float(d.size_mm or 0.0)
            lesions.append(
                LesionDescription(len(lesions), int(label), (z, y, x), size, size < SMALL_MM, d, describe(d))
            )
    return lesions


def measure(ct_hu: np.ndarray, tumor_mask: np.ndarray, host_mask: np.ndarray, spacing: Sequence[float]) -> Measurements:
    """The measurements that ``describe_lesion`` judges by; arguments and errors as there."""
    if not ct_hu.shape == tumor_mask.shape == host_mask.shape:
        raise ReportError(f"CT {ct_hu.shape}, tumor {tumor_mask.shape} and host {host_mask.shape} differ in shape.")
    if not tumor_mask.any():
        raise ReportError("The tumor mask is empty; give a mask with at least one tumor voxel.")
    tumor_mask, host_mask = tumor_mask.astype(bool), host_mask.astype(bool) & ~tumor_mask.astype(bool)
    found = ndimage.find_objects(tumor_mask.astype(np.uint8))[0]
    box = tuple(
        slice(max(0, f.start - int(20 / s) - 1), f.stop + int(20 / s) + 1) for f, s in zip(found, spacing, strict=True)
    )
    ct, tumor, host = ct_hu[box].astype(np.float32), tumor_mask[box], host_mask[box]
    if not host.any():
        raise ReportError("No host voxel lies within 20 mm of the tumor; give the organ that the tumor grows in.")
    depth = ndimage.distance_transform_edt(tumor, spacing) - ndimage.distance_transform_edt(~tumor, spacing)
    ring = host & (depth < -RING_MM[0]) & (depth > -RING_MM[1])
    ring = ring if ring.sum() >= 50 else host
    host_hu = float(np.median(ct[ring]))

    contrast, border, drop, fitted = _fit_profile(ct - host_hu, tumor, host, depth)
    residual = ct - host_hu - fitted
    deepest = float(depth.max())
    inner = tumor & (depth > min(2.0, 0.3 * deepest))
    fine_tumor, fine_host = (
        _band_sd(residual, where, inside, spacing, 1.5, 5.0) for where, inside in ((inner, tumor), (ring, host))
    )
    coarse_sigma = max(3.0, 0.3 * deepest)
    coarse = _low_pass(residual, tumor, spacing, coarse_sigma)[inner]
    voxel_mm3 = float(np.prod(spacing))
    light = ndimage.gaussian_filter(ct, [0.8 / s for s in spacing])
    noise = _robust_sd(light[ring])
    level = float(np.median(ct[inner]))
    calcium = inner & (light > max(CALCIUM_HU, level + max(80.0, 6.0 * noise)))
    return Measurements(
        host_hu=host_hu,
        contrast_hu=contrast,
        texture_sd_hu=float(np.sqrt(max(0.0, fine_tumor**2 - fine_host**2))),
        border_mm=border,
        core_drop_hu=drop,
        coarse_sd_hu=float(coarse.std()),
        calcium_mm3=float(calcium.sum()) * voxel_mm3,
        size_mm=longest_diameter(tumor, spacing),
    )


def longest_diameter(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """The longest diameter of a mask (D, H, W) in mm, between voxel centres plus one mean voxel."""
    surface = np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.asarray(spacing, dtype=float)
    directions = np.random.default_rng(0).standard_normal((400, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = surface @ directions.T
    return float((along.max(axis=0) - along.min(axis=0)).max() + np.mean(spacing))


def _composition(m: Measurements, attenuation: str, texture: str) -> str:
    if m.calcium_mm3 > max(5.0, 2.5e-4 * m.size_mm**3):  # a share, or noise and bone at the edge of large ones count
        return "calcified"
    if attenuation == "hypo" and CYST_HU[0] < m.host_hu + m.contrast_hu < CYST_HU[1] and texture == "homogeneous":
        return "cystic"
    if m.core_drop_hu > CORE_DROP_HU:
        return "necrotic"
    return "mixed" if m.coarse_sd_hu > MIXED_SD_HU else "solid"


def _fit_profile(
    contrast_hu: np.ndarray, tumor: np.ndarray, host: np.ndarray, depth: np.ndarray
) -> tuple[float, float, float, np.ndarray]:
    """Fit a smooth step (and a darker core) to the mean profile along the depth.

    Returns the contrast, the step's width in mm, the core's drop in HU, and the fit at every voxel.
    """
    deepest = float(depth.max())
    edges = np.arange(-RING_MM[1], deepest + 1.0, 1.0)
    where = (tumor | host) & (depth > edges[0])
    bins = np.digitize(depth[where], edges)
    values, at = contrast_hu[where], depth[where]
    rows = [(at[bins == b].mean(), np.median(values[bins == b]), (bins == b).sum()) for b in np.unique(bins)]
    x, y, count = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    weight = np.sqrt(np.minimum(count, 400.0))
    best: tuple[float, float, float, float, float] | None = None
    for width in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0):
        if width > max(3.0, 1.4 * deepest):
            break
        for shift in (-1.0, 0.0, 1.0, 2.0, 3.0):
            step = _step((x - shift) / width)
            columns = [step]
            if deepest > 7.0:
                columns.append(-_step((x / deepest - 0.45) / 0.2))
            design = np.stack(columns, axis=1) * weight[:, None]
            solution = np.linalg.lstsq(design, y * weight, rcond=None)[0]
            error = float(((design @ solution - y * weight) ** 2).sum())
            drop = float(solution[1]) if len(solution) > 1 else 0.0
            if best is None or error < best[0]:
                best = (error, width, shift, float(solution[0]), drop)
    assert best is not None
    _, width, shift, level, drop = best
    core = _step((depth / deepest - 0.45) / 0.2)
    fitted = level * _step((depth - shift) / width) - (drop * core if deepest > 7.0 else 0.0)
    # the lesion's own level is that of its mean, so that a necrotic core counts with its share
    mean = level - drop * float(core[tumor].mean())
    return mean, width, drop, fitted.astype(np.float32)


def _step(x: np.ndarray) -> np.ndarray:
    t = np.clip(x + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _low_pass(values: np.ndarray, inside: np.ndarray, spacing: Sequence[float], sigma_mm: float) -> np.ndarray:
    """Gaussian mean of the voxels of ``inside`` only."""
    sigma = [sigma_mm / s for s in spacing]
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    return ndimage.gaussian_filter(np.where(inside, values, 0.0).astype(np.float32), sigma) / np.maximum(share, 1e-3)


def _robust_sd(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def _band_sd(
    values: np.ndarray, where: np.ndarray, inside: np.ndarray, spacing: Sequence[float], fine: float, coarse: float
) -> float:
    """Robust SD of the pattern between two scales (mm), over ``where``, seeing only voxels of ``inside``."""
    band = _low_pass(values, inside, spacing, fine) - _low_pass(values, inside, spacing, coarse)
    return _robust_sd(band[where])
