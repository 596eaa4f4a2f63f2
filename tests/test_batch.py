"""``textomorph synthesize --batch``: checked as a whole, made one by one, continued, shared out."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from nnunet_textomorph import batch as batch_module
from nnunet_textomorph.cli import main
from nnunet_textomorph.generator.volumes import Volume, read_volume, write_volume

FILES = ["image.nii.gz", "label.nii.gz", "preview.png", "request.json"]
TEXT = "a hypoattenuating mass in the liver"

KILLED_AT_THE_SECOND = """
import os, signal, sys
from nnunet_textomorph import synthesize
from nnunet_textomorph.cli import main
calls, save_preview = [], synthesize.save_preview
def die(*args, **settings):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    save_preview(*args, **settings)
synthesize.save_preview = die
main(sys.argv[1:])
"""


class Batch:
    """Two CT with a ball of liver in each, lines about them, and the command on those."""

    def __init__(self, folder: Path, generator: Path) -> None:
        self.folder, self.generator = folder, generator
        self.file, self.out = folder / "requests.jsonl", folder / "out"
        z, y, x = np.ogrid[:20, :40, :40]
        ball = ((z - 10) * 3.0) ** 2 + ((y - 20) * 1.5) ** 2 + ((x - 20) * 1.5) ** 2 < 25.0**2
        for number in (1, 2):
            noise = np.random.default_rng(number).normal(0, 12, ball.shape)
            self.save(f"ct{number}.nii.gz", (np.where(ball, 100, 40) + noise).astype(np.int16))
        self.save("seg.nii.gz", ball.astype(np.uint8))

    def save(self, name: str, array: np.ndarray) -> None:
        place = ((0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        write_volume(self.folder / name, Volume(array, (3.0, 1.5, 1.5), *place))

    def line(self, name: str, **fields: Any) -> dict[str, Any]:
        """A line; fields of the value ``...`` are left out."""
        usual = {"image": "ct1.nii.gz", "organ_mask": "seg.nii.gz", "label": 1, "organ": "liver", "text": TEXT}
        usual |= {"diameter_mm": 12, "steps": 1, "name": name}
        return {key: value for key, value in (usual | fields).items() if value is not ...}

    def write(self, *lines: dict[str, Any] | str) -> None:
        self.file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))

    def arguments(self, out: Path | None = None) -> list[str]:
        arguments = ["synthesize", "--batch", self.file, "--generator", self.generator, "--out", out or self.out]
        return [str(argument) for argument in arguments]

    def run(self, out: Path | None = None) -> Result:
        result = CliRunner().invoke(main, self.arguments(out))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def summary(self, out: Path | None = None) -> list[dict[str, Any]]:
        return [json.loads(line) for line in ((out or self.out) / "summary.jsonl").read_text().splitlines()]

    def contents(self) -> dict[Path, tuple[bytes, int]]:
        """Everything in ``out``, with the time at which it was written."""
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in self.out.rglob("*") if p.is_file()}


@pytest.fixture
def batch(tmp_path: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # where one tumor alone is made, and so that devices do not differ
    return Batch(tmp_path, generator_folder)


def image(folder: Path) -> np.ndarray:
    return read_volume(folder / "image.nii.gz").array


def test_each_line_gives_what_the_command_gives_for_one(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in it are relative to the file, wherever the command runs."""
    tumor = np.zeros((20, 40, 40), np.uint8)
    tumor[9:12, 17:24, 17:24] = 1
    batch.save("tumor.nii.gz", tumor)
    batch.write(
        batch.line("a", seed=5, guidance=2.0, tumor_value=7),
        "",
        batch.line("b", diameter_mm=..., tumor_mask="tumor.nii.gz", image="ct2.nii.gz", seed=6),
    )
    monkeypatch.chdir(batch.folder.parent)
    result = batch.run()
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in batch.out.iterdir()) == ["a", "b", "summary.jsonl"]
    one = ["--organ-mask", "seg.nii.gz", "--label", "1", "--organ", "liver", "--steps", "1", "--generator"]
    one += [str(batch.generator), "--text", TEXT]
    rest = {
        "a": "--image ct1.nii.gz --diameter-mm 12 --seed 5 --guidance 2 --tumor-value 7",
        "b": "--image ct2.nii.gz --tumor-mask tumor.nii.gz --seed 6",
    }
    monkeypatch.chdir(batch.folder)
    for name, options in rest.items():
        assert sorted(p.name for p in (batch.out / name).iterdir()) == FILES
        alone = CliRunner().invoke(main, ["synthesize", *one, *options.split(), "--out", f"alone_{name}"])
        assert alone.exit_code == 0, alone.output
        for file in FILES[:2]:
            first, second = (read_volume(f / file).array for f in (batch.out / name, batch.folder / f"alone_{name}"))
            np.testing.assert_array_equal(first, second)
        many, single = (json.loads((f / "request.json").read_text()) for f in (batch.out / name, Path(f"alone_{name}")))
        assert many == single


