"""Text-driven contrastive learning: which texts are paired, and what the term does to a denoiser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from nnunet_textomorph.contrast_texts import contrast_texts
from nnunet_textomorph.generator.config import ContrastConfig, DiffusionConfig
from nnunet_textomorph.generator.contrast import (
    Contrast,
    ContrastTexts,
    Described,
    autoencoder_features,
    contrast_config,
    contrastive_loss,
    feature_distance,
    noise_weight,
    tumor_features,
)
from nnunet_textomorph.generator.crops import Crop
from nnunet_textomorph.generator.diffusion import noise_schedule
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.latents import CachedWindow, Example
from nnunet_textomorph.generator.manifest import ManifestLine, read_manifest
from nnunet_textomorph.llm_reports.errors import ReportError

HYPO = "a hypoattenuating mass"
OTHER_HYPO = "the liver with large hypoattenuating homogeneous margins"  # to the tiny encoder, unlike the first
HYPER = "a hyperattenuating mass"
ATTENUATION = ("attenuation", "hyper", "hypo")
TEXTS = ContrastTexts(
    [Described({"attenuation": "hypo"}, (HYPO, OTHER_HYPO)), Described({"attenuation": "hyper"}, (HYPER,))]
)
SIDE, CHANNELS = 8, 4
STEPS = 15
MIDDLE = slice(2, 6)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def no_embedding(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    return torch.zeros(len(texts), 1, 1), torch.ones(len(texts), 1, dtype=torch.bool)


def term(texts: ContrastTexts = TEXTS, prediction: str = "v_prediction", **settings: float) -> Contrast:
    schedule = noise_schedule(DiffusionConfig(prediction_type=prediction))
    config = ContrastConfig(**{"weight": 1.0, "share": 1.0, **settings})
    return Contrast(config, texts, schedule, torch.ones(3 * CHANNELS), {ATTENUATION: 1.0})


def cube(batch: int = 1) -> Tensor:
    mask = -torch.ones(batch, 1, SIDE, SIDE, SIDE)
    mask[..., MIDDLE, MIDDLE, MIDDLE] = 1.0
    return mask


def line(number: int, texts: list[str], **descriptors: str) -> ManifestLine:
    return ManifestLine(
        id=str(number),
        image=Path("a"),
        mask=Path("b"),
        tumor_label=1,
        organ="liver",
        texts=texts,
        descriptors=descriptors,
    )


# --- the term -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_term_alone_pulls_a_positive_pair_together_and_pushes_a_negative_pair_apart(tmp_path, prediction):
    """On a tiny denoiser, with nothing else to learn; every part of it gets gradients, the text adapter too."""
    generator = tiny.generator(tiny.write_encoder(tmp_path / "encoder"))
    denoiser = generator.networks.denoiser.requires_grad_(True)  # in evaluation mode: without dropout
    t = torch.full((1,), 120)
    contrast = term(prediction=prediction)
    pairs = contrast.draw([HYPO], ["liver"], t, [True], generator.text_encoder, rng())
    assert pairs is not None
    assert pairs.similar.tolist() == [True, False]
    source = torch.Generator().manual_seed(0)
    z_t, z_healthy, plain = (torch.randn(1, CHANNELS, SIDE, SIDE, SIDE, generator=source) for _ in range(3))
    tokens, token_mask = generator.text_encoder([HYPO, OTHER_HYPO, HYPER])
    assert torch.equal(tokens[1:], pairs.tokens)
    windows = [x.expand(3, *x.shape[1:]) for x in (z_t, t, z_healthy, plain, cube())]
    z, at, healthy, _, mask = (x[1:] for x in windows)

    def loss() -> tuple[Tensor, Tensor]:
        predicted = denoiser(*windows, *denoiser.adapter(tokens, token_mask))
        return contrast.loss(
            denoiser, z, at, healthy, mask, predicted[:1].expand(2, -1, -1, -1, -1), predicted[1:], pairs
        )

    contrast.sd = contrast.sd * loss()[1].mean() / 0.3  # an untrained denoiser hardly listens
    optimizer = torch.optim.Adam(denoiser.parameters(), 2e-3)
    distances = []
    for step in range(STEPS):
        of_step, distance = loss()
        optimizer.zero_grad()
        of_step.backward()
        if not step:
            reached = {n for n, p in denoiser.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
            for part in ("unet.conv_in", "unet.down_blocks", "unet.middle_block", "unet.out", "voxelwise.maps"):
                assert any(name.startswith(part) for name in reached), part
            for part in ("project", "layer", "gather", "pooled"):
                assert any(name.startswith(f"adapter.{part}") for name in reached), part
        optimizer.step()
        distances.append(distance.tolist())
    (similar, different), (similar_after, different_after) = distances[0], distances[-1]
    assert similar > different  # as the untrained network has it
    assert similar_after < 0.5 * similar
    assert different_after > 1.5 * different


def test_each_kind_of_pair_counts_by_its_distance_margin_and_noise():
    similar = torch.tensor([True, True, False, False, False])
    distance = torch.tensor([0.5, 1.0, 0.5, 3.0, 0.0])
    margin = torch.tensor([0.0, 0.0, 2.0, 2.0, 1.0])
    weight = torch.tensor([1.0, 0.5, 1.0, 1.0, 0.0])
    expected = (0.5**2 + 0.5 * 1.0) / 2 + (1.5**2 + 0.0 + 0.0) / 3
    assert contrastive_loss(distance, similar, margin, weight) == pytest.approx(expected)
    only = contrastive_loss(distance[:2], similar[:2], margin[:2], weight[:2])
    assert only == pytest.approx((0.5**2 + 0.5 * 1.0) / 2)


def test_identical_tumors_give_a_finite_gradient():
    same = torch.ones(2, 3, requires_grad=True)
    feature_distance(same, same.detach()).sum().backward()
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_hopeless_timesteps_do_not_dominate(prediction):
    schedule = noise_schedule(DiffusionConfig(prediction_type=prediction))
    weight, alpha_bar = noise_weight(schedule), schedule.alphas_cumprod
    assert weight.max() == 1.0
    assert 60 < int(weight.argmax()) < 180
    assert weight[:20].max() < 0.05  # z_t tells the tumor
    assert weight[-1] < 0.01  # nothing but a mean over tumors
    if prediction == "epsilon":  # whose errors Eq. 1 multiplies, by 4,000 at the end
        assert (weight * (1 - alpha_bar) / alpha_bar).max() < 5.0


# --- features -----------------------------------------------------------------------------------------------------


def test_features_are_of_the_tumor_alone_and_tell_level_texture_and_border_apart():
    healthy = torch.randn(1, CHANNELS, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    checkered = torch.tensor([1.0, -1.0]).repeat(2).view(4, 1, 1) * torch.tensor([1.0, -1.0]).repeat(2)

    def parts(z: Tensor) -> list[float]:
        found = tumor_features(autoencoder_features, z, healthy, cube())
        assert found.shape == (1, 3 * CHANNELS)
        return [float(x.mean()) for x in found.chunk(3, dim=1)]

    inside = (..., MIDDLE, MIDDLE, MIDDLE)
    level, texture, border, far = (healthy.clone() for _ in range(4))
    level[inside] += 2.0
    texture[inside] += checkered
    border[..., 1, MIDDLE, MIDDLE] += 2.0
    far[..., 0, :, :] += 5.0
    assert parts(healthy) == pytest.approx([0.0, 1e-3, 0.0], abs=1e-5)
    assert parts(level) == pytest.approx([2.0, 1e-3, 0.0], abs=1e-3)
    assert parts(texture) == pytest.approx([0.0, 1.0, 0.0], abs=1e-3)
    mean, spread, around = parts(border)
    assert (mean, spread) == pytest.approx((0.0, 1e-3), abs=1e-5)
    assert around > 0.1
    assert parts(far) == parts(healthy)


def test_features_may_be_of_another_resolution_and_keep_their_weights():
    """As an nnU-Net encoder's on the decoded CT would be."""
    layer = torch.nn.ConvTranspose3d(CHANNELS, 5, 2, 2).requires_grad_(False)
    z = torch.randn(2, CHANNELS, SIDE, SIDE, SIDE, requires_grad=True)
    found = tumor_features(layer, z, torch.zeros_like(z), cube(2))
    assert found.shape == (2, 15)
    found.sum().backward()
    assert z.grad.abs().max() > 0
    assert layer.weight.grad is None


