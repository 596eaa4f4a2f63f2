"""The describer recovers what was drawn, and the bound fails when the truth is shuffled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from nnunet_textomorph.generator.volumes import read_volume
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.describer import SMALL_MM, describe_lesion, describe_lesions
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.errors import ReportError
from nnunet_textomorph.phantom import phantom_case

SARCOMAS = Path(__file__).parents[2] / "shared" / "data" / "Dataset901_SoftTissueSarcoma"
SPACING = (2.0, 1.5, 1.5)


def ball(shape: tuple[int, ...], radius_mm: float) -> np.ndarray:
    axes = np.meshgrid(*((np.arange(n) - n / 2) * s for n, s in zip(shape, SPACING, strict=True)), indexing="ij")
    return sum(a**2 for a in axes) <= radius_mm**2


def host(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 0.7)
    return (100 + 15 * noise / noise.std()).astype(np.float32)


def drawn_lesions() -> tuple[list[Descriptors], list[Descriptors]]:
    rng = np.random.default_rng(0)
    truth, found = [], []
    for attenuation in ("hypo", "iso", "hyper"):
        for texture in ("homogeneous", "heterogeneous"):
            for margin in ("well-defined", "ill-defined"):
                for radius in (12.0, 16.0):
                    d = Descriptors.model_validate(
                        {"attenuation": attenuation, "texture": texture, "margin": margin, "composition": "solid"}
                    )
                    shape = (36, 48, 48)
                    mask = ball(shape, radius)
                    ct = render_lesion(host(shape, rng), mask, SPACING, d, rng)
                    truth.append(d)
                    found.append(describe_lesion(ct, mask, ~mask, SPACING))
    return truth, found


def agreement(truth: list[Descriptors], found: list[Descriptors], field: str) -> float:
    pairs = [(getattr(t, field), getattr(f, field)) for t, f in zip(truth, found, strict=True)]
    return float(np.mean([t == f for t, f in pairs if f is not None]))


def test_drawn_lesions_are_described_right_and_shuffled_truth_fails() -> None:
    truth, found = drawn_lesions()
    bounds = {"attenuation": 0.95, "texture": 0.85, "margin": 0.85}
    for field, bound in bounds.items():
        assert agreement(truth, found, field) >= bound, field
    order = np.random.default_rng(1).permutation(len(truth))
    for field, bound in bounds.items():
        assert agreement([truth[i] for i in order], found, field) < bound, field


def test_phantom_lesions_are_described_right() -> None:
    right: dict[str, list[bool]] = {"attenuation": [], "texture": [], "margin": []}
    unjudged = 0
    for organ in ("liver", "pancreas", "kidney"):
        for index in range(8):
            case = phantom_case(organ, 903, index)
            for number, lesion in enumerate(case.lesions, 1):
                mask, host_mask = case.instances == number, (case.labels > 0) & (case.instances == 0)
                found = describe_lesion(case.ct_hu, mask, host_mask, case.spacing)
                if (found.size_mm or 0) < SMALL_MM:
                    continue
                truth = lesion.descriptors
                right["attenuation"].append(found.attenuation == truth.attenuation)
                right["texture"].append(found.texture == truth.texture)
                if truth.attenuation != "iso":
                    unjudged += found.margin is None
                    right["margin"] += [found.margin == truth.margin] if found.margin else []
    assert len(right["attenuation"]) >= 20
    assert unjudged <= 0.15 * (unjudged + len(right["margin"]))
    # so few lesions: two below the bounds that benchmarks/describer_accuracy.py is held to
    for field, bound in {"attenuation": 0.95, "texture": 0.85, "margin": 0.85}.items():
        assert sum(right[field]) >= bound * len(right[field]) - 2, field


@pytest.mark.parametrize("reaches_out", [True, False])
def test_bone_that_the_contour_cuts_is_no_calcification(reaches_out: bool) -> None:
    rng = np.random.default_rng(3)
    mask = ball((40, 60, 60), 18.0)
    d = Descriptors.model_validate({"attenuation": "hypo", "texture": "homogeneous", "margin": "well-defined"})
    ct = render_lesion(host(mask.shape, rng), mask, SPACING, d, rng)
    if reaches_out:
        ct[:, 36:44, 36:44] = 700.0
    else:
        ct[18:22, 28:32, 28:32] = 700.0
    found = describe_lesion(ct, mask, ~mask & (ct < 200), SPACING)
    assert found.attenuation == "hypo"
    assert (found.composition == "calcified") == (not reaches_out)


def test_fat_around_the_host_does_not_set_its_level() -> None:
    rng = np.random.default_rng(4)
    mask = ball((36, 48, 48), 14.0)
    organ = ball((36, 48, 48), 20.0)  # a thin rim of host, blurred into fat
    d = Descriptors.model_validate({"attenuation": "hypo", "texture": "homogeneous", "margin": "well-defined"})
    ct = render_lesion(host(mask.shape, rng), mask, SPACING, d, rng)
    soft = ndimage.gaussian_filter(organ.astype(np.float32), [1.5 / s for s in SPACING])
    ct = (soft * ct + (1 - soft) * -100).astype(np.float32)
    assert describe_lesion(ct, mask, organ & ~mask, SPACING).attenuation == "hypo"


def test_small_lesions_are_flagged_and_not_judged() -> None:
    rng = np.random.default_rng(0)
    mask = ball((24, 32, 32), 3.0)
    ct = host(mask.shape, rng)
    ct[mask] -= 60
    (lesion,) = describe_lesions(ct, 1 + mask.astype(np.int16), SPACING, [1], [2], organ="liver")
    assert lesion.too_small
    assert lesion.size_mm < SMALL_MM
    assert lesion.descriptors.attenuation == "hypo"
    assert lesion.descriptors.texture is None
    assert lesion.descriptors.margin is None
    assert "liver" in lesion.description


def test_bad_input_is_named() -> None:
    ct = np.zeros((8, 8, 8), np.float32)
    with pytest.raises(ReportError, match="no tumor label"):
        describe_lesions(ct, np.ones((8, 8, 8), np.int16), SPACING, [1], [2])
    with pytest.raises(ReportError, match="empty"):
        describe_lesion(ct, np.zeros(ct.shape, bool), np.ones(ct.shape, bool), SPACING)
    with pytest.raises(ReportError, match="differ in shape"):
        describe_lesion(ct, np.zeros((4, 4, 4), bool), np.ones(ct.shape, bool), SPACING)


@pytest.mark.skipif(not SARCOMAS.is_dir(), reason="needs the real CT of ../shared/data")
def test_a_real_tumor_gets_a_text() -> None:
    image = read_volume(SARCOMAS / "imagesTr" / "sts_001_0000.nii.gz")
    labels = read_volume(SARCOMAS / "labelsTr" / "sts_001.nii.gz", integer=True)
    lesions = describe_lesions(image.array, labels.array, image.spacing, [1], [2], organ="soft tissue")
    largest = max(lesions, key=lambda lesion: lesion.size_mm)
    assert 30 < largest.size_mm < 300
    assert "soft tissue" in largest.description
