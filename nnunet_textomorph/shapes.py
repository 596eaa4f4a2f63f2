"""Random tumor shapes: deformed ellipsoids of a wanted size in millimetres.

Arrays are (D, H, W) = (z, y, x); spacings are millimetres in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cc3d
import numpy as np
from scipy import ndimage

# Lower (included) and upper (excluded) equivalent diameter in mm of the size classes that results are reported by.
SIZE_CLASSES_MM: dict[str, tuple[float, float]] = {
    "small": (0.0, 20.0),
    "medium": (20.0, 50.0),
    "large": (50.0, np.inf),
}

SMALLEST_MM, LARGEST_MM = 5.0, 90.0  # what random_diameter draws at the open ends of the size classes

TURN_DEGREES, SCALE = 15.0, 1.15  # the most that varied_shape turns a shape, and scales it up or down

_WAVES = 12  # cosines that make up one deformation
_SURFACE_POINTS = 400
_COARSE = 24  # samples per axis; the shape has no detail that a finer grid would show


def equivalent_diameter(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Diameter in mm of the ball that has the volume of ``mask`` ((D, H, W), nonzero = inside); 0 for an empty one."""
    volume = float(np.count_nonzero(mask)) * float(np.prod(spacing))
    return float((6.0 * volume / np.pi) ** (1.0 / 3.0))


def size_class(diameter_mm: float) -> str:
    """The name of the size class (a key of ``SIZE_CLASSES_MM``) that a diameter in mm belongs to."""
    for name, (low, high) in SIZE_CLASSES_MM.items():
        if low <= diameter_mm < high:
            return name
    raise ValueError(f"a diameter of {diameter_mm} mm belongs to no size class; give a number of 0 or more")


