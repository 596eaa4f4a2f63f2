"""The parts of the evidence's benchmarks that can be wrong without anyone seeing it in a table."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import ablations
import average_generators
import composition_control
import default_training_data
import real_against_synthetic
import region_sizes
import targeted_loop
from scipy import ndimage
from unseen import Context

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import DistilledConfig
from nnunet_textomorph.generator.generator import distilled_denoiser
from nnunet_textomorph.lesions import render_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors

ORGANS = ("liver", "pancreas", "kidney", "soft tissue")


@pytest.mark.parametrize("organ", ORGANS)
def test_a_report_of_any_training_organ_is_short_and_read(organ):
    d = {"organ": organ, "attenuation": "hypo", "texture": "heterogeneous", "margin": "ill-defined", "size_mm": 24.0}
    read = []
    for number in range(12):
        report, found = ablations.reported({"organ": organ, "descriptors": d}, np.random.default_rng(number))
        assert len(report.split()) <= ablations.MOST_WORDS
        assert found.organ == organ
        assert {v for v in (found.attenuation, found.texture, found.margin) if v} <= set(d.values())
        read.append(found.attenuation)
    assert read.count("hypo") >= 6


def test_arms_differ_in_their_texts_alone():
    line = {"organ": "liver", "image": "a", "descriptors": {"organ": "liver", "attenuation": "hypo"}}
    given = {name: next(ablations.arm_lines(arm, [line], 3, 0)) for name, arm in ablations.ARMS.items()}
    assert given["contrast"] == given["variants"]
    assert given["reported"]["texts"] == given["reported, taught"]["texts"]
    assert given["reported"]["descriptors"] == {}
    assert given["extracted"]["texts"] == given["variants"]["texts"][:1]
    assert len(set(given["variants"]["texts"])) == 4


def test_distances_of_tumors():
    looks, sd = torch.arange(3.0).view(1, 3, 1, 1).expand(2, 3, 2, 5), torch.ones(5)
    found = ablations.distances(looks.clone(), looks, sd)
    assert found["diversity"] == 0.0
    assert found["texts"] == pytest.approx(4 / 3, abs=1e-3)
    assert found["to_drawn"] == pytest.approx(0.0, abs=1e-3)
    noisy = looks + torch.tensor([0.0, 2.0]).view(1, 1, 2, 1)
    assert ablations.distances(noisy, looks, sd)["diversity"] == pytest.approx(2**0.5)
    assert ablations.distances(noisy, noisy, sd)["to_drawn"] == pytest.approx(2.0, abs=1e-3)


def a_ball(radius: int = 14, side: int = 48) -> np.ndarray:
    z, y, x = np.ogrid[:side, :side, :side]
    c = side // 2
    return (z - c) ** 2 + (y - c) ** 2 + (x - c) ** 2 < radius**2


@pytest.mark.parametrize("composition", composition_control.COMPOSITIONS)
def test_rulers_of_composition_see_what_is_drawn(composition):
    mask, spacing = a_ball(), (1.0, 1.0, 1.0)
    ct = np.random.default_rng(0).normal(110.0, 6.0, mask.shape).astype(np.float32)
    texture = "heterogeneous" if composition == "necrotic" else "homogeneous"
    d = Descriptors(attenuation="hypo", texture=texture, margin="well-defined", composition=composition)
    drawn = render_lesion(ct, mask, spacing, d, np.random.default_rng(1))
    inside = composition_control.look_inside(drawn, mask, spacing)
    assert [c for c in composition_control.COMPOSITIONS if inside.shows(c, texture)] == [composition]


def test_looks_are_such_as_there_are():
    looks = composition_control.looks(48, ["liver"] * 48)
    counts = [sum(d.composition == c for d in looks) for c in composition_control.COMPOSITIONS]
    assert counts == [12] * 4
    assert all(d.attenuation == "hypo" and d.texture == "homogeneous" for d in looks if d.composition == "cystic")
    assert len({(d.attenuation, d.texture, d.margin) for d in looks if d.composition == "solid"}) == 12


def test_best_threshold_separates():
    at, score = composition_control.best_threshold([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    assert 2.0 < at < 3.0
    assert score == 1.0


def test_a_mask_larger_than_the_ct_is_cut_to_it_and_to_the_body():
    ct = np.full((20, 40, 40), 60.0, np.float32)
    ct[:, :10] = -1000.0
    context = Context("a", "a", "liver", ct, ct > 0, (1.0, 1.0, 1.0))
    mask = region_sizes.mask_about(context, np.array([3, 20, 38]), 60.0, np.random.default_rng(0))
    assert mask.any()
    assert not mask[:, :9].any()


def test_octants_show_a_drift_and_no_noise():
    mask, spacing = a_ball(), (1.0, 1.0, 1.0)
    noise = np.random.default_rng(0).normal(0.0, 10.0, mask.shape)
    assert region_sizes.octants_sd(noise, mask, spacing) < 2.0
    drift = np.arange(48.0)[:, None, None] * np.ones(mask.shape)
    assert region_sizes.octants_sd(noise + 4 * drift, mask, spacing) > 10.0


@pytest.fixture
def pair() -> real_against_synthetic.Pair:
    mask = a_ball(10, 60)
    depth = np.where(mask, 1.0, -1.0).astype(np.float32)
    ct = np.random.default_rng(0).normal(50.0, 5.0, mask.shape).astype(np.float32)
    return real_against_synthetic.Pair("x_040", "", ct, ct[None], mask, ~mask, depth, (1.0, 1.0, 1.0), 50.0)


@pytest.mark.parametrize("flip", [False, True])
def test_windows_lie_in_the_crop_and_hold_tumor(pair, flip):
    boxes = real_against_synthetic.windows(pair, 40, np.random.default_rng(0), flip=flip)
    assert all(pair.mask[box].shape == real_against_synthetic.WINDOW for box in boxes)
    assert all(pair.mask[box].any() for box in boxes)


def test_hiding_leaves_nothing_of_a_part_and_all_of_the_rest(pair):
    hidden = real_against_synthetic._without(0.0, np.inf)(pair.real, pair)
    assert hidden[pair.mask].std() < 1e-3
    assert np.array_equal(hidden[~pair.mask], pair.real[~pair.mask])


def test_auc_with_its_interval():
    scores, synthetic = [0.0, 1.0] * 8, [False, True] * 8
    assert real_against_synthetic.with_interval(scores, synthetic, list("aabbccddeeffgghh")) == "1.00 (1.00-1.00)"


def test_unseen_cases_are_in_no_training_fold(tmp_path):
    (tmp_path / "gt_segmentations").mkdir()
    for number in range(10):
        (tmp_path / "gt_segmentations" / f"liver_{number:04d}.nii.gz").touch()
    targeted_loop.write_splits(tmp_path, 6)
    judged, first, second = json.loads((tmp_path / "splits_final.json").read_text())
    assert (len(judged["train"]), len(judged["val"])) == (6, 4)
    assert not set(judged["val"]) & {*first["train"], *first["val"], *second["train"], *second["val"], *judged["train"]}
    assert first["train"] == second["val"]
    assert sorted(first["val"] + second["val"]) == judged["train"]


def test_training_lesions_have_an_inside_only_where_there_is_room():
    """Small ones too, of every attenuation; larger ones of every composition, calcified ones among them."""
    rng = np.random.default_rng(0)
    ct, host = np.full((64, 64, 64), 60.0, np.float32), np.ones((64, 64, 64), bool)
    drawn = list(default_training_data.drawn_lesions(ct, host, "liver", 80, rng))
    sizes = [(6.0 / np.pi * mask.sum()) ** (1 / 3) for _, mask, _ in drawn]
    small, large = (
        [d for size, (_, _, d) in zip(sizes, drawn, strict=True) if low < size < high]
        for low, high in ((4.0, 10.0), (15.0, 60.0))
    )
    assert {d.composition for d in small} <= {"solid", "cystic"}
    assert {d.attenuation for d in small} == {"hypo", "iso", "hyper"}
    assert {d.composition for d in large} == {"solid", "cystic", "mixed", "necrotic", "calcified"}


def test_even_training_lesions_drift(monkeypatch):
    """By more than the texture of a homogeneous lesion, 2.5 HU at most, of which smoothing leaves some."""
    ct, host = np.full((64, 64, 64), 60.0, np.float32), np.ones((64, 64, 64), bool)

    def largest_drift() -> float:
        drawn = default_training_data.drawn_lesions(ct, host, "liver", 60, np.random.default_rng(0))
        even = [
            (crop, mask)
            for crop, mask, d in drawn
            if (d.composition, d.texture, d.margin) == ("solid", "homogeneous", "well-defined") and mask.sum() > 4000
        ]
        assert even
        return max(
            float(ndimage.gaussian_filter(crop, 3.0)[ndimage.binary_erosion(mask, iterations=5)].std())
            for crop, mask in even
        )

    drifting = largest_drift()
    monkeypatch.setattr(default_training_data, "DRIFT_HU", 0.0)
    assert drifting > 2.5 > largest_drift()


def test_a_cyst_is_called_one_in_every_training_text():
    d = Descriptors(organ="liver", attenuation="hypo", texture="homogeneous", composition="cystic", size_mm=18.0)
    texts = default_training_data.texts(d, np.random.default_rng(0), number=40)
    assert len(set(texts)) > 20
    assert all(re.search("cyst|fluid|liquid|water", text.lower()) for text in texts)


def test_averaged_generators_lie_between_the_two(tmp_path, monkeypatch):
    """The adapter and the scale, which both denoisers share, are averaged once."""
    made = {}
    for name, seed in (("base", 0), ("finetuned", 1)):
        generator = tiny.generator(tiny.write_encoder(tmp_path / f"{name}_encoder"), seed=seed)
        generator.config = generator.config.model_copy(update={"distilled": DistilledConfig(steps=4)})
        generator.distilled = distilled_denoiser(generator.networks.denoiser)
        generator.save(tmp_path / name)
        made[name] = generator
    folders = [x for name in (*made, "out") for x in (f"--{name}", str(tmp_path / name))]
    monkeypatch.setattr(sys, "argv", ["average_generators.py", *folders, "--share", "0.25"])
    average_generators.main()
    mean = Generator.load(tmp_path / "out")
    for part in ("networks", "distilled"):
        base, finetuned, found = (getattr(g, part).state_dict() for g in (made["base"], made["finetuned"], mean))
        for name, value in found.items():
            if value.is_floating_point():
                expected = 0.75 * base[name] + 0.25 * finetuned[name]  # files hold half precision
                torch.testing.assert_close(value, expected, atol=2e-3, rtol=0.0)
    assert mean.config.training["averaged"]["share_of_finetuned"] == 0.25
