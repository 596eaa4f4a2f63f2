"""Imports point one way: trainers -> nnunet_textomorph -> {generator, llm_reports}."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GENERATOR, REPORTS = "nnunet_textomorph.generator", "nnunet_textomorph.llm_reports"
NNUNET = ("nnunetv2", "batchgeneratorsv2", "batchgenerators")


def imported(folder: str) -> dict[str, set[str]]:
    """Absolute names that each module of a folder imports."""
    found = {}
    for path in sorted((ROOT / folder).glob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, f"{path} imports from beyond its folder"
        found[path.name] = names
    assert found, f"{folder} holds no module"
    return found


def breaks(names: set[str], forbidden: tuple[str, ...]) -> set[str]:
    return {n for n in names if any(n == f or n.startswith(f + ".") for f in forbidden)}


@pytest.mark.parametrize("folder", ["generator", "llm_reports"])
def test_the_standalone_parts_know_neither_each_other_nor_nnunet(folder: str) -> None:
    for module, names in imported(folder).items():
        assert not breaks(names, ("nnunet_textomorph", "trainers", *NNUNET)), module


def test_the_joint_knows_no_trainer() -> None:
    for module, names in imported("nnunet_textomorph").items():
        assert not breaks(names, ("trainers", "nnunetv2.training.nnUNetTrainer.variants")), module


def test_trainers_reach_the_parts_through_the_joint() -> None:
    for module, names in imported("trainers").items():
        assert not breaks(names, (GENERATOR, REPORTS)), module


@pytest.mark.parametrize("module", ["nnunet_textomorph.cli", "nnunet_textomorph.generator"])
def test_the_command_line_and_the_generators_package_start_without_torch(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'monai', 'nnunetv2') if m in sys.modules])"
    # from another folder than the repository's root, which would hide the installed package
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert run.stdout.strip() == "[]"