def test_the_summary_tells_what_repeats_each_and_a_seed_follows_from_the_name(batch: Batch) -> None:
    batch.write(batch.line("b"), batch.line("a"), batch.line("c", seed=3))
    assert batch.run().exit_code == 0
    lines = batch.summary()
    assert [line["name"] for line in lines] == ["a", "b", "c"]
    assert all(line["made"] for line in lines)
    assert lines[2]["seed"] == 3
    assert len({line["seed"] for line in lines}) == 3
    assert (image(batch.out / "a") != image(batch.out / "b")).any()
    batch.write(batch.line("other"), batch.line("a", seed=lines[0]["seed"]), batch.line("b"))
    again = batch.folder / "again"
    assert batch.run(again).exit_code == 0
    for name in ("a", "b"):
        np.testing.assert_array_equal(image(batch.out / name), image(again / name))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image": ...}, "'image' is missing"),
        ({"name": ...}, "'name' is missing"),
        ({"text": " . "}, "text is empty"),
        ({"colour": "red"}, "'colour'"),
        ({"label": "liver"}, "'label'"),
        ({"label": 0}, "'label'"),
        ({"steps": 0}, "'steps'"),
        ({"seed": -1}, "seed is -1"),
        ({"diameter_mm": -3}, "above 0 mm"),
        ({"guidance": -0.5}, "guidance of -0.5"),
        ({"tumor_value": 1}, "is the host's label"),
        ({"tumor_mask": "seg.nii.gz"}, "exclude each other"),
        ({"image": "none.nii.gz"}, "none.nii.gz: no such file"),
        ({"tumor_mask": "none.nii.gz", "diameter_mm": ...}, "none.nii.gz: no such file"),
        ({"organ_mask": "requests.jsonl"}, "not a NIfTI"),
        ({"generator": "nowhere"}, "nowhere: no such folder"),
        ({"name": "first"}, "that of line 1"),
        ({"name": "First"}, "that of line 1"),
        ({"name": "../up"}, "cannot be a folder's"),
        ({"name": "größe"}, "cannot be a folder's"),
        ({"name": ".partial-1-x"}, "cannot be a folder's"),
        ({"name": "summary.jsonl"}, "cannot be a folder's"),
        ({"name": ""}, "cannot be a folder's"),
        ("{'name': 1}", "is not JSON"),
        ("[1, 2]", "object"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_made(batch: Batch, fields: dict | str, sentence: str) -> None:
    bad = fields if isinstance(fields, str) else batch.line("bad") | fields
    bad = bad if isinstance(bad, str) else {k: v for k, v in bad.items() if v is not ...}
    batch.write(batch.line("first"), "", bad)
    before = sorted(batch.folder.rglob("*"))
    result = batch.run()
    assert result.exit_code == 2, result.output
    assert result.output.startswith(f"Error: {batch.file}, line 3: ")
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1
    assert sorted(batch.folder.rglob("*")) == before


def test_all_bad_lines_are_named(batch: Batch) -> None:
    batch.write(batch.line("a", text=""), batch.line("b"), batch.line("c", image="no.nii.gz"), "nonsense")
    result = batch.run()
    assert result.exit_code == 2
    *faults, last = result.output.splitlines()
    assert [fault.split(": ")[0] for fault in faults] == [f"{batch.file}, line {n}" for n in (1, 3, 4)]
    assert "3 lines are unusable" in last
    assert not batch.out.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda b: b.file.unlink(), "no such file"),
        (lambda b: b.file.write_text("\n"), "holds no line"),
        (lambda b: b.file.write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda b: b.out.write_text("mine"), "is a file"),
        (lambda b: (b.out.mkdir(), (b.out / "summary.jsonl").write_text("mine")), "is of no batch"),
        (lambda b: setattr(b, "generator", b.folder / "none"), "none: no such folder"),
    ],
)
def test_an_unusable_file_or_folder_is_one_sentence(batch: Batch, change: Any, sentence: str) -> None:
    batch.write(batch.line("a"))
    change(batch)
    before = {p: p.read_bytes() for p in batch.folder.rglob("*") if p.is_file()}
    result = batch.run()
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1
    assert {p: p.read_bytes() for p in batch.folder.rglob("*") if p.is_file()} == before


