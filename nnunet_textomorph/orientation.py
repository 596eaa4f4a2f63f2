"""How an array's axes run in the patient, for pictures."""

from __future__ import annotations

import itertools

import numpy as np


def axial_axes(direction: tuple[float, ...]) -> tuple[int, ...]:
    """The array's axes that run most nearly along the patient's (z, y, x): other than 0, 1, 2 in a coronal series."""
    along = np.abs(np.array(direction).reshape(3, 3))[::-1, ::-1]  # rows: patient z, y, x; columns: array axes
    return max(itertools.permutations(range(3)), key=lambda axes: sum(along[row, a] for row, a in enumerate(axes)))


def to_lps(direction: tuple[float, ...], axes: tuple[int, ...]) -> tuple[slice, ...]:
    """Flips of an array with ``axes`` after which they run, near enough to look at, to the head, back and left."""
    along = np.array(direction).reshape(3, 3)[::-1, ::-1]
    return tuple(slice(None, None, -1 if along[row, axis] < 0 else 1) for row, axis in enumerate(axes))
