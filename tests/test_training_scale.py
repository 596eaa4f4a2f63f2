"""Training on much data and on little: processes, accumulation, held-out tumors, fine-tuning, runs that go wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_training import (
    KILLED_AT,
    STEPS,
    Run,
    autoencoder_run,
    entries,
    killed,
    same_weights,
    write_data,
    write_manifest,
)

from nnunet_textomorph.cli import main
from nnunet_textomorph.generator import train_autoencoder as autoencoder_module
from nnunet_textomorph.generator import train_diffusion as diffusion_module
from nnunet_textomorph.generator.config import ContrastConfig, DistilledConfig
from nnunet_textomorph.generator.divergence import SMOOTHED_OVER, LossWatch
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.folder import read_config
from nnunet_textomorph.generator.generator import Generator, distilled_denoiser
from nnunet_textomorph.generator.latents import cache_texts
from nnunet_textomorph.generator.manifest import read_manifest
from nnunet_textomorph.generator.train_diffusion import train_diffusion
from nnunet_textomorph.text_control import obeys, obeys_in_composition_too

SHORT = {"batch": 2, "checkpoint_every": 2, "text_steps": 3, "learning_rate": 1e-3, "progress": False}
WHOLE = {"steps": STEPS, **SHORT}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("held_out"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator to fine-tune."""
    folder = tmp_path_factory.mktemp("base")
    made = tiny.generator(tiny.write_encoder(folder / "encoder"))
    made.config = made.config.model_copy(
        update={"training": {"diffusion": {"steps": 7}}, "data": "drawn balls", "licence": "CC0-1.0"}
    )
    made.save(folder / "generator")
    return folder / "generator"


@pytest.fixture(scope="module")
def run(base: Path, cache: Path) -> Run:
    """Training from the base's autoencoder, in a tiny denoiser."""

    def train(manifest: Path, out: Path, **options) -> Path:
        given = {**WHOLE, "cache": cache, "denoiser": tiny.DENOISER, "text_encoder": str(base.parent / "encoder")}
        return train_diffusion(manifest, options.pop("autoencoder", base), out, **{**given, **options})

    return train


@pytest.fixture(scope="module")
def finetune(base: Path, cache: Path) -> Run:
    def train(manifest: Path, out: Path, **options) -> Path:
        return train_diffusion(manifest, None, out, **{**WHOLE, "finetune": base, "cache": cache, **options})

    return train


def curve(folder: Path, name: str = "loss") -> list[float]:
    """What a run logged."""
    values: dict[int, float] = {}
    for file in sorted(folder.rglob("events.out.tfevents*")):
        events = EventAccumulator(str(file)).Reload()
        values |= {e.step: e.value for e in (events.Scalars(name) if name in events.Tags()["scalars"] else [])}
    return [values[step] for step in sorted(values)]


# --- processes, accumulation, precision -------------------------------------------------------------------------


LAUNCHED = """
import json, sys, torch; torch.set_num_threads(1); sys.path[:] = filter(None, sys.path)
from pathlib import Path
from nnunet_textomorph.generator.config import DenoiserConfig
from nnunet_textomorph.generator.train_diffusion import train_diffusion
manifest, base, out, cache = map(Path, sys.argv[1:5])
train_diffusion(manifest, base, out, cache=cache, text_encoder=str(base.parent / "encoder"), **json.loads(sys.argv[5]),
    denoiser=DenoiserConfig(channels=(32, 32), attention=(False, True), head_channels=16))
"""


def test_two_processes_train_as_one_that_accumulates_two_batches(manifest, base, run, tmp_path):
    one = run(manifest, tmp_path / "one", steps=41, accumulate=2)
    script, two = tmp_path / "launched.py", tmp_path / "two"
    script.write_text(LAUNCHED)
    # --multi_gpu is what makes accelerate start several processes on one machine, with or without a GPU
    options = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options.split(), "--main_process_port", "0"]
    arguments = [str(path) for path in (script, manifest, base, two, tmp_path / "cache")]
    arguments.append(json.dumps({**WHOLE, "steps": 41}))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if torch.accelerator.is_available():  # both on CPUs
        environment["ACCELERATE_USE_CPU"] = "true"
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(curve(one)) == 3
    assert curve(two) == pytest.approx(curve(one), rel=1e-2)
    assert curve(one)[0] != pytest.approx(curve(one)[2], rel=1e-2)
    a, b = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, value in a.items():
        torch.testing.assert_close(value.float(), b[name].float(), rtol=1e-2, atol=2e-3, msg=name)


