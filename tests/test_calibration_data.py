"""The hand-written data: pairs that calibrate the validation, and strings that de-identification must catch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import nnunet_textomorph.llm_reports as llm_reports
from nnunet_textomorph.llm_reports.descriptors import Descriptors

PAIRS = Path(llm_reports.__file__).parent / "data" / "calibration_pairs.jsonl"
IDENTIFYING = Path(__file__).parent / "data" / "phi.jsonl"

# Least number of pairs per kind. The threshold is read off rewordings against the rest, so neither may be scarce.
LEAST = {"rewording": 170, "flip": 115, "negation": 50, "invention": 40, "loss": 40, "off-topic": 28}
NAMES_NO_FIELD = {"rewording", "off-topic"}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def spans(text: str, part: str) -> list[tuple[int, int]]:
    return [(i, i + len(part)) for i in range(len(text)) if text.startswith(part, i)]


@pytest.mark.parametrize(
    ("path", "fields"),
    [(PAIRS, ["id", "source", "text", "kind", "field"]), (IDENTIFYING, ["id", "text", "phi", "keep"])],
)
def test_every_line_has_just_its_fields_and_an_id_of_its_own(path: Path, fields: list[str]) -> None:
    read = rows(path)
    assert [sorted(row) for row in read] == [sorted(fields)] * len(read)
    assert [name for name, n in Counter(row["id"] for row in read).items() if n > 1] == []


def test_there_are_enough_pairs_of_each_kind() -> None:
    counts = Counter(row["kind"] for row in rows(PAIRS))
    assert set(counts) == set(LEAST)
    assert {kind: n for kind, n in counts.items() if n < LEAST[kind]} == {}
    assert sum(counts.values()) >= 420


def test_a_changed_pair_names_the_descriptor_and_others_name_none() -> None:
    known = set(Descriptors.model_fields)
    for row in rows(PAIRS):
        if row["kind"] in NAMES_NO_FIELD:
            assert row["field"] is None, row["id"]
        else:  # a negation may deny the lesion itself
            allowed = known | {"lesion"} if row["kind"] == "negation" else known
            assert row["field"] in allowed, row["id"]


def test_every_descriptor_is_changed_somewhere() -> None:
    flipped = {row["field"] for row in rows(PAIRS) if row["kind"] == "flip"}
    assert flipped == set(Descriptors.model_fields)


def test_no_pair_repeats_another_and_no_text_copies_its_source() -> None:
    pairs = [(row["source"], row["text"]) for row in rows(PAIRS)]
    assert len(set(pairs)) == len(pairs)
    assert [source for source, text in pairs if source == text or not text.strip()] == []


def test_every_identifying_part_occurs_and_what_is_kept_lies_apart_from_it() -> None:
    read = rows(IDENTIFYING)
    assert len(read) >= 80
    for row in read:
        assert row["phi"], row["id"]
        found = {part: spans(row["text"], part) for part in [*row["phi"], *row["keep"]]}
        assert [part for part, where in found.items() if not where] == [], row["id"]
        clashes = [
            (secret, kept)
            for secret in row["phi"]
            for kept in row["keep"]
            for a, b in found[secret]
            for c, d in found[kept]
            if a < d and c < b
        ]
        assert clashes == [], row["id"]
