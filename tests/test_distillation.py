"""Distillation: what the student is taught, what it costs to sample, and what a folder with one holds."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from accelerate import Accelerator
from click.testing import CliRunner
from safetensors.torch import load_file
from test_training import entries, killed_at, write_data, write_manifest

import nnunet_textomorph.generator.train_distillation as module
from nnunet_textomorph.cli import main
from nnunet_textomorph.generator.config import DiffusionConfig
from nnunet_textomorph.generator.diffusion import noise_schedule, sampling_timesteps
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.generator import Generator, distilled_denoiser
from nnunet_textomorph.generator.latents import weights_hash
from nnunet_textomorph.generator.manifest import ManifestLine
from nnunet_textomorph.generator.train_distillation import (
    Trajectories,
    read_trajectories,
    step_targets,
    student_errors,
    train_distillation,
)
from nnunet_textomorph.generator.training_set import rare_weights

STEPS = 6


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    made = tiny.generator(tiny.write_encoder(folder / "encoder"))
    made.save(folder / "generator")
    return folder / "generator"


def run(manifest: Path, teacher: Path, out: Path, **options) -> Path:
    given = {"steps": STEPS, "batch": 2, "trajectories": 8, "sampling_steps": 3, "checkpoint_every": 2}
    return train_distillation(manifest, teacher, out, **{**given, "progress": False, **options})


@pytest.fixture(scope="module")
def distilled(manifest: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(manifest, teacher, tmp_path_factory.mktemp("trained") / "distilled")


def region() -> tuple[np.ndarray, np.ndarray]:
    ct = np.random.default_rng(0).normal(60.0, 10.0, (1, 24, 24, 24)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[:, 8:16, 8:16, 8:16] = True
    return ct, mask


def sample(generator: Generator, **options) -> np.ndarray:
    return generator.synthesize(*region(), ["a hypoattenuating mass"], seed=0, **options)


def test_the_target_is_the_v_of_a_straight_path():
    """On z = a z0 + s e the v of every point is a e - s z0, and DDIM with it goes to the next point."""
    config, steps = DiffusionConfig(), 4
    source = torch.Generator().manual_seed(0)
    z0, noise = torch.randn(2, 3, 4, 4, 4, 4, generator=source, dtype=torch.float64)
    schedule = noise_schedule(config)
    at_steps = torch.tensor(sampling_timesteps(config, steps))
    points = [schedule.add_noise(z0, noise, t.expand(3)) for t in at_steps]
    none = torch.zeros(0)
    drawn = Trajectories(torch.stack([*points, z0]), none, none, none, none, none)
    at = torch.tensor([0, 2, 3])
    z_t, t, v = step_targets(drawn, at, config, steps)
    assert t.tolist() == at_steps[at].tolist()
    for i in range(3):
        torch.testing.assert_close(z_t[i], points[int(at[i])][i])
    torch.testing.assert_close(v, schedule.get_velocity(z0, noise, t), atol=1e-5, rtol=1e-4)


def test_a_student_that_is_taught_comes_nearer_to_its_teacher(manifest, teacher, tmp_path):
    out = run(manifest, teacher, tmp_path / "taught", steps=50, checkpoint_every=50, learning_rate=1e-3)
    files = sorted(out.glob("trajectories-*/*.safetensors"))[:1]
    made = Generator.load(out)
    untaught = distilled_denoiser(Generator.load(teacher).networks.denoiser)
    assert made.distilled is not None
    before, after = (student_errors(s, made.config.diffusion, 3, files) for s in (untaught, made.distilled))
    assert after[0] < 0.7 * before[0]


def test_trajectories_are_the_teachers(teacher, distilled):
    """From the noise a trajectory begins with, the teacher samples where it ends."""
    made = Generator.load(teacher)
    file = min(distilled.glob("trajectories-*/*.safetensors"))
    drawn = read_trajectories(file)
    *_, z0 = module.trajectory(
        made.networks.denoiser,
        made.config.diffusion,
        *drawn.given,
        drawn.z[0],
        source=torch.Generator(),
        solver="unipc",
        steps=9,
        guidance=made.config.sampling.guidance,
    )
    torch.testing.assert_close(drawn.z[-1], z0, atol=0.02, rtol=0.02)  # half precision
    assert drawn.z.shape[0] == 4


def test_of_several_noises_the_one_is_kept_that_makes_what_was_asked_for(manifest, teacher, distilled, tmp_path):
    """The judge asks for bright tumors: from further noises more of them are, and what is right at once stays."""
    made = Generator.load(teacher)

    def levels(folder: Path) -> list[float]:
        found = []
        for file in sorted(folder.glob("trajectories-*/*.safetensors")):
            drawn = read_trajectories(file)
            ct = made.decoded(made.networks.denoiser.with_tumor(drawn.z[-1], drawn.z_healthy))
            found += [float(tumor[9:15, 9:15, 9:15].mean()) for tumor in ct]
        return found

    first = levels(distilled)
    enough = float(np.median(first))
    asked: list[tuple[str, str]] = []

    def bright(ct: np.ndarray, mask: np.ndarray, spacing: tuple, text: str, line: ManifestLine) -> dict[str, bool]:
        assert ct.shape == mask.shape
        assert 0 < mask.sum() < mask.size
        assert spacing == made.domain.spacing_mm
        assert text in line.texts
        asked.append((line.id, text))
        return {"bright": float(ct[9:15, 9:15, 9:15].mean()) > enough}

    chosen = levels(run(manifest, teacher, tmp_path / "chosen", steps=1, candidates=6, judge=bright))
    at_once = np.array(first) > enough + 0.05  # trajectories lie on disk in half precision
    np.testing.assert_array_equal(np.array(chosen)[at_once], np.array(first)[at_once])
    assert (np.array(chosen) > enough + 0.05).sum() > at_once.sum()
    assert len(first) < len(asked) <= 6 * len(first)
    unjudged = levels(run(manifest, teacher, tmp_path / "any", steps=1, candidates=6, judge=lambda *_: {}))
    assert unjudged == first
    asked.clear()  # where nothing is all right, the first of the nearest is kept after all have been tried
    half = run(
        manifest,
        teacher,
        tmp_path / "half",
        steps=1,
        candidates=6,
        judge=lambda *given: {**bright(*given), "never": False},
    )
    assert (np.array(levels(half)) > enough + 0.05).sum() > at_once.sum()
    np.testing.assert_array_equal(np.array(levels(half))[at_once], np.array(first)[at_once])
    assert len(asked) == 6 * len(first)


def test_candidates_need_a_judge_and_a_run_keeps_to_their_number(manifest, teacher, tmp_path):
    with pytest.raises(GeneratorError, match="candidates is 2, which needs a judge"):
        run(manifest, teacher, tmp_path / "out", candidates=2)
    run(manifest, teacher, tmp_path / "out", steps=2)
    assert "candidates" not in json.loads((tmp_path / "out" / "run.json").read_text())  # nor before there were any
    with pytest.raises(GeneratorError, match="began with candidates 1, not 2"):
        run(manifest, teacher, tmp_path / "out", steps=4, candidates=2, judge=lambda *_: {}, resume=True)
    run(manifest, teacher, tmp_path / "out", steps=4, resume=True)


def test_the_distilled_denoiser_samples_by_default_and_calls_once_a_step(distilled, teacher):
    made = Generator.load(distilled)
    assert made.distilled is not None
    batches: list[int] = []
    hooks = [
        denoiser.register_forward_hook(lambda _module, given, _out: batches.append(len(given[0])))
        for denoiser in (made.distilled, made.networks.denoiser)
    ]
    by_default = sample(made)
    assert batches == [1, 1, 1]
    for hook in hooks:
        hook.remove()
    np.testing.assert_array_equal(by_default, sample(made, solver="distilled"))
    first = Generator.load(teacher)
    for asked in ({"solver": "unipc"}, {"steps": 5}, {"guidance": 2.0}, {"steps": 4, "solver": "ddpm"}):
        np.testing.assert_array_equal(sample(made, **asked), sample(first, **asked))
        assert np.abs(sample(made, **asked) - by_default).max() > 0.1


def test_the_distilled_denoiser_reads_texts_as_the_first_one_does(distilled):
    made = Generator.load(distilled)
    assert made.distilled is not None
    assert made.distilled.adapter is made.networks.denoiser.adapter
    texts = ("a hypoattenuating mass", "a hyperattenuating mass with ill defined margins")
    dark, bright = (made.synthesize(*region(), [text], seed=0) for text in texts)
    assert np.abs(dark - bright).max() > 1.0  # HU; from the same noise


def test_what_a_folder_with_a_distilled_denoiser_holds(distilled, teacher, tmp_path):
    before, after = (load_file(folder / "model.safetensors") for folder in (teacher, distilled))
    assert all(torch.equal(before[name], after[name]) for name in before)
    own = load_file(distilled / "distilled.safetensors")
    assert {name.split(".")[0] for name in own} == {"unet", "voxelwise"}
    made = Generator.load(distilled)
    assert made.config.distilled is not None
    assert made.config.distilled.steps == 3
    assert made.config.training["distillation"]["trajectories"] == 8
    assert made.weights_hash != Generator.load(teacher).weights_hash
    made.save(tmp_path / "again")
    np.testing.assert_array_equal(sample(Generator.load(tmp_path / "again")), sample(made))


def test_a_request_names_what_made_its_tumor(distilled):
    config = Generator.load(distilled).config
    assert config.sampling_of().model_dump() == {"solver": "distilled", "steps": 3, "guidance": 1.0}
    assert config.sampling_of(steps=7).model_dump() == {"solver": "unipc", "steps": 7, "guidance": 1.5}


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(manifest, teacher, distilled, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "rate", killed_at(3, STEPS, module.rate))
        with pytest.raises(KeyboardInterrupt):
            run(manifest, teacher, tmp_path / "out")
    with pytest.raises(GeneratorError, match="--resume"):
        run(manifest, teacher, tmp_path / "out")
    with pytest.raises(GeneratorError, match="batch 2, not 3"):
        run(manifest, teacher, tmp_path / "out", resume=True, batch=3)
    files = sorted((tmp_path / "out").glob("trajectories-*/*"))
    written = [file.stat().st_mtime_ns for file in files]
    run(manifest, teacher, tmp_path / "out", resume=True)
    assert [file.stat().st_mtime_ns for file in files] == written
    first, second = (load_file(folder / "distilled.safetensors") for folder in (distilled, tmp_path / "out"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_killed_after_its_last_checkpoint_still_writes_its_folder(
    manifest, teacher, distilled, tmp_path, monkeypatch
):
    def die(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_folder", die)
        with pytest.raises(KeyboardInterrupt):
            run(manifest, teacher, tmp_path / "out", checkpoint_every=STEPS)
    run(manifest, teacher, tmp_path / "out", checkpoint_every=STEPS, resume=True)
    first, second = (load_file(folder / "distilled.safetensors") for folder in (distilled, tmp_path / "out"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_missing_or_truncated_file_is_named(distilled, tmp_path):
    shutil.copytree(distilled, tmp_path / "g", ignore=shutil.ignore_patterns("checkpoint", "trajectories*", "crops"))
    file = tmp_path / "g" / "distilled.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(GeneratorError, match=r"distilled\.safetensors: cannot be read"):
        Generator.load(tmp_path / "g")
    file.unlink()
    with pytest.raises(GeneratorError, match=r"distilled\.safetensors: is missing"):
        Generator.load(tmp_path / "g")


def test_a_generator_without_one_has_no_distilled_sampler(teacher):
    with pytest.raises(GeneratorError, match="no distilled denoiser"):
        sample(Generator.load(teacher), solver="distilled")


def test_the_distilled_denoiser_takes_no_other_steps_and_no_guidance(distilled):
    made = Generator.load(distilled)
    np.testing.assert_array_equal(sample(made), sample(made, solver="distilled", steps=3, guidance=1.0))
    for asked in ({"steps": 50}, {"guidance": 7.0}):
        with pytest.raises(GeneratorError, match="its own 3 steps, without guidance"):
            sample(made, solver="distilled", **asked)


def test_weights_can_be_read_by_whom_the_umask_lets(distilled):
    files = ("generator.json", "model.safetensors", "distilled.safetensors")
    files += tuple(str(file.relative_to(distilled)) for file in distilled.glob("*/*.safetensors"))
    assert len({(distilled / file).stat().st_mode for file in files}) == 1


def test_epsilon_is_refused(manifest, teacher, tmp_path):
    made = Generator.load(teacher)
    made.config = made.config.model_copy(update={"diffusion": DiffusionConfig(prediction_type="epsilon")})
    made.save(tmp_path / "epsilon")
    with pytest.raises(GeneratorError, match="predicts v"):
        run(manifest, tmp_path / "epsilon", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(manifest, teacher, tmp_path):
    command = ["train", "distillation", "--data", manifest, "--generator", teacher, "--out", tmp_path / "out"]
    few = ["--steps", "1", "--batch", "2", "--trajectories", "4", "--sampling-steps", "2"]
    result = CliRunner().invoke(main, [*map(str, command), *few])
    assert result.exit_code == 0, result.output
    assert Generator.load(tmp_path / "out").config.distilled is not None
    result = CliRunner().invoke(main, [*map(str, command[:-1]), str(tmp_path / "out"), *few])
    assert result.exit_code == 2
    assert "--resume" in result.output


def test_the_command_chooses_among_candidates_by_composition_too(manifest, teacher, tmp_path, monkeypatch):
    asked: list[str] = []

    def judge(ct: np.ndarray, mask: np.ndarray, spacing: tuple, text: str, line: ManifestLine) -> dict[str, bool]:
        asked.append(text)
        return {"composition": False}

    monkeypatch.setattr("nnunet_textomorph.text_control.obeys_in_composition_too", judge)
    command = ["train", "distillation", "--data", manifest, "--generator", teacher, "--out", tmp_path / "out"]
    few = ["--steps", "1", "--batch", "2", "--trajectories", "4", "--sampling-steps", "2", "--candidates", "3"]
    result = CliRunner().invoke(main, [*map(str, command), *few])
    assert result.exit_code == 0, result.output
    made = sum(read_trajectories(file).z.shape[1] for file in (tmp_path / "out").glob("trajectories-*/*"))
    assert len(asked) == 3 * made
    assert json.loads((tmp_path / "out" / "generator.json").read_text())["training"]["distillation"]["candidates"] == 3


@pytest.fixture(scope="module")
def louder(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher, fine-tuned as it were: its tumors are far more uneven."""
    made = Generator.load(teacher)
    with torch.no_grad():
        made.networks.denoiser.unet.out[-1].conv.weight.mul_(300.0)
    folder = tmp_path_factory.mktemp("louder") / "generator"
    made.save(folder)
    return folder