@pytest.fixture
def _other_precision():
    """One process has one precision, which accelerate keeps."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("_other_precision")
@pytest.mark.parametrize("options", [{"accumulate": 2}, {"mixed_precision": "bf16"}], ids=["accumulated", "bf16"])
def test_a_killed_run_continues_to_the_same_weights(options, manifest, run, tmp_path):
    whole = run(manifest, tmp_path / "whole", **options)
    killed(lambda data, out: run(data, out, **options), manifest, tmp_path / "out", KILLED_AT)
    run(manifest, tmp_path / "out", resume=True, **options)
    assert same_weights(tmp_path / "out", whole)
    AcceleratorState._reset_state()
    assert not same_weights(run(manifest, tmp_path / "plain"), whole)


@pytest.mark.usefixtures("_other_precision")
def test_a_run_goes_on_in_its_own_precision_and_with_its_own_f_only(manifest, run, tmp_path):
    out = run(manifest, tmp_path / "out", steps=2, contrast=ContrastConfig(weight=0.1), features=own_features)
    with pytest.raises(GeneratorError, match="began with contrast"):
        run(manifest, out, steps=3, contrast=ContrastConfig(weight=0.1), resume=True)
    AcceleratorState._reset_state()
    with pytest.raises(GeneratorError, match="began with mixed_precision no, not bf16"):
        run(
            manifest,
            out,
            steps=3,
            contrast=ContrastConfig(weight=0.1),
            features=own_features,
            resume=True,
            mixed_precision="bf16",
        )


def own_features(z0: torch.Tensor) -> torch.Tensor:
    return z0


@pytest.mark.usefixtures("_other_precision")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_latents_are_encoded_in_the_precision_of_the_training(precision, manifest, run, tmp_path):
    run(manifest, tmp_path / "out", cache=tmp_path / "cache", steps=1, mixed_precision=precision)
    (folder,) = (tmp_path / "cache").glob("latents-*")
    assert folder.name.endswith("-bf16") == (precision == "bf16")


@pytest.mark.slow
def test_a_run_killed_by_the_system_at_any_step_continues_to_the_same_weights(manifest, base, run, cache, tmp_path):
    script, out = tmp_path / "launched.py", tmp_path / "out"
    script.write_text(LAUNCHED)
    options = {**WHOLE, "steps": 400, "sheet_every": 10}
    command = [sys.executable, script, manifest, base, out, cache, json.dumps(options)]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while not (out / "checkpoint" / "step").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(float(np.random.default_rng().uniform(0.0, 5.0)))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    run(manifest, out, resume=True, **options)
    assert same_weights(out, run(manifest, tmp_path / "whole", **options))


def test_a_run_is_not_continued_with_another_accumulation(manifest, run, tmp_path):
    out = run(manifest, tmp_path / "out", steps=1)
    assert read_config(out).training["diffusion"]["batches_per_step"] == 1
    with pytest.raises(GeneratorError, match="batches_per_step"):
        run(manifest, out, resume=True, accumulate=2)


def test_a_run_is_not_continued_on_other_data_or_for_fewer_steps(manifest, held_out, run, tmp_path):
    out = run(manifest, tmp_path / "out", steps=2, validation=held_out)
    changed = [
        {**line, "descriptors": {"attenuation": look}} for line, look in zip(entries(manifest), "abc", strict=True)
    ]
    other = write_manifest(tmp_path / "other.jsonl", changed)
    before = (out / "generator.json").read_text()
    for data, options, says in (
        (other, {"validation": held_out}, "manifest"),
        (manifest, {"validation": write_manifest(tmp_path / "fewer.jsonl", entries(held_out)[:2])}, "validation"),
        (manifest, {"validation": held_out, "steps": 1}, "2 steps already"),
    ):
        with pytest.raises(GeneratorError, match=says):
            run(data, out, resume=True, **options)
    assert (out / "generator.json").read_text() == before
    moved = write_manifest(tmp_path / "moved.jsonl", entries(manifest))  # the same lines, with other paths
    run(moved, out, resume=True, steps=3, validation=held_out)


@pytest.mark.parametrize("options", [{"seed": -1}, {"accumulate": 0}, {"views": 0}, {"batch": 0}])
def test_a_number_that_cannot_train_is_named(options, manifest, run, tmp_path):
    with pytest.raises(GeneratorError, match=next(iter(options))):
        run(manifest, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# --- runs that go wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["diffusion", "autoencoder"])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(part, manifest, run, tmp_path):
    out = tmp_path / "out"
    train = run if part == "diffusion" else autoencoder_run
    train(manifest, out, steps=2)
    break_weights(out)
    with pytest.raises(GeneratorError, match=r"loss of step [34] is nan") as caught:
        train(manifest, out, steps=4, resume=True)
    assert str(out) in str(caught.value)
    assert "--learning-rate" in str(caught.value)
    assert (out / "checkpoint" / "step").read_text() == "2"


def break_weights(out: Path) -> None:
    """Put a NaN into a checkpoint's network."""
    file = out / "checkpoint" / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "conv" in name and name.endswith("weight"))
    weights[name] = torch.full_like(weights[name], math.nan)
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("part", ["diffusion", "autoencoder"])
def test_a_gradient_that_is_no_number_stops_the_run_before_a_checkpoint(part, manifest, run, tmp_path, monkeypatch):
    """Its loss still is one; the weights are not."""
    monkeypatch.setattr(Accelerator, "clip_grad_norm_", lambda *_args: torch.tensor(math.inf))
    train = run if part == "diffusion" else autoencoder_run
    with pytest.raises(GeneratorError, match="loss of step 1 is nan"):
        train(manifest, tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_a_discriminator_that_breaks_stops_the_run_before_a_checkpoint(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(autoencoder_module, "_train_discriminator", lambda *_args: torch.tensor(math.nan))
    with pytest.raises(GeneratorError, match="loss of step 4 is nan"):  # the first with a discriminator
        autoencoder_run(manifest, tmp_path / "out")
    assert (tmp_path / "out" / "checkpoint" / "step").read_text() == "2"


def own(losses: torch.Tensor) -> torch.Tensor:
    """The mean over one process."""
    return losses


def test_processes_stop_together(tmp_path):
    """By the mean of their losses: one that stopped alone would leave the others waiting."""
    watch = LossWatch(tmp_path, lambda losses: (losses + math.nan) / 2)
    watch.add(torch.tensor(1.0))
    with pytest.raises(GeneratorError, match="loss of step 1 is nan"):
        watch.look(0)


def test_a_loss_that_runs_away_is_told(tmp_path):
    watch = LossWatch(tmp_path, own)
    for step in range(SMOOTHED_OVER):
        watch.add(torch.tensor(0.5 + 0.4 * (step % 2)))
    watch.look(SMOOTHED_OVER - 1)
    resumed = LossWatch(tmp_path, own)
    resumed.load_state_dict(watch.state_dict())
    for each in (watch, resumed):
        for _ in range(3 * SMOOTHED_OVER):
            each.add(torch.tensor(20.0))
        with pytest.raises(GeneratorError, match=r"risen from 0\.68\d* to 6") as caught:
            each.look(4 * SMOOTHED_OVER - 1)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("losses", [(0.8, 2e5), (*[0.8] * 12, *[300.0] * 20), (*[0.8] * 60, *[60.0] * 60)])
def test_a_loss_that_runs_away_at_the_beginning_is_told(tmp_path, losses):
    """Before a hundred steps are done it must not become what later ones are compared with."""
    watch = LossWatch(tmp_path, own)
    for value in losses:
        watch.add(torch.tensor(value))
    with pytest.raises(GeneratorError, match=r"risen from 0\.8 to"):
        watch.look(len(losses) - 1)


def test_an_early_peak_does_not_stop_a_run(tmp_path):
    watch = LossWatch(tmp_path, own)
    for value in (0.1, 30.0, *[1.0] * 300):
        watch.add(torch.tensor(value))
    watch.look(301)


def test_bad_lines_are_skipped_and_listed_where_that_is_asked_for(manifest, run, tmp_path, capsys):
    lines = entries(manifest)
    bad = [
        {**lines[0], "id": "absent", "image": "nowhere.nii.gz"},
        {**lines[0], "id": "textless", "texts": []},
        {**lines[0], "id": "empty", "tumor_label": 9},
        {**lines[1], "id": "shifted", "mask": lines[0]["mask"]},
    ]
    mixed = write_manifest(tmp_path / "mixed.jsonl", [bad[0], lines[0], bad[1], bad[2], lines[1], bad[3], lines[2]])
    with pytest.raises(GeneratorError, match=r"line 1: .*nowhere"):
        run(mixed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    out = run(mixed, tmp_path / "out", skip_bad=True)
    listed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert len(listed) == 4
    for line, says in zip(listed, ("line 1", "line 3", "'empty'", "'shifted'"), strict=True):
        assert says in line
    assert read_config(out).training["diffusion"]["cases"] == 3
    assert same_weights(out, run(manifest, tmp_path / "clean"))
    autoencoder_run(mixed, tmp_path / "autoencoder", skip_bad=True, steps=1)


def test_a_manifest_of_bad_lines_alone_is_refused(manifest, run, tmp_path):
    for name, changes in (("absent", {"image": "nowhere.nii.gz"}), ("empty", {"tumor_label": 9})):
        lines = [{**line, **changes} for line in entries(manifest)]
        bad = write_manifest(tmp_path / f"{name}.jsonl", lines)
        with pytest.raises(GeneratorError, match="can be used"):
            run(bad, tmp_path / name, skip_bad=True)


def test_texts_that_are_cut_are_told_of_once_with_their_line(manifest, base, tmp_path):
    config = read_config(base).text.model_copy(update={"max_tokens": 6})
    long = "a large hypoattenuating mass with ill defined margins"
    lines = read_manifest(manifest)
    lines[1] = lines[1].model_copy(update={"texts": [long, f"{long} in the liver"]})
    with pytest.warns(UserWarning, match="read up to token 6 only") as told:
        cache_texts(lines, config, tmp_path, progress=False)
    (warning,) = [w for w in told if "token" in str(w.message)]
    assert "Manifest line 'case1'" in str(warning.message)
    assert "1 more" in str(warning.message)
    assert "a large hypoattenuating mass" in str(warning.message)


# --- held-out tumors --------------------------------------------------------------------------------------------


def verdict(good: set[int]):
    """A judge who finds a tumor as its text says in the looks of ``good``; each look is at three tumors."""
    asked: list[str] = []

    def judge(ct, mask, spacing, text, line):
        assert ct.shape == mask.shape == (48, 48, 48)
        assert np.isfinite(ct).all()
        assert mask.any()
        assert text in line.texts
        asked.append(text)
        return {"attenuation": (len(asked) - 1) // 3 in good}

    return judge


def test_held_out_tumors_are_looked_at_and_the_best_generator_is_kept(manifest, held_out, run, tmp_path):
    options = {"validation": held_out, "sheet_every": 2}
    out = run(manifest, tmp_path / "out", judge=verdict({1}), **options)
    last, best = (read_config(folder).training["validation"] for folder in (out, out / "best"))
    assert (last["step"], last["tumors"], last["text_control"], last["judged"]) == (6, 3, 0.0, 3)
    assert (best["step"], best["text_control"]) == (4, 1.0)
    assert [read_config(folder).training["diffusion"]["steps"] for folder in (out, out / "best")] == [6, 4]
    assert curve(out, "text_control") == [0.0, 1.0, 0.0]
    assert len(set(curve(out, "held_out_loss"))) == 3
    assert not same_weights(out, out / "best")
    Generator.load(out / "best")
    # looking changes nothing
    assert same_weights(out, run(manifest, tmp_path / "blind"))


def test_without_a_judge_the_lowest_loss_is_the_best(manifest, held_out, run, tmp_path):
    out = run(manifest, tmp_path / "out", validation=held_out, sheet_every=2)
    losses = curve(out, "held_out_loss")
    best = read_config(out / "best").training["validation"]
    assert best["loss"] == pytest.approx(min(losses))
    assert best["text_control"] is None
    assert curve(out, "text_control") == []


def test_a_run_killed_between_checkpoint_and_look_looks_when_it_goes_on(manifest, held_out, run, tmp_path, monkeypatch):
    out, options = tmp_path / "out", {"validation": held_out, "sheet_every": 2}

    def die(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(diffusion_module, "_publish", die)
        with pytest.raises(KeyboardInterrupt):
            run(manifest, out, **options)
    assert not (out / "generator.json").exists()
    run(manifest, out, resume=True, judge=verdict({0}), **options)
    assert read_config(out / "best").training["validation"]["step"] == 2


def test_a_ct_that_is_trained_on_is_not_held_out(manifest, run, tmp_path):
    with pytest.raises(GeneratorError, match=r"'case0'.*ct0\.nii\.gz.*training manifest"):
        run(manifest, tmp_path / "out", validation=manifest)
    assert not (tmp_path / "out").exists()


def test_text_control_is_told_from_voxels(manifest):
    """A ball that is darker than its host obeys a text that says so, whatever else it says."""
    line = read_manifest(manifest)[0]
    grid = np.indices((48, 48, 48)) - 24
    mask = (grid**2).sum(axis=0) < 10**2
    ct = np.where(mask, 40.0, 100.0).astype(np.float32)
    ct += np.random.default_rng(0).normal(0.0, 3.0, ct.shape).astype(np.float32)
    spacing = (1.0, 1.0, 1.0)
    dark = obeys(ct, mask, spacing, "A hypoattenuating, homogeneous mass with well-defined margins.", line)
    assert dark == {"attenuation": True, "texture": True, "margin": True}
    bright = line.model_copy(update={"descriptors": {"attenuation": "hyper"}})
    text = "A hyperattenuating, heterogeneous mass with ill-defined margins."
    assert obeys(ct, mask, spacing, text, bright) == {"attenuation": False, "texture": False, "margin": False}
    assert obeys(ct, mask, spacing, "A mass in the liver.", line.model_copy(update={"descriptors": {}})) == {}


@pytest.mark.parametrize(
    ("text", "plain", "with_speck", "with_core"),
    [
        ("A calcified mass.", False, True, False),
        ("A necrotic mass.", False, False, True),
        ("A solid mass.", True, False, True),
        ("A cystic mass.", True, False, True),
        ("A cystic mass with calcifications.", None, None, None),
        ("A mass.", None, None, None),
    ],
)
def test_composition_is_told_from_voxels_where_a_text_says_one(manifest, text, plain, with_speck, with_core):
    said = text.split()[1]
    line = read_manifest(manifest)[0]
    line = line.model_copy(update={"descriptors": {} if said == "mass." else {"composition": said}})
    grid = np.indices((56, 56, 56)) - 28
    distance = np.sqrt((grid**2).sum(axis=0))
    ct = np.where(distance < 16, 70.0, 110.0).astype(np.float32)
    specked = np.where((np.abs(grid) < 2).all(axis=0), 600.0, ct)
    cored = np.where(distance < 9, 30.0, ct)
    found = [
        obeys_in_composition_too(image, distance < 16, (1.0, 1.0, 1.0), text, line).get("composition")
        for image in (ct, specked, cored)
    ]
    assert found == [plain, with_speck, with_core]


@pytest.mark.parametrize(("text", "judged"), [("A homogeneous mass.", True), ("A homogeneous, calcified mass.", False)])
def test_texture_is_not_judged_where_calcium_is_asked_for(manifest, text, judged):
    ball = np.sqrt(((np.indices((48, 48, 48)) - 24) ** 2).sum(axis=0)) < 14
    ct = np.where(ball, 70.0, 110.0).astype(np.float32)
    line = read_manifest(manifest)[0].model_copy(update={"descriptors": {}})
    assert ("texture" in obeys_in_composition_too(ct, ball, (1.0, 1.0, 1.0), text, line)) is judged
    assert "texture" in obeys(ct, ball, (1.0, 1.0, 1.0), text, line)


# --- fine-tuning ------------------------------------------------------------------------------------------------


def test_rare_voxels_weigh_more_where_that_is_asked_for(manifest, finetune, tmp_path):
    plain, rare = finetune(manifest, tmp_path / "plain"), finetune(manifest, tmp_path / "rare", rare_weight=0.5)
    assert "rare_weight" not in read_config(plain).training["diffusion"]
    assert read_config(rare).training["diffusion"]["rare_weight"] == 0.5
    a, b = (load_file(folder / "model.safetensors") for folder in (plain, rare))
    assert not all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(GeneratorError, match="rare_weight"):
        finetune(manifest, tmp_path / "rare", rare_weight=0.2, resume=True)


def test_a_fine_tuned_generator_goes_on_from_its_base_and_names_it(manifest, base, finetune, tmp_path):
    out = finetune(manifest, tmp_path / "out")
    made, before = Generator.load(out), Generator.load(base)
    record = made.config.training["diffusion"]["finetuned"]
    assert record["trained"] == "all"
    assert record["base"]["weights"] == before.weights_hash
    assert record["base"]["training"] == {"diffusion": {"steps": 7}}
    assert (record["base"]["data"], record["base"]["licence"]) == ("drawn balls", "CC0-1.0")
    assert (made.config.data, made.config.licence) == ("drawn balls", "CC0-1.0")
    assert made.config.denoiser == before.config.denoiser
    a, b = (load_file(folder / "model.safetensors") for folder in (base, out))
    assert torch.equal(a["denoiser.tumor_sd"], b["denoiser.tumor_sd"])
    assert all(torch.equal(a[name], b[name]) for name in a if name.startswith("autoencoder."))
    differences = [(a[name].float() - b[name].float()).abs().max() for name in a if name.startswith("denoiser.unet.")]
    assert 0 < max(differences) < 0.05  # six steps away from the base, not from nothing


def test_only_attention_and_conditioning_are_trained_where_that_is_asked_for(manifest, base, finetune, tmp_path):
    out = finetune(manifest, tmp_path / "out", only_attention=True)
    a, b = (load_file(folder / "model.safetensors") for folder in (base, out))
    changed = {name for name in a if not torch.equal(a[name], b[name])}
    assert {name for name in changed if ".attention" not in name and "time_emb" not in name} == {
        name for name in changed if name.startswith(("denoiser.adapter.", "denoiser.voxelwise."))
    }
    assert not {name for name in changed if "conv1" in name or "conv_in" in name or "voxelwise.maps" in name}
    assert any("attn2.to_k" in name for name in changed)
    assert any("attn1.to_q" in name for name in changed)
    assert any(name.startswith("denoiser.adapter.project") for name in changed)
    assert read_config(out).training["diffusion"]["finetuned"]["trained"] == "attention"
    with pytest.raises(GeneratorError, match="finetuned"):
        finetune(manifest, out, resume=True)


def test_a_killed_fine_tuning_continues_to_the_same_weights(manifest, finetune, tmp_path):
    whole = finetune(manifest, tmp_path / "whole", only_attention=True)
    killed(lambda data, out: finetune(data, out, only_attention=True), manifest, tmp_path / "out", KILLED_AT)
    finetune(manifest, tmp_path / "out", only_attention=True, resume=True)
    assert same_weights(tmp_path / "out", whole)


def test_a_distilled_denoiser_is_left_behind(manifest, base, finetune, run, tmp_path):
    """It was taught what the base makes; and a folder that names one without having it would not load."""
    generator = Generator.load(base)
    facts = {"autoencoder": {"steps": 5}, "diffusion": {"steps": 7}, "distillation": {"steps": 2}}
    generator.config = generator.config.model_copy(update={"distilled": DistilledConfig(steps=2), "training": facts})
    generator.distilled = distilled_denoiser(generator.networks.denoiser)
    generator.save(tmp_path / "distilled")
    finetuned = finetune(manifest, tmp_path / "finetuned", finetune=tmp_path / "distilled", steps=1)
    new = run(manifest, tmp_path / "new", autoencoder=tmp_path / "distilled", steps=1)
    assert Generator.load(finetuned).distilled is None
    assert Generator.load(new).distilled is None
    # nor is it said of the new generators that they were distilled
    assert read_config(finetuned).training.keys() == {"diffusion"}
    assert read_config(new).training.keys() == {"autoencoder", "diffusion"}
    assert read_config(new).training["autoencoder"] == {"steps": 5}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--autoencoder", "x"], "autoencoder of its own; leave out --autoencoder"),
        (["--text-encoder", "x"], "text encoder of its own"),
        (["--prediction-type", "epsilon"], "prediction type of its own"),
        (["--validation", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_a_base_brings_along_is_not_given_again(options, says, manifest, base, tmp_path):
    command = ["train", "diffusion", "--data", manifest, "--finetune", base, "--out", tmp_path / "out", *options]
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [([], "--autoencoder"), (["--learning-rate", "0"], "learning_rate"), (["--only-attention"], "--autoencoder")],
)
def test_a_run_that_cannot_begin_is_an_error(options, says, manifest, tmp_path):
    command = ["train", "diffusion", "--data", str(manifest), "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert says in result.output


def test_only_a_trained_denoisers_attention_is_trained_alone(manifest, run, tmp_path):
    with pytest.raises(GeneratorError, match="--finetune"):
        run(manifest, tmp_path / "out", only_attention=True)


def test_the_command_fine_tunes_looks_and_keeps_the_best(manifest, held_out, base, cache, tmp_path):
    out = tmp_path / "out"
    command = ["train", "diffusion", "--data", manifest, "--finetune", base, "--only-attention", "--out", out]
    command += ["--validation", held_out, "--steps", 2, "--batch", 2, "--accumulate", 2, "--cache", cache, "--skip-bad"]
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 0, result.output
    content = json.loads((out / "generator.json").read_text())
    assert content["training"]["validation"]["judged"] > 0
    assert content["training"]["diffusion"]["learning_rate"] == 1e-4
    Generator.load(out / "best")