def window(level: float, beside: float, line: str, seed: int) -> Example:
    """A tumor of a level, that reaches beyond its mask by a share of it; each of a slightly other level."""
    source = torch.Generator().manual_seed(seed)
    z_healthy = torch.randn(CHANNELS, SIDE, SIDE, SIDE, generator=source)
    inside = (cube()[0] > 0).float()
    around = torch.nn.functional.max_pool3d(inside, 3, 1, 1) - inside
    added = level * (inside + beside * around) + torch.randn(CHANNELS, 1, 1, 1, generator=source) * inside
    tensors = (z_healthy + added, z_healthy, z_healthy, cube()[0])
    return Example(*(tensor.half() for tensor in tensors), CachedWindow(Path(), SIDE, Crop(Path(), line), 0, 0))


def test_the_margin_is_how_far_the_training_sets_tumors_are_apart():
    levels = {"hypo": -4.0, "iso": 0.0, "hyper": 4.0}
    lines, examples = {}, []
    for i in range(144):
        margin = ["ill-defined", "well-defined"][i // 3 % 2]
        says = {
            "attenuation": list(levels)[i % 3],
            "margin": margin,
            "texture": ["heterogeneous", "homogeneous"][i // 6 % 2],
        }
        lines[str(i)] = line(i, [HYPO], **says)
        examples.append(window(levels[says["attenuation"]], 0.5 * (margin == "ill-defined"), str(i), i))
    texts = ContrastTexts(
        [
            Described({"attenuation": "hypo", "margin": "ill-defined"}, ("dark, blurred",)),
            Described({"attenuation": "hyper"}, ("bright",)),
            Described({"attenuation": "iso"}, ("like its host",)),
            Described({"attenuation": "hyper", "margin": "well-defined"}, ("bright, sharp",)),
            Described({"margin": "well-defined"}, ("sharp",)),
            Described({"texture": "heterogeneous"}, ("mixed",)),
            Described({"texture": "homogeneous"}, ("even",)),
            Described({"composition": "solid"}, ("solid",)),
            Described({"composition": "cystic"}, ("cystic",)),
        ]
    )
    schedule = noise_schedule(DiffusionConfig())
    contrast = Contrast.of_training_set(ContrastConfig(weight=1.0), texts, schedule, examples, lines)
    attenuation, half = contrast.apart("dark, blurred", "bright"), contrast.apart("like its host", "bright")
    assert attenuation == pytest.approx(2.0 * half, rel=0.15)
    assert attenuation > 0.8
    margin = contrast.apart("dark, blurred", "sharp")
    assert 0.3 < margin < attenuation  # though over dark and bright tumors together it shows nothing
    assert contrast.apart("dark, blurred", "bright, sharp") == pytest.approx(np.hypot(attenuation, margin))
    assert contrast.apart("mixed", "even") < 0.1  # which shows nothing in these but what chance makes
    usual = np.sqrt(np.mean(np.square(list(contrast.distances.values()))))
    assert contrast.apart("solid", "cystic") == pytest.approx(usual)  # of which the training set says nothing


def test_a_training_set_of_one_tumor_has_features_to_divide_by():
    line = ManifestLine(id="a", image=Path("a"), mask=Path("b"), tumor_label=1, texts=[HYPO])
    contrast = Contrast.of_training_set(
        ContrastConfig(weight=1.0), TEXTS, noise_schedule(DiffusionConfig()), [window(1.0, 0.0, "a", 0)], {"a": line}
    )
    assert (contrast.sd > 0).all()
    assert contrast.apart(HYPO, HYPER) == 1.0


# --- pairs --------------------------------------------------------------------------------------------------------


def test_pairs_are_drawn_for_the_windows_whose_noise_counts_most():
    contrast = term(share=0.5)
    given, t = [HYPO] * 4, torch.tensor([1, 150, 140, 199])
    pairs = contrast.draw(given, ["liver"] * 4, t, [True] * 4, no_embedding, rng())
    assert pairs is not None
    assert pairs.rows.tolist() == [1, 1, 2, 2] or pairs.rows.tolist() == [2, 2, 1, 1]
    assert pairs.similar.tolist() == [True, False] * 2
    assert pairs.apart.tolist() == [0.0, 1.0] * 2
    assert len(pairs.tokens) == len(pairs.token_mask) == 4


def test_windows_whose_text_is_left_out_or_has_no_counterpart_are_passed_over():
    contrast = term(share=0.5)
    t = torch.full((4,), 150)
    given = [HYPO, "a mass", HYPER, HYPO]
    pairs = contrast.draw(given, [""] * 4, t, [False, True, True, True], no_embedding, rng())
    assert pairs is not None
    assert pairs.rows.tolist() == [2, 3, 3]  # the second says nothing, the third has no other wording
    assert pairs.similar.tolist() == [False, True, False]
    assert contrast.draw(["a mass"], [""], t[:1], [True], no_embedding, rng()) is None
    assert contrast.draw([HYPO], [""], t[:1], [False], no_embedding, rng()) is None


def test_similar_texts_say_the_same_and_different_ones_contradict():
    says = [
        (
            {"attenuation": "hypo", "margin": "ill-defined"},
            ("dark, blurred", "blurred and dark", "dark with soft edges"),
        ),
        ({"attenuation": "hypo"}, ("dark",)),
        ({"attenuation": "hyper"}, ("bright", "light")),
        ({"attenuation": "hyper", "margin": "well-defined"}, ("bright, sharp",)),
        ({"texture": "homogeneous"}, ("even",)),
        ({}, ("a mass", "a lesion")),
    ]
    texts = ContrastTexts([Described(given, wordings) for given, wordings in says])

    def drawn(name: str, text: str) -> set[str | None]:
        return {getattr(texts, name)(text, "liver", rng(seed)) for seed in range(60)}

    assert drawn("similar", "dark, blurred") == {"blurred and dark", "dark with soft edges"}
    assert drawn("similar", "dark") == {None}
    assert drawn("different", "dark, blurred") == {"bright", "light", "bright, sharp"}
    assert drawn("different", "bright") == {"dark", "dark, blurred", "blurred and dark", "dark with soft edges"}
    assert drawn("different", "even") == {None}
    assert drawn("similar", "a mass") == drawn("different", "a mass") == {None}
    assert drawn("similar", "unheard of") == drawn("different", "unheard of") == {None}
    assert texts.contradictions("dark, blurred", "bright, sharp") == (
        ATTENUATION,
        ("margin", "ill-defined", "well-defined"),
    )


def test_texts_of_another_organ_are_a_last_resort():
    hypo, hyper = {"attenuation": "hypo"}, {"attenuation": "hyper"}
    known = [Described(hypo, ("dark in the liver",), "liver"), Described(hypo, ("dark",))]
    texts = ContrastTexts(
        [
            *known,
            Described(hypo, ("dark in the kidney",), "kidney"),
            Described(hyper, ("bright in the liver",), "liver"),
            Described(hyper, ("bright",)),
            Described(hyper, ("bright in the kidney",), "kidney"),
        ]
    )

    def drawn(text: str, organ: str) -> set[tuple[str | None, str | None]]:
        return {texts.different(text, organ, rng(seed)) for seed in range(40)}

    assert drawn("dark in the liver", "liver") == drawn("dark", "liver") == {"bright in the liver", "bright"}
    assert drawn("dark", "pancreas") == {"bright"}
    assert {texts.similar("dark", "liver", rng(seed)) for seed in range(40)} == {"dark in the liver"}
    elsewhere = ContrastTexts(known, [Described(hyper, ("bright in the kidney",), "kidney")])
    assert elsewhere.different("dark", "liver", rng()) == "bright in the kidney"


def test_a_text_of_several_lesions_means_what_these_have_in_common():
    lines = [
        line(0, ["a mass", "dark mass"], attenuation="hypo", margin="ill-defined"),
        line(1, ["a mass", "bright mass"], attenuation="hyper", margin="ill-defined"),
        line(2, ["sharp mass"], margin="well-defined"),
    ]
    texts = ContrastTexts.of_manifest(lines)
    assert {texts.different("a mass", "liver", rng(seed)) for seed in range(20)} == {"sharp mass"}
    texts.check(lines)


@pytest.mark.parametrize("descriptors", [{}, {"attenuation": "hypo"}, {"pathology": "cyst"}])
def test_a_manifest_without_contradictions_is_refused_in_one_sentence(descriptors):
    lines = [line(0, [HYPO], **descriptors), line(1, [HYPER], **descriptors)]
    with pytest.raises(GeneratorError, match="--bank") as caught:
        ContrastTexts.of_manifest(lines).check(lines)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ((-1.0, 1.0, 0.5), "weight"),
        ((float("nan"), 1.0, 0.5), "weight"),
        ((float("inf"), 1.0, 0.5), "weight"),
        ((1.0, 0.0, 0.5), "margin"),
        ((1.0, float("nan"), 0.5), "margin"),
        ((1.0, 1.0, 0.0), "share"),
        ((1.0, 1.0, 1.5), "share"),
        ((1.0, 1.0, float("nan")), "share"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_sentence(settings, says):
    with pytest.raises(GeneratorError, match=f"contrast's {says} is") as caught:
        contrast_config(*settings)
    assert "\n" not in str(caught.value)


# --- texts that are read ------------------------------------------------------------------------------------------


def write_manifest(folder: Path, lines: list[dict]) -> Path:
    for name in ("ct.nii", "mask.nii"):
        (folder / name).touch()
    path = folder / "manifest.jsonl"
    common = {"image": "ct.nii", "mask": "mask.nii", "tumor_label": 1, "organ": "liver"}
    path.write_text("".join(json.dumps({"id": str(i), **common, **given}) + "\n" for i, given in enumerate(lines)))
    return path


def test_the_manifests_texts_mean_what_they_say_themselves(tmp_path):
    hypo, hyper = "A hypoattenuating liver lesion.", "A hyperattenuating mass in the liver with ill-defined margins."
    blurred = "An ill-defined liver mass."
    texts = contrast_texts(
        write_manifest(
            tmp_path,
            [
                {"texts": [hypo, blurred], "descriptors": {"attenuation": "hypo", "margin": "ill-defined"}},
                {"texts": [hyper], "descriptors": {"attenuation": "hyper"}},
                {"texts": ["Xyz qwe."], "descriptors": {"attenuation": "iso"}},  # not to be read
                {
                    "texts": ["A hypodense hepatic mass."],
                    "descriptors": {"attenuation": "hyper"},
                },  # read or given wrongly
            ],
        ),
        progress=False,
    )
    assert {texts.different(hypo, "liver", rng(seed)) for seed in range(30)} == {hyper, "Xyz qwe."}
    assert texts.different(blurred, "liver", rng()) is None  # though it is of a hypoattenuating lesion
    assert texts.different("A hypodense hepatic mass.", "liver", rng()) is None


def test_a_banks_texts_are_contrasted_with_those_of_the_manifest(tmp_path):
    hypo = "A hypoattenuating liver lesion."
    manifest = write_manifest(tmp_path, [{"texts": [hypo]}, {"texts": ["A hyperattenuating liver lesion."]}])
    bank = tmp_path / "bank.jsonl"
    lines = [
        {
            "organ": "any",
            "descriptors": {"attenuation": "hypo"},
            "description": "Dark lesion.",
            "variants": ["Low density."],
        },
        {
            "organ": "liver",
            "descriptors": {"organ": "liver", "attenuation": "hyper", "pathology": "HCC", "size_mm": 12},
            "description": "Bright liver lesion of 12 mm, HCC.",
            "variants": ["HCC, 12 mm, bright."],
        },
    ]
    bank.write_text("".join(json.dumps(given) + "\n" for given in lines))
    texts = contrast_texts(manifest, bank, progress=False)
    assert {texts.similar(hypo, "liver", rng(seed)) for seed in range(20)} == {"Dark lesion.", "Low density."}
    assert {texts.different(hypo, "liver", rng(seed)) for seed in range(20)} == {
        "Bright liver lesion of 12 mm, HCC.",
        "HCC, 12 mm, bright.",
    }
    texts.check(read_manifest(manifest))
    assert texts.digest != contrast_texts(manifest, progress=False).digest
    bank.write_text("{}\n")
    with pytest.raises(ReportError, match="line 1"):
        contrast_texts(manifest, bank, progress=False)


def test_chance_makes_no_distance():
    """Few tumors of two textures that look alike: their means differ, by what chance makes of so few."""
    found = []
    for trial in range(10):
        lines = {str(i): line(i, [HYPO], texture=["heterogeneous", "homogeneous"][i % 2]) for i in range(12)}
        examples = [window(0.0, 0.0, str(i), 100 * trial + i) for i in range(12)]
        contrast = Contrast.of_training_set(
            ContrastConfig(weight=1.0), TEXTS, noise_schedule(DiffusionConfig()), examples, lines
        )
        found.append(contrast.distances["texture", "heterogeneous", "homogeneous"])
    assert np.mean(found) < 0.15  # 0.32 with what chance makes