def random_diameter(
    size_mix: Mapping[str, float],
    rng: np.random.Generator,
    *,
    smallest_mm: float = SMALLEST_MM,
    largest_mm: float = LARGEST_MM,
) -> float:
    """Draw an equivalent diameter in mm: a size class by its weight in ``size_mix``, then a diameter within it.

    Within a class the diameter's logarithm is uniform. ``smallest_mm`` and ``largest_mm`` bound the result; classes
    that lie wholly outside them are left out. Raises ``ValueError`` for an unknown class or when no class is left.
    """
    unknown = set(size_mix) - set(SIZE_CLASSES_MM)
    if unknown:
        raise ValueError(f"unknown size class {sorted(unknown)[0]!r}; the classes are {', '.join(SIZE_CLASSES_MM)}")
    ranges = {
        name: (max(SIZE_CLASSES_MM[name][0], smallest_mm), min(SIZE_CLASSES_MM[name][1], largest_mm))
        for name, weight in size_mix.items()
        if weight > 0
    }
    names = [name for name, (low, high) in ranges.items() if 0 < low < high]
    if not names:
        raise ValueError(f"no size class of {dict(size_mix)} has diameters of {smallest_mm:g} to {largest_mm:g} mm")
    weights = np.array([size_mix[name] for name in names], dtype=float)
    low, high = ranges[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_shape(
    diameter_mm: float,
    spacing: Sequence[float],
    rng: np.random.Generator,
    *,
    elongation: float = 1.6,
    irregularity: float = 0.12,
) -> np.ndarray:
    """A random tumor shape whose ball of equal volume has a diameter of ``diameter_mm``.

    A randomly turned ellipsoid whose surface is moved in and out by smooth noise of the direction from its centre.
    ``spacing``: voxel size in mm (z, y, x). ``elongation``: the most that the longest axis may exceed the shortest
    (1: a ball). ``irregularity``: SD of the surface's displacement as a share of the radius (0: a plain ellipsoid;
    0.12: slightly lobulated).

    Returns bool (D, H, W), the tight bounding box of one 6-connected component. The volume is within a few percent of
    the wanted one as far as whole voxels allow, and never less than one voxel. Raises ``ValueError`` for sizes that
    are not positive.
    """
    step = np.asarray(spacing, dtype=np.float64)
    if not diameter_mm > 0 or step.shape != (3,) or not (step > 0).all():
        raise ValueError(f"a shape needs a positive diameter and spacing, not {diameter_mm} mm at {tuple(spacing)} mm")
    wanted = max(1, round(np.pi / 6 * diameter_mm**3 / float(np.prod(step))))

    axes = np.exp(rng.uniform(0.0, np.log(max(elongation, 1.0)), 3))
    axes /= axes.prod() ** (1 / 3)
    to_axes = _random_rotation(rng)  # rows: the ellipsoid's axes
    frequency = rng.normal(0.0, 1.8, (_WAVES, 3))
    phase = rng.uniform(0.0, 2 * np.pi, _WAVES)
    height = irregularity * np.sqrt(2 / _WAVES)

    # The surface, sampled: gives the scale that makes the volume right and the box that holds it.
    directions = _sphere_points(_SURFACE_POINTS)
    bulge = np.exp(height * np.cos(directions @ frequency.T + phase).sum(1))
    radius = diameter_mm / 2 / float(np.mean(bulge**3)) ** (1 / 3)
    surface = radius * ((bulge[:, None] * directions * axes) @ to_axes)
    low, high = surface.min(0), surface.max(0)
    centre = rng.uniform(-0.5, 0.5, 3) * step  # where in its voxel the shape's centre lies
    margin = 0.06 * (high - low) + step
    first, last = np.floor((low - margin + centre) / step), np.ceil((high + margin + centre) / step)
    shape = (last - first + 1).astype(int)

    # Level of each point: 1 on the surface, growing along every ray from the centre, so that level sets are connected.
    coarse = [
        np.linspace(f, e, min(n, _COARSE)) * s - c
        for f, e, n, s, c in zip(first, last, shape, step, centre, strict=True)
    ]
    points = np.stack(np.meshgrid(*coarse, indexing="ij"), -1).reshape(-1, 3) @ (to_axes.T / axes)
    distance = np.sqrt((points**2).sum(1))
    unit = points / np.maximum(distance, 1e-9)[:, None]
    level = distance / radius / np.exp(height * np.cos(unit @ frequency.T + phase).sum(1))
    level = _upsample(level.reshape([len(c) for c in coarse]).astype(np.float32), shape)

    enough = wanted
    for _ in range(6):  # whole voxels can break a thin, tiny shape; then take a little more until one piece is enough
        mask = _largest_component(level <= _level_of(level, enough))
        if np.count_nonzero(mask) >= 0.97 * wanted or enough >= level.size:
            break
        enough = min(level.size, enough + wanted - int(np.count_nonzero(mask)))
    return _tight(mask)


def varied_shape(
    mask: np.ndarray, spacing: Sequence[float], new_spacing: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """A lesion's shape on another grid, randomly mirrored, turned by up to 15 degrees, and scaled by 1/1.15 to 1.15.

    ``mask`` (bool (D, H, W), not empty) has voxels of ``spacing`` mm, the result of ``new_spacing`` mm, axis by axis.
    Returns bool (D, H, W), the tight bounding box of one 26-connected component, of the scaled lesion's volume as far
    as whole voxels and one component allow. Coarse slices are interpolated by distance from the border, not repeated.
    """
    old, new = np.asarray(spacing, dtype=float), np.asarray(new_spacing, dtype=float)
    padded = np.pad(mask.astype(bool), 2)
    depth = ndimage.distance_transform_edt(padded, old) - ndimage.distance_transform_edt(~padded, old)
    scale = float(np.exp(rng.uniform(-1, 1) * np.log(SCALE)))
    turn = _rotation(rng.normal(size=3), np.deg2rad(rng.uniform(0, TURN_DEGREES)))
    to_new = scale * turn * rng.choice([-1.0, 1.0], 3)  # columns mirrored, then turned and scaled: mm to mm
    half = np.abs(to_new) @ (np.array(mask.shape) * old / 2)
    shape = np.ceil(2 * half / new).astype(int) + 3
    to_old = np.linalg.inv(to_new) * new / old[:, None]  # of the new grid's voxels to the old one's
    centre = (shape - 1) / 2 + rng.uniform(-0.5, 0.5, 3)
    offset = (np.array(padded.shape) - 1) / 2 - to_old @ centre
    level = ndimage.affine_transform(depth.astype(np.float32), to_old, offset, tuple(shape), order=1, mode="nearest")
    volume = np.count_nonzero(mask) * np.prod(old) * scale**3
    wanted = int(np.clip(round(volume / np.prod(new)), 1, level.size))
    enough = level >= np.partition(level.ravel(), -wanted)[-wanted]
    return _tight(cc3d.largest_k(enough, k=1, connectivity=26).astype(bool))


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) about an axis by an angle in radians (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _level_of(level: np.ndarray, voxels: int) -> float:
    """The level under which about ``voxels`` voxels lie: exact in small boxes, from every third voxel in large ones."""
    sample = level.ravel() if level.size < 40_000 else level.ravel()[:: 3 if level.size < 200_000 else 7]
    rank = min(len(sample) - 1, max(0, round(voxels * len(sample) / level.size) - 1))
    return float(np.partition(sample, rank)[rank])


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def _sphere_points(count: int) -> np.ndarray:
    """Points spread evenly over the unit sphere (Fibonacci lattice), (count, 3)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z**2)
    return np.stack([z, r * np.cos(angle), r * np.sin(angle)], 1)


def _upsample(coarse: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Linear interpolation onto ``shape`` with the corners kept; three small matrix products."""
    for axis, n in enumerate(shape):
        m = coarse.shape[axis]
        if m == n:
            continue
        position = np.linspace(0, m - 1, n)
        left = np.minimum(position.astype(int), m - 2)
        weights = np.zeros((n, m), np.float32)
        weights[np.arange(n), left] = 1 - (position - left)
        weights[np.arange(n), left + 1] = position - left
        coarse = np.moveaxis(np.tensordot(weights, coarse, (1, axis)), 0, axis)
    return np.ascontiguousarray(coarse)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    return cc3d.largest_k(mask, k=1, connectivity=6).astype(bool)


def _tight(mask: np.ndarray) -> np.ndarray:
    box = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(inside[0], inside[-1] + 1))
    return np.ascontiguousarray(mask[tuple(box)])
