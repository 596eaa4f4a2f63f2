"""The script that makes the shipped generator, in small numbers: from nothing to a generator that can be used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnunet_textomorph.generator import Generator

REPOSITORY = Path(__file__).resolve().parents[1]
DATASET = REPOSITORY.parent / "shared" / "data" / "Dataset901_SoftTissueSarcoma"
SMALLER = {  # options and their values here; steps and batches of all three trainings
    "--per-real-case": 1,
    "--phantoms": 1,
    "--steps": 2,
    "--batch": 2,
    "--crop": 32,
    "--views": 1,
    "--trajectories": 2,
}


@pytest.mark.slow
def test_the_script_runs_from_nothing_to_a_generator(tmp_path: Path) -> None:
    if not DATASET.is_dir():
        pytest.skip(f"{DATASET} is absent")
    shutil.copytree(REPOSITORY / "benchmarks", tmp_path / "benchmarks")
    script = tmp_path / "benchmarks" / "train_default_generator.sh"
    text = script.read_text()
    for option, value in SMALLER.items():
        text, changed = re.subn(rf"{option} [\d.]+", f"{option} {value}", text)
        assert changed
    text = text.replace('--out "$runs/taught"', '--out "$runs/taught" --meanings 4 --steps 2')
    script.write_text(text)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(script), str(DATASET), str(tmp_path / "runs")]
    for _ in range(2):  # and again, as after an interruption
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    made = Generator.load(tmp_path / "generator" / "default")
    ct = np.random.default_rng(0).normal(50.0, 10.0, (24, 24, 24)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[9:15, 9:15, 9:15] = True
    assert np.isfinite(made.implant(ct, (2.0, 2.0, 2.0), mask, "A hypoattenuating mass.", seed=0)).all()
