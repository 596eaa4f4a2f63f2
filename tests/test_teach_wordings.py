"""Teaching a generator more wordings changes how it reads, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tiny
import torch
from safetensors.torch import load_file

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_only_the_text_adapter_changes(tmp_path: Path) -> None:
    tiny.generator(tiny.write_encoder(tmp_path / "encoder")).save(tmp_path / "before")
    command = [sys.executable, str(BENCHMARKS / "teach_wordings.py"), "--generator", str(tmp_path / "before")]
    command += ["--out", str(tmp_path / "after"), "--meanings", "40", "--steps", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("before", "after"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("denoiser.adapter.") for name in changed)
    assert not any("null" in name for name in changed)  # what stands for no text stays as it was trained
    recorded = json.loads((tmp_path / "after" / "generator.json").read_text())["training"]["wordings"]
    assert (recorded["meanings"], recorded["steps"]) == (40, 3)
