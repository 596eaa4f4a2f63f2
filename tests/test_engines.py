"""A language model's answer counts only where the report itself says the same."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.engines import Extraction, extract_offline, verify
from nnunet_textomorph.llm_reports.prompts import (
    EXTRACT_EXAMPLES,
    VARY_EXAMPLES,
    VIEW_EXAMPLES,
    ExtractionAnswer,
    LesionAnswer,
    UnusableError,
    VariantsAnswer,
    ViewsAnswer,
    read_answer,
)
from nnunet_textomorph.llm_reports.validation import validate_text
from nnunet_textomorph.phantom_reports import Finding, write_report

REPORT = (
    "Liver: ill-defined hypodense mass in segment 6, 31 x 24 mm, without calcification. Simple cyst of the left "
    "kidney, 12 mm. Pancreas normal."
)
MASS = {
    "quotes": ["ill-defined hypodense mass in segment 6"],
    "organ": "liver",
    "attenuation": "hypo",
    "margin": "ill-defined",
    "size_mm": 31,
}
CYST = {
    "quotes": ["Simple cyst of the left kidney"],
    "organ": "kidney",
    "composition": "cystic",
    "pathology": "cyst",
    "size_mm": 12,
}


def checked(*answers: dict[str, Any], report: str = REPORT) -> Extraction:
    return verify([LesionAnswer(**answer) for answer in answers], report)


def said(extraction: Extraction) -> list[dict[str, Any]]:
    return [c.lesion.descriptors.model_dump(exclude_none=True) for c in extraction.lesions]


def test_what_the_report_says_is_kept() -> None:
    found = checked(MASS, CYST)
    assert said(found) == [{k: v for k, v in a.items() if k != "quotes"} for a in (MASS, CYST)]
    assert [c.checks for c in found.lesions] == [(), ()]
    assert found.checks == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attenuation": "hyper"}, "attenuation: hyper rejected, the report says hypo"),
        ({"margin": "well-defined"}, "margin: well-defined rejected, the report says ill-defined"),
        ({"size_mm": 13}, "size_mm: 13.0 rejected, the report says 31.0"),
        ({"composition": "calcified"}, "composition: calcified rejected, the report denies it"),
        ({"texture": "heterogeneous"}, "texture: heterogeneous rejected, not found in the report"),
        ({"pathology": "HCC"}, "pathology: HCC rejected, not found in the report"),
        ({"margin": None}, "margin: left out by the model, the report says ill-defined"),
    ],
)
def test_flipped_invented_and_denied_values_are_rejected_and_said(change: dict[str, Any], reason: str) -> None:
    found = checked({**MASS, **change}, CYST)
    name, value = next(iter(change.items()))
    assert said(found)[0].get(name) != value or value is None
    assert found.lesions[0].checks == (reason,)
    assert found.lesions[1].checks == ()


def test_invented_lesions_are_rejected_and_missed_ones_said() -> None:
    invented = {"quotes": ["Pancreas normal"], "organ": "pancreas", "pathology": "PDAC"}
    found = checked(CYST, invented)
    assert len(found.lesions) == 1
    assert [check.split(":")[0] for check in found.checks] == [
        "rejected lesion, not found in the report",
        "left out by the model, but in the report",
    ]
    assert "PDAC" in found.checks[0]
    assert "31" in found.checks[1]


def test_values_are_not_passed_between_lesions() -> None:
    found = checked(
        {**MASS, "size_mm": 12, "quotes": CYST["quotes"]}, {**CYST, "size_mm": 31, "quotes": MASS["quotes"]}
    )
    sizes = {(d["organ"], d.get("size_mm")) for d in said(found)}
    assert not sizes & {("liver", 12.0), ("kidney", 31.0)}


def test_a_quote_that_cuts_off_a_negation_supports_nothing() -> None:
    report = "2 cm mass in the pancreatic head. No washout and no cystic mass is seen."
    found = checked(
        {"quotes": ["washout", "cystic mass"], "organ": "pancreas", "enhancement": "washout", "composition": "cystic"},
        report=report,
    )
    assert not [d for d in said(found) if {"enhancement", "composition"} & d.keys()]


def values(name: str) -> list[Any]:
    options: list[Any] = []
    for part in get_args(Descriptors.model_fields[name].annotation):
        options += [v for v in get_args(part) if isinstance(v, str)]
    return options


ATTRIBUTES = ("attenuation", "enhancement", "texture", "composition", "margin", "pathology")


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "quotes": draw(st.lists(st.sampled_from(["mass", "lesion", "no", "liver", "hypodense", ""]), max_size=3)),
        "organ": draw(st.sampled_from(["liver", "pancreas", "kidney"])),
        "size_mm": draw(st.none() | st.floats(1, 90)),
    }
    return {**answer, **{name: draw(st.none() | st.sampled_from(values(name))) for name in ATTRIBUTES}}


@settings(deadline=None, max_examples=60)
@given(st.lists(answers(), max_size=4), st.integers(0, 10_000))
def test_whatever_a_model_answers_nothing_passes_that_the_report_does_not_say(
    given_answers: list[dict[str, Any]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    d = Descriptors(organ="liver", attenuation="hypo", margin="ill-defined", size_mm=float(rng.integers(10, 60)))
    report, _ = write_report("liver", [Finding(d, "segment 4")], rng)
    truth = [c.lesion.descriptors.model_dump(exclude_none=True).items() for c in extract_offline(report).lesions]
    found = said(checked(*given_answers, report=report))
    assert len(found) <= len(truth)
    for lesion in found:
        assert any(lesion.items() <= true for true in truth)


@pytest.mark.parametrize("example", EXTRACT_EXAMPLES, ids=lambda e: e[0][:20])
def test_the_examples_that_a_model_is_shown_pass_our_own_check(example: tuple[str, str]) -> None:
    report, answer = example
    lesions = read_answer(answer, ExtractionAnswer).lesions
    found = verify(lesions, report)
    assert said(found) == [lesion.model_dump(exclude_none=True, exclude={"quotes"}) for lesion in lesions]
    assert not [c for checked in found.lesions for c in checked.checks]
    assert not found.checks


def test_the_other_examples_have_the_shape_that_is_asked_for() -> None:
    for question, answer in VARY_EXAMPLES:
        source = question.split("\n")[0].removeprefix("Description: ")
        for text in read_answer(answer, VariantsAnswer).variants:
            assert validate_text(source, text, None).reasons == ()
    for _, answer in VIEW_EXAMPLES:
        assert read_answer(answer, ViewsAnswer).size_mm


@pytest.mark.parametrize("shape", [ExtractionAnswer, VariantsAnswer, ViewsAnswer])
def test_the_schemas_are_such_as_strict_endpoints_take(shape: Any) -> None:
    def objects(schema: Any) -> list[dict[str, Any]]:
        if isinstance(schema, list):
            return [o for part in schema for o in objects(part)]
        if not isinstance(schema, dict):
            return []
        own = [schema] if schema.get("type") == "object" else []
        return own + [o for part in schema.values() for o in objects(part)]

    found = objects(shape.model_json_schema())
    assert found
    for schema in found:
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])
        assert not [p for p in schema["properties"].values() if "default" in p]


@pytest.mark.parametrize(
    "text",
    [
        '{"variants": ["a"]}',
        'Sure! Here it is:\n```json\n{"variants": ["a"]}\n```',
        '<think>{"variants": 3} is not enough</think> {"variants": ["a"]} Anything else?',
    ],
)
def test_an_answer_is_found_among_other_words(text: str) -> None:
    assert read_answer(text, VariantsAnswer).variants == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        '{"variants": ["a"',
        '{"variants": "a"}',
        '{"variants": ["a"], "more": 1}',
        '["a"]',
        "{" * 5000,
        json.dumps({"variants": [1]}),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(UnusableError):
        read_answer(text, VariantsAnswer)
