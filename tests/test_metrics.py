"""DSC and NSD: cropped and read by us they are the library's own, case by case."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_surface_dice
from scipy import ndimage

from nnunet_textomorph.metrics import dice, normalized_surface_dice

SHAPE = (14, 18, 16)


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blobs at random places, some at the border, touching, one voxel small, or none."""
    rng = np.random.default_rng(seed)

    def blobs() -> np.ndarray:
        level = ndimage.gaussian_filter(rng.normal(size=SHAPE), rng.uniform(0.8, 2.0), mode="constant")
        kept = level > np.quantile(level, rng.choice([0.9, 0.97, 0.995]))
        return kept if rng.random() > 0.1 else np.zeros(SHAPE, bool)

    truth = blobs()
    kind = seed % 4
    if kind == 0:
        return truth, blobs()
    if kind == 1:
        return truth, ndimage.binary_dilation(truth)
    moved = ndimage.shift(truth.astype(float), rng.integers(-2, 3, 3), order=0) > 0.5
    return truth, (moved if kind == 2 else moved | blobs())


def tensor(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


def test_a_hundred_random_cases_are_scored_as_the_library_scores_them_whole() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for seed in range(100):
        truth, predicted = masks(seed)
        spacing, tolerance = tuple(rng.choice([0.8, 1.5, 3.3], 3)), float(rng.choice([0.0, 1.0, 2.0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nsd = float(
                compute_surface_dice(
                    tensor(predicted),
                    tensor(truth),
                    [tolerance],
                    include_background=True,
                    spacing=[float(s) for s in spacing],
                    use_subvoxels=True,
                )
            )
        dsc = float(compute_dice(tensor(predicted), tensor(truth), include_background=True, ignore_empty=False))
        if not truth.any() and not predicted.any():
            dsc, nsd = float("nan"), float("nan")
        seen.add((bool(truth.any()), bool(predicted.any())))
        np.testing.assert_allclose(dice(truth, predicted), dsc, atol=1e-6)
        np.testing.assert_allclose(normalized_surface_dice(truth, predicted, spacing, tolerance), nsd, atol=1e-6)
        if (truth | predicted).any():  # and the formula itself
            plain = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
            assert dice(truth, predicted) == pytest.approx(plain, abs=1e-6)
    assert seen == {(a, b) for a in (True, False) for b in (True, False)}


def test_the_tolerance_is_in_millimetres_of_each_axis() -> None:
    truth = np.zeros((12, 20, 20), bool)
    truth[4:8, 6:14, 6:14] = True
    along_z, along_x = np.roll(truth, 1, 0), np.roll(truth, 1, 2)
    spacing = (5.0, 1.0, 1.0)
    assert normalized_surface_dice(truth, along_x, spacing, 2.0) == pytest.approx(1.0)
    assert normalized_surface_dice(truth, along_z, spacing, 2.0) < 0.9
    assert normalized_surface_dice(truth, along_z, spacing, 5.0) == pytest.approx(1.0)