def test_a_line_that_fails_is_told_the_others_go_on_and_it_alone_is_tried_again(batch: Batch) -> None:
    whole = (batch.folder / "ct2.nii.gz").read_bytes()
    (batch.folder / "ct2.nii.gz").write_bytes(whole[:2000])
    batch.write(batch.line("a"), batch.line("b", image="ct2.nii.gz", seed=4), batch.line("c"))
    result = batch.run()
    assert result.exit_code == 1, result.output
    assert f"{batch.file}, line 2 (b): {batch.folder / 'ct2.nii.gz'}: cannot be read" in result.output
    *made, failed = batch.summary()
    assert [line["name"] for line in made] == ["a", "c"]
    assert (failed["name"], failed["made"], failed["line"], failed["seed"]) == ("b", False, 2, 4)
    assert "cannot be read" in failed["reason"]
    assert sorted(p.name for p in batch.out.iterdir()) == ["a", "c", "summary.jsonl"]

    before = batch.contents()
    (batch.folder / "ct2.nii.gz").write_bytes(whole)
    result = batch.run()
    assert result.exit_code == 0, result.output
    assert "2 made before, 1 to make" in result.output
    assert [line["made"] for line in batch.summary()] == [True] * 3
    after = batch.contents()
    assert {p: c for p, c in after.items() if p in before and p.name != "summary.jsonl"} == {
        p: c for p, c in before.items() if p.name != "summary.jsonl"
    }


def test_a_bug_at_one_line_does_not_cost_the_others(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    make = batch_module.make

    def broken(request: Any, *args: Any) -> Any:
        if request.seed == 13:
            raise IndexError("out of range")
        return make(request, *args)

    monkeypatch.setattr(batch_module, "make", broken)
    batch.write(batch.line("a", seed=13), batch.line("b"))
    result = batch.run()
    assert result.exit_code == 1
    assert "Traceback" in result.output
    assert [(line["name"], line["made"]) for line in batch.summary()] == [("b", True), ("a", False)]
    assert batch.summary()[1]["reason"] == "IndexError: out of range"


def test_a_full_disk_ends_the_run(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, volume: Volume) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("nnunet_textomorph.synthesize.write_volume", full)
    batch.write(batch.line("a"), batch.line("b"))
    result = batch.run()
    assert result.exit_code == 2
    assert "no space left on device" in result.output
    assert not list(batch.out.iterdir())


def test_a_killed_run_goes_on_where_it_was(batch: Batch) -> None:
    batch.write(batch.line("a"), batch.line("b"), batch.line("c"))
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND, *batch.arguments()]
    killed = subprocess.run(command, capture_output=True, cwd=batch.folder)
    assert killed.returncode == -signal.SIGKILL
    left = sorted(p.name for p in batch.out.iterdir())
    assert left[0].startswith(".partial-")
    assert left[1:] == ["a"]
    before = batch.contents()

    result = batch.run()
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in batch.out.iterdir()) == ["a", "b", "c", "summary.jsonl"]
    after = batch.contents()
    assert all(after[p] == before[p] for p in before if p.parent.name == "a")
    whole = batch.folder / "whole"
    assert batch.run(whole).exit_code == 0
    for name in ("a", "b", "c"):
        np.testing.assert_array_equal(image(batch.out / name), image(whole / name))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": "a large mass in the liver"}, "was made with text"),
        ({"seed": 9}, "was made with seed"),
        ({"image": "ct2.nii.gz"}, "was made with image"),
        ({"steps": 2}, "was made with steps 1, not 2"),
    ],
)
def test_a_result_of_another_request_is_not_overwritten(batch: Batch, change: dict, sentence: str) -> None:
    batch.write(batch.line("a"))
    assert batch.run().exit_code == 0
    before = batch.contents()
    batch.write(batch.line("new"), batch.line("a", **change))
    result = batch.run()
    assert result.exit_code == 2
    assert f"{batch.file}, line 2: {batch.out / 'a'}: {sentence}" in result.output
    assert batch.contents() == before


