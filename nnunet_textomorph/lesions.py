"""Lesions of known descriptors, drawn analytically into a CT.

They are the truth of the phantom and the supervision of the shipped generator, whose real training tumors have no
reports. They are no substitute for the generator: every drawn lesion of the same descriptors looks alike.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from nnunet_textomorph.generator.volumes import Spacing, box_around
from nnunet_textomorph.llm_reports.descriptors import Descriptors

SHELL_MM = 6.0  # how far around the tumor the host's level is measured, and where a faint border may end
SOFT_TISSUE_HU = (-30.0, 220.0)  # what counts as host around a tumor: no fat, gas or bone
CONTRAST_HU = (30.0, 70.0)  # |tumor - host| of hypo- and hyperattenuating lesions
EDGE_MM = {"well-defined": (1.0, 2.0), "ill-defined": (7.0, 10.0)}  # width of the border from 0 to 100 %
DRIFT_MM = 5.0  # Gaussian scale of the slow variation, at least: more than a texture's grain
TEXTURE_SD_HU = {"homogeneous": (0.0, 2.5), "heterogeneous": (16.0, 26.0)}


def render_lesion(
    ct_hu: np.ndarray,
    mask: np.ndarray,
    spacing: Spacing,
    descriptors: Descriptors,
    rng: np.random.Generator,
    *,
    noise_mm: float = 3.0,
    host: np.ndarray | None = None,
    drift_hu: float = 0.0,
) -> np.ndarray:
    """Draw one lesion into a CT; the host's noise stays, its structures go.

    Args:
        ct_hu: CT in HU, (D, H, W).
        mask: the tumor's voxels, (D, H, W) bool; not empty.
        spacing: voxel spacing in mm, (z, y, x).
        descriptors: what the lesion looks like; a value that is absent is drawn at random.
        rng: source of everything random.
        noise_mm: Gaussian scale below which a pattern is taken for noise and stays; 0 for a CT without noise, where
            thin strands of fat would otherwise shine through a homogeneous lesion.
        host: the organ's voxels, (D, H, W) bool, whose level is the host's; None: the soft tissue around the tumor.
        drift_hu: SD of a slow variation of its level, in HU, which no descriptor speaks of.

    Returns:
        A new float32 array (D, H, W) in HU, equal to ``ct_hu`` farther than about 6 mm from the tumor.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the tumor mask is empty")
    drawn = ct_hu.astype(np.float32, copy=True)
    box = box_around(mask, spacing, SHELL_MM + 3.0)
    ct, inside = drawn[box].copy(), mask[box]
    depth = _signed_distance(inside, spacing)
    smooth = ndimage.gaussian_filter(ct, [noise_mm / s for s in spacing])
    diameter = (6.0 / np.pi * inside.sum() * np.prod(spacing)) ** (1 / 3)

    host_hu = _host_level(ct, depth, None if host is None else host[box])
    level = host_hu + _contrast(descriptors, host_hu, rng) + _texture(descriptors, depth, spacing, diameter, rng)
    level += _composition(descriptors, inside, depth, spacing, rng)
    if drift_hu:
        level += drift_hu * _smooth_noise(depth.shape, max(DRIFT_MM, 0.2 * diameter), spacing, rng, inside)
    weight = _border(descriptors, depth, diameter, spacing, rng)
    drawn[box] = ct + weight * (level - smooth)
    if descriptors.composition == "calcified":
        drawn[box] += _calcifications(depth, spacing, rng)
    return drawn


