"""Mining: which lesions a baseline missed, what is kept of them, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from fake_endpoint import Endpoint, completion
from tiny_nnunet import SPACING, TinyNnUNet, ball, label_map, write

from nnunet_textomorph import mining
from nnunet_textomorph.cli import main
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.mining import mine
from nnunet_textomorph.missed import load_missed
from nnunet_textomorph.shapes import equivalent_diameter

A, B, C = ((6, 14, 16), 9.0, 2), ((12, 30, 38), 7.0, 2), ((9, 36, 10), 6.0, 2)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyNnUNet:
    """Two folds; case_1 lacks lesion B and has a false positive, case_2 lacks A, case_3 is healthy."""
    made = TinyNnUNet(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.add(0, "case_1", [A, B], [A, C])
    made.add(1, "case_2", [A], [])
    made.add(1, "case_3", [], [])
    return made


def test_missed_lesions_are_kept_with_their_masks_words_and_pictures(dataset: TinyNnUNet) -> None:
    mined = mine("985")
    assert mined.folder == dataset.preprocessed / "TextoMorphMissed"
    bank = load_missed(mined.folder / "missed.json")
    assert bank == mined.bank
    assert not bank.external
    first, second = bank.lesions
    assert (first.case, first.fold, first.tumor, first.host, first.overlap) == ("case_1", 0, "tumor", "liver", 0)
    assert (second.case, second.fold) == ("case_2", 1)
    mask, spacing = first.mask.array(), first.mask.spacing
    assert spacing == SPACING
    assert mask.sum() == ball(*B[:2]).sum()
    assert first.diameter_mm == pytest.approx(equivalent_diameter(mask, spacing), abs=0.01)
    np.testing.assert_allclose(first.centroid, B[0], atol=0.1)
    assert first.descriptors.attenuation == "hypo"
    assert "hypo" in first.description or "low" in first.description
    assert len(first.variants) > 5
    assert sorted(p.name for p in (mined.folder / "pictures").iterdir()) == ["case_1_0.png", "case_2_0.png"]
    total = mined.summary[-1]
    assert (total.lesions, total.found, total.missed, total.false_positives) == (3, 1, 2, 1)
    rows = list(csv.DictReader((mined.folder / "false_positives.csv").open()))
    assert [(row["case"], row["fold"]) for row in rows] == [("case_1", "0")]
    assert not list(dataset.preprocessed.glob(".partial*"))


def test_the_command_prints_the_table_and_names_folds_without_validation(dataset: TinyNnUNet) -> None:
    (dataset.validation(0) / "summary.json").unlink()
    done = CliRunner().invoke(main, ["mine", "985", "-c", "3d_fullres", "--trainer", "nnUNetTrainer"])
    assert done.exit_code == 0, done.output
    assert "folds 0" in done.output
    assert "sensitivity" in done.output
    assert "1 missed lesions" in done.output


def test_a_share_that_is_found_may_be_too_little(dataset: TinyNnUNet) -> None:
    write(dataset.validation(0) / "case_1.nii.gz", label_map([A, ((11, 28, 36), 3.5, 2)]))
    assert [x.case for x in mine("985").bank.lesions] == ["case_2"]
    lesions = mine("985", min_overlap=0.5, overwrite=True).bank.lesions
    assert [x.case for x in lesions] == ["case_1", "case_2"]
    assert 0 < lesions[0].overlap < 0.5


def test_an_interrupted_run_goes_on_and_nothing_is_overwritten_unasked(
    dataset: TinyNnUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    whole = mining.mine_case

    def interrupted(case: mining.Case, *rest: object) -> mining.CaseRecord:
        done.append(case.name)
        if case.name == "case_2" and done.count("case_2") == 1:
            raise KeyboardInterrupt
        return whole(case, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(mining, "mine_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mine("985")
    assert not (dataset.preprocessed / "TextoMorphMissed").exists()
    resumed = mine("985")
    assert done == ["case_1", "case_2", "case_2", "case_3"]
    with pytest.raises(UserError, match="--overwrite"):
        mine("985")
    assert mine("985", overwrite=True).bank == resumed.bank
    with pytest.raises(UserError, match="no bank"):
        mine("985", out=dataset.raw, overwrite=True)
    assert dataset.raw.is_dir()


def test_processes_give_the_same_bank(dataset: TinyNnUNet) -> None:
    assert mine("985", out=dataset.root / "two", workers=2).bank == mine("985").bank


def test_regions_and_ignored_voxels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = TinyNnUNet(tmp_path, labels={"background": 0, "kidney": [1, 2], "tumor": 2, "ignore": 3})
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.add(0, "case_1", [A, ((9, 36, 10), 8.0, 3)], [C])  # the prediction lies where nobody looked
    summary = mine("985").summary[-1]
    assert (summary.lesions, summary.missed, summary.false_positives) == (1, 1, 0)


def test_predictions_of_training_cases_know_the_fold_that_holds_them_back(dataset: TinyNnUNet, tmp_path: Path) -> None:
    predictions = tmp_path / "predicted"
    predictions.mkdir()
    write(predictions / "case_2.nii.gz", label_map([]))
    (lesion,) = mine("985", predictions=predictions).bank.lesions
    assert (lesion.case, lesion.fold) == ("case_2", 1)
    write(predictions / "other.nii.gz", label_map([]))
    with pytest.raises(UserError, match="--images and"):
        mine("985", predictions=predictions, overwrite=True)


def test_a_prediction_in_another_orientation_is_refused(dataset: TinyNnUNet, tmp_path: Path) -> None:
    """By voxel it would look as if the lesion were missed."""
    path = tmp_path / "predicted" / "case_2.nii.gz"
    path.parent.mkdir()
    write(path, label_map([]))
    turned = sitk.ReadImage(str(path))
    turned.SetDirection((1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(turned, str(path))
    with pytest.raises(UserError, match=r"case_2.*another orientation"):
        mine("985", predictions=path.parent, overwrite=True)


def test_another_set_is_marked_external_and_cannot_pass_off_own_cases(dataset: TinyNnUNet, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("predictions", "images", "labels")}
    for folder in folders.values():
        folder.mkdir()
    write(folders["predictions"] / "new.nii.gz", label_map([]))
    write(folders["labels"] / "new.nii.gz", label_map([B]))
    write(folders["images"] / "new_0000.nii.gz", (100.0 * (label_map([B]) == 1)).astype(np.int16))
    mined = mine("985", **folders)
    bank = load_missed(mined.folder / "missed.json")
    assert bank == mined.bank
    assert bank.external
    assert [x.fold for x in bank.lesions] == [None]
    for name, file in (("predictions", "case_1"), ("labels", "case_1"), ("images", "case_1_0000")):
        source = next(folders[name].iterdir())
        shutil.copy(source, folders[name] / f"{file}.nii.gz")
    with pytest.raises(UserError, match=r"case_1.*also the name"):
        mine("985", **folders, overwrite=True)


def test_a_lesion_far_from_any_host_is_kept_too(dataset: TinyNnUNet) -> None:
    labels = label_map([A])
    labels[labels == 1] = 0
    write(dataset.gt / "case_2.nii.gz", labels)
    dataset.summarize(1)
    mined = mine("985")
    assert load_missed(mined.folder / "missed.json") == mined.bank
    assert [x.host for x in mined.bank.lesions] == ["liver", None]


def test_what_does_not_belong_together_is_named(dataset: TinyNnUNet) -> None:
    with pytest.raises(UserError, match="folds 0, 1 lack"):
        mine("985", trainer="nnUNetTrainerOther")
    summary = dataset.validation(1) / "summary.json"
    whole = summary.read_text()
    for damaged in (whole[:50], "{}", "[]"):
        summary.write_text(damaged)
        with pytest.raises(UserError, match=r"fold_1/validation/summary\.json: .*1 --val"):
            mine("985")
    summary.write_text(whole)
    write(dataset.gt / "case_2.nii.gz", label_map([B]))
    with pytest.raises(UserError, match=r"case_2.*labels changed since"):
        mine("985")
    write(dataset.gt / "case_2.nii.gz", label_map([A]))
    write(dataset.validation(1) / "case_3.nii.gz", label_map([])[:-1])
    with pytest.raises(UserError, match=r"case_3.*voxels"):
        mine("985")
    write(dataset.validation(1) / "case_3.nii.gz", label_map([]))
    (dataset.raw / "imagesTr" / "case_2_0000.nii.gz").unlink()
    with pytest.raises(UserError, match="case_2"):
        mine("985")
    splits = json.loads((dataset.preprocessed / "splits_final.json").read_text())
    splits[0]["val"], splits[1]["val"] = ["case_2"], ["case_1", "case_3"]
    (dataset.preprocessed / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(UserError, match=r"case_1.*split changed"):
        mine("985")


def test_a_vision_model_may_describe(dataset: TinyNnUNet) -> None:
    seen = {"attenuation": "hypo", "texture": "heterogeneous", "composition": "solid", "margin": "ill-defined"}
    with Endpoint(lambda body, number: completion(json.dumps(seen))).running() as endpoint:
        options = ["--engine", "openai", "--model", "m", "--base-url", endpoint.url]
        done = CliRunner().invoke(main, ["mine", "985", *options])
    assert done.exit_code == 0, done.output
    bank = load_missed(dataset.preprocessed / "TextoMorphMissed" / "missed.json")
    assert {x.descriptors.margin for x in bank.lesions} == {"ill-defined"}
    assert all("ill" in x.description for x in bank.lesions)
