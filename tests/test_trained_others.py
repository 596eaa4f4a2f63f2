"""LeFusion and the conditional GAN: what they sample, what they leave alone, and their training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_training import write_data
from tiny_nnunet import SPACING, ball, label_map

from nnunet_textomorph.cgan import LOOKS, NOISES, UNIT_HU, ConditionalGAN, Painter, looks, masked_out, reach
from nnunet_textomorph.generator.denoiser import latent_mask
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generators import is_registered, load_generator
from nnunet_textomorph.lefusion import (
    CLUSTERS,
    LeFusion,
    LesionDenoiser,
    lefusion_config,
    lesion_region,
    sample_lesions,
)

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import train_other_generators

ROOT = Path(__file__).parents[1]
SIDE = 48
NAMES = ("lefusion", "cgan")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def region(radius: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """(CT in HU, mask), both (1, D, H, W): an organ of 100 HU in fat, with a ball in it."""
    grid = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"))
    distance = np.sqrt(((grid - SIDE / 2) ** 2).sum(0))
    ct = np.where(grid[2] < 40, 100.0, -100.0) + np.random.default_rng(0).normal(0, 10, distance.shape)
    return ct[None], (distance < radius)[None]


@pytest.mark.parametrize("name", NAMES)
def test_tumors_of_the_shipped_weights_follow_the_seed_alone(name: str) -> None:
    made = load_generator(name)
    ct, mask = region()
    images = [
        made.synthesize(ct, mask, [text], seed=seed, steps=4)
        for text, seed in (("dark", 1), ("bright", 1), ("dark", 2))
    ]
    low, high = made.domain.window_hu
    for image in images:
        assert image.dtype == np.float32
        assert image.shape == ct.shape
        assert np.isfinite(image).all()
        assert low <= image[mask].min()
        assert image[mask].max() <= high
        # no noise of the CT's own comes back: that is the implant's part
        smooth = np.abs(np.diff(image[0], axis=0))[mask[0, :-1]]
        assert np.median(smooth) < 8.0
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2])[mask].mean() > 3.0


@pytest.mark.parametrize("name", NAMES)
def test_tumors_of_many_seeds_are_dark_and_bright(name: str) -> None:
    made = load_generator(name)
    ct, mask = region()
    contrasts = [
        float(made.synthesize(ct, mask, ["a mass"], seed=seed, steps=4)[mask].mean()) - 100.0 for seed in range(6)
    ]
    assert max(contrasts) - min(contrasts) > 40.0
    assert all(-130.0 < contrast < 150.0 for contrast in contrasts)


@pytest.mark.parametrize("name", NAMES)
def test_an_implant_changes_the_tumor_and_its_border_only(name: str) -> None:
    labels = label_map([])
    ct = np.where(labels == 1, 100.0, -80.0) + np.random.default_rng(0).normal(0, 8, labels.shape)
    mask = ball((9, 24, 28), 12.0)
    made = implant(ct, SPACING, mask, "a mass", load_generator(name), np.random.default_rng(1))
    assert made.changed[mask].all()
    assert not made.changed[0, 0, 0]
    np.testing.assert_array_equal(made.ct_hu[~made.changed], ct.astype(np.float32)[~made.changed])


def test_lesions_are_diffused_in_an_untouched_background() -> None:
    config = lefusion_config()
    torch.manual_seed(0)
    denoiser = LesionDenoiser(config).eval()
    for parameter in denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    mask = torch.zeros(2, 1, 32, 32, 32)
    mask[:, :, 10:20, 12:20, 10:18] = 1.0
    mask = latent_mask(mask, 4)
    z_healthy = torch.randn(2, config.autoencoder.latent_channels, 8, 8, 8)
    noise = torch.randn(z_healthy.shape)
    given = (denoiser, config.diffusion, z_healthy, z_healthy + 0.3, mask)
    by_cluster = [
        sample_lesions(
            *given, torch.tensor([cluster] * 2), noise, source=torch.Generator().manual_seed(0), solver=solver, steps=3
        )
        for cluster, solver in ((0, "unipc"), (1, "unipc"), (0, "ddpm"))
    ]
    outside = (lesion_region(mask) == 0).expand_as(z_healthy)
    assert outside.any()
    for z in by_cluster:
        torch.testing.assert_close(z[outside], z_healthy[outside], rtol=0, atol=1e-5)
        assert (z - z_healthy)[~outside].abs().mean() > 0.01
    assert (by_cluster[0] - by_cluster[1])[~outside].abs().max() > 1e-4


def test_the_loss_of_lefusion_looks_at_the_lesion_alone() -> None:
    mask = torch.zeros(1, 1, 32, 32, 32)
    mask[:, :, 12:20, 12:20, 12:20] = 1.0
    mask = latent_mask(mask, 4)
    inside = lesion_region(mask)
    target = torch.zeros(1, 3, 8, 8, 8)
    assert float(train_other_generators.lesion_loss(target + (1.0 - inside), target, mask)) == 0.0
    assert float(train_other_generators.lesion_loss(target + inside, target, mask)) == pytest.approx(1.0)


def test_a_painter_adds_nothing_away_from_the_mask_and_hears_look_and_noise() -> None:
    torch.manual_seed(0)
    painter = Painter().eval()
    for parameter in painter.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    mask = torch.zeros(1, 1, 24, 24, 32)
    mask[..., 8:16, 8:16, 8:16] = 1.0
    ct = torch.randn(1, 1, 24, 24, 32)
    noise = torch.randn(1, NOISES, 12, 12, 16)
    with torch.no_grad():
        surroundings = masked_out(ct, mask)
        dark, bright = (painter(surroundings, mask, torch.full((1, 5), value), noise) for value in (-1.0, 1.0))
        other = painter(surroundings, mask, torch.full((1, 5), -1.0), -noise)
    assert not surroundings[mask > 0].any()
    assert not dark[..., 21:].any()
    assert float((dark - bright).abs().max()) > 1e-3
    assert float((dark - other).abs().max()) > 1e-3
    assert float(reach(mask)[mask > 0].min()) > 0.99


def test_a_look_is_what_was_drawn() -> None:
    mask = torch.zeros(1, 1, 40, 40, 40)
    mask[..., 10:30, 10:30, 10:30] = 1.0
    even = looks(-0.5 * mask, mask, torch.ones_like(mask))[0]
    assert even[0] == pytest.approx(-0.5, abs=0.01)
    assert float(even[1:3].max()) < 0.1
    assert even[3] == pytest.approx(-0.5, abs=0.01)
    assert even[4] == pytest.approx(0.0, abs=0.01)
    textured = looks(mask * (0.3 + 0.2 * torch.randn(mask.shape)), mask, torch.ones_like(mask))[0]
    assert textured[0] == pytest.approx(0.3, abs=0.05)
    assert textured[1] == pytest.approx(0.2, abs=0.03)


def test_regions_that_do_not_fit_are_refused() -> None:
    ct, mask = region()
    for name in NAMES:
        with pytest.raises(GeneratorError, match="must have sides that 8 divides"):
            load_generator(name).synthesize(ct[:, :-3], mask[:, :-3], ["a mass"], seed=0)
    with pytest.raises(GeneratorError, match="steps cannot be sampled"):
        load_generator("lefusion").synthesize(ct, mask, ["a mass"], seed=0, steps=900)


@pytest.mark.parametrize("name", NAMES)
def test_weights_ship_with_their_facts(name: str) -> None:
    folder = ROOT / "nnunet_textomorph" / "data"
    facts = json.loads((folder / f"{name}.json").read_text())
    assert facts["steps"] > 0
    assert facts["manifest"]
    assert "CC BY 3.0" in facts["data"]
    assert facts["sha256"] == train_other_generators.sha256(folder / f"{name}.safetensors")
    assert (folder / f"{name}.safetensors").stat().st_size < 6e6


def test_every_trainer_of_another_generator_names_a_registered_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "trainers"))
    import nnUNetTrainerOtherGenerators as module

    trainers = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    made = {trainer.__name__: trainer.textomorph_generator for trainer in trainers}
    assert made["nnUNetTrainerLeFusion"] == "lefusion"
    assert made["nnUNetTrainerCGAN"] == "cgan"
    assert all(map(is_registered, made.values()))


@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_where_it_was_and_writes_what_is_loaded(name: str, tmp_path: Path) -> None:
    manifest = write_data(tmp_path)
    command = [name, "--data", str(manifest), "--out", str(tmp_path / "runs"), "--batch", "2", "--seed", "3"]
    command += ["--device", "cpu", "--data-note", "three balls", "--checkpoint-seconds", "0"]
    train_other_generators.main([*command, "--steps", "2"])
    weights = tmp_path / "runs" / f"{name}.safetensors"
    before = load_file(weights)
    train_other_generators.main([*command, "--steps", "3"])
    after = load_file(weights)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert (tmp_path / "runs" / name / "checkpoint" / "step").read_text() == "3"
    facts = json.loads(weights.with_suffix(".json").read_text())
    assert (facts["steps"], facts["lines"], facts["data"]) == (3, 3, "three balls")
    assert facts["sha256"] == train_other_generators.sha256(weights)
    made = LeFusion(folder=weights.parent) if name == "lefusion" else ConditionalGAN(folder=weights.parent)
    ct, mask = region()
    assert np.isfinite(made.synthesize(ct, mask, ["a mass"], seed=0)).all()
    if isinstance(made, LeFusion):
        assert float(made.denoiser.clusters.frequency.sum()) == pytest.approx(1.0, abs=0.01)
        assert len(made.denoiser.clusters.frequency) == CLUSTERS
    else:
        known = made.network.known
        assert known.shape[0] == LOOKS
        assert sorted({round(float(value) * UNIT_HU / 50) for value in known[:, 0]}) == [-1, 1]
    with pytest.raises(GeneratorError, match="3 steps already"):
        train_other_generators.main([*command, "--steps", "2"])


def test_without_text_the_noise_tells_a_tumors_level() -> None:
    """With text the text does (sampling.NOISY), and unguided tumors of all seeds were of one level, the host's."""
    made = load_generator("difftumor")
    ct, mask = region()
    levels = [made.synthesize(ct, mask, ["a tumor"], seed=seed)[mask].mean() for seed in range(8)]
    assert np.std(levels) > 8.0
