"""The hand-written reports that measure extraction are well formed: fields, values, counts, no text twice."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path

import pytest

from nnunet_textomorph.llm_reports import descriptors

REPORTS = Path(__file__).parent / "data" / "reports"
FILES = {
    "test": "t",
    "test2": "tt",
    "development": "d",
    "development2": "e",
    "development3": "g",
    "development4": "i",
    "development5": "j",
    "development6": "k",
    "development7": "m",
    "development8": "n",
    "development9": "q",
    "development10": "r",
    "development11": "s",
    "development12": "u",
    "development13": "v",
    "development14": "w",
    "development15": "x",
    "development16": "y",
    "development17": "z",
    "development18": "p",
    "development19": "o",
    "development20": "a",
    "development21": "b",
    "development22": "c",
    "development23": "f",
    "development24": "l",
    "phrases": "h",
}
ORGANS = {"liver", "pancreas", "kidney"}
VALUES: dict[str, set[str]] = {
    "organ": ORGANS,
    "attenuation": set(typing.get_args(descriptors.Attenuation)),
    "enhancement": set(typing.get_args(descriptors.Enhancement)),
    "texture": set(typing.get_args(descriptors.Texture)),
    "composition": set(typing.get_args(descriptors.Composition)),
    "margin": set(typing.get_args(descriptors.Margin)),
    "pathology": set(typing.get_args(descriptors.Pathology)),
}
TAGS = {
    "none",
    "several",
    "negation",
    "uncertainty",
    "synonym",
    "other-organ",
    "size-2d",
    "size-3d",
    "prior",
    "repeat",
    "typo",
    "history",
    "distance",
    "other-measurement",
    "long",
    "fragment",
    "telegraphic",
    "caps",
    *(field for field in VALUES if field != "organ"),  # what a phrase of phrases.jsonl tests
}
NUMERALS = {"two": "2", "four": "4", "eleven": "11", "nineteen": "19", "thirty-two": "32"}
HARD_CASES = {
    "negation": 40,
    "uncertainty": 40,
    "several": 40,
    "other-organ": 25,
    "prior": 25,
    "typo": 15,
    "history": 20,
}


def entries(name: str) -> list[dict]:
    return [json.loads(line) for line in (REPORTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def key(text: str) -> str:
    """What is left of a text when case, spacing and punctuation do not count."""
    return re.sub(r"\W+", "", text).lower()


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_an_entry_with_known_fields(name: str) -> None:
    for entry in entries(name):
        assert set(entry) == {"id", "report", "lesions", "tags"}, entry["id"]
        assert entry["report"].strip() == entry["report"] != "", entry["id"]
        assert set(entry["tags"]) <= TAGS, entry["id"]
        assert len(entry["tags"]) == len(set(entry["tags"])), entry["id"]
        assert ("none" in entry["tags"]) == (entry["lesions"] == []), entry["id"]
        assert ("long" in entry["tags"]) == (len(entry["report"].split()) >= 150), entry["id"]
        assert len(entry["lesions"]) < 2 or "several" in entry["tags"], entry["id"]


@pytest.mark.parametrize("name", FILES)
def test_every_lesion_holds_known_values_and_a_size_its_report_names(name: str) -> None:
    for entry in entries(name):
        dictated = rf"\b(?<!-)(?:{'|'.join(NUMERALS)})\b"
        figures = re.sub(dictated, lambda m: NUMERALS[m.group()], entry["report"])
        figures = figures.replace(" point ", ".").replace(" and a half ", ".5 ")
        said = {float(number.replace(",", ".")) for number in re.findall(r"\d+(?:[.,]\d+)?", figures)}
        sizes = said | {round(10 * number, 3) for number in said}
        for lesion in entry["lesions"]:
            assert "organ" in lesion, entry["id"]
            assert set(lesion) <= {*VALUES, "size_mm"}, entry["id"]
            for field in VALUES.keys() & lesion.keys():
                assert lesion[field] in VALUES[field], (entry["id"], field)
            if "size_mm" in lesion:
                assert lesion["size_mm"] in sizes, entry["id"]


@pytest.mark.parametrize("name", FILES)
def test_ids_are_consecutive(name: str) -> None:
    ids = [entry["id"] for entry in entries(name)]
    assert ids == [f"{FILES[name]}{i:03d}" for i in range(1, len(ids) + 1)]


def test_no_text_occurs_twice() -> None:
    texts = [key(entry["report"]) for name in FILES for entry in entries(name)]
    assert len(set(texts)) == len(texts)


def test_the_set_is_large_and_hard_enough() -> None:
    test = entries("test")
    assert len(test) >= 250
    assert len(entries("development")) >= 80
    for organ in ORGANS:
        assert sum(any(lesion["organ"] == organ for lesion in entry["lesions"]) for entry in test) >= 70, organ
    for tag, least in HARD_CASES.items():
        assert sum(tag in entry["tags"] for entry in test) >= least, tag
    assert 0.08 <= sum(entry["lesions"] == [] for entry in test) / len(test) <= 0.16
    assert sum(len(entry["report"].split()) > 40 for entry in test) / len(test) >= 0.35
    for field, values in VALUES.items():  # no value goes unmeasured
        assert values == {lesion[field] for entry in test for lesion in entry["lesions"] if field in lesion}, field


@pytest.mark.parametrize("name", ["test", "test2"])
def test_negated_statements_are_quoted_from_their_reports(name: str) -> None:
    reports = {line["id"]: line["report"] for line in entries(name)}
    negated = {line["id"]: line["negated"] for line in entries(f"{name}_negated")}
    assert list(negated) == list(reports)
    assert sum(map(len, negated.values())) >= 200
    for report, statements in negated.items():
        for statement in statements:
            assert statement["quote"] in reports[report]
            assert statement["organ"] in {None, *ORGANS}
            if statement["field"] == "lesion":
                assert statement["value"] is None
            else:
                assert statement["value"] in VALUES[statement["field"]]
