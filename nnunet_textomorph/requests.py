"""Requests: which tumor, described how, is to be put where (Eq. 3: a random shape, a description from the bank)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_textomorph.bank import draw
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.llm_reports.bank import DescriptionBank
from nnunet_textomorph.plan import TextoMorphPlans, pathology_of
from nnunet_textomorph.shapes import random_diameter, random_shape

PLACES = 20  # host voxels tried as a shape's centre
SHRINKS = 3  # times that a shape without room is drawn anew, smaller
SHRINK = 0.7
GAP_VOXELS = 2  # between a new tumor's box and tumors that are there


@dataclass(frozen=True)
class Request:
    """One tumor to synthesize: ``text``, ``mask`` bool (D, H, W), and the ``label`` that its voxels get."""

    text: str
    mask: np.ndarray
    label: int


def random_request(
    segmentation: np.ndarray,
    spacing: Spacing,
    plan: TextoMorphPlans,
    bank: DescriptionBank,
    rng: np.random.Generator,
    kept: Sequence[int] | None = None,
) -> Request | None:
    """Eq. 3: a random tumor in the host tissue of a segmentation (D, H, W); None where there is no room.

    A tumor that does not fit is drawn anew, smaller, a few times: a small host then gets small tumors. ``kept``: the
    size in voxels of the middle part in which tumors are to have their centres; None for all of it.
    """
    host = np.isin(segmentation, plan.host_values)
    centres = host if kept is None else host & _middle(host.shape, kept)
    if not centres.any():
        return None
    tumors = np.isin(segmentation, list(plan.tumors.values()))
    name = str(rng.choice(list(plan.tumors)))
    diameter = random_diameter(plan.size_mix, rng, smallest_mm=plan.smallest_mm, largest_mm=plan.largest_mm)
    for _ in range(1 + SHRINKS):
        shape = random_shape(diameter, spacing, rng)
        mask = place(shape, host, rng, inside_share=plan.inside_share, forbidden=tumors, centres=centres)
        if mask is not None:
            return Request(draw(bank, rng, pathology_of(name)), mask, plan.tumors[name])
        diameter = max(plan.smallest_mm, SHRINK * diameter)
    return None


def place(
    shape: np.ndarray,
    host_mask: np.ndarray,
    rng: np.random.Generator,
    *,
    inside_share: float = 0.8,
    forbidden: np.ndarray | None = None,
    centres: np.ndarray | None = None,
) -> np.ndarray | None:
    """Put a shape (bool, its bounding box) about a random voxel of ``centres`` (the host's, by default).

    Returns bool (D, H, W), or None without room. At least ``inside_share`` of the shape lies in ``host_mask`` (bool,
    (D, H, W)), all of it in the array, and nothing of ``forbidden`` in its box or next to it.
    """
    candidates = np.flatnonzero(host_mask if centres is None else centres)
    size = np.array(shape.shape)
    if not candidates.size or (size > host_mask.shape).any():
        return None
    for index in rng.choice(candidates, PLACES):
        start = np.array(np.unravel_index(index, host_mask.shape)) - size // 2
        if (start < 0).any() or (start + size > host_mask.shape).any():
            continue
        box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        if host_mask[box][shape].mean() < inside_share:
            continue
        if forbidden is not None:
            wide = tuple(slice(max(0, b.start - GAP_VOXELS), b.stop + GAP_VOXELS) for b in box)
            if forbidden[wide].any():
                continue
        mask = np.zeros(host_mask.shape, bool)
        mask[box] = shape
        return mask
    return None


def _middle(shape: Sequence[int], kept: Sequence[int]) -> np.ndarray:
    """Bool array of ``shape`` that is true in a box of the size ``kept`` in its middle."""
    middle = np.zeros(shape, bool)
    middle[tuple(slice((n - min(n, k)) // 2, (n + min(n, k)) // 2) for n, k in zip(shape, kept, strict=True))] = True
    return middle
