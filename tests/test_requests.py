"""Requests and places: in the host, clear of other tumors, or none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnunet_textomorph.bank import draw, load_bank
from nnunet_textomorph.classes import TumorClass
from nnunet_textomorph.llm_reports.bank import BankLine, DescriptionBank
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.missed import MissedShape
from nnunet_textomorph.plan import TextoMorphPlans, lesion_values
from nnunet_textomorph.requests import Sources, class_request, draw_request, place, random_request, targeted_request
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


KIDNEYS = TextoMorphPlans(
    hosts={"left_kidney": 1, "right_kidney": 2, "liver": 3},
    tumors={"kidney_tumor": 4, "liver_tumor": 5},
    organ="kidney",
)


def organs() -> np.ndarray:
    """Left kidney, right kidney and liver side by side, background between."""
    segmentation = np.zeros((24, 40, 100), np.int16)
    for value, start in ((1, 2), (2, 36), (3, 70)):
        segmentation[2:22, 2:38, start : start + 28] = value
    return segmentation


def missed(case: str, host: str | None = "left_kidney", tumor: str = "kidney_tumor") -> MissedShape:
    mask = random_shape(9.0, (3.0, 1.0, 1.0), np.random.default_rng(len(case)))
    return MissedShape(case, tumor, host, (f"{case} 1", f"{case} 2"), mask, (3.0, 1.0, 1.0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_targeted_lesion_comes_from_another_case_into_the_same_organ_beside_real_lesions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    segmentation = organs()
    segmentation[8:14, 10:20, 10:20] = 4
    segmentation[8:14, 10:20, 44:54] = 6  # a cyst that the plan does not make
    made = targeted_request(
        segmentation, (2.0, 1.0, 1.0), KIDNEYS, [missed("a"), missed("other")], rng, case="a", lesions=(4, 5, 6)
    )
    if made is not None:
        assert made.text in ("other 1", "other 2")
        assert (made.label, made.kind) == (4, "targeted")
        assert np.isin(segmentation[made.mask], (1, 2)).mean() >= KIDNEYS.inside_share
        assert not np.isin(segmentation[made.mask], (4, 5, 6)).any()


def test_without_another_case_nothing_is_targeted() -> None:
    asked = (organs(), (2.0, 1.0, 1.0), KIDNEYS, [missed("a")], np.random.default_rng(0), None)
    assert targeted_request(*asked, "a") is None
    assert targeted_request(*asked, "b") is not None


def test_a_class_gets_its_label_its_host_and_its_sizes() -> None:
    bank = load_bank(None, "liver")
    classes = {"kidney_tumor": TumorClass(1.0, (8.0,), bank), "liver_tumor": TumorClass(3.0, (16.0,), bank)}
    rng = np.random.default_rng(0)
    made = [class_request(organs(), (2.0, 1.0, 1.0), KIDNEYS, classes, rng) for _ in range(60)]
    assert all(made)
    liver = [x for x in made if x is not None and x.label == 5]
    kidney = [x for x in made if x is not None and x.label == 4]
    assert 30 < len(liver) < 57
    assert all((organs()[x.mask] == 3).mean() >= 0.8 for x in liver)
    assert all(np.isin(organs()[x.mask], (1, 2)).mean() >= 0.8 for x in kidney)
    volumes = [np.median([2.0 * x.mask.sum() for x in group]) for group in (kidney, liver)]
    assert 4 < volumes[1] / volumes[0] < 16


def test_a_stated_size_is_near_the_tumors() -> None:
    bank = DescriptionBank(
        BankLine(
            organ="liver",
            descriptors=Descriptors(organ="liver", size_mm=mm),
            description=f"A {mm:g} mm liver lesion.",
            variants=(f"Liver lesion, {mm:g} mm.",),
        )
        for mm in (12.0, 60.0)
    )
    rng, spacing = np.random.default_rng(0), (2.0, 1.0, 1.0)
    plan = KIDNEYS.model_copy(update={"smallest_mm": 10.0, "largest_mm": 14.0})
    classes = {"liver_tumor": TumorClass(1.0, (12.0,), bank)}
    made = [class_request(organs(), spacing, plan, classes, rng) for _ in range(12)]
    made += [random_request(organs(), spacing, plan, bank, rng) for _ in range(12)]
    assert {x.text for x in made if x is not None} == {"Liver lesion, 12 mm."}


def test_kinds_are_drawn_by_their_weights() -> None:
    bank = load_bank(None, "liver")
    sources = Sources(bank, {"random": 1.0, "targeted": 3.0, "class_specific": 0.0}, (missed("a"),))
    rng = np.random.default_rng(0)
    plan = KIDNEYS.model_copy(update={"largest_mm": 10.0})
    kinds = [
        x.kind for _ in range(80) if (x := draw_request(organs(), (2.0, 1.0, 1.0), plan, sources, rng)) is not None
    ]
    assert set(kinds) == {"random", "targeted"}
    assert 0.6 < kinds.count("targeted") / len(kinds) < 0.9


def test_other_lesions_and_what_is_ignored_are_left_alone() -> None:
    labels = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2, "ignore": 4}
    plan = TextoMorphPlans(hosts={"kidney": [1]}, tumors={"tumor": 2}, organ="kidney")
    assert lesion_values(plan, labels) == [2, 3, 4]
