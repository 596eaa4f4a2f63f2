"""Other generators behind the same option: by name, in every command that makes tumors."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_nnunet import SPACING, TinyNnUNet, ball, label_map, write

from nnunet_textomorph import generators
from nnunet_textomorph.cli import main
from nnunet_textomorph.generator.config import SamplingConfig
from nnunet_textomorph.generator.generator import Generator
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generators import generator_reference, load_generator
from nnunet_textomorph.other_generators import DiffTumor, Pixel2Cancer, SynTumor, grow

MASK = ball((9, 24, 28), 12.0)


def ct() -> np.ndarray:
    labels = label_map([])
    return np.where(labels == 1, 100.0, -80.0) + np.random.default_rng(0).normal(0, 8, labels.shape)


def test_a_hand_crafted_tumor_is_dark_textured_and_of_its_seed_only() -> None:
    made = [
        implant(ct(), SPACING, MASK, text, SynTumor(), np.random.default_rng(seed))
        for text, seed in (("bright", 1), ("dark", 1), ("dark", 2))
    ]
    inside = [float((m.ct_hu - ct())[MASK].mean()) for m in made]
    assert all(-75 < value < -20 for value in inside)
    np.testing.assert_array_equal(made[0].ct_hu, made[1].ct_hu)
    assert np.abs(made[1].ct_hu - made[2].ct_hu)[MASK].max() > 5
    assert not made[0].changed[0, 0, 0]


def test_a_grown_tumor_fills_its_mask_darkens_it_and_goes_round_what_resists() -> None:
    inside = np.ones((9, 9, 15), bool)
    wall = np.zeros(inside.shape)
    wall[:, :, 9] = 0.9
    population, dead = grow(inside, np.zeros(inside.shape), np.random.default_rng(0))
    assert (population > 0).mean() > 0.95
    assert population.min() >= 0
    assert population.max() <= 10
    assert not dead[0, 0, 0]
    assert not grow(np.pad(inside, 2), np.pad(wall, 2), np.random.default_rng(0))[0][:2].any()
    free, held = (grow(inside, r, np.random.default_rng(0))[0] for r in (0 * wall, wall))
    assert held[:, :, 10:].mean() < free[:, :, 10:].mean() or held[:, :, 9].mean() < free[:, :, 9].mean()
    made = implant(ct(), SPACING, MASK, "a mass", Pixel2Cancer(), np.random.default_rng(1))
    assert -80 < float((made.ct_hu - ct())[MASK].mean()) < -15


def test_diffusion_without_text_does_not_hear_it(generator_folder: Path) -> None:
    tiny, silent = Generator.load(generator_folder), DiffTumor.load(generator_folder)
    assert isinstance(silent, DiffTumor)
    side = 16
    region, mask = np.full((1, side, side, side), 60.0), np.zeros((1, side, side, side), bool)
    mask[0, 5:11, 5:11, 5:11] = True
    texts = (["hypoattenuating mass"], ["hyperattenuating mass"])
    heard = [tiny.synthesize(region, mask, text, seed=3, steps=2, guidance=2.0) for text in texts]
    unheard = [silent.synthesize(region, mask, text, seed=3, steps=2, guidance=2.0) for text in texts]
    assert np.abs(heard[0] - heard[1]).max() > 1e-3
    np.testing.assert_array_equal(*unheard)


def test_names_are_kept_and_folders_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert generator_reference("syntumor", tmp_path / "elsewhere") == "syntumor"
    assert generator_reference("mine", tmp_path / "elsewhere") == str(tmp_path / "elsewhere" / "mine")
    assert generator_reference(None) is None
    assert isinstance(load_generator("syntumor"), SynTumor)


def test_another_package_adds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", "nnunet_textomorph.other_generators:SynTumor", generators.GROUP)
    monkeypatch.setattr(generators, "_registered", lambda: {"theirs": entry})
    made = load_generator("theirs")
    assert made.weights_hash == "syntumor-1"
    assert isinstance(made.config.sampling, SamplingConfig)


def test_commands_take_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TinyNnUNet(tmp_path / "nnunet")
    for name, value in dataset.environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, ["plan", "985", "--generator", "syntumor"])
    assert done.exit_code == 0, done.output
    assert "--bank" in done.output  # what the shipped descriptions may lack
    assert json.loads((dataset.preprocessed / "TextoMorphPlans.json").read_text())["generator"] == "syntumor"
    write(tmp_path / "ct.nii.gz", ct().astype(np.int16))
    write(tmp_path / "organs.nii.gz", label_map([]))
    line = {"name": "one", "image": "ct.nii.gz", "organ_mask": "organs.nii.gz", "label": 1, "organ": "liver"}
    (tmp_path / "batch.jsonl").write_text(json.dumps({**line, "text": "a mass", "diameter_mm": 15}) + "\n")
    batch = ["synthesize", "--batch", str(tmp_path / "batch.jsonl"), "--out", str(tmp_path / "out")]
    for _ in range(2):  # the second time it is there already, of the same generator
        done = CliRunner().invoke(main, [*batch, "--generator", "syntumor"])
        assert done.exit_code == 0, done.output
    request = json.loads((tmp_path / "out" / "one" / "request.json").read_text())
    assert (request["generator"], request["generator_weights"]) == ("syntumor", "syntumor-1")
    done = CliRunner().invoke(main, [*batch[:-1], str(tmp_path / "other"), "--generator", "nothing"])
    assert done.exit_code == 2
    assert "nothing" in done.output
