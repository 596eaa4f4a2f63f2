"""The trainer inside nnU-Net: it trains, continues and predicts, and says what it injected."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnunet_textomorph.cli import main
from nnunet_textomorph.nnunet_commands import trainer_folder
from nnunet_textomorph.phantom import write_phantom
from nnunet_textomorph.plan import FILE_NAME, save_plan, write_plan
from nnunet_textomorph.reduced_plan import reduce_plans

NAME, NUMBER, PLANS = "Dataset986_Phantom", "986", "nnUNetReducedPlans"
TRAIN = "nnunetv2.run.run_training:run_training_entry"
PREDICT = "nnunetv2.inference.predict_from_raw_data:predict_entry_point"
PREPARE = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:plan_and_preprocess_entry"
ARGUMENTS = [NUMBER, "3d_fullres", "0", "-p", PLANS, "-tr", "nnUNetTrainerTextoMorph", "-device", "cpu"]


class NnUNet:
    """nnU-Net's folders and commands, each in a process of its own as users run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            **{f"nnUNet_{part}": str(folder / part) for part in ("raw", "preprocessed", "results")},
            **trainer_folder(),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",
        }
        self.preprocessed = folder / "preprocessed" / NAME

    def run(self, entry: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        module, function = entry.split(":")
        code = f"from {module} import {function}; {function}()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment,
            cwd=self.folder,  # in this repository's root, nnunet_textomorph lies without its parts
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def plan(self, **changes: object) -> None:
        path = self.preprocessed / FILE_NAME
        path.unlink(missing_ok=True)
        plan, _ = write_plan(NUMBER, plans=PLANS)
        short = {"epochs": 1, "iterations_per_epoch": 4, "validation_iterations_per_epoch": 1, "largest_mm": 30.0}
        save_plan(plan.model_copy(update={**short, "probability": 1.0, "steps": 2, **changes}), path)

    def log(self) -> str:
        logs = sorted((self.folder / "results").rglob("training_log_*.txt"))
        return "\n".join(path.read_text() for path in logs)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> NnUNet:
    """A phantom of five patients, planned, preprocessed and reduced."""
    made = NnUNet(tmp_path_factory.mktemp("nnunet"))
    write_phantom(made.folder / "raw" / NAME, "liver", 5, seed=2, spacing=(4.0, 4.0, 4.0), progress=False)
    arguments = ["-d", NUMBER, "-c", "3d_fullres", "-np", "1", "-npfp", "1", "--verify_dataset_integrity"]
    done = made.run(PREPARE, arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    reduce_plans(made.preprocessed, reduced=PLANS)
    return made


@pytest.fixture(autouse=True)
def _environment(nnunet: NnUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in nnunet.environment.items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)


def test_training_injects_continues_validates_and_predicts(nnunet: NnUNet) -> None:
    nnunet.plan()
    done = nnunet.run(TRAIN, ARGUMENTS)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "tumors injected" in nnunet.log()
    assert "WARNING" not in nnunet.log()
    fold = next((nnunet.folder / "results").rglob("fold_0"))
    assert list((fold / "textomorph_previews").glob("injected_*.png"))
    assert (fold / "textomorph_inputs.json").is_file()

    nnunet.plan(epochs=2)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    done = nnunet.run(TRAIN, [*ARGUMENTS, "--c"])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert nnunet.log().count("tumors injected") == 2

    (fold / "validation" / "summary.json").unlink()
    done = nnunet.run(TRAIN, [*ARGUMENTS, "--val"])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (fold / "validation" / "summary.json").is_file()

    out = nnunet.folder / "predicted"
    images = nnunet.folder / "raw" / NAME / "imagesTr"
    arguments = ["-i", str(images), "-o", str(out), "-d", NUMBER, "-c", "3d_fullres", "-p", PLANS, "-f", "0"]
    arguments += ["-tr", "nnUNetTrainerTextoMorph", "-device", "cpu", "--disable_tta", "-npp", "1", "-nps", "1"]
    done = nnunet.run(PREDICT, arguments)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert len(list(out.glob("*.nii.gz"))) == 5


def test_a_benchmark_trains_both_trainers_by_the_same_schedule_and_compares_them(
    nnunet: NnUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    nnunet.plan(iterations_per_epoch=3)  # gives way
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    arguments = ["benchmark", NUMBER, "-p", PLANS, "--trainers", "nnUNetTrainer", "nnUNetTrainerTextoMorph"]
    arguments += ["--folds", "0", "--epochs", "1", "--iterations", "2", "--device", "cpu"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    results = nnunet.folder / "results" / NAME
    content = json.loads((results / "TextoMorphBenchmark" / "results.json").read_text())
    assert list(content["methods"]) == ["nnUNetTrainer", "nnUNetTrainerTextoMorph"]
    assert content["settings"]["cases"] == 1
    for name in content["methods"]:
        fold = results / f"{name}_1epochs_2iterations__{PLANS}__3d_fullres" / "fold_0"
        (log,) = fold.glob("training_log_*.txt")
        assert log.read_text().count("Epoch 0") == 1
        assert "Epoch 1" not in log.read_text()
        assert ("tumors injected" in log.read_text()) == ("TextoMorph" in name)
        if "TextoMorph" in name:  # 2 iterations of 2 patches each, not the plan's 3
            injected = re.search(r"TextoMorph: (\d+) tumors injected.*? (\d+) attempts", log.read_text())
            assert injected
            assert int(injected[1]) + int(injected[2]) >= 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"probabilty": 1}, "probabilty"), ({"generator": "/nowhere"}, "/nowhere"), ({"bank": "/nowhere"}, "/nowhere")],
)
def test_a_plan_that_cannot_be_ends_training_in_one_sentence(nnunet: NnUNet, change: dict, sentence: str) -> None:
    nnunet.plan()
    path = nnunet.preprocessed / FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = nnunet.run(TRAIN, ARGUMENTS)
    assert done.returncode == 2
    assert sentence in done.stdout
    assert "Traceback" not in done.stderr


def test_without_a_plan_one_is_inferred_and_the_log_says_so(nnunet: NnUNet) -> None:
    (nnunet.preprocessed / FILE_NAME).unlink(missing_ok=True)
    plans, dataset = (str(nnunet.preprocessed / name) for name in (f"{PLANS}.json", "dataset.json"))
    code = (
        "import torch, json; from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer; "
        "from nnunet_textomorph.trainer_mixin import TextoMorphMixin; "
        "T = type('T', (TextoMorphMixin, nnUNetTrainer), {}); "
        f"plans = json.load(open({plans!r})); plans['continue_training'] = False; d = json.load(open({dataset!r})); "
        "t = T(plans, '3d_fullres', 0, d, torch.device('cpu')); t.initialize(); print(t._textomorph_plan.hosts)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=nnunet.environment,
        cwd=nnunet.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "inferred" in done.stdout
    assert "{'liver': 1}" in done.stdout
