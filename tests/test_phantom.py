from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path

import cc3d
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from nnunet_textomorph import phantom
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.volumes import read_volume
from nnunet_textomorph.phantom import LABELS, ORGANS, PhantomCase, phantom_case, write_phantom
from nnunet_textomorph.phantom_anatomy import CODE
from nnunet_textomorph.phantom_reports import WORDS
from nnunet_textomorph.shapes import size_class

COARSE = (5.0, 4.0, 4.0)
SEED = 11


@cache
def case(organ: str, index: int, with_lesions: bool = True) -> PhantomCase:
    return phantom_case(organ, SEED, index, with_lesions)


@cache
def many() -> tuple[PhantomCase, ...]:
    """Thirty coarse patients: enough to see what varies."""
    return tuple(phantom_case(organ, SEED, index, spacing=COARSE) for organ in ORGANS for index in range(10))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("raw") / "Dataset123_Pancreas"
    return write_phantom(out, "pancreas", 4, SEED, spacing=COARSE, progress=False)


def test_a_case_depends_on_its_seed_and_index_alone():
    again = phantom_case("liver", SEED, 1)
    np.testing.assert_array_equal(again.ct_hu, case("liver", 1).ct_hu)
    np.testing.assert_array_equal(again.labels, case("liver", 1).labels)
    assert (again.report, again.lesions) == (case("liver", 1).report, case("liver", 1).lesions)
    other = phantom_case("liver", SEED + 1, 1)
    assert other.ct_hu.shape != again.ct_hu.shape or (other.ct_hu != again.ct_hu).any()


# Mean HU of the eroded tissue in a portal-venous CT
EXPECTED_HU = {
    "fat": (-115, -85),
    "muscle": (45, 70),
    "lung": (-900, -700),
    "bone": (300, 700),
    "spleen": (95, 145),
    "liver": (92, 122),
    "kidney_cortex": (155, 210),
    "pancreas": (85, 112),
    "vessel": (120, 185),
}


@pytest.mark.parametrize("index", [0, 1, 2])
def test_organs_have_plausible_densities(index):
    healthy = case("liver", index, False)
    for tissue, (low, high) in EXPECTED_HU.items():
        mask = healthy.tissue == CODE[tissue]
        core = ndimage.binary_erosion(mask)
        mean = healthy.ct_hu[core if core.sum() > 200 else mask].mean()
        assert low < mean < high, (tissue, mean)
    cortex, medulla = (healthy.ct_hu[healthy.tissue == CODE[t]].mean() for t in ("kidney_cortex", "kidney_medulla"))
    assert cortex > medulla + 15


def test_organs_have_plausible_volumes_and_differ_between_patients():
    litres = np.array([(c.tissue == CODE["liver"]).sum() * np.prod(c.spacing) / 1e6 for c in many()])
    assert 0.8 < litres.min() < litres.max() < 2.6
    assert litres.std() > 0.05
    pancreas = np.array([(c.tissue == CODE["pancreas"]).sum() * np.prod(c.spacing) / 1e3 for c in many()])
    assert pancreas.min() > 15
    assert pancreas.max() < 140


def test_noise_is_correlated_between_neighbours_and_as_strong_as_said():
    c = case("liver", 2, False)
    core = ndimage.binary_erosion(c.tissue == CODE["liver"], iterations=3)
    rough = c.ct_hu - ndimage.gaussian_filter(c.ct_hu, 3)
    a, b = rough[:, :, :-1], rough[:, :, 1:]
    both = core[:, :, :-1] & core[:, :, 1:]
    assert 0.25 < np.corrcoef(a[both], b[both])[0, 1] < 0.85
    assert 0.6 * c.noise_sd < rough[core].std() < 1.4 * c.noise_sd
    assert 8 <= c.noise_sd <= 20


@pytest.mark.parametrize("organ", ORGANS)
def test_without_lesions_the_same_patient_is_healthy(organ):
    index = next(i for i in range(10) if case(organ, i).lesions)
    ill, healthy = case(organ, index), case(organ, index, False)
    assert not healthy.lesions
    assert set(np.unique(healthy.labels)) == {0, 1}
    far = ndimage.binary_dilation(ill.instances > 0, iterations=6)
    np.testing.assert_array_equal(ill.ct_hu[~far], healthy.ct_hu[~far])
    np.testing.assert_array_equal(ill.labels[~far], healthy.labels[~far])