def test_another_generator_makes_candidates_where_the_teacher_does_not_obey(manifest, teacher, louder, tmp_path):
    """Told apart by how far their tumors' latents spread; the student reads texts as the teacher does all the same."""

    def trajectories(name: str, of: Path, accepted: Sequence[bool], also: Sequence[Path] = ()) -> list[Trajectories]:
        """Of batches of two windows; ``accepted``: of the first tumors of both, then of the second ones."""
        answers = itertools.cycle(accepted)

        def judge(*_args: object) -> dict[str, bool]:
            return {"texture": next(answers)}

        out = run(manifest, of, tmp_path / name, steps=1, candidates=2, judge=judge, also=also)
        return [read_trajectories(file) for file in sorted(out.glob("trajectories-*/*"))]

    def spread(drawn: Sequence[Trajectories]) -> list[float]:
        return [float(each.z[-1].std()) for each in drawn]

    alone, theirs = trajectories("alone", teacher, [True]), trajectories("theirs", louder, [True])
    assert min(spread(theirs)) > 2 * max(spread(alone))  # or nothing here would tell them apart
    assert spread(trajectories("obeyed", teacher, [True], [louder])) == spread(alone)
    assert spread(trajectories("refused", teacher, [False], [louder])) == spread(alone)
    chosen = trajectories("chosen", teacher, [False, False, True, True], [louder])
    assert min(spread(chosen)) > 2 * max(spread(alone))
    assert all(torch.equal(one.pooled, other.pooled) for one, other in zip(alone, chosen, strict=True))
    recorded = json.loads((tmp_path / "chosen" / "generator.json").read_text())["training"]["distillation"]
    assert recorded["also"] == [weights_hash(Generator.load(louder).networks)]


