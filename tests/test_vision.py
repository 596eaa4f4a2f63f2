"""A vision model's description of a lesion, held against what was measured in the CT."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fake_endpoint import Endpoint, Reply, completion
from PIL import Image
from test_report_files import read, run

from nnunet_textomorph.llm_reports.vision import draw_views

SPACING = (2.0, 1.0, 1.0)  # mm, z y x
SEEN: dict[str, Any] = {
    "attenuation": "hypo",
    "texture": "homogeneous",
    "composition": "solid",
    "margin": "well-defined",
    "size_mm": 30,
}


def ball(radius_mm: float, center: tuple[float, float, float] = (48.0, 60.0, 60.0)) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) * s for n, s in zip((48, 120, 120), SPACING, strict=True)), indexing="ij")
    return sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)) <= radius_mm**2


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A liver of 100 HU with a lesion of 60 HU, 30 mm across; the file's name is a patient's."""
    mask = ball(15.0)
    ct = np.where(mask, 60.0, 100.0) + np.random.default_rng(0).normal(0, 5, mask.shape)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    image, labels = tmp_path / "DOE_JANE_ct.nii.gz", tmp_path / "labels.nii.gz"
    nib.save(nib.Nifti1Image(ct.transpose(2, 1, 0).astype(np.float32), affine), image)
    nib.save(nib.Nifti1Image((1 + mask).transpose(2, 1, 0).astype(np.uint8), affine), labels)
    return image, labels


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(lambda body, number: completion(json.dumps(SEEN))).running() as running:
        yield running


def describe(files: tuple[Path, Path], endpoint: Endpoint, *more: object) -> tuple[int, str]:
    out = files[0].parent / "out.jsonl"
    options = ["--organ", "liver", "--engine", "openai", "--model", "m", "--base-url", endpoint.url, "--out", out]
    return run("describe", "--image", files[0], "--mask", files[1], *options, *more)


def answers(endpoint: Endpoint, **changes: Any) -> None:
    endpoint.behaviour = lambda body, number: completion(json.dumps({**SEEN, **changes}))


def described(files: tuple[Path, Path]) -> dict[str, Any]:
    (line,) = read(files[0].parent / "out.jsonl")
    return line


def test_three_views_go_out_and_agreement_is_silent(files: tuple[Path, Path], endpoint: Endpoint) -> None:
    code, output = describe(files, endpoint)
    assert code == 0, output
    line = described(files)
    assert line["checks"] == []
    assert line["descriptors"]["attenuation"] == "hypo"
    assert line["descriptors"]["size_mm"] == pytest.approx(30, abs=3)
    assert "liver" in line["description"]
    parts = endpoint.sent[0]["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert len(urls) == 3
    for url in urls:
        picture = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
        assert (picture.format, picture.size) == ("PNG", (512, 512))
        assert "DOE" not in json.dumps(picture.info)
    assert "DOE" not in json.dumps([part["text"] for part in parts if part["type"] == "text"])


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"attenuation": "hyper"}, "attenuation: the model says hyper, measured hypo"),
        ({"size_mm": 80}, "size_mm: the model says 80.0, measured"),
        ({"texture": "heterogeneous"}, "texture: the model says heterogeneous, measured homogeneous"),
    ],
)
def test_disagreement_is_flagged_and_what_is_measured_stands(
    changes: dict[str, Any], flag: str, files: tuple[Path, Path], endpoint: Endpoint
) -> None:
    answers(endpoint, **changes)
    assert describe(files, endpoint)[0] == 0
    line = described(files)
    assert [check for check in line["checks"] if check.startswith(flag)]
    assert line["descriptors"]["attenuation"] == "hypo"
    assert line["descriptors"]["size_mm"] == pytest.approx(30, abs=3)


def test_an_unusable_answer_leaves_the_measurement(files: tuple[Path, Path], endpoint: Endpoint) -> None:
    endpoint.behaviour = lambda body, number: Reply(body=completion("A tumor.").body)
    assert describe(files, endpoint)[0] == 0
    line = described(files)
    assert line["checks"][0].startswith("no usable answer")
    assert line["descriptors"]["attenuation"] == "hypo"
    assert len(endpoint.sent) == 3


def test_a_dry_run_sends_nothing(files: tuple[Path, Path], endpoint: Endpoint) -> None:
    code, output = describe(files, endpoint, "--dry-run")
    assert code == 0
    assert output.count("(a PNG)") == 3
    assert not endpoint.raw
    assert not (files[0].parent / "out.jsonl").exists()


def test_views_show_the_lesion_outlined_with_a_bar_of_its_scale() -> None:
    mask = ball(15.0)
    ct = np.where(mask, 60.0, 100.0)
    for png in draw_views(ct, mask, SPACING):
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
        outline = np.argwhere((red > 180) & (green > 180) & (blue < 110))
        bar = np.argwhere((red < 90) & (green > 180) & (blue > 180))
        columns = bar[bar[:, 0] == np.bincount(bar[:, 0]).argmax(), 1]
        width = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)[0].size  # the bar, not its caption
        assert np.ptp(outline[:, 1]) / width == pytest.approx(30 / 20, rel=0.15)
        middle = outline.mean(axis=0).astype(int)
        assert pixels[middle[0], middle[1]].max() < pixels[256, 20].max()  # darker than the liver beside it
