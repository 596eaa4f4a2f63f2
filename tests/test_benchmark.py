"""Benchmark: who found what, with which certainty, and what cannot be compared."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from matplotlib.axes import Axes
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


def test_what_fewer_than_three_patients_say_has_no_interval(dataset: TinyNnUNet) -> None:
    code, output = run("--folds", "0", "1")
    assert code == 0, output
    results = json.loads((dataset.root / "results" / dataset.name / "TextoMorphBenchmark" / "results.json").read_text())
    of = results["methods"][OTHER]["all"]
    assert [of["dsc"][key] for key in ("low", "high", "number")] == [None, None, 2]  # two of three have a tumor
    assert of["sensitivity_small"]["low"] is None
    assert of["false_positives"]["low"] == 0
    assert {t["measure"] for t in results["tests"] if t["low"] is not None} == {"false_positives"}
    ours = next(line for line in output.splitlines() if line.startswith(f"| {OTHER} |"))
    assert "| 100.0 | 100.0 | – | 100.0 | 0.00 ± 0.00 [0.00, 0.00] |" in ours


def test_error_bars_are_drawn_of_intervals_only(dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[float], np.ndarray]] = []
    bar = Axes.bar

    def kept(panel: Axes, places: object, heights: list[float], *rest: Any, **more: Any) -> object:
        drawn.append((heights, more["yerr"]))
        return bar(panel, places, heights, *rest, **more)

    monkeypatch.setattr(Axes, "bar", kept)
    assert run("--folds", "0", "1")[0] == 0
    assert [heights for heights, _ in drawn] == [[0.0, 100.0], [100.0, 100.0]]
    assert all(np.isnan(errors).all() for _, errors in drawn)


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
    assert all(r["dsc_low"] == r["sensitivity_all_high"] == "" for r in rows)  # of single patients
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


def test_columns_named_twice_are_taken_once_and_names_do_not_break_tables(dataset: TinyNnUNet, tmp_path: Path) -> None:
    patients, given = tmp_path / "patients.csv", tmp_path / "given"
    patients.write_text("case,g\ncase_1,a|b\ncase_2,c\n")
    shutil.copytree(dataset.validation(1), given)
    options = ("--patients", str(patients), "--by", "g", "g", "--predictions", f"x|y={given}")
    code, output = run("--folds", "1", *options)
    assert code == 0, output
    rows = list(
        csv.DictReader((dataset.root / "results" / dataset.name / "TextoMorphBenchmark" / "subgroups.csv").open())
    )
    assert [(r["group"], r["method"]) for r in rows] == [
        (group, method) for group in ("c", "not stated") for method in ("nnUNetTrainer", OTHER, "x|y")
    ]
    assert run("--folds", "0", "1", "--patients", str(patients), "--by", "g", "--overwrite")[0] == 0
    table = (dataset.root / "results" / dataset.name / "TextoMorphBenchmark" / "table.md").read_text()
    assert "| a\\|b | 1 |" in table
    assert output.count("| x\\|y |") == 1 + 7 + 2  # overall, against the first by measure, and of two groups
    assert "x|y" not in output
    patients.write_text("case,g,g\ncase_1,a,b\n")
    code, output = run("--folds", "1", "--patients", str(patients), "--by", "g", "--overwrite")
    assert (code, "has the column 'g' twice" in output) == (2, True)


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


def truth_as(image: sitk.Image, change: str) -> sitk.Image:
    if change in ("orientation", "reorienting reader"):
        return sitk.DICOMOrient(image, "RAS")
    if change == "direction":
        image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    elif change == "origin":
        image.SetOrigin((0.0, 0.0, 3.0))
    elif change == "volumes":
        return sitk.JoinSeries([image, image])
    elif change == "rounding":
        image.SetOrigin((0.004, -0.004, 0.0))
        image.SetDirection((1, 7e-4, 0, -7e-4, 1, 0, 0, 0, 1))
        image.SetSpacing((1.5001, 1.5, 3.0))
    return image


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("nothing", None),
        ("rounding", None),
        ("reorienting reader", None),
        ("orientation", "is stored in another orientation than the labels"),
        ("direction", "is stored in another orientation than the labels"),
        ("origin", "has an origin that is (0, 0, 3) mm away from that of the labels"),
        ("volumes", "case_2.nii.gz: "),
    ],
)
def test_predictions_off_the_labels_grid_are_refused_before_anything_is_trained(
    dataset: TinyNnUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, change: str, sentence: str | None
) -> None:
    if change == "reorienting reader":
        reader += "WithReorient"
    plans = dataset.plans | {"image_reader_writer": reader}
    (dataset.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    given = tmp_path / "given"
    given.mkdir()
    for case in ("case_2", "case_3"):
        image = sitk.ReadImage(str(dataset.gt / f"{case}.nii.gz"))
        sitk.WriteImage(truth_as(image, change), str(given / f"{case}.nii.gz"))
    if sentence:
        (dataset.validation(1) / "summary.json").unlink()
        monkeypatch.setattr(module, "run_nnunet", lambda *_: pytest.fail("trained"))
    code, output = run("--folds", "1", "--predictions", f"perfect={given}")
    if sentence is None:
        assert code == 0, output
        results = (dataset.root / "results" / dataset.name / "TextoMorphBenchmark" / "results.json").read_text()
        assert json.loads(results)["methods"]["perfect"]["all"]["dsc"]["value"] == 1
        return
    assert code == 2, output
    assert "given/case_2.nii.gz" in output
    assert sentence in " ".join(output.split())
    if change == "volumes":
        assert ("holds 2 volumes" if reader == "SimpleITKIO" else "only 3d images") in output


def test_validations_are_compared_by_voxel_where_labels_have_another_header_than_images(dataset: TinyNnUNet) -> None:
    path = dataset.validation(1) / "case_2.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetOrigin((10.0, 20.0, 30.0))  # nnU-Net gives its predictions the header of the CT
    sitk.WriteImage(image, str(path))
    code, output = run("--folds", "1")
    assert code == 0, output


@pytest.mark.parametrize("splits", [True, False])
def test_predictions_that_lack_cases_are_refused_before_anything_is_trained(
    dataset: TinyNnUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splits: bool
) -> None:
    given = tmp_path / "given"
    shutil.copytree(dataset.validation(1), given)
    shutil.rmtree(dataset.results)
    monkeypatch.setattr(module, "run_nnunet", lambda *_: pytest.fail("trained"))
    if not splits:
        (dataset.preprocessed / "splits_final.json").unlink()
    code, output = run("--folds", *("01" if splits else "01234"), "--predictions", f"given={given}")
    assert code == 2
    assert "lacks predictions of 1 of 3 cases, the first case_1" in " ".join(output.split())


def test_folds_that_validate_a_case_twice_are_refused_before_anything_is_trained(
    dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_nnunet", lambda *_: pytest.fail("trained"))
    (dataset.validation(1) / "summary.json").unlink()
    dataset.splits[1]["val"].append("case_1")
    (dataset.preprocessed / "splits_final.json").write_text(json.dumps(dataset.splits))
    code, output = run("--folds", "0", "1")
    assert code == 2
    assert "case_1 is in val of fold 0 and again of fold 1" in " ".join(output.split())


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1"])
def test_a_tolerance_is_a_number_and_not_below_0(dataset: TinyNnUNet, tolerance: str) -> None:
    code, output = run("--folds", "1", "--tolerance", tolerance)
    assert (code, "--tolerance" in output, "Traceback" in output) == (2, True, False)


@pytest.mark.parametrize("change", ["radiomics", "damaged", "list", "file", "folder", "link", "nothing"])
def test_only_a_benchmarks_folder_is_replaced(dataset: TinyNnUNet, tmp_path: Path, change: str) -> None:
    patients, out = tmp_path / "patients.csv", tmp_path / "out"
    patients.write_text("case,a b\ncase_1,x\n")
    options = ("--folds", "0", "1", "--patients", str(patients), "--by", "a b", "--out", str(out))
    assert run(*options)[0] == 0
    (out / "nnunet.log").write_text("where something was trained")
    if change == "radiomics":
        (out / "results.json").write_text('{"diversity": [], "realism": []}')
    elif change in ("damaged", "list"):
        (out / "results.json").write_text({"damaged": "{", "list": "[]"}[change])
    elif change == "file":
        (out / "thesis.docx").write_text("years of work")
    elif change == "folder":
        (out / "by_me_dsc.png").mkdir()
    elif change == "link":
        out.rename(tmp_path / "elsewhere")
        out.symlink_to(tmp_path / "elsewhere")
    before = {path.name for path in out.iterdir()}
    code, output = run(*options, "--overwrite")
    if change == "nothing":
        assert code == 0, output
        assert {path.name for path in out.iterdir()} == before - {"nnunet.log"}
        return
    assert code == 2, output
    assert "is not replaced" in " ".join(output.split())
    assert {path.name for path in out.iterdir()} == before


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