@pytest.mark.parametrize(("candidates", "reason"), [(1, "2 generators cannot share 1"), (2, "does not fit")])
def test_a_generator_that_cannot_make_candidates_is_refused(manifest, teacher, louder, tmp_path, candidates, reason):
    other = Generator.load(louder)
    if candidates > 1:
        with torch.no_grad():
            next(other.networks.autoencoder.parameters()).mul_(2.0)
    other.save(tmp_path / "other")
    with pytest.raises(GeneratorError, match=reason):
        run(manifest, teacher, tmp_path / "out", also=[tmp_path / "other"], candidates=candidates, judge=never)
    assert not (tmp_path / "out").exists()


def never(*_args: object) -> dict[str, bool]:
    raise AssertionError("nothing is to be judged")


def test_rare_voxels_weigh_more_where_that_is_asked_for(manifest, teacher, distilled, tmp_path, monkeypatch):
    weighed: list[torch.Tensor] = []

    def spy(z0: torch.Tensor, mask: torch.Tensor, weight: float) -> torch.Tensor:
        assert weight == 0.5
        weighed.append(z0.clone())
        return rare_weights(z0, mask, weight)

    with monkeypatch.context() as patch:
        patch.setattr(module, "rare_weights", spy)
        rare = run(manifest, teacher, tmp_path / "rare", rare_weight=0.5)
    ends = [read_trajectories(file).z[-1] for file in rare.glob("trajectories-*/*")]
    assert len(weighed) == STEPS
    assert all(any(torch.equal(z0, end) for end in ends) for z0 in weighed)  # of the tumor, not of the noise
    facts = [json.loads((f / "generator.json").read_text())["training"]["distillation"] for f in (distilled, rare)]
    assert [each.get("rare_weight") for each in facts] == [None, 0.5]
    first, second = (load_file(folder / "distilled.safetensors") for folder in (distilled, rare))
    assert not all(torch.equal(first[name], second[name]) for name in first)
    files = [sorted(folder.glob("trajectories-*/*")) for folder in (distilled, rare)]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    with pytest.raises(GeneratorError, match="began with rare_weight"):
        run(manifest, teacher, rare, resume=True)
    with pytest.raises(GeneratorError, match="rare_weight is nan"):
        run(manifest, teacher, tmp_path / "out", rare_weight=math.nan)


