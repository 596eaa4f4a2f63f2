"""``Generator.load(...).implant(...)``: arrays in, the same kind of array out, and no nnU-Net anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from nnunet_textomorph.generator import Generator, GeneratorError
from nnunet_textomorph.generator.volumes import Volume, read_volume, write_volume

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "python.md"
SPACING = (3.0, 1.5, 1.5)
TEXT = "a hypoattenuating mass with ill-defined margins in the liver"

WITHOUT_NNUNET = """
import sys
for name in ("nnunetv2", "batchgeneratorsv2", "batchgenerators"):
    sys.modules[name] = None  # what Python takes for "cannot be imported"
import numpy as np
from nnunet_textomorph.generator import Generator
ct, mask = np.load(sys.argv[2])
np.save(sys.argv[3], Generator.load(sys.argv[1]).implant(ct, (3.0, 1.5, 1.5), mask, sys.argv[4], steps=2, seed=3))
others = [m for m in sys.modules if m.startswith("nnunet_textomorph.") and ".generator" not in m]
assert not others, others
"""


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT, liver and tumor: (24, 48, 48)."""
    z, y, x = np.ogrid[:24, :48, :48]
    distance = np.sqrt(((z - 12) * 3.0) ** 2 + ((y - 24) * 1.5) ** 2 + ((x - 20) * 1.5) ** 2)
    ct = np.where(distance < 30, 100, -90) + np.random.default_rng(0).normal(0, 12, distance.shape)
    return ct.astype(np.float32), distance < 30, distance < 9


@pytest.fixture(scope="module")
def generator(generator_folder: Path) -> Generator:
    return Generator.load(generator_folder)


def test_an_array_gives_an_array_and_what_is_far_from_the_tumor_stays(generator: Generator) -> None:
    ct, liver, tumor = scene()
    given = ct.copy()
    made = generator.implant(ct, SPACING, tumor, TEXT, host_mask=liver, steps=2, seed=3)
    assert type(made) is np.ndarray
    assert (made.shape, made.dtype) == (ct.shape, np.float32)
    far = ndimage.distance_transform_edt(~tumor, SPACING) > 4.0
    np.testing.assert_array_equal(made[far], ct[far])
    assert (made[tumor] != ct[tumor]).all()
    np.testing.assert_array_equal(ct, given)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.int16])
def test_a_tensor_gives_the_tensor_that_an_array_gives(generator: Generator, kind: torch.dtype) -> None:
    ct, liver, tumor = (torch.from_numpy(array) for array in scene())
    ct = ct.round().to(kind)
    given = ct.clone()
    made = generator.implant(ct, SPACING, tumor, TEXT, host_mask=liver, steps=2, seed=3)
    assert (type(made), made.dtype) == (torch.Tensor, torch.float32)
    expected = generator.implant(ct.numpy(), SPACING, tumor.numpy(), TEXT, host_mask=liver.numpy(), steps=2, seed=3)
    np.testing.assert_array_equal(made.numpy(), expected)
    assert torch.equal(ct, given)


def test_a_tensor_in_half_precision_is_taken(generator: Generator) -> None:
    ct, _, tumor = scene()
    made = generator.implant(
        torch.from_numpy(ct).bfloat16(), SPACING, torch.from_numpy(tumor).bfloat16(), TEXT, steps=1
    )
    assert made.dtype == torch.float32


def test_monais_tensors_keep_their_metadata(generator: Generator) -> None:
    ct, _, tumor = scene()
    image = MetaTensor(torch.from_numpy(ct), affine=torch.diag(torch.tensor([1.5, 1.5, 3.0, 1.0])))
    made = generator.implant(image, SPACING, MetaTensor(torch.from_numpy(tumor)), TEXT, steps=1)
    assert isinstance(made, MetaTensor)
    assert torch.equal(made.affine, image.affine)


