"""Plans: inferred from label names, written once, and refused with a clear sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER
from nnunet_textomorph.llm_reports.errors import ReportError
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, infer_plan, load_plan, pathology_of, write_plan


def dataset_json(labels: dict, channels: dict | None = None) -> dict:
    return {"channel_names": channels or {"0": "CT"}, "labels": {"background": 0, **labels}}


@pytest.mark.parametrize(
    ("labels", "hosts", "tumors", "organ"),
    [
        ({"soft_tissue": 1, "tumor": 2}, {"soft_tissue": 1}, {"tumor": 2}, "soft tissue"),
        ({"liver": 1, "cancer": 2}, {"liver": 1}, {"cancer": 2}, "liver"),
        ({"kidney": 1, "tumor": 2, "cyst": 3}, {"kidney": 1}, {"tumor": 2, "cyst": 3}, "kidney"),
        (
            {"pancreas": 1, "PDAC": 2, "PNET": 3, "cyst": 4},
            {"pancreas": 1},
            {"PDAC": 2, "PNET": 3, "cyst": 4},
            "pancreas",
        ),
        ({"spleen": 1, "liver": 2, "liver_tumour": 3}, {"liver": 2}, {"liver_tumour": 3}, "liver"),
        (
            {"left_kidney": 1, "right_kidney": 2, "mass": 3},
            {"left_kidney": 1, "right_kidney": 2},
            {"mass": 3},
            "kidney",
        ),
        ({"prostate": 1, "lesion": 2}, {"prostate": 1}, {"lesion": 2}, "prostate"),
    ],
)
def test_label_names_tell_host_and_tumor(labels: dict, hosts: dict, tumors: dict, organ: str) -> None:
    plan = infer_plan(dataset_json(labels))
    assert (plan.hosts, plan.tumors, plan.organ) == (hosts, tumors, organ)


@pytest.mark.parametrize("name", ["masseter", "cystic_duct", "common_bile_duct"])
def test_anatomy_is_no_tumor(name: str) -> None:
    assert list(infer_plan(dataset_json({"liver": 1, name: 2, "liver_HCC": 3})).tumors) == ["liver_HCC"]


def test_other_lesions_within_a_host_region_are_no_host() -> None:
    plan = infer_plan(dataset_json({"kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}))
    assert (plan.host_values, plan.tumors) == ([1], {"tumor": 2})


def test_a_region_that_holds_the_tumor_is_host_without_it() -> None:
    plan = infer_plan(dataset_json({"kidney": [1, 2, 3], "tumor": 2, "cyst": 3}))
    assert plan.host_values == [1]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"liver": 1, "spleen": 2}, "looks like a tumor"),
        ({"tumor": 1}, "--host-label"),
        ({"liver": "1", "tumor": "2"}, "without quotes"),
        ({"spleen": 1, "stomach": 2, "tumor": 3}, "--host-label"),
    ],
)
def test_what_cannot_be_inferred_is_asked_for(labels: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        infer_plan(dataset_json(labels))


def test_names_given_override_and_unknown_ones_are_refused() -> None:
    labels = dataset_json({"spleen": 1, "stomach": 2, "odd": 3})
    plan = infer_plan(labels, host_labels=["stomach"], tumor_labels=["odd"])
    assert (plan.hosts, plan.tumors) == ({"stomach": 2}, {"odd": 3})
    with pytest.raises(UserError, match="no label 'liver'"):
        infer_plan(labels, host_labels=["liver"])


def test_several_channels_are_refused() -> None:
    with pytest.raises(UserError, match="2 channels"):
        infer_plan(dataset_json({"liver": 1, "tumor": 2}, {"0": "CT", "1": "PET"}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"probabilty": 0.3}, "probabilty"),
        ({"probability": 1.5}, "probability"),
        ({"size_mix": {"huge": 1}}, "size_mix"),
        ({"size_mix": {"small": 1, "large": -1}}, "size_mix"),
        ({"size_mix": {"large": 1}, "largest_mm": 40}, "no size class"),
        ({"smallest_mm": 50, "largest_mm": 20}, "no size class"),
        ({"tumors": {"tumor": 1}}, "no tissue is left"),
    ],
)
def test_an_unknown_or_unfit_key_is_named(tmp_path: Path, change: dict, sentence: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps({"hosts": {"liver": 1}, "tumors": {"tumor": 2}, "organ": "liver", **change}))
    with pytest.raises(UserError, match=sentence) as caught:
        load_plan(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset that nnU-Net has planned, as far as textomorph plan looks."""
    folder = tmp_path / "Dataset123_Liver"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(dataset_json({"liver": 1, "tumor": 2})))
    _write_nnunet_plans(folder, "CTNormalization")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    return folder


