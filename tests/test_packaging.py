"""The wheel holds what users need: every module, the trainers where nnU-Net looks, and the default weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = {
    "nnunet_textomorph": "nnunet_textomorph",
    "generator": "nnunet_textomorph/generator",
    "llm_reports": "nnunet_textomorph/llm_reports",
    "trainers": "nnunetv2/training/nnUNetTrainer/variants/textomorph",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*INSTALLED, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    run = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    if "No module named 'setuptools'" in run.stderr:
        pytest.skip("setuptools is not installed here")
    assert run.returncode == 0, run.stderr[-2000:]
    return set(zipfile.ZipFile(next(out.glob("*.whl"))).namelist())


@pytest.mark.parametrize("folder", INSTALLED)
def test_every_module_is_in_the_wheel(wheel: set[str], folder: str) -> None:
    modules = {f"{INSTALLED[folder]}/{path.name}" for path in (ROOT / folder).glob("*.py")}
    assert modules
    assert not modules - wheel


@pytest.mark.parametrize(
    "name",
    [
        "nnunet_textomorph/generator/default/generator.json",
        "nnunet_textomorph/generator/default/model.safetensors",
        "nnunet_textomorph/generator/default/distilled.safetensors",
        "nnunet_textomorph/generator/default/README.md",
        "nnunet_textomorph/llm_reports/data/calibration_pairs.jsonl",
        "nnunet_textomorph/data/reader_study.html",
        "nnunet_textomorph/data/descriptions.jsonl",
        "nnunet_textomorph/data/lefusion.safetensors",
        "nnunet_textomorph/data/lefusion.json",
        "nnunet_textomorph/data/cgan.safetensors",
        "nnunet_textomorph/data/cgan.json",
        "nnunet_textomorph/py.typed",
    ],
)
def test_data_are_in_the_wheel(wheel: set[str], name: str) -> None:
    assert name in wheel


def test_the_default_weights_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "generator" / "default").glob("*.safetensors")) <= 40e6