def test_masks_of_any_type_mean_voxels_other_than_0(generator: Generator) -> None:
    ct, liver, tumor = scene()
    bool_masks = generator.implant(ct, SPACING, tumor, TEXT, host_mask=liver, steps=1)
    labels = generator.implant(ct, SPACING, 7 * tumor, TEXT, host_mask=2.0 * liver, steps=1)
    np.testing.assert_array_equal(bool_masks, labels)


def test_seed_text_host_and_settings_all_count(generator: Generator) -> None:
    ct, liver, tumor = scene()
    usual = {"text": "a mass", "host_mask": liver, "steps": 2, "guidance": 2.0, "seed": 1}
    first, again = (generator.implant(ct, SPACING, tumor, **usual) for _ in range(2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(first, again)
    bright = liver & (ct > 110)
    for other in ({"text": "a large mass"}, {"host_mask": bright}, {"steps": 3}, {"guidance": 1.0}, {"seed": 2}):
        made = generator.implant(ct, SPACING, tumor, **(usual | other))  # type: ignore[arg-type]
        assert (made != first).any(), other


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ct_hu": scene()[0][None]}, r"one volume \(D, H, W\)"),
        ({"ct_hu": scene()[0] / 1000.0}, "not normalized"),
        ({"ct_hu": scene()[1]}, "not normalized"),
        ({"ct_hu": np.full((24, 48, 48), np.nan)}, "NaN"),
        ({"spacing_mm": (3.0, 1.5)}, "spacing"),
        ({"spacing_mm": 1.5}, "spacing"),
        ({"spacing_mm": (3.0, 0.0, 1.5)}, "spacing"),
        ({"tumor_mask": scene()[2][1:]}, "tumor mask has the shape"),
        ({"tumor_mask": np.zeros((24, 48, 48))}, "tumor mask is empty"),
        ({"host_mask": torch.ones(3)}, "host mask has the shape"),
        ({"text": " . "}, "text is empty"),
        ({"steps": 0}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"seed": -1}, "seed"),
    ],
)
def test_unusable_arguments_are_refused_in_a_sentence(generator: Generator, change: dict, sentence: str) -> None:
    ct, _, tumor = scene()
    arguments = {"ct_hu": ct, "spacing_mm": SPACING, "tumor_mask": tumor, "text": TEXT} | change
    with pytest.raises(GeneratorError, match=sentence):
        generator.implant(**arguments)


def test_it_works_where_nnunet_cannot_be_imported(generator: Generator, generator_folder: Path, tmp_path: Path) -> None:
    ct, _, tumor = scene()
    np.save(tmp_path / "given.npy", np.stack([ct, tumor]))
    arguments = [generator_folder, tmp_path / "given.npy", tmp_path / "made.npy", TEXT]
    command = [sys.executable, "-c", WITHOUT_NNUNET, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    expected = generator.implant(ct, SPACING, tumor, TEXT, steps=2, seed=3)
    np.testing.assert_allclose(np.load(tmp_path / "made.npy"), expected, atol=0.1)


def test_what_the_documentation_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct, liver, tumor = scene()
    placed = Volume(ct, SPACING, (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    for name, array in (("ct", ct), ("organs", liver.astype(np.uint8)), ("tumor", tumor.astype(np.uint8))):
        write_volume(tmp_path / f"{name}.nii.gz", placed.with_array(array))
    monkeypatch.chdir(tmp_path)
    blocks = [part.split("```")[0] for part in DOCUMENT.read_text().split("```python\n")[1:]]
    assert len(blocks) == 3
    seen: dict = {}
    exec(blocks[0], seen)
    assert seen["made"][seen["tumor"]].mean() < seen["ct"][seen["tumor"]].mean() - 15
    exec(blocks[1], seen)
    changed = read_volume("with_tumor.nii.gz").array != ct
    assert changed[tumor].all()
    exec(blocks[2], seen)
    image = seen["data"]["image"]
    assert image.shape == (1, *ct.shape[::-1])
    assert image.pixdim.tolist() == list(SPACING[::-1])
    assert image[0].permute(2, 1, 0).numpy()[tumor].mean() > ct[tumor].mean() + 15
