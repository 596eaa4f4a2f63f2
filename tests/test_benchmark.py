"""Benchmark: who found what, with which certainty, and what cannot be compared."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from tiny_nnunet import TinyNnUNet, label_map, write

from nnunet_textomorph import benchmark as module
from nnunet_textomorph.benchmark import benchmark
from nnunet_textomorph.cli import main
from nnunet_textomorph.nnunet_files import Validated

A, B, C = ((6, 14, 16), 11.0, 2), ((12, 30, 38), 7.0, 2), ((9, 36, 10), 6.0, 2)
OTHER = "nnUNetTrainerDA5"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyNnUNet:
    """Two folds. The default trainer misses B in case_1 and invents C; the other one finds all and invents nothing."""
    made = TinyNnUNet(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.add(0, "case_1", [A, B], [A, C])
    made.add(1, "case_2", [A], [((6, 14, 17), 11.0, 2)])
    made.add(1, "case_3", [], [])
    better = made.results.with_name(made.results.name.replace("nnUNetTrainer", OTHER))
    shutil.copytree(made.results, better)
    write(better / "fold_0" / "validation" / "case_1.nii.gz", label_map([A, B]))
    return made


def run(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["benchmark", "985", "--trainers", "nnUNetTrainer", OTHER, *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_measures_tests_and_files(dataset: TinyNnUNet) -> None:
    code, output = run("--folds", "0", "1")
    assert code == 0, output
    folder = dataset.root / "results" / dataset.name / "TextoMorphBenchmark"
    results = json.loads((folder / "results.json").read_text())
    first, other = (results["methods"][name]["all"] for name in ("nnUNetTrainer", OTHER))
    assert [first[f"sensitivity_{s}"]["number"] for s in ("small", "medium", "large", "all")] == [1, 2, 0, 3]
    assert (first["sensitivity_small"]["value"], other["sensitivity_small"]["value"]) == (0, 1)
    assert first["sensitivity_large"]["value"] is None
    assert first["false_positives"]["value"] == pytest.approx(1 / 3)
    assert first["dsc"]["number"] == 2  # case_3 has no tumor
    truth, predicted = label_map([A]) == 2, label_map([((6, 14, 17), 11.0, 2)]) == 2
    shifted = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
    rows = list(csv.DictReader((folder / "cases.csv").open()))
    assert len(rows) == 2 * 3 * 2
    dsc = {(r["method"], r["case"]): r["dsc"] for r in rows if r["host"] == "all"}
    assert float(dsc[(OTHER, "case_2")]) == pytest.approx(shifted, abs=1e-6)
    assert dsc[(OTHER, "case_3")] == ""
    tests = {t["measure"]: t for t in results["tests"]}
    assert tests["sensitivity_all"]["difference"] == pytest.approx(1 / 3)
    assert tests["sensitivity_all"]["p"] == 1.0
    assert (tests["sensitivity_small"]["regained"], tests["sensitivity_small"]["lost"]) == (1, 0)
    assert (tests["sensitivity_medium"]["regained"], tests["sensitivity_medium"]["lost"]) == (0, 0)
    assert tests["dsc"]["regained"] is None
    lesions = list(csv.DictReader((folder / "lesions.csv").open()))
    assert [(r["case"], r["size"], r["found"]) for r in lesions if r["method"] == "nnUNetTrainer"] == [
        ("case_1", "medium", "True"),
        ("case_1", "small", "False"),
        ("case_2", "medium", "True"),
    ]
    table = (folder / "table.md").read_text()
    assert "d ≥ 50 mm (n = 0)" in table
    assert "| – |" in table
    assert "| 1 / 0 | McNemar | 1 |" in table
    latex = (folder / "table.tex").read_text()
    assert latex.count(r"\\") >= 4
    assert "nan" not in (table + latex).lower()
    for picture in ("sensitivity_by_size.png", "paired_dsc.png", "paired_nsd.png"):
        assert (folder / picture).stat().st_size > 5000
    assert not list(folder.parent.glob(".partial*"))
    assert not (folder / "scores").exists()
    code, output = run("--folds", "0", "1")
    assert (code, "--overwrite" in output) == (2, True)


def test_one_fold_and_scored_cases_are_not_scored_again(dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []
    whole = module.score_case

    def counted(case: Validated, *rest: object) -> object:
        scored.append(case.name)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return whole(case, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "score_case", counted)
    with pytest.raises(KeyboardInterrupt):
        benchmark("985", trainers=["nnUNetTrainer", OTHER], folds=[1])
    done = benchmark("985", trainers=["nnUNetTrainer", OTHER], folds=[1])
    assert scored == ["case_2", "case_3", "case_2", "case_2", "case_3"]
    assert done.results.settings["cases"] == 2


def test_what_is_missing_is_trained_with_nnunets_own_command(
    dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def trained(entry: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        commands.append(list(arguments))
        name = arguments[arguments.index("-tr") + 1]
        fold = f"fold_{arguments[2]}"
        target = dataset.results.with_name(f"{name}__nnUNetPlans__3d_fullres") / fold
        shutil.copytree(dataset.results / fold, target, dirs_exist_ok=True)

    monkeypatch.setattr(module, "run_nnunet", trained)
    half = dataset.results.with_name("nnUNetTrainer_3epochs_4iterations__nnUNetPlans__3d_fullres") / "fold_1"
    half.mkdir(parents=True)
    (half / "checkpoint_latest.pth").touch()
    code, output = run("--folds", "0", "1", "--epochs", "3", "--iterations", "4", "--device", "cpu")
    assert code == 0, output
    names = [f"{trainer}_3epochs_4iterations" for trainer in ("nnUNetTrainer", OTHER)]
    assert [(c[c.index("-tr") + 1], c[2]) for c in commands] == [(n, f) for n in names for f in "01"]
    assert ["--c" in c for c in commands] == [False, True, False, False]
    assert commands[0][:2] == [dataset.name, "3d_fullres"]
    assert "3 epochs of 4 iterations" in output


def test_subgroups_have_their_patients_and_intervals(dataset: TinyNnUNet, tmp_path: Path) -> None:
    patients = tmp_path / "patients.csv"
    patients.write_text("case,age,sex\ncase_1,61,F\ncase_2,40,M\n")
    code, output = run("--folds", "0", "1", "--patients", str(patients), "--by", "age", "sex")
    assert code == 0, output
    folder = dataset.root / "results" / dataset.name / "TextoMorphBenchmark"
    rows = list(csv.DictReader((folder / "subgroups.csv").open()))
    assert [(r["column"], r["group"], r["patients"]) for r in rows if r["method"] == OTHER] == [
        ("age", "40", "1"),
        ("age", "61", "1"),
        ("age", "not stated", "1"),
        ("sex", "F", "1"),
        ("sex", "M", "1"),
        ("sex", "not stated", "1"),
    ]
    assert (folder / "by_sex_dsc.png").is_file()
    for content, sentence in (
        ("case,age\ncase_9,61\n", "case_9"),
        ("case,sex\ncase_1,F\n", "age"),
        ("case,age\ncase_1,6\ncase_1,6\n", "line 3"),
    ):
        patients.write_text(content)
        code, output = run("--folds", "0", "--patients", str(patients), "--by", "age", "--overwrite")
        assert code == 2
        assert sentence in output
    assert run("--folds", "0", "--by", "age", "--overwrite")[0] == 2


def test_other_predictions_are_compared_if_they_are_of_the_same_cases(dataset: TinyNnUNet, tmp_path: Path) -> None:
    given = tmp_path / "given"
    shutil.copytree(dataset.validation(1), given)
    option = ("--predictions", f"given={given}")
    code, output = run("--folds", "0", "1", *option)
    assert code == 2
    assert "case_1" in output
    code, output = run("--folds", "1", *option)
    assert code == 0, output
    assert "| given |" in output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("label", "holds the label 7"),
        ("spacing", "spacing of 3 x 1.5 x 2 mm"),
        ("shape", "voxels"),
        ("fold", "no fold 4"),
        ("untrained", "nnUNetv2_train Dataset985_Tiny 3d_fullres 0"),
        ("twice", "named twice"),
        ("unknown", "finds no trainer 'nnUNetTrainr'"),
        ("configuration", "no configuration"),
    ],
)
def test_what_cannot_be_compared_is_named(dataset: TinyNnUNet, change: str, sentence: str) -> None:
    path = dataset.validation(1) / "case_2.nii.gz"
    options = ["--folds", "1", "--no-train"]
    if change == "label":
        write(path, np.where(label_map([A]) == 2, 7, 1).astype(np.uint8))
    elif change == "spacing":
        image = sitk.ReadImage(str(path))
        image.SetSpacing((2.0, 1.5, 3.0))
        sitk.WriteImage(image, str(path))
    elif change == "shape":
        write(path, label_map([A])[:-1])
    elif change == "fold":
        options = ["--folds", "4"]
    elif change == "untrained":
        (dataset.validation(0) / "summary.json").unlink()
        options = ["--folds", "0", "--no-train"]
    elif change == "twice":
        options += ["--trainers", OTHER]
    elif change == "unknown":
        options += ["--trainers", "nnUNetTrainr"]
    else:
        options += ["-c", "3d_lowres"]
    code, output = run(*options)
    assert code == 2
    assert sentence in output.replace("\n", " ")
    assert "Traceback" not in output
    assert not (dataset.root / "results" / dataset.name / "TextoMorphBenchmark").exists()
