"""Nothing that identifies a person leaves, and what describes a tumor stays."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_textomorph.llm_reports.engines import extract_offline
from nnunet_textomorph.llm_reports.errors import ReportError
from nnunet_textomorph.llm_reports.privacy import deidentify, is_this_machine, warning

DATA = Path(__file__).parent / "data"
STRINGS = [json.loads(line) for line in (DATA / "phi.jsonl").read_text().splitlines()]
REPORTS = [
    json.loads(line)["report"]
    for name in ("development", "test")
    for line in (DATA / "reports" / f"{name}.jsonl").read_text().splitlines()
]
# Words that identify nobody by themselves
GENERIC = {
    *(
        "aged",
        "dr",
        "mr",
        "and",
        "avenue",
        "ext",
        "flat",
        "general",
        "hospital",
        "infirmary",
        "jr",
        "manor",
        "of",
        "old",
    ),
    *("po", "road", "royal", "st", "year"),
}


def identifying(private: list[str], kept: list[str]) -> set[str]:
    """The names and numbers of the strings that must go, unless a string that must stay has them too."""
    words = {
        w for s in private for w in re.findall(r"\w+", s) if len(w) > 1 and (w[0].isupper() or re.search(r"\d", w))
    }
    allowed = {w for s in kept for w in re.findall(r"\w+", s)}
    return {w for w in words - allowed if w.lower() not in GENERIC}


def test_there_are_enough_strings() -> None:
    assert len(STRINGS) >= 60


@pytest.mark.parametrize("case", STRINGS, ids=lambda case: case["id"])
def test_nothing_leaks_and_the_findings_stay(case: dict) -> None:
    text = deidentify(case["text"])
    assert not [s for s in case["phi"] if s in text]
    assert not identifying(case["phi"], case["keep"]) & set(re.findall(r"\w+", text))
    assert not [s for s in case["keep"] if s not in text]


NAMES = ("Ruth Ashgrove", "T. Mbeki-Olsson", "García Márquez", "O'Donnell", "Nguyễn Thị Lan", "van Houten", "Wójcik")
FRAMES = (
    "Reported by {}. Liver normal.",
    "Dr. {} was informed about the hypodense lesion in segment 4.",
    "Patient: {}. CT abdomen.",
    "Findings were discussed with {} by telephone.",
    "The cyst was shown to Mrs. {} and her family.",
    "IMPRESSION: 2 cm renal mass. Electronically signed: {}, MD",
    "Referring physician: Dr. {}",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frame", FRAMES)
def test_names_are_found_by_what_stands_around_them(name: str, frame: str) -> None:
    text = deidentify(frame.format(name))
    assert not {w for w in re.findall(r"\w+", name) if len(w) > 1 and w[0].isupper()} & set(re.findall(r"\w+", text))
    assert "[NAME]" in text


@pytest.mark.parametrize(
    "text",
    [
        "Bosniak IIF cyst, 24 mm, 15 HU, series 4 image 152.",
        "Status post Whipple procedure. Couinaud segments V-VIII. Child-Pugh B.",
        "LI-RADS 5 lesion, segment 4/5, 3.2 x 2.8 x 2.1 cm, washout at 5 minutes.",
        "Exophytic mass of the left upper pole, 4.1 cm, Fuhrman grade 2, 89-year-old man.",
        "HYPOATTENUATING, ILL-DEFINED MASS IN THE PANCREATIC HEAD, 34 MM. NO LIVER LESION.",
    ],
)
def test_radiology_stays_as_it_is(text: str) -> None:
    assert deidentify(text) == text


def test_extraction_reads_the_same_from_a_deidentified_report() -> None:
    def said(report: str) -> list[dict]:
        return [c.lesion.descriptors.model_dump() for c in extract_offline(report).lesions]

    differing = [report for report in REPORTS if said(report) != said(deidentify(report))]
    assert len(differing) <= len(REPORTS) // 100, differing


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=200), st.text(max_size=200))
def test_an_address_vanishes_from_any_text(before: str, after: str) -> None:
    assert "jane.roe@hospital.example" not in deidentify(f"{before} jane.roe@hospital.example {after}")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.8.9.1:1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://192.168.0.7:8000/v1", False),
        ("http://0.0.0.0:8000/v1", False),
        ("http://localhost.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://localhost@example.com/v1", False),
    ],
)
def test_only_loopback_addresses_are_this_machine(url: str, local: bool) -> None:
    assert is_this_machine(url) == local
    assert (warning(url, True) is None) == local


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost/v1", "", "http:///v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ReportError, match="address"):
        is_this_machine(url)


def test_the_warning_names_the_host_and_is_louder_without_deidentification() -> None:
    quiet, loud = warning("https://llm.example.org/v1", True), warning("https://llm.example.org/v1", False)
    assert quiet is not None
    assert loud is not None
    assert "llm.example.org" in quiet
    assert "LLM.EXAMPLE.ORG UNCHANGED" in loud
    assert "NOT ENCRYPTED" in (warning("http://llm.example.org/v1", True) or "")
