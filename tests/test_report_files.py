"""Whole files through the command line, offline; and what is wrong with them, said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nnunet_textomorph.bank import load_bank
from nnunet_textomorph.cli import main
from nnunet_textomorph.llm_reports import corpus
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.extraction import read_description
from nnunet_textomorph.llm_reports.variants import distinct_key
from nnunet_textomorph.phantom_reports import Finding, write_report


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["reports", *[str(a) for a in arguments]])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


TWO = "Hypodense ill-defined mass in segment 6 of the liver, 31 mm. Simple cyst of the left kidney, 12 mm."


def test_one_line_per_lesion_and_one_for_a_report_without(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"id": "a", "report": TWO}, {"id": 2, "report": "No focal liver lesion."}])
    code, output = run("extract", source, tmp_path / "out.jsonl")
    assert code == 0, output
    lines = read(tmp_path / "out.jsonl")
    assert [(line["id"], line["lesion"]) for line in lines] == [("a", 0), ("a", 1), (2, None)]
    assert all(list(line) == ["id", "lesion", "report", "descriptors", "description", "checks"] for line in lines)
    assert lines[0]["descriptors"]["attenuation"] == "hypo"
    assert lines[0]["report"] == TWO
    assert "31 mm" in lines[0]["description"]
    assert lines[2]["descriptors"] is None
    assert lines[2]["description"] is None
    assert "1 reports without a lesion" in output
    assert not list(tmp_path.glob(".partial*"))


def test_a_merely_possible_lesion_is_mentioned_and_no_lesion(tmp_path: Path) -> None:
    report = "Liver: a small hypodense lesion in segment 4 cannot be excluded."
    run("extract", write(tmp_path / "in.jsonl", [{"id": "a", "report": report}]), tmp_path / "out.jsonl")
    (line,) = read(tmp_path / "out.jsonl")
    assert line["descriptors"] is None


def test_worker_processes_keep_the_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count = 4 * corpus.CHUNK + 5
    lines = []
    for i in range(count):
        d = Descriptors(organ="liver", attenuation="hypo", size_mm=float(10 + i % 50))
        lines.append({"id": i, "report": write_report("liver", [Finding(d, "segment 4")], rng)[0]})
    code, _ = run("extract", write(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl")
    assert code == 0
    assert list(dict.fromkeys(line["id"] for line in read(tmp_path / "out.jsonl"))) == list(range(count))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no line"),
        (b"\n\n", "holds no line"),
        (b"The liver is normal.\n", "line 1: is not JSON"),
        (b'{"id": 1, "report": "a"}\n{"id": 2}\n', "line 2: the field 'report' is missing"),
        (b'{"id": 1, "report": "a"}\n\n{"report": "b"}\n', "line 3: the field 'id' is missing"),
        (b'{"id": 1, "report": 7}\n', "line 1: the field 'report'"),
        (b'{"id": 1, "report": null}\n', "line 1: the field 'report'"),
        (b'["id", "report"]\n', "line 1:"),
        (b'{"id": 1, "report": "a"}\n{"id": 2, "report": "M\xfcller"}\n', "line 2: byte"),
        ('{"id": 1, "report": "a"}'.encode("utf-16"), "line 1: byte"),
        (b'{"id": 1, "report": "a"}\n{"id": 2, "report": "b"}\n{"id": 1, "report": "c"}\n', "lines 1 and 3"),
        (b'{"id": 1, "report": "' + b"Liver normal. " * 380_000 + b'"}\n', "line 1: the field 'report'"),
        (b'{"id": 1, "report": "\\ud800"}\n', "line 1:"),
    ],
    ids=[
        "empty",
        "blank",
        "no JSON",
        "no report",
        "no id",
        "number",
        "null",
        "list",
        "latin-1",
        "utf-16",
        "same id",
        "5 MB",
        "surrogate",
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    code, output = run("extract", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert code == 2
    assert sentence in output
    assert "in.jsonl" in output
    assert len(output.strip().splitlines()) == 1
    assert len(output) < 400
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_bank_of_what_augment_wrote_is_what_training_takes(tmp_path: Path) -> None:
    reports = [
        {"id": 1, "report": "Hypodense mass in the liver."},
        {"id": 2, "report": "Hyperdense, well-defined lesion in the pancreas."},
        {"id": 3, "report": "No focal lesion."},
    ]
    run("extract", write(tmp_path / "reports.jsonl", reports), tmp_path / "lesions.jsonl")
    code, output = run("bank", tmp_path / "lesions.jsonl", tmp_path / "bank.jsonl")
    assert (code, "augment" in output) == (2, True)
    run("augment", tmp_path / "lesions.jsonl", tmp_path / "variants.jsonl", "-n", 5)
    code, output = run("bank", tmp_path / "variants.jsonl", tmp_path / "variants.jsonl", tmp_path / "bank.jsonl")
    assert code == 0, output
    assert {line.descriptors.attenuation for line in load_bank(tmp_path / "bank.jsonl", "liver")} == {"hypo"}
    assert len(load_bank(tmp_path / "bank.jsonl", "pancreas")) == 1
    code, output = run("bank", tmp_path / "variants.jsonl", tmp_path / "bank.jsonl")
    assert (code, "bank.jsonl" in output) == (2, True)
    code, output = run("bank", tmp_path / "nothing.jsonl", tmp_path / "new.jsonl")
    assert (code, "no such file" in output) == (2, True)
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize("command", ["extract", "augment", "validate"])
def test_no_file_is_overwritten_and_none_invented(command: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"id": 1, "report": TWO}])
    (tmp_path / "out.jsonl").write_text("mine")
    code, output = run(command, source, tmp_path / "out.jsonl")
    assert (code, "exists" in output) == (2, True)
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    code, output = run(command, tmp_path / "none.jsonl", tmp_path / "new.jsonl")
    assert (code, "none.jsonl: no such file" in output) == (2, True)
    code, output = run(command, source, tmp_path / "nowhere" / "new.jsonl")
    assert (code, "no such folder" in output) == (2, True)


def test_a_byte_order_mark_and_windows_line_ends_are_no_harm(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"id": 1, "report": "Liver normal."}\r\n\r\n')
    assert run("extract", tmp_path / "in.jsonl", tmp_path / "out.jsonl")[0] == 0


def test_variants_are_distinct_validated_and_not_padded(tmp_path: Path) -> None:
    run("extract", write(tmp_path / "in.jsonl", [{"id": "a", "report": TWO}, {"id": "b", "report": "Liver normal."}]),
        tmp_path / "lesions.jsonl")  # fmt: skip
    code, output = run("augment", tmp_path / "lesions.jsonl", tmp_path / "out.jsonl", "-n", 12, "--seed", 3)
    assert code == 0, output
    lines = read(tmp_path / "out.jsonl")
    assert [len(line["variants"]) for line in lines] == [12, 12, 0]
    for line in lines[:2]:
        assert len({distinct_key(text) for text in line["variants"]}) == 12
        for text in line["variants"]:
            reading = read_description(text)
            assert reading is not None
            assert reading.descriptors.model_dump(exclude_none=True) == line["descriptors"]
    assert lines[2]["descriptors"] is None
    again = tmp_path / "again.jsonl"
    run("augment", tmp_path / "lesions.jsonl", again, "-n", 12, "--seed", 3)
    assert again.read_text() == (tmp_path / "out.jsonl").read_text()


def test_a_shortfall_is_said(tmp_path: Path) -> None:
    line = {"id": 1, "lesion": 0, "descriptors": {"organ": "liver"}, "description": "A lesion in the liver."}
    code, output = run("augment", write(tmp_path / "in.jsonl", [line]), tmp_path / "out.jsonl", "-n", 10_000)
    assert code == 0
    (found,) = read(tmp_path / "out.jsonl")
    assert 0 < len(found["variants"]) < 10_000
    assert found["checks"] == [f"{len(found['variants'])} of 10000 variants"]
    assert "1 descriptions short of variants" in output


def test_a_description_that_is_not_its_descriptors_gets_no_variants(tmp_path: Path) -> None:
    line = {
        "id": 1,
        "lesion": 0,
        "descriptors": {"organ": "liver", "attenuation": "hypo"},
        "description": "A hyperattenuating lesion in the liver.",
    }
    run("augment", write(tmp_path / "in.jsonl", [line]), tmp_path / "out.jsonl", "-n", 3)
    (found,) = read(tmp_path / "out.jsonl")
    assert found["variants"] == []
    assert found["checks"][0].startswith("description rejected, attenuation")


def test_pairs_are_judged_and_counted(tmp_path: Path) -> None:
    source = "A hypoattenuating liver lesion with ill-defined margins."
    texts = [
        "Ill-defined hypodense lesion in the liver.",
        "A hyperattenuating liver lesion with ill-defined margins.",
        "A hypoattenuating liver lesion with well-defined margins.",
        "A hypoattenuating, necrotic liver lesion with ill-defined margins.",
        "No hypoattenuating liver lesion.",
    ]
    pairs = [{"id": i, "source": source, "text": text} for i, text in enumerate(texts)]
    code, output = run("validate", write(tmp_path / "in.jsonl", pairs), tmp_path / "out.jsonl")
    assert code == 0, output
    lines = read(tmp_path / "out.jsonl")
    assert [line["kept"] for line in lines] == [True, False, False, False, False]
    assert all(bool(line["reasons"]) != line["kept"] for line in lines)
    assert all(list(line) == ["id", "source", "text", "kept", "reasons", "cosine"] for line in lines)
    assert 0.39 <= lines[0]["cosine"] <= 1.001
    assert all(line["cosine"] is None for line in lines[1:])  # the descriptors have rejected them
    assert "1 kept" in output
