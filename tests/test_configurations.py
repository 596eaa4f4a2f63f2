"""Every kind of nnU-Net training that tumors are put into: two epochs each, of tiny patches and networks."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_nnunet import Ball, TinyNnUNet

from nnunet_textomorph import transform
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER, WEIGHTS_NAME
from nnunet_textomorph.missed import file_digest
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, infer_plan, save_plan
from nnunet_textomorph.provenance import INPUTS_NAME, note_inputs
from nnunet_textomorph.requests import draw_request
from nnunet_textomorph.trainer_mixin import TextoMorphMixin

SMALL: Ball = ((9, 20, 20), 5.0, 2)
TWO_ORGANS = {"background": 0, "liver": 1, "liver_tumor": 2, "kidney": 3, "kidney_tumor": 4}


class Trainer(TextoMorphMixin, nnUNetTrainer):
    pass


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading in this process, and nothing that takes time and is nnU-Net's own."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr(nnUNetDatasetNumpy, "unpack_dataset", lambda *_args, **_settings: None)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda *_args: None)
    monkeypatch.setattr(nnUNetTrainer, "plot_network_architecture", lambda _trainer: None)
    torch.set_num_threads(1)


def build(made: TinyNnUNet, generator: Path, monkeypatch: pytest.MonkeyPatch, cases: Sequence[Sequence[Ball]]) -> None:
    """Fill a dataset with cases of these lesions, in two folds, and plan a short training."""
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    for i, balls in enumerate(cases):
        made.add(i % 2, f"case_{i}", balls, [])
    made.preprocess()
    write_plan(made, generator=str(generator))


def write_plan(made: TinyNnUNet, **changes: object) -> None:
    path = made.preprocessed / FILE_NAME
    hosts = [name for name in ("liver", "kidney") if name in made.labels]  # of several, they have to be named
    known = json.loads(path.read_text()) if path.is_file() else None
    known = known or infer_plan(made.dataset_json, host_labels=hosts if len(hosts) > 1 else ()).model_dump()
    short = {"epochs": 2, "iterations_per_epoch": 2, "validation_iterations_per_epoch": 1, "largest_mm": 14.0}
    save_plan(TextoMorphPlans(**{**known, **short, "probability": 1.0, "steps": 1, **changes}), path)


def trainer(made: TinyNnUNet, configuration: str | None = None, continued: bool = False) -> Any:
    plans = {**made.plans, "continue_training": continued}
    return Trainer(plans, configuration or made.configuration, 0, made.dataset_json, torch.device("cpu"))


def train(made: TinyNnUNet) -> Any:
    np.random.seed(0)
    done = trainer(made)
    done.run_training()
    return done


def lines(done: Any) -> list[str]:
    return [line for line in Path(done.log_file).read_text().splitlines() if "tumors injected" in line]


CONFIGURATIONS: dict[str, tuple[dict[str, Any], list[list[Ball]]]] = {
    "residual encoder": ({"residual": True}, [[SMALL], [SMALL]]),
    "3d_lowres": ({"configuration": "3d_lowres"}, [[SMALL], [SMALL]]),
    "regions": ({"labels": {"background": 0, "liver": [1, 2], "tumor": [2]}}, [[SMALL], [SMALL]]),
    "ignore label": (
        {"labels": {"background": 0, "liver": 1, "tumor": 2, "ignore": 3}},
        [[SMALL, ((9, 36, 40), 8.0, 3)], [SMALL]],
    ),
    "anisotropic and transposed": ({"transpose_forward": [2, 0, 1]}, [[SMALL], [SMALL]]),
    "healthy cases": ({}, [[SMALL], [SMALL], [], []]),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_two_epochs(name: str, tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, cases = CONFIGURATIONS[name]
    made = TinyNnUNet(tmp_path, **settings)
    build(made, generator_folder, monkeypatch, cases)
    done = train(made)
    told = lines(done)
    assert len(told) == 2
    assert done.logger.get_value("textomorph_injected", None)[1] > 0
    assert (Path(done.output_folder) / "checkpoint_final.pth").is_file()


def test_another_generator_trains_and_is_noted(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    write_plan(made, generator="syntumor")
    done = train(made)
    assert done.logger.get_value("textomorph_injected", None)[1] > 0
    noted = json.loads((Path(done.output_folder) / INPUTS_NAME).read_text())
    assert noted[-1]["generator"] == {"name": "syntumor"}


def test_a_distilled_denoiser_is_noted(tmp_path: Path) -> None:
    plan = TextoMorphPlans(hosts={"liver": 1}, tumors={"tumor": 2}, organ="liver")
    note_inputs(tmp_path, "trainer", 0, plan, None, "workers")
    noted = json.loads((tmp_path / INPUTS_NAME).read_text())
    digest = hashlib.sha256((DEFAULT_FOLDER / "distilled.safetensors").read_bytes()).hexdigest()
    assert noted[-1]["generator"]["distilled.safetensors_sha256"] == digest


def test_tumors_of_several_organs(tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = TinyNnUNet(tmp_path, labels=dict(TWO_ORGANS))
    kidney: Ball = ((9, 24, 38), 18.0, 3)
    build(made, generator_folder, monkeypatch, [[kidney, SMALL], [kidney, ((9, 24, 38), 4.0, 4)]])
    write_plan(made, iterations_per_epoch=8, largest_mm=8.0)
    asked: list[tuple[str, str]] = []

    def noted(*given: Any, **settings: Any) -> Any:
        request = draw_request(*given, **settings)
        if request is not None:
            asked.append((request.text, "liver" if request.label == 2 else "kidney"))
        return request

    monkeypatch.setattr(transform, "draw_request", noted)
    done = train(made)
    for text, organ in asked:
        assert {"liver": "kidney", "kidney": "liver"}[organ] not in text
    counts = [
        sum(done.logger.get_value(f"textomorph_injected_class_{name}", None))
        for name in ("liver_tumor", "kidney_tumor")
    ]
    assert min(counts) > 0


def test_what_is_told_and_traced_and_continued(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    first = train(made)
    logged = first.logger.local_logger.my_fantastic_logging
    ours = {key: values for key, values in logged.items() if key.startswith("textomorph_")}
    assert {len(values) for values in logged.values()} == {2}
    assert ours["textomorph_injected"] == ours["textomorph_injected_random"] == ours["textomorph_injected_class_tumor"]
    assert 0 < ours["textomorph_patches_with_tumor"][1] <= 1
    assert 0 < ours["textomorph_median_seconds"][1] <= ours["textomorph_95th_percentile_seconds"][1]

    (entry,) = json.loads((Path(first.output_folder) / INPUTS_NAME).read_text())
    assert entry["generator"]["model.safetensors_sha256"] == file_digest(generator_folder / WEIGHTS_NAME)
    assert entry["plan"] == json.loads((made.preprocessed / FILE_NAME).read_text())
    assert entry["bank"]["sha256"] == file_digest(Path(entry["bank"]["file"]))
    assert (entry["from_epoch"], entry["synthesis"]) == (0, "workers")

    write_plan(made, epochs=3, mix={"random": 1.0, "class_specific": 1.0})
    again = trainer(made, continued=True)
    del logged["textomorph_no_room"]  # as if that had not been counted before
    checkpoint = torch.load(Path(first.output_folder) / "checkpoint_final.pth", weights_only=False)
    del checkpoint["logging"]["textomorph_no_room"]
    torch.save(checkpoint, Path(first.output_folder) / "checkpoint_final.pth")
    maybe_load_checkpoint(again, continue_training=True, validation_only=False)
    again.run_training()
    logged = again.logger.local_logger.my_fantastic_logging
    assert {len(values) for values in logged.values()} == {3}
    assert math.isnan(logged["textomorph_no_room"][0])
    entries = json.loads((Path(again.output_folder) / INPUTS_NAME).read_text())
    assert [entry["from_epoch"] for entry in entries] == [0, 2]


def test_the_service_in_place_of_the_workers(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    write_plan(made, synthesis="service", epochs=1)
    done = train(made)
    assert done.logger.get_value("textomorph_injected", -1) > 0
    assert done._textomorph_synthesis.ended() is None
    (entry,) = json.loads((Path(done.output_folder) / INPUTS_NAME).read_text())
    assert entry["synthesis"] == "service on cpu"


@pytest.mark.parametrize("configuration", ["2d", "3d_second_stage"])
def test_2d_and_cascades_are_refused_at_the_start(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch, configuration: str
) -> None:
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    with pytest.raises(NotImplementedError, match="3d_fullres"):
        trainer(made, configuration).initialize()


def test_a_plan_of_labels_that_changed_since_is_refused(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    for labels, told in (
        ({"background": 0, "liver": 1, "cyst": 2}, "no label 'tumor'"),
        ({"background": 0, "liver": 2, "tumor": 1}, "'liver' is 1, but 2"),
    ):
        made.labels = labels
        with pytest.raises(SystemExit) as stopped:
            trainer(made).initialize()
        assert stopped.value.code == 2
        assert told in capsys.readouterr().out


def test_an_empty_description_bank_is_refused(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    (tmp_path / "bank.jsonl").write_text("\n")
    write_plan(made, bank=str(tmp_path / "bank.jsonl"))
    with pytest.raises(SystemExit) as stopped:
        train(made)
    assert stopped.value.code == 2
    assert "bank.jsonl: holds no line" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # in nnU-Net's loader
def test_a_worker_that_is_killed_at_once_is_told(
    tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where memory runs out when loading begins: nnU-Net has not given its loaders yet."""
    made = TinyNnUNet(tmp_path)
    build(made, generator_folder, monkeypatch, [[SMALL], [SMALL]])
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    monkeypatch.setattr(transform, "draw_request", lambda *_given: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(SystemExit) as stopped:
        train(made)
    assert stopped.value.code == 1
    assert "training stopped: a worker that loads data ended before its first batch" in capsys.readouterr().out
