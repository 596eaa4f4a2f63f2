from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_textomorph.shapes import (
    SIZE_CLASSES_MM,
    equivalent_diameter,
    random_diameter,
    random_shape,
    size_class,
    varied_shape,
)

SPACINGS = [(1.0, 1.0, 1.0), (3.27, 0.98, 0.98), (5.0, 0.7, 0.7), (2.0, 2.0, 2.0)]
seeds = st.integers(0, 2**32 - 1)


def draw(diameter: float, spacing: tuple[float, ...], seed: int, **options: float) -> np.ndarray:
    return random_shape(diameter, spacing, np.random.default_rng(seed), **options)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5, 70), st.sampled_from(SPACINGS), seeds, st.floats(1, 2.2), st.floats(0, 0.2))
def test_a_shape_is_one_tight_piece_of_the_wanted_volume(diameter, spacing, seed, elongation, irregularity):
    mask = draw(diameter, spacing, seed, elongation=elongation, irregularity=irregularity)
    assert mask.dtype == bool
    assert cc3d.connected_components(mask, connectivity=6).max() == 1
    for axis in range(3):
        assert mask.take(0, axis).any()
        assert mask.take(-1, axis).any()
    voxel = np.prod(spacing)
    # 5 % of the diameter, or what one voxel's thickness of the smallest shapes amounts to
    tolerance = max(0.05, 0.6 * (voxel / (np.pi / 6 * diameter**3)))
    if np.pi / 6 * diameter**3 > voxel:
        assert equivalent_diameter(mask, spacing) == pytest.approx(diameter, rel=tolerance)
    else:
        assert mask.sum() == 1


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_seed_decides_the_shape(seed):
    first, second = (draw(25, (2.0, 1.0, 1.0), seed) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = draw(25, (2.0, 1.0, 1.0), seed + 1)
    assert other.shape != first.shape or (other != first).any()


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_a_shape_is_no_ball(seed):
    mask = draw(30, (1.0, 1.0, 1.0), seed)
    inside = np.argwhere(mask)
    distance = np.sqrt(((inside - inside.mean(0)) ** 2).sum(1))
    assert (distance <= 15).mean() < 0.985  # of a ball's voxels all lie within its radius


def test_elongation_one_without_irregularity_is_a_ball():
    mask = draw(30, (3.0, 1.0, 1.0), 0, elongation=1, irregularity=0)
    extent = np.array(mask.shape) * (3.0, 1.0, 1.0)
    assert np.abs(extent - 30).max() <= 3.0


@pytest.mark.parametrize("diameter", [0, -3, float("nan")])
def test_a_size_that_is_not_positive_is_refused(diameter):
    with pytest.raises(ValueError, match="positive"):
        draw(diameter, (1, 1, 1), 0)


def test_equivalent_diameter_of_nothing_and_of_a_known_volume():
    assert equivalent_diameter(np.zeros((2, 2, 2), bool), (1, 1, 1)) == 0
    assert equivalent_diameter(np.ones((10, 10, 10), bool), (2, 1, 0.5)) == pytest.approx((6000 / np.pi) ** (1 / 3))


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from(list(SIZE_CLASSES_MM)))
def test_a_diameter_lies_in_its_class_and_bounds(seed, name):
    diameter = random_diameter({name: 2.0}, np.random.default_rng(seed), smallest_mm=8, largest_mm=70)
    assert size_class(diameter) == name
    assert 8 <= diameter <= 70


def test_the_mix_is_followed_and_mistakes_are_named():
    rng = np.random.default_rng(0)
    drawn = [size_class(random_diameter({"small": 3, "large": 1}, rng)) for _ in range(400)]
    assert 0.68 < drawn.count("small") / 400 < 0.82
    assert "medium" not in drawn
    with pytest.raises(ValueError, match="'tiny'"):
        random_diameter({"tiny": 1}, rng)
    with pytest.raises(ValueError, match="no size class"):
        random_diameter({"large": 1}, rng, largest_mm=40)
    with pytest.raises(ValueError, match="no size class"):
        size_class(-1)


@settings(max_examples=30, deadline=None)
@given(st.floats(8, 40), st.sampled_from(SPACINGS), st.sampled_from(SPACINGS), seeds)
def test_a_varied_shape_keeps_its_size_on_any_grid(diameter, old, new, seed):
    mask = draw(diameter, old, seed)
    varied = varied_shape(mask, old, new, np.random.default_rng(seed))
    assert cc3d.connected_components(varied, connectivity=26).max() == 1
    for axis in range(3):
        assert varied.take(0, axis).any()
        assert varied.take(-1, axis).any()
    ratio = equivalent_diameter(varied, new) / equivalent_diameter(mask, old)
    slack = 1.05 + 0.6 * np.prod(new) / (np.pi / 6 * diameter**3)
    assert 1 / 1.15 / slack < ratio < 1.15 * slack


def test_varied_shapes_are_mirrored_turned_and_scaled_a_little():
    corner = np.zeros((12, 24, 24), bool)  # an L: its corner tells how it lies
    corner[:, :6], corner[:, :, :6] = True, True
    rng = np.random.default_rng(0)
    varied = [varied_shape(corner, (2.0, 1.0, 1.0), (2.0, 1.0, 1.0), rng) for _ in range(40)]
    assert len({mask.shape for mask in varied}) > 10
    centres = np.array([np.argwhere(mask).mean(0) / (np.array(mask.shape) - 1) for mask in varied])
    for axis in (1, 2):
        assert 8 < (centres[:, axis] > 0.5).sum() < 32
    assert all(0.5 < mask.sum() / corner.sum() < 1.6 for mask in varied)


def test_one_coarse_slice_becomes_a_slab_of_its_volume():
    mask = np.ones((1, 20, 20), bool)
    varied = varied_shape(mask, (5.0, 1.0, 1.0), (1.0, 1.0, 1.0), np.random.default_rng(0))
    assert 3 <= varied.shape[0] <= 12
    assert 2000 / 1.16**3 < varied.sum() < 2000 * 1.16**3
