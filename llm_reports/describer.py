"""What a lesion looks like, measured from its voxels: the offline describer.

Rules, not learning: each descriptor is one measurement and one threshold, given below. Arrays are (D, H, W) in
(z, y, x) order, spacing in mm in the same order, intensities in HU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from .descriptors import Descriptors
from .errors import ReportError
from .phrasing import describe

SMALL_MM = 10.0  # below this, texture, margin and composition cannot be judged
RING_MM = (2.0, 12.0)  # distance from the tumor of the host voxels that it is compared with
CONTRAST_HU = 10.0  # |tumor - host| from which a lesion is hypo- or hyperattenuating
TEXTURE_SD_HU = 5.5  # SD beyond noise from which a texture is heterogeneous
BORDERS_MM = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)  # widths tried; up to 3 well-, from 5 ill-defined
BORDER_SHIFT = 0.25  # how far inside the contour a border's middle lies, as a share of its width
BORDER_REACH_MM = 8.0  # how far outside the contour a border is looked for
MARGIN_ODDS = 0.05  # log of narrow over wide misfit: ill-defined above, well-defined below
MARGIN_UNSURE = 0.05  # nearer than this to MARGIN_ODDS, narrow and wide borders fit equally well: not judged
POINT_SPREAD_MM = 0.8  # SD of a usual scanner's blur
PARTIAL_VOLUME_MM = 1.5  # nearer than this to what is neither host nor tumor (fat, gas, bone), voxels mix
ENOUGH_VOXELS = 50
CORE_FROM_MM = 7.0  # depth of a lesion from which a darker core is looked for
CORE_AND_BORDER_MM = 10.0  # depth from which it cannot be mistaken for a wide border
CYST_HU = (-15.0, 25.0)
CALCIUM_HU = 150.0
CALCIUM_SDS = 5.0  # and this many SD of the lesion's or the host's own pattern above the lesion
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
    border_odds: float  # log of how much worse a narrow border fits than a wide one
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
    margin: str | None = "ill-defined" if m.border_odds > MARGIN_ODDS else "well-defined"
    if attenuation == "iso" or abs(m.border_odds - MARGIN_ODDS) < MARGIN_UNSURE:
        margin = None
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
    for label, mask in lesion_masks(segmentation, tumor_labels):
        d = describe_lesion(ct_hu, mask, host, spacing, organ=organ)
        z, y, x = (float(v) for v in np.argwhere(mask).mean(axis=0))
        size = float(d.size_mm or 0.0)
        lesions.append(LesionDescription(len(lesions), label, (z, y, x), size, size < SMALL_MM, d, describe(d)))
    return lesions


def lesion_masks(segmentation: np.ndarray, tumor_labels: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Label and mask (D, H, W) of every connected tumor (26 neighbours), in the order of the labels."""
    for label in tumor_labels:
        parts = cc3d.connected_components(segmentation == label, connectivity=26)
        for part in range(1, int(parts.max()) + 1):
            yield int(label), parts == part


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
    pure = ndimage.distance_transform_edt(tumor | host, spacing) > 1.01 * max(PARTIAL_VOLUME_MM, min(spacing))
    host = host & pure if (host & pure & (depth > -RING_MM[1])).sum() >= ENOUGH_VOXELS else host
    ring = host & (depth < -RING_MM[0]) & (depth > -RING_MM[1])
    ring = ring if ring.sum() >= ENOUGH_VOXELS else host
    host_hu = float(np.median(ct[ring]))

    bright, bone = _calcium_and_bone(ct, tumor, ring, depth, spacing)
    own = tumor & (ndimage.distance_transform_edt(~bone, spacing) > 2 * PARTIAL_VOLUME_MM) if bone.any() else tumor
    own = own if own.sum() >= 0.3 * tumor.sum() else tumor
    seen = own & pure if (own & pure).sum() >= 0.3 * tumor.sum() else own
    contrast, border, odds, drop, fitted = _fit_border(ct - host_hu, tumor, seen | host, depth, spacing)
    residual = ct - host_hu - fitted
    deepest = float(depth.max())
    inner = own & (depth > min(2.0, 0.3 * deepest))
    inner = inner & seen if (inner & seen).any() else inner
    fine_tumor, fine_host = (
        _band_sd(residual, where, inside, spacing, 1.5, 5.0) for where, inside in ((inner, own), (ring, host))
    )
    coarse_sigma = max(3.0, 0.3 * deepest)
    coarse = _low_pass(residual, own, spacing, coarse_sigma)[inner]
    voxel_mm3 = float(np.prod(spacing))
    calcium = bright & ~bone & inner
    return Measurements(
        host_hu=host_hu,
        contrast_hu=contrast,
        texture_sd_hu=float(np.sqrt(max(0.0, fine_tumor**2 - fine_host**2))),
        border_mm=border,
        border_odds=odds,
        core_drop_hu=drop,
        coarse_sd_hu=float(np.subtract(*np.quantile(coarse, (0.9, 0.1))) / 2.56),  # robust against cut bone
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


def _calcium_and_bone(
    ct: np.ndarray, tumor: np.ndarray, ring: np.ndarray, depth: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """What is far brighter than the tumor; and of that, what reaches out of it: bone, or a streak from metal."""
    light = ndimage.gaussian_filter(ct, [POINT_SPREAD_MM / s for s in spacing])
    deep = tumor & (depth > 0.3 * depth.max())
    noise = max(_robust_sd(light[ring]), _robust_sd(light[deep]))
    above = max(80.0, CALCIUM_SDS * noise)
    tumor_hu, host_hu = float(np.median(ct[deep])), float(np.median(ct[ring]))
    bright = light > max(CALCIUM_HU, tumor_hu + above)
    parts = cc3d.connected_components(bright, connectivity=26)
    bone = bright & (light > host_hu + above) & (depth < -2.0 * PARTIAL_VOLUME_MM)  # an enhancing host is not bone
    outside = np.unique(parts[bone])
    return bright, np.isin(parts, outside[outside > 0])


def _fit_border(
    contrast_hu: np.ndarray, tumor: np.ndarray, where: np.ndarray, depth: np.ndarray, spacing: Sequence[float]
) -> tuple[float, float, float, float, np.ndarray]:
    """Fit borders of several widths (and a darker core), as a scanner would blur them, to the mean profile in depth.

    A wide border lies mostly inside the contour, because readers draw where a lesion begins: so a width has its
    place, and a narrow border shifted inwards cannot pass for a wide one. Returns the contrast, the best width in mm,
    the log of how much worse the best narrow one fits than the best wide one, the core's drop in HU, and the best fit
    at every voxel. ``where``: the voxels that count.
    """
    deepest = float(depth.max())
    where = where & (depth > -BORDER_REACH_MM)
    bins = np.floor(depth[where] + BORDER_REACH_MM).astype(int)
    count = np.bincount(bins)
    kept = count > 0
    y = np.atleast_1d(ndimage.median(contrast_hu[where], bins, np.flatnonzero(kept)))
    weight = np.sqrt(np.minimum(count[kept], 400.0))
    core = _step((depth / deepest - 0.45) / 0.2)
    fits: dict[float, tuple[float, np.ndarray]] = {}
    plain: dict[float, float] = {}
    for width in BORDERS_MM:
        shape = _blurred_border(depth, width, spacing)
        design = np.stack([np.bincount(bins, c[where])[kept] / count[kept] for c in (shape, -core)], axis=1)
        plain[width], _ = _least_squares(design[:, :1], y, weight)
        fits[width] = _least_squares(design if deepest > CORE_FROM_MM else design[:, :1], y, weight)
    width = min(fits, key=lambda w: fits[w][0])
    misfit = {w: fits[w][0] for w in fits} if deepest > CORE_AND_BORDER_MM else plain
    narrow = min(misfit[w] for w in BORDERS_MM if w <= 3.0) + 1e-6
    wide = min(misfit[w] for w in BORDERS_MM if w >= 5.0) + 1e-6
    level = float(fits[width][1][0])
    drop = float(fits[width][1][1]) if deepest > CORE_FROM_MM else 0.0
    fitted = level * _blurred_border(depth, width, spacing) - drop * core
    # the lesion's own level is that of its mean, so that a necrotic core counts with its share
    mean = level - drop * float(core[tumor].mean())
    return mean, width, float(np.log(narrow / wide)), drop, fitted.astype(np.float32)


def _least_squares(design: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    solution = np.linalg.lstsq(design * weight[:, None], y * weight, rcond=None)[0]
    return float((((design @ solution - y) * weight) ** 2).sum()), solution


def _blurred_border(depth: np.ndarray, width: float, spacing: Sequence[float]) -> np.ndarray:
    border = _step(depth / width - BORDER_SHIFT).astype(np.float32)
    return ndimage.gaussian_filter(border, [POINT_SPREAD_MM / s for s in spacing], truncate=3.0)


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