def test_lesions_are_as_the_truth_says():
    shifts: dict[str, list[float]] = {"hypo": [], "iso": [], "hyper": []}
    for organ in ORGANS:
        for index in range(8):
            c = case(organ, index)
            for number, lesion in enumerate(c.lesions, 1):
                mask = c.instances == number
                assert set(np.unique(c.labels[mask])) == {lesion.label}
                assert mask.sum() * np.prod(c.spacing) == pytest.approx(lesion.volume_mm3)
                assert np.argwhere(mask).mean(0) == pytest.approx(lesion.centroid)
                assert lesion.descriptors.organ == organ
                assert lesion.diameter_mm <= lesion.descriptors.size_mm < 3 * lesion.diameter_mm + 5
                assert cc3d.connected_components(mask, connectivity=6).max() == 1
                host = c.ct_hu[ndimage.binary_erosion(c.labels == 1)]
                shifts[lesion.descriptors.attenuation].append(float(c.ct_hu[mask].mean() - np.median(host)))
    assert np.mean(shifts["hypo"]) < -25
    assert np.mean(np.array(shifts["hypo"]) < 0) > 0.95
    assert np.mean(shifts["hyper"]) > 15
    assert abs(np.mean(shifts["iso"] or [0])) < 25


def test_patients_vary_as_they_should():
    cases = many()
    healthy = np.mean([not c.lesions for c in cases])
    assert 0.03 < healthy < 0.35
    assert any(len(c.lesions) > 1 for c in cases)
    assert {size_class(x.diameter_mm) for c in cases for x in c.lesions} == {"small", "medium", "large"}
    assert {c.sex for c in cases} == {"F", "M"}
    kinds = {x.descriptors.pathology for c in cases for x in c.lesions if c.organ == "pancreas"}
    assert kinds == {"PDAC", "PNET", "cyst"}


def test_reports_say_what_is_stated_and_other_things():
    for c in many():
        assert c.report.endswith(".")
        assert len(c.stated) == len(c.lesions)
        text = c.report.lower()
        for lesion, stated in zip(c.lesions, c.stated, strict=True):
            assert stated
            for name in stated:
                value = getattr(lesion.descriptors, name)
                if name != "size_mm":
                    assert any(word.lower() in text for word in WORDS[name][value]), (name, value, c.report)
                else:
                    assert f"{value:.0f} mm" in text or f"{value / 10:.1f} cm" in text
    negations = [c for c in many() if "no " in c.report.lower() or "without" in c.report.lower()]
    assert len(negations) > 20
    assert len({c.report for c in many()}) == len(many())


def test_the_dataset_holds_what_it_says(dataset):
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["labels"] == LABELS["pancreas"]
    names = [f"pancreas_{i:04d}" for i in range(4)]
    assert sorted(p.name for p in (dataset / "labelsTr").iterdir()) == [f"{n}.nii.gz" for n in names]
    reports = [json.loads(line) for line in (dataset / "reports.jsonl").read_text().splitlines()]
    assert [r["id"] for r in reports] == names
    with open(dataset / "patients.csv", newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == names
    with open(dataset / "lesions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, name in enumerate(names):
        drawn = phantom_case("pancreas", SEED, index, spacing=COARSE)
        image = read_volume(dataset / "imagesTr" / f"{name}_0000.nii.gz")
        label = read_volume(dataset / "labelsTr" / f"{name}.nii.gz", integer=True)
        assert image.same_grid(label)
        assert image.spacing == pytest.approx(COARSE)
        np.testing.assert_array_equal(image.array, drawn.ct_hu)
        np.testing.assert_array_equal(label.array, drawn.labels)
        own = [row for row in rows if row["case"] == name]
        assert len(own) == len(drawn.lesions)
        for row, lesion in zip(own, drawn.lesions, strict=True):
            assert int(row["label"]) == LABELS["pancreas"][row["pathology"]]
            assert float(row["diameter_mm"]) == pytest.approx(lesion.diameter_mm, abs=0.01)
            assert row["attenuation"] == lesion.descriptors.attenuation


def test_nnunet_accepts_the_dataset(dataset):
    verify = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    verify.verify_dataset_integrity(str(dataset), num_processes=1)


def test_unusable_requests_are_refused_and_write_nothing(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        write_phantom(tmp_path / "full", "liver", 1, 0)
    with pytest.raises(UserError, match="'lung'"):
        write_phantom(tmp_path / "new", "lung", 1, 0)
    with pytest.raises(UserError, match="--cases"):
        write_phantom(tmp_path / "new", "liver", 0, 0)
    with pytest.raises(UserError, match="--seed"):
        write_phantom(tmp_path / "new", "liver", 1, -1)
    with pytest.raises(UserError, match="spacing"):
        write_phantom(tmp_path / "new", "liver", 1, 0, spacing=(1.0, 0.0, 1.0))
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "out", "liver", 1, 0, spacing=COARSE, progress=False)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_used_and_the_array_is_oriented_as_said(tmp_path):
    (tmp_path / "out").mkdir()
    write_phantom(tmp_path / "out", "liver", 1, SEED, spacing=COARSE, progress=False)
    image = sitk.ReadImage(str(tmp_path / "out" / "labelsTr" / "liver_0000.nii.gz"))
    voxels = np.argwhere(sitk.GetArrayFromImage(image) == 1)
    z, y, x = voxels.mean(0)
    place = image.TransformContinuousIndexToPhysicalPoint([float(x), float(y), float(z)])
    assert place[0] < -30  # LPS: the liver lies on the patient's right