def test_another_generators_result_and_what_is_no_result_are_not_overwritten(batch: Batch) -> None:
    batch.write(batch.line("a"), batch.line("b"))
    assert batch.run().exit_code == 0
    facts = json.loads((batch.out / "a" / "request.json").read_text())
    (batch.out / "a" / "request.json").write_text(json.dumps(facts | {"generator_weights": "0123"}))
    (batch.out / "b" / "request.json").write_text("[]")
    before = batch.contents()
    result = batch.run()
    assert result.exit_code == 2
    assert "was made with generator_weights '0123'" in result.output
    assert f"{batch.out / 'b'}: exists, and is no result" in result.output
    assert batch.contents() == before


def test_the_summary_keeps_what_another_batch_made_there(batch: Batch) -> None:
    (batch.out / "mine").mkdir(parents=True)
    (batch.out / "mine" / "request.json").write_text("of something else")
    for name in ("a", "b"):
        batch.write(batch.line(name))
        assert batch.run().exit_code == 0
    assert [line["name"] for line in batch.summary()] == ["a", "b"]


def test_an_image_that_lines_share_is_read_once(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reading(path: str, **settings: Any) -> Volume:
        read.append(Path(path).name)
        return read_volume(path, **settings)

    monkeypatch.setattr(batch_module, "read_volume", reading)
    batch.write(
        batch.line("a"), batch.line("b"), batch.line("c", image="ct2.nii.gz"), batch.line("d", image="ct2.nii.gz")
    )
    assert batch.run().exit_code == 0
    assert read == ["ct1.nii.gz", "seg.nii.gz", "ct2.nii.gz"]


def test_two_processes_make_what_one_makes(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (batch.folder / "broken.nii.gz").write_bytes(b"nothing")
    names = [f"case{n}" for n in range(5)]
    lines = [batch.line(name, image=f"ct{1 + n % 2}.nii.gz") for n, name in enumerate(names)]
    batch.write(*lines, batch.line("bad", image="broken.nii.gz"))  # it falls to the second process
    # --multi_gpu is what makes accelerate start several processes on one machine, with or without a GPU
    options = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options.split(), "--main_process_port", "0"]
    two = batch.folder / "two"
    command = [*launch, "-m", "nnunet_textomorph.cli", *batch.arguments(two)]
    # from another folder than the repository's root, which would hide the installed package
    run = subprocess.run(command, capture_output=True, text=True, cwd=batch.folder)
    assert run.returncode == 1, run.stderr[-3000:]
    assert "6 to make by 2 processes" in run.stdout
    assert run.stdout.count("made 5 of 6") == 1
    assert "line 6 (bad)" in run.stderr

    single = [sys.executable, "-m", "nnunet_textomorph.cli", *batch.arguments()]
    assert subprocess.run(single, capture_output=True, cwd=batch.folder).returncode == 1
    assert batch.summary(two) == batch.summary()
    assert [line["name"] for line in batch.summary()] == [*names, "bad"]
    for name in names:
        for file in FILES[:2]:
            assert (two / name / file).read_bytes() == (batch.out / name / file).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--batch", "x.jsonl", "--text", "a mass", "--out", "o"], "--text belongs into the lines"),
        (["--batch", "x.jsonl", "--tumor-value", "3", "--out", "o"], "--tumor-value belongs into the lines"),
        (["--image", "ct.nii.gz", "--out", "o"], "Missing option '--organ-mask'"),
    ],
)
def test_options_of_one_and_of_many_are_kept_apart(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, ["synthesize", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output