def test_trajectories_of_other_texts_or_of_another_guidance_are_not_used(manifest, teacher, tmp_path):
    other = write_manifest(tmp_path / "other.jsonl", [{**line, "texts": ["the liver"]} for line in entries(manifest)])
    guided = shutil.copytree(teacher, tmp_path / "guided")
    config = json.loads((guided / "generator.json").read_text())
    config["sampling"]["guidance"] = 3.0
    (guided / "generator.json").write_text(json.dumps(config))
    for number, (data, of) in enumerate([(manifest, teacher), (other, teacher), (manifest, guided)]):
        run(data, of, tmp_path / str(number), steps=1, cache=tmp_path / "cache")
    folders = sorted((tmp_path / "cache").glob("trajectories-*"))
    assert len(folders) == 3
    ends = [read_trajectories(folder / "000000.safetensors").z[-1] for folder in folders]
    assert not any(torch.equal(a, b) for a, b in ((ends[0], ends[1]), (ends[0], ends[2]), (ends[1], ends[2])))


def test_a_gradient_that_is_no_number_stops_the_run_before_a_checkpoint(manifest, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "clip_grad_norm_", lambda *_args: torch.tensor(math.inf))
    with pytest.raises(GeneratorError, match="loss of step 1 is nan"):
        run(manifest, teacher, tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint").exists()
    assert not (tmp_path / "out" / "generator.json").exists()


def test_bad_lines_are_skipped_and_listed_where_that_is_asked_for(manifest, teacher, distilled, tmp_path, capsys):
    lines = entries(manifest)
    bad = [{**lines[0], "id": "absent", "image": "nowhere.nii.gz"}, {**lines[0], "id": "empty", "tumor_label": 9}]
    mixed = write_manifest(tmp_path / "mixed.jsonl", [*lines, *bad])
    with pytest.raises(GeneratorError, match="nowhere"):
        run(mixed, teacher, tmp_path / "out")
    out = run(mixed, teacher, tmp_path / "out", skip_bad=True)
    assert capsys.readouterr().err.count("skipped: ") == 2
    a, b = (load_file(folder / "distilled.safetensors") for folder in (out, distilled))
    assert all(torch.equal(a[name], b[name]) for name in a)
