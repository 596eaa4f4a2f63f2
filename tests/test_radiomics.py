"""Radiomics: the features are pyradiomics' own, and the tables say what the tumors are."""

from __future__ import annotations

import csv
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from tiny_nnunet import SPACING, TinyNnUNet, label_map, write

import nnunet_textomorph.radiomics as radiomics_module
from nnunet_textomorph.cli import main
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.radiomics import Record as Features
from nnunet_textomorph.radiomics import (
    diversity_table,
    feature_names,
    frechet_distance,
    radiomics_study,
    realism_table,
    tumor_features,
    two_sample_auc,
)
from nnunet_textomorph.tumors import real_scans, synthetic_scans

BALL = ((6, 14, 16), 11.0, 2)


def ct_and_mask(seed: int, sd: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    labels = label_map([BALL])
    rng = np.random.default_rng(seed)
    return np.where(labels == 2, 50.0, 100.0) + rng.normal(0, sd, labels.shape), labels == 2


def synthesized(folder: Path, image: str, sd: float, seed: int, organ: str = "liver") -> None:
    folder.mkdir(parents=True)
    ct, mask = ct_and_mask(seed, sd)
    write(folder / "image.nii.gz", ct.astype(np.int16))
    write(folder / "label.nii.gz", np.where(mask, 100, 1).astype(np.uint8))
    (folder / "request.json").write_text(json.dumps({"image": image, "organ": organ, "tumor_value": 100}))


def test_features_are_those_of_pyradiomics_on_the_whole_ct() -> None:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    assert len(feature_names()) == 102
    ct, mask = ct_and_mask(0)
    image, inside = sitk.GetImageFromArray(ct), sitk.GetImageFromArray(mask.astype(np.uint8))
    for each in (image, inside):
        each.SetSpacing(SPACING[::-1])
    logging.getLogger("radiomics").setLevel(logging.ERROR)
    whole = RadiomicsFeatureExtractor(binWidth=25).execute(image, inside)
    expected = [float(whole[f"original_{name}"]) for name in feature_names()]
    box = (slice(0, 14), slice(2, 28), slice(4, 30))
    np.testing.assert_allclose(tumor_features(ct[box], mask[box], SPACING), expected, rtol=1e-9)


def test_the_documentation_lists_the_features() -> None:
    text = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    listed = re.findall(r"\*\*(.+?)\*\*: ([\w\s,]+)\.\n", text.split("### The 102 features")[1])
    assert len(listed) == 6
    for kind, names in listed:
        found = {
            name.split("_")[1] for name in feature_names() if name.split("_")[0] in (kind.lower(), KINDS.get(kind))
        }
        assert set(re.split(r",\s+", names)) == found, kind


KINDS = {"First order (intensity)": "firstorder"}


def record(method: str, patient: str, values: np.ndarray, organ: str = "liver") -> Features:
    return Features(method, patient, patient, organ, "small", 10.0, patient, tuple(values))


def test_variance_is_of_features_standardized_over_the_methods_together() -> None:
    rng = np.random.default_rng(0)
    number = len(feature_names())
    narrow, wide = rng.normal(0, 1, (40, number)), rng.normal(0, 3, (40, number))
    scale = 10 ** rng.uniform(-3, 3, number)
    records = [record("narrow", f"p{i}", scale * v) for i, v in enumerate(narrow)]
    records += [record("wide", f"p{i}", scale * v) for i, v in enumerate(wide)]
    first, second = diversity_table(records)
    assert first.all == pytest.approx(1 / 5, rel=0.1)  # pooled variance 5
    assert second.all == pytest.approx(9 / 5, rel=0.1)
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.all < second.all
    assert (first.tumors, first.patients) == (40, 40)


def test_what_cannot_be_told_apart_has_an_auc_of_a_half_and_a_small_distance() -> None:
    rng = np.random.default_rng(1)
    synthetic = np.arange(60) >= 30
    patients = [f"p{i % 15}" for i in range(60)]
    same = rng.normal(0, 1, (60, 8))
    shifted = same + np.where(synthetic, 2.5, 0)[:, None]
    alike, told = two_sample_auc(same, synthetic, patients), two_sample_auc(shifted, synthetic, patients)
    assert alike is not None
    assert told is not None
    assert 0.25 < alike[0] < 0.75
    assert told[0] > 0.95
    assert two_sample_auc(same, synthetic, ["a", "b"] * 30) is None
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-8)
    # a shift of the mean alone counts with its square, in the reference's own SD
    assert frechet_distance(same, same + 2.5) == pytest.approx(((2.5 / same.std(0)) ** 2).sum())
    wider = frechet_distance(same, same.mean(0) + 3 * (same - same.mean(0)))
    assert wider is not None
    assert wider == pytest.approx(8 * (3 - 1) ** 2, rel=0.2)


def test_a_patient_never_judges_himself() -> None:
    # each patient has one look, real and synthetic alike but for a coin: only leakage could tell them apart
    rng = np.random.default_rng(2)
    looks = rng.normal(0, 1, (12, 6))
    values = np.repeat(looks, 6, axis=0) + rng.normal(0, 0.01, (72, 6))
    synthetic = np.repeat(np.arange(12) % 2 == 0, 6)
    found = two_sample_auc(values, synthetic, [f"p{i}" for i in np.repeat(np.arange(12), 6)])
    assert found is not None
    assert found[0] < 0.85  # by rows instead of patients it is 1


def test_realism_needs_the_same_organ() -> None:
    values = np.random.default_rng(0).normal(size=(8, 102))
    records = [record("real", f"r{i}", v) for i, v in enumerate(values)]
    records += [record("made", f"m{i}", v, "kidney") for i, v in enumerate(values)]
    assert realism_table(records) == []


