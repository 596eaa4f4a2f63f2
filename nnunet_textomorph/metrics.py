"""Overlap and surface agreement of two masks, by MONAI."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

MARGIN = 2  # voxels around what is compared; MONAI itself takes one


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Dice similarity coefficient of two bool masks (D, H, W); 0 where one is empty, NaN where both are."""
    from monai.metrics import compute_dice

    if not truth.any():  # MONAI would give NaN for a false positive too
        return 0.0 if predicted.any() else float("nan")
    t, p = _cropped(truth, predicted)
    return float(compute_dice(_tensor(p), _tensor(t), include_background=True, ignore_empty=False))


def normalized_surface_dice(
    truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float], tolerance_mm: float = 2.0
) -> float:
    """Share of both masks' surface area that lies within ``tolerance_mm`` of the other's surface (NSD).

    Masks bool (D, H, W); ``spacing`` mm in that order. Areas are those of the surface elements between voxels, as
    DeepMind's surface-distance defines them (MONAI's ``use_subvoxels``). 0 where one mask is empty, NaN where both are.
    """
    from monai.metrics import compute_surface_dice

    if not truth.any() or not predicted.any():
        return 0.0 if truth.any() or predicted.any() else float("nan")
    t, p = _cropped(truth, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI's own deprecations
        score = compute_surface_dice(
            _tensor(p),
            _tensor(t),
            [float(tolerance_mm)],
            include_background=True,
            spacing=[float(s) for s in spacing],
            use_subvoxels=True,
        )
    return float(score)


def _cropped(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks in the box that holds them, which is all that the metrics depend on."""
    box = ndimage.find_objects((truth | predicted).astype(np.uint8))[0]
    wide = tuple(slice(max(0, b.start - MARGIN), b.stop + MARGIN) for b in box)
    return truth[wide], predicted[wide]


def _tensor(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None].float()
