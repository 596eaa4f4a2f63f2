"""``textomorph synthesize``: what it writes, on any grid, and what it refuses in one line without a trace on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result

from nnunet_textomorph import synthesize as synthesize_module
from nnunet_textomorph.cli import main
from nnunet_textomorph.generator.volumes import read_volume
from nnunet_textomorph.synthesize import SynthesisRequest, synthesize

TEXT = "a hypoattenuating mass with ill-defined margins in the liver"


class Case:
    """A CT with a ball of liver in it, and the command on it."""

    def __init__(self, folder: Path, generator: Path) -> None:
        self.folder, self.generator, self.out = folder, generator, folder / "out"
        self.image, self.mask = folder / "ct.nii.gz", folder / "seg.nii.gz"
        z, y, x = np.ogrid[:24, :48, :48]
        ball = ((z - 12) * 3.0) ** 2 + ((y - 24) * 1.5) ** 2 + ((x - 24) * 1.5) ** 2 < 30.0**2
        noise = np.random.default_rng(0).normal(0, 12, ball.shape)
        self.write(self.image, np.where(ball, 100, 40) + noise, np.int16)
        self.write(self.mask, ball, np.uint8)

    def write(self, path: Path, array: np.ndarray, kind: type, *, flipped: bool = True, shift: float = 0.0) -> None:
        image = sitk.GetImageFromArray(np.asarray(array).astype(kind))
        image.SetSpacing((1.5, 1.5, 3.0))
        image.SetOrigin((-30.0 + shift, 12.0, 100.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1) if flipped else (1, 0, 0, 0, 1, 0, 0, 0, 1))
        sitk.WriteImage(image, str(path))

    def run(self, **options: object) -> Result:
        given = {
            "image": self.image,
            "organ-mask": self.mask,
            "label": 1,
            "organ": "liver",
            "text": TEXT,
            "steps": 2,
            "generator": self.generator,
            "out": self.out,
        } | {name.replace("_", "-"): value for name, value in options.items()}
        arguments = [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]
        return CliRunner().invoke(main, ["synthesize", *arguments])


@pytest.fixture
def case(tmp_path: Path, generator_folder: Path) -> Case:
    return Case(tmp_path, generator_folder)


def test_outputs_lie_on_the_cts_grid_and_the_rest_of_the_ct_is_unchanged(case: Case) -> None:
    result = case.run(diameter_mm=20)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in case.out.iterdir()) == ["image.nii.gz", "label.nii.gz", "preview.png", "request.json"]
    before, after = sitk.ReadImage(str(case.image)), sitk.ReadImage(str(case.out / "image.nii.gz"))
    assert (after.GetSize(), after.GetPixelID()) == (before.GetSize(), before.GetPixelID())
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(after, what)() == pytest.approx(getattr(before, what)())
    label = read_volume(case.out / "label.nii.gz", integer=True).array
    tumor, host = label == 100, read_volume(case.mask, integer=True).array
    diameter = (6 / np.pi * tumor.sum() * 1.5 * 1.5 * 3.0) ** (1 / 3)
    assert diameter == pytest.approx(20, rel=0.06)
    assert (label[~tumor] == host[~tumor]).all()
    from scipy import ndimage

    far = ndimage.distance_transform_edt(~tumor, (3.0, 1.5, 1.5)) > 4.0
    a, b = sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(after)
    assert (a[far] == b[far]).all()
    assert (a[tumor] != b[tumor]).any()


def test_a_request_repeats_and_another_seed_differs(case: Case) -> None:
    images = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert case.run(seed=seed, out=case.folder / name).exit_code == 0
        images.append(read_volume(case.folder / name / "image.nii.gz").array)
    assert (images[0] == images[1]).all()
    assert (images[0] != images[2]).any()
    facts = json.loads((case.folder / "a" / "request.json").read_text())
    assert facts["seed"] == 5
    assert facts["prompt"] == TEXT
    assert facts["steps"] == 2
    assert [facts[name] for name in ("image", "organ_mask")] == [str(case.image), str(case.mask)]


def test_request_json_holds_whole_paths_and_repeats_the_request(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.folder)
    assert case.run(image="ct.nii.gz", organ_mask="seg.nii.gz").exit_code == 0
    facts = json.loads((case.out / "request.json").read_text())
    monkeypatch.chdir(case.folder.parent)
    again = synthesize(
        SynthesisRequest(**{name: facts[name] for name in SynthesisRequest.model_fields}), case.folder / "again"
    )
    first, second = (read_volume(folder / "image.nii.gz").array for folder in (case.out, again))
    np.testing.assert_array_equal(first, second)


def test_the_solver_is_chosen_and_recorded(case: Case) -> None:
    images = {}
    for name, solver in (("own", None), ("unipc", "unipc"), ("ddpm", "ddpm")):
        assert case.run(solver=solver, out=case.folder / name).exit_code == 0
        facts = json.loads((case.folder / name / "request.json").read_text())
        assert facts["solver"] == (solver or "unipc")
        images[name] = read_volume(case.folder / name / "image.nii.gz").array
    np.testing.assert_array_equal(images["own"], images["unipc"])
    assert (images["ddpm"] != images["unipc"]).any()


def test_an_unknown_solver_is_named_beside_the_known(case: Case) -> None:
    result = case.run(solver="euler")
    assert result.exit_code == 2
    (line,) = (line for line in result.output.splitlines() if line.startswith("Error"))
    for part in ("--solver", "euler", "ddpm", "ddim", "dpmsolver++", "unipc"):
        assert part in line
    assert not case.out.exists()


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_the_preview_of_any_series_shows_the_same_planes(
    case: Case, axes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coronal series holds the same patient in other axes; its axial plane is axial all the same."""
    tumor = np.zeros((24, 48, 48))
    tumor[10:13, 18:27, 22:27] = 1
    case.write(case.folder / "tumor.nii.gz", tumor, np.uint8)
    shown = []
    monkeypatch.setattr(synthesize_module, "save_preview", lambda path, *views, **facts: shown.append((views, facts)))
    for path in (case.image, case.mask, case.folder / "tumor.nii.gz"):
        sitk.WriteImage(sitk.PermuteAxes(sitk.ReadImage(str(path)), [2 - axis for axis in axes[::-1]]), str(path))
    assert case.run(tumor_mask=case.folder / "tumor.nii.gz").exit_code == 0
    ((_, _, mask), facts) = shown[0]
    assert facts["spacing"] == (3.0, 1.5, 1.5)
    np.testing.assert_array_equal(mask, tumor[:, ::-1, ::-1] > 0)


