"""Benchmark of classifiers: Table IV, tests against the first trainer, and what cannot be compared."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny_classes import NAME, NUMBER, TinyClasses, standard

from nnunet_textomorph import benchmark as module
from nnunet_textomorph.classification_results import Result, write_results
from nnunet_textomorph.cli import main

REAL, ADDED = "nnUNetTrainerTextoMorphClassifierReal", "nnUNetTrainerTextoMorphClassifier"
CLASSES, MALIGNANT = ("PDAC", "PNET", "cyst"), ("PDAC", "PNET")
SURE = {"PDAC": (0.8, 0.1, 0.1), "PNET": (0.1, 0.8, 0.1), "cyst": (0.1, 0.2, 0.7), "SCA": (0.1, 0.2, 0.7)}
FOLDS = {0: {"a": "PDAC", "b": "PNET", "c": "cyst"}, 1: {"d": "PDAC", "e": "cyst", "f": "cyst"}}
WRONG = {REAL: {"a": "cyst", "e": "PDAC"}, ADDED: {"e": "PNET"}}  # by case, what is said instead


def write_validation(
    folder: Path, true: dict[str, str], wrong: dict[str, str], classes: tuple[str, ...] = CLASSES
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    patients = [Result(case, None, SURE[wrong.get(case, kind)], kind) for case, kind in true.items()]
    lesions = [Result(x.case, 0, x.probabilities, x.true, (0.0, 0.0, 0.0), 10.0) for x in patients]
    write_results(folder, lesions, patients, classes, MALIGNANT, None, {})


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyClasses:
    made = TinyClasses(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    splits = [{"train": list(FOLDS[1 - fold]), "val": list(FOLDS[fold])} for fold in FOLDS]
    (made.preprocessed / "splits_final.json").write_text(json.dumps(splits))
    for trainer, wrong in WRONG.items():
        for fold, true in FOLDS.items():
            write_validation(validation(made, trainer, fold), true, wrong)
    return made


def validation(dataset: TinyClasses, trainer: str, fold: int) -> Path:
    return dataset.folder(trainer) / f"fold_{fold}" / "validation"


def run(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["benchmark", NUMBER, "--trainers", REAL, ADDED, "--folds", "0", "1", *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_table_four_tests_and_files(dataset: TinyClasses) -> None:
    code, output = run("--no-train")
    assert code == 0, output
    folder = dataset.root / "results" / NAME / "TextoMorphClassifierBenchmark"
    results = json.loads((folder / "results.json").read_text())
    first, other = (results["methods"][name]["groups"] for name in (REAL, ADDED))
    assert (first["malignant"]["right"], first["malignant"]["predicted"], first["malignant"]["number"]) == (2, 3, 3)
    assert (other["malignant"]["right"], other["malignant"]["predicted"]) == (3, 4)
    assert (first["benign"]["sensitivity"], other["benign"]["ppv"]) == (pytest.approx(2 / 3), 1.0)
    tests = {(t["group"], t["measure"]): t for t in results["tests"]}
    assert {t["kind"] for t in results["tests"] if t["group"] in CLASSES} == {"classes"}
    malignant = tests["malignant", "sensitivity"]
    assert malignant["difference"] == pytest.approx(1 / 3)
    assert (malignant["regained"], malignant["lost"], malignant["p"], malignant["p_holm"]) == (1, 0, 1.0, 1.0)
    assert malignant["low"] <= malignant["difference"] <= malignant["high"]
    assert tests["malignant", "ppv"]["difference"] == pytest.approx(3 / 4 - 2 / 3)
    assert tests["malignant", "ppv"]["p"] is None  # McNemar's test is of hits among the same patients
    area = results["methods"][ADDED]["groups"]["malignant"]["auc"] - first["malignant"]["auc"]
    assert tests["malignant", "auc"]["difference"] == pytest.approx(area)
    assert tests["PDAC", "sensitivity"]["regained"] == 1
    assert ("PDAC", "auc") not in tests
    assert (results["settings"]["patients"], results["settings"]["validated"]) == (6, 6)

    table = (folder / "table.md").read_text()
    assert table.strip() in output
    assert "malignant: PDAC, PNET (n = 3): sensitivity" in table
    assert "benign: cyst (n = 3): PPV" in table
    assert "| 1 / 0 | 1 | 1 |" in table
    latex = (folder / "table.tex").read_text()
    assert r"\multicolumn{2}{c}{malignant: PDAC, PNET (n = 3)}" in latex
    assert rf"{ADDED} & 100.0 [43.9, 100.0] & 75.0 [30.1, 95.4] & 66.7 [20.8, 93.9] & 100.0 [34.2, 100.0] \\" in latex
    assert not re.search(r"\bnan\b", table + latex)
    rows = list(csv.DictReader((folder / "patients.csv").open()))
    assert [(r["case"], r["true"], r["predicted"]) for r in rows if r["method"] == REAL][:2] == [
        ("a", "PDAC", "cyst"),
        ("b", "PNET", "PNET"),
    ]
    assert (folder / "confusion_matrices.png").stat().st_size > 5000
    assert not list(folder.parent.glob(".partial*"))
    code, output = run("--no-train")
    assert (code, "--overwrite" in output) == (2, True)
    assert run("--no-train", "--overwrite")[0] == 0


def test_a_significant_difference_gets_a_star(dataset: TinyClasses) -> None:
    many = {f"p{i:02d}": ("PDAC", "cyst")[i % 2] for i in range(20)}
    (dataset.preprocessed / "splits_final.json").write_text(json.dumps([{"train": [], "val": list(many)}] * 2))
    write_validation(validation(dataset, REAL, 0), many, dict.fromkeys(many, "cyst"))
    write_validation(validation(dataset, ADDED, 0), many, {})
    done = CliRunner().invoke(main, ["benchmark", NUMBER, "--trainers", REAL, ADDED, "--folds", "0", "--no-train"])
    assert done.exit_code == 0, done.output
    ours = next(line for line in done.output.splitlines() if line.startswith(f"| {ADDED} |"))
    assert "100.0 [72.2, 100.0]* | 100.0 [72.2, 100.0] | 1.000 |" in ours
    assert "PNET (n = 0): sensitivity" in done.output
    assert not re.search(r"\bnan\b", done.output)


def test_what_is_missing_is_trained(dataset: TinyClasses, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def trained(entry: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        commands.append(arguments)
        fold = int(arguments[2])
        write_validation(validation(dataset, arguments[arguments.index("-tr") + 1], fold), FOLDS[fold], {})

    monkeypatch.setattr(module, "run_nnunet", trained)
    code, output = run("--epochs", "3", "--iterations", "4", "--device", "cpu")
    assert code == 0, output
    names = [f"{trainer}_3epochs_4iterations" for trainer in (REAL, ADDED)]
    assert [(c[c.index("-tr") + 1], c[2]) for c in commands] == [(name, fold) for name in names for fold in "01"]
    assert "3 epochs of 4 iterations" in output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("mixed", f"{REAL} classifies lesions and nnUNetTrainer segments them"),
        ("patients", "without --predictions, --patients and --by"),
        ("untrained", f"nnUNetv2_train {NAME} 3d_fullres 1 -p nnUNetPlans -tr {ADDED}"),
        ("split", "(c is in one of them only)"),
        ("twice", "splits_final.json: a is in val of fold 0 and again of fold 1"),
        ("truth", "other patients or other classes of them"),
        ("classes", "classes is ('PDAC', 'PNET', 'SCA'), and ('PDAC', 'PNET', 'cyst') of"),
        ("a fold's classes", "classes is ('PDAC', 'PNET', 'SCA'), and ('PDAC', 'PNET', 'cyst') in fold 0"),
        ("malignant", "'HCC' is none of the classes"),
        ("nan", "patients.0.probabilities.PDAC"),
        ("format", "format: Input should be 1"),
        ("true", "d truly is 'SCA', which is none of the classes"),
        ("cut", "classification.json: the file: Invalid JSON"),
        ("unknown", "finds no trainer 'nnUNetTrainerTextoMorphClassifer'"),
    ],
)
def test_what_cannot_be_compared_is_named(dataset: TinyClasses, change: str, sentence: str) -> None:
    options = ["--no-train"]
    folder = validation(dataset, ADDED, 1)
    if change == "mixed":
        options += ["--trainers", "nnUNetTrainer"]
    elif change == "patients":
        options += ["--by", "age"]
    elif change == "untrained":
        (folder / "classification.json").unlink()
    elif change == "split":
        splits = [{"train": ["c"], "val": ["a", "b"]}, {"train": [], "val": list(FOLDS[1])}]
        (dataset.preprocessed / "splits_final.json").write_text(json.dumps(splits))
    elif change == "twice":
        splits = [{"train": [], "val": list(FOLDS[0])}, {"train": [], "val": [*FOLDS[1], "a"]}]
        (dataset.preprocessed / "splits_final.json").write_text(json.dumps(splits))
        for trainer in WRONG:
            write_validation(validation(dataset, trainer, 1), {**FOLDS[1], "a": "PDAC"}, {})
    elif change == "truth":
        write_validation(folder, {**FOLDS[1], "f": "PNET"}, {})
    elif change == "classes":
        for fold, true in FOLDS.items():
            others = {case: kind.replace("cyst", "SCA") for case, kind in true.items()}
            write_validation(validation(dataset, ADDED, fold), others, {}, ("PDAC", "PNET", "SCA"))
    elif change == "a fold's classes":
        write_validation(folder, FOLDS[1], {}, ("PDAC", "PNET", "SCA"))
    elif change == "unknown":
        options += ["--trainers", "nnUNetTrainerTextoMorphClassifer"]
    else:
        path = folder / "classification.json"
        content = json.loads(path.read_text())
        if change == "malignant":
            content["malignant"] = ["HCC"]
        elif change == "nan":
            content["patients"][0]["probabilities"]["PDAC"] = float("nan")
        elif change == "format":
            content["format"] = 0
        elif change == "true":
            content["patients"][0]["true"] = "SCA"
        path.write_text(path.read_text()[:100] if change == "cut" else json.dumps(content))
    code, output = run(*options)
    assert code == 2
    assert sentence in output.replace("\n", " ")
    assert "Traceback" not in output
    assert not (dataset.root / "results" / NAME / "TextoMorphClassifierBenchmark").exists()


def test_classes_called_malignant_and_benign_are_not_the_groups(dataset: TinyClasses) -> None:
    classes, said = ("PNET", "benign", "malignant"), {"benign": (0.1, 0.8, 0.1), "malignant": (0.1, 0.1, 0.8)}
    true = {"a": "malignant", "b": "PNET", "c": "benign"}
    for trainer, of_pnet in ((REAL, (0.8, 0.1, 0.1)), (ADDED, (0.1, 0.1, 0.8))):
        patients = [Result(case, None, {**said, "PNET": of_pnet}[kind], kind) for case, kind in true.items()]
        write_results(validation(dataset, trainer, 0), [], patients, classes, ("PNET", "malignant"), None, {})
    done = CliRunner().invoke(main, ["benchmark", NUMBER, "--trainers", REAL, ADDED, "--folds", "0", "--no-train"])
    assert done.exit_code == 0, done.output
    found = json.loads((dataset.root / "results" / NAME / "TextoMorphClassifierBenchmark" / "results.json").read_text())
    tests = {(t["kind"], t["group"], t["measure"]): t["difference"] for t in found["tests"]}
    assert tests["groups", "malignant", "sensitivity"] == 0  # a PNET called malignant is still malignant
    assert tests["classes", "malignant", "ppv"] == -0.5
    assert tests["classes", "PNET", "sensitivity"] == -1


def test_without_a_malignant_class_each_class_has_its_auc(dataset: TinyClasses) -> None:
    for trainer in WRONG:
        patients = [Result(case, None, SURE[kind], kind) for case, kind in FOLDS[0].items()]
        write_results(validation(dataset, trainer, 0), [], patients, CLASSES, (), None, {})
    done = CliRunner().invoke(main, ["benchmark", NUMBER, "--trainers", REAL, ADDED, "--folds", "0", "--no-train"])
    assert done.exit_code == 0, done.output
    assert f"| {ADDED} | cyst | AUC | +0.000 [+0.000, +0.000] |" in done.output
    assert "| malignant |" not in done.output


@pytest.mark.slow
def test_both_classifiers_are_trained_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator_folder: Path
) -> None:
    made = TinyClasses(tmp_path)
    made.prepare(standard(made))
    made.plan({"normal": True}, generator=str(generator_folder), epochs=None, iterations_per_epoch=None)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    torch.set_num_threads(1)
    options = ["--trainers", REAL, ADDED, "--folds", "0", "--epochs", "1", "--iterations", "3", "--device", "cpu"]
    done = CliRunner().invoke(main, ["benchmark", NUMBER, *options])
    assert done.exit_code == 0, done.output
    assert "4 of the 4 cases of the folds 0" in done.output
    assert "normal (n = 1): sensitivity" in done.output