def test_the_command_writes_its_tables_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TinyNnUNet(tmp_path / "nnunet")
    for name, value in dataset.environment.items():
        monkeypatch.setenv(name, value)
    dataset.add(0, "case_1", [BALL, ((12, 30, 38), 7.0, 2), ((3, 40, 48), 0.5, 2)], [])
    for i in range(3):
        synthesized(tmp_path / "flat" / f"t{i}", f"/ct/case_{i}_0000.nii.gz", 4.0, i)
        synthesized(tmp_path / "rough" / f"t{i}", f"/ct/case_{i}_0000.nii.gz", 16.0 + 8 * i, 10 + i)
    options = ["radiomics", "--synthetic", f"flat={tmp_path / 'flat'}", f"rough={tmp_path / 'rough'}"]
    options += ["--real", str(dataset.raw)]
    done = CliRunner().invoke(main, [*options, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["method"]: row for row in results["diversity"]}
    assert list(rows) == ["real", "flat", "rough"]
    assert rows["rough"]["intensity"] > 2 * rows["flat"]["intensity"]
    assert rows["flat"]["shape"] == pytest.approx(0)  # the same mask
    features = list(csv.DictReader((tmp_path / "out" / "features.csv").open()))
    assert [(r["method"], r["patient"]) for r in features][:3] == [("real", "case_1")] * 2 + [("flat", "case_0")]
    assert not list(tmp_path.glob(".partial*"))
    assert (tmp_path / "out" / "diversity.png").stat().st_size > 2000

    def once(*_: object) -> None:
        raise AssertionError("extracted again")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_textomorph.radiomics.check_same_places", interrupted)
        with pytest.raises(KeyboardInterrupt):
            radiomics_study([("flat", tmp_path / "flat")], [], tmp_path / "again")
        patch.undo()
        patch.setattr("nnunet_textomorph.radiomics.scan_records", once)
        radiomics_study([("flat", tmp_path / "flat")], [], tmp_path / "again")


def test_methods_are_compared_on_the_same_masks_and_ct_only(tmp_path: Path) -> None:
    synthesized(tmp_path / "a" / "t0", "/ct/one.nii.gz", 4.0, 0)
    synthesized(tmp_path / "b" / "t0", "/ct/two.nii.gz", 4.0, 0)
    runner, out = CliRunner(), str(tmp_path / "out")
    pair = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}"]
    for options, sentence in (
        (["--synthetic", *pair], "same masks and CT"),
        (["--synthetic", "nothing"], "NAME=FOLDER"),
        (["--synthetic", f"real={tmp_path / 'a'}"], "another name"),
        (["--synthetic", f"a={tmp_path}"], "no request.json"),
        ([], "No tumors"),
    ):
        done = runner.invoke(main, ["radiomics", *options, "--out", out])
        assert done.exit_code == 2, done.output
        assert sentence in " ".join(done.output.split())
    assert not Path(out).exists()


def test_where_files_share_a_name_their_folders_tell_patients(tmp_path: Path) -> None:
    for i in range(3):
        synthesized(tmp_path / "a" / f"t{i}", f"/atlas/BDMAP_{i}/ct.nii.gz", 4.0, i)
    synthesized(tmp_path / "b" / "t0", "/atlas/BDMAP_0/ct.nii.gz", 4.0, 0)
    assert [scan.patient for scan in synthetic_scans("a", tmp_path / "a")] == [f"BDMAP_{i}/ct" for i in range(3)]
    assert [scan.patient for scan in synthetic_scans("b", tmp_path / "b")] == ["ct"]
    done = CliRunner().invoke(main, ["radiomics", "--synthetic", f"a={tmp_path / 'a'}", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    (row,) = csv.DictReader((tmp_path / "out" / "diversity.csv").open())
    assert row["patients"] == "3"
    assert row["low"]


def test_one_tumor_has_no_variance_and_organs_without_real_tumors_are_named(tmp_path: Path) -> None:
    dataset = TinyNnUNet(tmp_path / "nnunet")
    dataset.add(0, "case_1", [BALL], [])
    synthesized(tmp_path / "a" / "t0", "/ct/case_1_0000.nii.gz", 4.0, 0, "The Pancreas")
    options = ["radiomics", "--synthetic", f"a={tmp_path / 'a'}", "--real", str(dataset.raw)]
    done = CliRunner().invoke(main, [*options, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "pancreas: there are no real tumors of it, only of liver" in done.output

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=refuse)
    assert [(row["organ"], row["all"]) for row in found["diversity"]] == [("liver", None), ("pancreas", None)]


LABELS = {"background": 0, "liver": 1, "liver_tumor": 2, "colon": 3, "colon_tumor": 4, "spleen": 5}


def test_real_tumors_are_of_the_organ_that_their_label_names(tmp_path: Path) -> None:
    several = TinyNnUNet(tmp_path / "several", labels=LABELS)
    several.add(0, "case_1", [BALL], [])
    found = [(scan.name, scan.patient, scan.organ, scan.values) for scan in real_scans(several.raw)]
    assert found == [("case_1_liver", "case_1", "liver", (2,)), ("case_1_colon", "case_1", "colon", (4,))]
    unclear = TinyNnUNet(tmp_path / "unclear", labels={"background": 0, "liver": 1, "pancreas": 2, "tumor": 3})
    with pytest.raises(UserError, match=r"'tumor' may lie in liver or pancreas; .*liver_tumor"):
        real_scans(unclear.raw)


def test_without_pyradiomics_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radiomics_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"\[radiomics\]"):
        radiomics_study([("a", tmp_path)], [], tmp_path / "out")
    assert not list(tmp_path.iterdir())
