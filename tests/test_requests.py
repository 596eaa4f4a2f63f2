"""Requests and places: in the host, clear of other tumors, or none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnunet_textomorph.bank import draw, load_bank
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.requests import place, random_request
from nnunet_textomorph.shapes import random_shape

PLAN = TextoMorphPlans(hosts={"liver": 1}, tumors={"tumor": 2}, organ="liver")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), inside=st.floats(0.3, 1.0), diameter=st.floats(4, 30))
def test_a_placed_shape_lies_in_the_host_and_clear_of_tumors(seed: int, inside: float, diameter: float) -> None:
    rng = np.random.default_rng(seed)
    host = np.zeros((30, 44, 44), bool)
    host[4:26, 6:36, 8:40] = True
    forbidden = np.zeros_like(host)
    forbidden[10:14, 10:14, 10:14] = True
    shape = random_shape(diameter, (2.0, 1.0, 1.0), rng)
    mask = place(shape, host, rng, inside_share=inside, forbidden=forbidden)
    if mask is not None:
        assert mask.sum() == shape.sum()
        assert host[mask].mean() >= inside
        assert not (mask & forbidden).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kept=st.tuples(*[st.integers(8, 40)] * 3))
def test_tumors_are_centred_in_the_part_that_is_kept(seed: int, kept: tuple[int, int, int]) -> None:
    """nnU-Net crops the middle of what it loads; a tumor beyond is lost."""
    segmentation = np.full((40, 60, 60), 1, np.int16)
    rng = np.random.default_rng(seed)
    made = random_request(segmentation, (2.0, 1.0, 1.0), PLAN, load_bank(None, "liver"), rng, kept)
    if made is not None:
        found = ndimage.find_objects(made.mask.astype(np.uint8))[0]
        for part, n, k in zip(found, segmentation.shape, kept, strict=True):
            assert (n - k) // 2 <= (part.start + part.stop) // 2 < (n + k) // 2


def test_no_host_in_the_part_that_is_kept_is_no_room() -> None:
    segmentation = np.zeros((40, 60, 60), np.int16)
    segmentation[:, :20] = 1
    asked = (segmentation, (2.0, 1.0, 1.0), PLAN, load_bank(None, "liver"))
    assert random_request(*asked, np.random.default_rng(0), (20, 20, 20)) is None
    assert random_request(*asked, np.random.default_rng(0)) is not None


def test_no_room_is_none() -> None:
    rng = np.random.default_rng(0)
    shape = np.ones((9, 9, 9), bool)
    thin = np.zeros((20, 20, 20), bool)
    thin[10] = True
    assert place(shape, thin, rng) is None
    assert place(shape, np.zeros((20, 20, 20), bool), rng) is None
    assert place(shape, np.ones((5, 20, 20), bool), rng) is None


def test_a_request_is_the_same_for_the_same_seed_and_bears_the_tumors_label() -> None:
    segmentation = np.full((40, 60, 60), 1, np.int16)
    bank = load_bank(None, "liver")
    first, second = (random_request(segmentation, (2.0, 1.0, 1.0), PLAN, bank, np.random.default_rng(4)) for _ in "ab")
    assert first is not None
    assert second is not None
    assert first.label == 2
    assert first.text == second.text
    np.testing.assert_array_equal(first.mask, second.mask)


def test_without_host_there_is_no_request() -> None:
    segmentation = np.full((40, 60, 60), -1, np.int16)
    assert random_request(segmentation, (1, 1, 1), PLAN, load_bank(None, "liver"), np.random.default_rng(0)) is None


@pytest.mark.parametrize(("pathology", "organ"), [("PDAC", "pancreas"), ("PNET", "pancreas"), ("cyst", "pancreas")])
def test_the_bank_gives_descriptions_of_the_class_asked_for(pathology: str, organ: str) -> None:
    bank = load_bank(None, organ)
    texts = {draw(bank, np.random.default_rng(i), pathology) for i in range(30)}
    fitting = {v for line in bank if line.descriptors.pathology == pathology for v in line.variants}
    assert texts <= fitting
    assert len(texts) > 3


def test_an_organ_without_lines_of_its_own_gets_those_of_any() -> None:
    assert {line.organ for line in load_bank(None, "prostate")} == {"any"}
