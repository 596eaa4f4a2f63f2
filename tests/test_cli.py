"""The other commands, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnunet_textomorph.cli import main

DIFFUSION = ["train", "diffusion", "--data", "none.jsonl", "--autoencoder", "y", "--out", "x"]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["phantom"],
        ["reports", "extract"],
        ["reports", "augment"],
        ["reports", "validate"],
        ["reports", "describe"],
        ["train", "autoencoder"],
        ["train", "diffusion"],
        ["synthesize"],
        ["plan"],
        ["benchmark"],
        ["radiomics"],
        ["turing"],
        ["turing", "score"],
    ],
)
def test_every_command_has_help(command: list[str]) -> None:
    code, output = run(*command, "--help")
    assert code == 0
    assert "--" in output


def test_a_phantom_is_written_described_and_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "Dataset301_Liver"
    assert run("phantom", "--out", out, "--organ", "liver", "--cases", 2, "--seed", 3)[0] == 0
    code, output = run("phantom", "--out", out, "--organ", "liver", "--cases", 2)
    assert code == 2
    assert str(out) in output

    described = []
    for mask in sorted((out / "labelsTr").iterdir()):
        image = out / "imagesTr" / mask.name.replace(".nii.gz", "_0000.nii.gz")
        file = tmp_path / f"{mask.name}.jsonl"
        code, output = run("reports", "describe", "--image", image, "--mask", mask, "--organ", "liver", "--out", file)
        if code == 0:
            described += [json.loads(line) for line in file.read_text().splitlines()]
        else:
            assert "no tumor label" in output
    assert described
    assert all("liver" in line["description"] for line in described)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["phantom", "--out", "x", "--organ", "spleen", "--cases", "1"], "spleen"),
        (["phantom", "--out", "x", "--organ", "liver", "--cases", "0"], "--cases"),
        (["reports", "describe", "--image", "none.nii.gz", "--mask", "none.nii.gz"], "none.nii.gz"),
        (["train", "autoencoder", "--data", "none.jsonl", "--out", "x"], "none.jsonl"),
        (["train", "diffusion", "--data", "none.jsonl", "--autoencoder", "y", "--out", "x"], "none.jsonl"),
        ([*DIFFUSION, "--contrast-weight", "nan"], "contrast's weight"),
        ([*DIFFUSION, "--contrast-weight", "-1"], "contrast's weight"),
        ([*DIFFUSION, "--contrast-weight", "1", "--contrast-margin", "0"], "contrast's margin"),
        ([*DIFFUSION, "--contrast-weight", "1", "--contrast-share", "2"], "contrast's share"),
        ([*DIFFUSION, "--contrast-weight", "1"], "none.jsonl"),
        ([*DIFFUSION, "--rare-weight", "nan"], "rare_weight is nan"),
        ([*DIFFUSION, "--bank", "mine.jsonl"], "--contrast-weight"),
        (["plan", "999"], "999"),
        (["plan", "999", "--generator", "nowhere"], "nowhere"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    code, output = run(*arguments)
    assert code == 2
    assert sentence in output
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir())


def test_the_demo_leaves_a_folder_that_is_not_empty_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    code, output = run("demo", "--out", tmp_path)
    assert code == 2
    assert "not an empty folder" in output
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
