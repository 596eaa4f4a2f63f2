from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nnunet_textomorph.lesions import CONTRAST_HU, render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors

SPACING = (1.0, 1.0, 1.0)
SHAPE = (48, 48, 48)
DEPTH = 15.0 - np.sqrt(((np.indices(SHAPE) - 23.5) ** 2).sum(axis=0))
TUMOR = DEPTH > 0


def looks(**values: str) -> Descriptors:
    return Descriptors.model_validate({"composition": "solid", "margin": "well-defined", **values})


def strands() -> np.ndarray:
    """A CT without noise: muscle with strands of fat, 3 mm wide."""
    ct = np.full(SHAPE, 60.0, np.float32)
    ct[:, ::8] = ct[:, 1::8] = ct[:, 2::8] = -80.0
    return ndimage.gaussian_filter(ct, 1.0)


def test_nothing_of_a_host_without_noise_shines_through_a_homogeneous_lesion() -> None:
    d = looks(attenuation="hypo", texture="homogeneous")
    deep = DEPTH > 4.0
    clean, kept = (
        render_lesion(strands(), TUMOR, SPACING, d, np.random.default_rng(0), noise_mm=n)[deep].std() for n in (0, 3.0)
    )
    assert clean < 3.0
    assert kept > 5.0


@pytest.mark.parametrize("seed", range(4))
def test_the_texture_does_not_shift_what_is_isoattenuating(seed: int) -> None:
    """Deep in it, where its attenuation is judged; 5 HU of its own are allowed."""
    ct = np.full(SHAPE, 60.0, np.float32)
    d = looks(attenuation="iso", texture="heterogeneous")
    drawn = render_lesion(ct, TUMOR, SPACING, d, np.random.default_rng(seed), noise_mm=0.0)
    assert abs(drawn[DEPTH > 0.3 * 15.0].mean() - 60.0) < 6.5
    assert drawn[DEPTH > 4.0].std() > 10.0


def test_contrast_is_that_to_the_organ_where_one_is_given() -> None:
    """A small organ in other tissue: most of what surrounds the lesion is not its host."""
    ct = np.full(SHAPE, 0.0, np.float32)
    organ = np.zeros(SHAPE, bool)
    organ[20:28] = True
    ct[organ] = 110.0
    d = looks(attenuation="hypo", texture="homogeneous")
    drawn = render_lesion(ct, TUMOR, SPACING, d, np.random.default_rng(0), noise_mm=0.0, host=organ)
    below = 110.0 - float(drawn[DEPTH > 4.0].mean())
    assert CONTRAST_HU[0] - 8.0 < below < CONTRAST_HU[1] + 8.0


def test_a_drift_varies_slowly_and_leaves_the_level() -> None:
    ct = np.full(SHAPE, 60.0, np.float32)
    d = looks(attenuation="hypo", texture="homogeneous")
    flat, drifting = (
        render_lesion(ct, TUMOR, SPACING, d, np.random.default_rng(0), noise_mm=0.0, drift_hu=sd) for sd in (0.0, 5.0)
    )
    added = drifting - flat
    assert not added[DEPTH < -1.0].any()
    assert abs(added[TUMOR].mean()) < 0.5
    assert 3.5 < added[DEPTH > 1.0].std() < 6.0
    assert np.abs(np.diff(added, axis=0))[DEPTH[1:] > 2.0].mean() < 1.0  # HU per mm: no texture