def test_the_organ_is_added_where_the_text_does_not_name_it(case: Case) -> None:
    assert case.run(text="A hyperattenuating mass.").exit_code == 0
    facts = json.loads((case.out / "request.json").read_text())
    assert facts["prompt"] == "A hyperattenuating mass in the liver."


def test_a_given_tumor_mask_is_used_as_it_is(case: Case) -> None:
    tumor = np.zeros((24, 48, 48))
    tumor[10:14, 20:27, 20:27] = 1
    case.write(case.folder / "tumor.nii.gz", tumor, np.uint8)
    assert case.run(tumor_mask=case.folder / "tumor.nii.gz", tumor_value=7).exit_code == 0
    assert ((read_volume(case.out / "label.nii.gz", integer=True).array == 7) == (tumor > 0)).all()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_other_formats_are_read(case: Case, suffix: str) -> None:
    for path in (case.image, case.mask):
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path).replace(".nii.gz", suffix))
    image, mask = (Path(str(path).replace(".nii.gz", suffix)) for path in (case.image, case.mask))
    assert case.run(image=image, organ_mask=mask).exit_code == 0


def spoil(case: Case, name: str) -> dict[str, object]:
    """Break one thing; returns the options to run with."""
    ct = sitk.GetArrayFromImage(sitk.ReadImage(str(case.image)))
    tumor, generator = case.folder / "tumor.nii.gz", case.folder / "generator"
    if name == "grid":
        case.write(case.mask, np.ones((24, 48, 48)), np.uint8, shift=5.0)
    elif name == "shape":
        case.write(case.mask, np.ones((24, 48, 40)), np.uint8)
    elif name == "orientation":
        case.write(case.mask, np.ones((24, 48, 48)), np.uint8, flipped=False)
    elif name == "label":
        return {"label": 3}
    elif name == "empty text":
        return {"text": "  "}
    elif name == "too large":
        return {"diameter_mm": 75}
    elif name == "enormous":  # no shape of it fits into memory
        return {"diameter_mm": 30_000}
    elif name == "cut off":
        cut = case.folder / "cut.mha"
        sitk.WriteImage(sitk.ReadImage(str(case.image)), str(cut))
        cut.write_bytes(cut.read_bytes()[:-2000])
        return {"image": cut}
    elif name == "no word":
        return {"text": " . "}
    elif name == "guidance":
        return {"guidance": "nan"}
    elif name == "endless":
        return {"diameter_mm": "inf"}
    elif name == "parent":
        return {"out": case.image / "out"}
    elif name == "rotated":  # by 0.005 rad: half a degree, and 0.4 mm at the far corner
        image = sitk.ReadImage(str(case.mask))
        c, s = np.cos(0.005), np.sin(0.005)
        image.SetDirection((-c, s, 0, -s, -c, 0, 0, 0, 1))
        sitk.WriteImage(image, str(case.mask))
    elif name == "diameter":
        return {"diameter_mm": -4}
    elif name == "both":
        case.write(tumor, np.ones(ct.shape), np.uint8)
        return {"diameter_mm": 10, "tumor_mask": tumor}
    elif name == "corrupt":
        case.image.write_bytes(case.image.read_bytes()[:2000])
    elif name == "missing":
        case.image.unlink()
    elif name == "NaN":
        broken = ct.astype(np.float32)
        broken[3, 4, 5] = np.nan
        case.write(case.image, broken, np.float32)
    elif name == "4D":
        sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(case.image))] * 2), str(case.image))
    elif name == "channels":
        sitk.WriteImage(sitk.Compose([sitk.ReadImage(str(case.image))] * 3), str(case.folder / "rgb.nrrd"))
        return {"image": case.folder / "rgb.nrrd"}
    elif name == "no HU":
        case.write(case.image, ct + 1000, np.int16)
    elif name == "no CT":
        return {"image": case.mask}
    elif name == "empty tumor":
        case.write(tumor, np.zeros(ct.shape), np.uint8)
        return {"tumor_mask": tumor}
    elif name == "tumor outside":
        outside = np.zeros(ct.shape)
        outside[0, 0, 0] = 1
        case.write(tumor, outside, np.uint8)
        return {"tumor_mask": tumor}
    elif name == "out":
        case.out.mkdir()
        (case.out / "mine.txt").write_text("keep")
    else:
        import shutil

        shutil.copytree(case.generator, generator)
        weights, config = generator / "model.safetensors", generator / "generator.json"
        if name == "weights missing":
            weights.unlink()
        elif name == "weights truncated":
            weights.write_bytes(weights.read_bytes()[:5000])
        elif name == "version":
            config.write_text(config.read_text().replace('"format_version": 1', '"format_version": 9'))
        return {"generator": generator}
    return {}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("grid", "is not that of"),
        ("shape", "is not that of"),
        ("orientation", "is not that of"),
        ("label", "it holds 1"),
        ("empty text", "text is empty"),
        ("too large", "smaller diameter"),
        ("enormous", "smaller diameter"),
        ("cut off", "File cannot be read"),
        ("diameter", "above 0"),
        ("no word", "text is empty"),
        ("guidance", "guidance of nan"),
        ("endless", "above 0"),
        ("parent", "is a file"),
        ("rotated", "is not that of"),
        ("both", "exclude each other"),
        ("corrupt", "ct.nii.gz"),
        ("missing", "no such file"),
        ("NaN", "NaN"),
        ("4D", "dimensions"),
        ("channels", "channels"),
        ("no HU", "give a CT in HU"),
        ("no CT", "give a CT, not a mask"),
        ("empty tumor", "is empty"),
        ("tumor outside", "outside"),
        ("out", "not an empty folder"),
        ("weights missing", "model.safetensors"),
        ("weights truncated", "truncated"),
        ("version", "format version 9"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_nothing(case: Case, name: str, sentence: str) -> None:
    options = spoil(case, name)
    before = sorted(case.folder.rglob("*"))
    result = case.run(**options)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert sorted(case.folder.rglob("*")) == before


@pytest.mark.parametrize(("label", "organ"), [(1, "liver"), (3, "kidney")])
def test_the_shipped_generator_on_a_real_abdomen(abdomen: Path, tmp_path: Path, label: int, organ: str) -> None:
    """One of each organ; how well texts are obeyed is measured in benchmarks/text_control.py."""
    arguments = ["--image", str(abdomen / "ct.nii.gz"), "--organ-mask", str(abdomen / "organs.nii.gz"), "--label"]
    arguments += [str(label), "--organ", organ, "--text", "A hyperattenuating solid mass.", "--diameter-mm", "22"]
    result = CliRunner().invoke(main, ["synthesize", *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    before = read_volume(abdomen / "ct.nii.gz").array
    after = read_volume(tmp_path / "out" / "image.nii.gz").array
    tumor = read_volume(tmp_path / "out" / "label.nii.gz", integer=True).array == 100
    assert (after - before)[tumor].mean() > 15