def _write_nnunet_plans(folder: Path, scheme: str) -> None:
    full = {"normalization_schemes": [scheme]}
    configurations = {
        "2d": full,
        "3d_lowres": full,
        "3d_fullres": {"inherits_from": "3d_lowres"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
    }
    (folder / "nnUNetPlans.json").write_text(json.dumps({"configurations": configurations}))


@pytest.mark.parametrize("dataset", ["123", "Dataset123_Liver"])
def test_a_written_plan_loads_and_is_not_overwritten(planned: Path, dataset: str) -> None:
    plan, path = write_plan(dataset)
    assert path == planned / FILE_NAME
    assert load_plan(path) == plan == TextoMorphPlans(hosts={"liver": 1}, tumors={"tumor": 2}, organ="liver")
    with pytest.raises(UserError, match="--overwrite"):
        write_plan(dataset)
    write_plan(dataset, overwrite=True)
    assert sorted(p.name for p in planned.iterdir()) == sorted([FILE_NAME, "dataset.json", "nnUNetPlans.json"])


@pytest.mark.parametrize("configuration", ["2d", "3d_cascade_fullres"])  # by other names: test_configurations.py
def test_2d_and_cascades_say_what_to_use(planned: Path, configuration: str) -> None:
    with pytest.raises(NotImplementedError, match="3d_fullres"):
        write_plan("123", configuration)
    assert not (planned / FILE_NAME).exists()


def test_mri_normalization_is_not_invertible(planned: Path) -> None:
    _write_nnunet_plans(planned, "ZScoreNormalization")
    with pytest.raises(UserError, match="not invertible"):
        write_plan("123")


def test_several_channels_are_named_before_their_normalization(planned: Path) -> None:
    channels = {"configurations": {"3d_fullres": {"normalization_schemes": ["CTNormalization"] * 2}}}
    (planned / "nnUNetPlans.json").write_text(json.dumps(channels))
    with pytest.raises(UserError, match="2 channels"):
        write_plan("123")


@pytest.mark.parametrize("name", ["dataset.json", "nnUNetPlans.json"])
@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe{}", b"{}", b"[]"])
def test_missing_or_corrupt_files_of_nnunet_are_named(planned: Path, name: str, content: bytes | None) -> None:
    (planned / name).unlink() if content is None else (planned / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        write_plan("123")
    assert not (planned / FILE_NAME).exists()


def test_a_plan_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=FILE_NAME):
        load_plan(tmp_path / FILE_NAME)


def test_a_generator_that_cannot_be_loaded_leaves_no_plan(planned: Path, tmp_path: Path) -> None:
    broken = tmp_path / "generator"
    shutil.copytree(DEFAULT_FOLDER, broken)
    (broken / "model.safetensors").write_bytes((DEFAULT_FOLDER / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(GeneratorError, match="truncated"):
        write_plan("123", generator=broken)
    assert not (planned / FILE_NAME).exists()


def test_a_bank_of_another_organ_is_refused_and_one_of_the_hosts_taken(planned: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank.jsonl"
    line = {"organ": "kidney", "descriptors": {"organ": "kidney", "attenuation": "hypo"}}
    for organ in ("kidney", "liver"):
        made = {**line, "organ": organ, "descriptors": {**line["descriptors"], "organ": organ}}
        text = f"A hypoattenuating mass in the {organ}."
        bank.write_text(
            json.dumps({**made, "description": text, "variants": [f"Mass in the {organ}, hypoattenuating."]}) + "\n"
        )
        if organ == "kidney":
            with pytest.raises((UserError, ReportError), match="liver"):
                write_plan("123", bank=bank)
            assert not (planned / FILE_NAME).exists()
        else:
            assert write_plan("123", bank=bank)[0].bank == str(bank)


def test_a_dataset_that_is_not_there_is_named(planned: Path) -> None:
    with pytest.raises(UserError, match="77"):
        write_plan("77")


@pytest.mark.parametrize(
    ("name", "pathology"),
    [
        ("PDAC", "PDAC"),
        ("liver_HCC", "HCC"),
        ("cystic-lesion", "cyst"),
        ("pseudocyst", "pseudocyst"),
        ("liver metastases", "metastasis"),
        ("tumor", None),
        ("reduced_uptake", None),  # holds "UC" in the middle of a word
    ],
)
def test_label_names_tell_the_class(name: str, pathology: str | None) -> None:
    assert pathology_of(name) == pathology


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mix": {"aimed": 1.0}}, "mix.*random, targeted, class_specific"),
        ({"mix": {"random": 0.0}}, "mix.*above"),
        ({"class_weights": {"tumor": -1.0}}, "class_weights.*below"),
    ],
)
def test_unfit_weights_are_named(tmp_path: Path, change: dict, sentence: str) -> None:
    content = {"hosts": {"liver": 1}, "tumors": {"tumor": 2}, "organ": "liver", **change}
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(UserError, match=sentence):
        load_plan(tmp_path / FILE_NAME)