def _signed_distance(inside: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Distance to the border in mm, positive inside."""
    return ndimage.distance_transform_edt(inside, spacing) - ndimage.distance_transform_edt(~inside, spacing)


def _smooth_noise(
    shape: tuple[int, ...], sigma_mm: float, spacing: Spacing, rng: np.random.Generator, within: np.ndarray
) -> np.ndarray:
    """Gaussian random field of correlation ``sigma_mm``, mean 0 and SD 1 over ``within``."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), [sigma_mm / s for s in spacing])
    values = field[within]
    return (field - values.mean()) / max(float(values.std()), 1e-6)


def _host_level(ct: np.ndarray, depth: np.ndarray, host: np.ndarray | None) -> float:
    near = (depth < 0) & (depth > -SHELL_MM)
    shell = ct[near & host] if host is not None and (near & host).any() else ct[near]
    shell = shell[(shell > SOFT_TISSUE_HU[0]) & (shell < SOFT_TISSUE_HU[1])]
    return float(np.median(shell)) if shell.size else 40.0


def _contrast(d: Descriptors, host: float, rng: np.random.Generator) -> float:
    attenuation = d.attenuation or rng.choice(["hypo", "iso", "hyper"])
    if d.composition == "cystic" and attenuation == "hypo":
        return min(float(rng.uniform(0.0, 18.0)) - host, -CONTRAST_HU[0])
    sign = {"hypo": -1.0, "iso": 0.0, "hyper": 1.0}[str(attenuation)]
    return sign * float(rng.uniform(*CONTRAST_HU)) + float(rng.uniform(-5.0, 5.0))


def _texture(
    d: Descriptors, depth: np.ndarray, spacing: Spacing, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """Patches of mean 0 away from the border, so that the lesion's attenuation stays what is said."""
    texture = d.texture or ("homogeneous" if d.composition == "cystic" else rng.choice(list(TEXTURE_SD_HU)))
    sd = rng.uniform(*TEXTURE_SD_HU[str(texture)])
    grain = float(np.clip(0.1 * diameter, 1.8, 3.5)) * rng.uniform(0.85, 1.2)
    return sd * _smooth_noise(depth.shape, grain, spacing, rng, depth > 0.3 * depth.max())


def _composition(
    d: Descriptors, inside: np.ndarray, depth: np.ndarray, spacing: Spacing, rng: np.random.Generator
) -> np.ndarray:
    """What a necrotic core or a cystic part adds, with mean 0 so that the lesion's attenuation stays what is said."""
    if d.composition not in ("necrotic", "mixed"):
        return np.zeros_like(depth, dtype=np.float32)
    deepest = max(float(depth.max()), 1e-3)
    field = _smooth_noise(inside.shape, max(2.0, 0.4 * deepest), spacing, rng, inside)
    if d.composition == "necrotic":
        low = _step(depth / deepest + 0.12 * field - 0.45, 0.2)
    else:
        low = _step(field - rng.uniform(-0.2, 0.4), 0.5)
    part = -float(rng.uniform(28.0, 45.0)) * low
    return (part - part[inside].mean()).astype(np.float32)


def _border(
    d: Descriptors, depth: np.ndarray, diameter: float, spacing: Spacing, rng: np.random.Generator
) -> np.ndarray:
    margin = d.margin or ("well-defined" if d.composition == "cystic" else rng.choice(list(EDGE_MM)))
    width = rng.uniform(*EDGE_MM[str(margin)])
    if margin == "well-defined":
        return _step(depth, width)
    # an infiltrating border is wide, uneven, and fades mostly inside the contour that a reader draws
    width = min(width, max(2.0, 0.5 * diameter))
    uneven = _smooth_noise(depth.shape, 3.0, spacing, rng, np.ones(depth.shape, bool))
    return _step(depth + min(0.8, 0.05 * diameter) * uneven - 0.15 * width, width) * (depth > -SHELL_MM)


def _step(x: np.ndarray, width: float) -> np.ndarray:
    """0 below ``-width / 2``, 1 above ``width / 2``, smooth between."""
    t = np.clip(x / width + 0.5, 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def _calcifications(depth: np.ndarray, spacing: Spacing, rng: np.random.Generator) -> np.ndarray:
    candidates = np.argwhere(depth > 0.3 * depth.max())
    spots = np.zeros(depth.shape, dtype=np.float32)
    for index in rng.choice(len(candidates), size=min(len(candidates), int(rng.integers(3, 8))), replace=False):
        offset = [(np.arange(n) - c) * s for n, c, s in zip(depth.shape, candidates[index], spacing, strict=True)]
        square = offset[0][:, None, None] ** 2 + offset[1][:, None] ** 2 + offset[2] ** 2
        spots += rng.uniform(150.0, 350.0) * np.exp(-square / (2 * rng.uniform(0.8, 1.6) ** 2), dtype=np.float32)
    return spots
