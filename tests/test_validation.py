"""A text is kept only if it says what its source says: every kind of change is caught, and rewordings are kept."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from nnunet_textomorph import llm_reports
from nnunet_textomorph.llm_reports import validation
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.encoders import cosines, local_encoder
from nnunet_textomorph.llm_reports.validation import Pair, count_kinds, validate_text, validate_texts

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
flips = importlib.import_module("validation_flips")

SOURCE = "A 32 mm hypoattenuating, heterogeneous lesion in the liver with ill-defined margins."


class Alike:
    """An encoder for which a text that holds a word is at a given cosine to all others, and the rest are equal."""

    name, threshold = "alike", 0.6

    def __init__(self, word: str = "", cosine: float = 1.0) -> None:
        self.word, self.cosine = word, cosine

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        apart = [self.cosine if self.word and self.word in text else 1.0 for text in texts]
        return np.array([[c, (1 - c * c) ** 0.5] for c in apart], np.float32)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("Low-density liver lesion, patchy, 3.2 cm, with hazy borders.", ()),
        (
            "A 32 mm hyperattenuating, heterogeneous lesion in the liver with ill-defined margins.",
            ("attenuation: 'hypo' became 'hyper'",),
        ),
        (
            "A 32 mm hypoattenuating, heterogeneous lesion in the liver with well-defined margins.",
            ("margin: 'ill-defined' became 'well-defined'",),
        ),
        ("A 32 mm hypoattenuating lesion in the liver with ill-defined margins.", ("texture: 'heterogeneous' lost",)),
        (SOURCE.replace("32 mm", "12 mm"), ("size_mm: 12 instead of 32",)),
        (SOURCE.replace("32 mm ", ""), ("size_mm: 32 lost",)),
        (SOURCE.replace("liver", "pancreas"), ("organ: 'liver' became 'pancreas'",)),
        (SOURCE.replace("lesion", "necrotic lesion"), ("composition: 'necrotic' invented",)),
        (SOURCE[:-1] + ", consistent with HCC.", ("pathology: 'HCC' invented",)),
        (SOURCE + " No calcification.", ("composition: 'calcified' denied",)),
        (SOURCE + " It is not hyperdense.", ()),  # hypodense says so already
        ("No lesion in the liver.", ("states no lesion, or more than one",)),
        ("The spleen is normal.", ("states no lesion, or more than one",)),
        ("", ("states no lesion, or more than one",)),
    ],
)
def test_a_rejection_names_the_field_and_both_values(text: str, reasons: tuple[str, ...]) -> None:
    verdict = validate_text(SOURCE, text, None)
    assert verdict.reasons == reasons
    assert verdict.kept == (not reasons)
    assert verdict.cosine is None
    assert len(verdict.kinds) == len(reasons)


def test_a_denied_property_is_said_to_be_denied() -> None:
    text = "A 32 mm hypoattenuating lesion in the liver with ill-defined margins. It is not heterogeneous."
    assert validate_text(SOURCE, text, None).reasons == ("texture: 'heterogeneous' is denied",)


@pytest.mark.parametrize(
    "text",
    [
        "The liver is normal.",  # names the organ, and no lesion
        "Cannot exclude a lesion in the liver.",
        "History of a lesion in the liver.",
        "The lesion in the liver has resolved.",
        "No finding in the liver.",
        "A lesion in the liver and another lesion in the liver.",
    ],
)
def test_organ_without_a_lesion_of_certainty_is_no_description(text: str) -> None:
    assert validate_text("A lesion in the liver.", "Hepatic mass.", None).kept
    assert validate_text("A lesion in the liver.", text, None).reasons == ("states no lesion, or more than one",)


TAKEN_BACK = "A 32 mm hypoattenuating, calcified lesion in the liver with rim enhancement, consistent with HCC."


@pytest.mark.parametrize(
    "text",
    [
        *(
            TAKEN_BACK.replace("calcified", x)
            for x in ("uncalcified", "hardly calcified", "calcified?", "no longer calcified")
        ),
        *(
            TAKEN_BACK.replace("with rim enhancement", f"{x} rim enhancement")
            for x in ("failing to show", "with loss of", "with nonexistent", "in the absence of", "with missing")
        ),
        *(
            TAKEN_BACK.replace("consistent with HCC", x)
            for x in ("unlikely HCC", "incompatible with HCC", "other than HCC", "HCC is improbable", "and isn't HCC")
        ),
        *(TAKEN_BACK + x for x in (" This was ruled out.", " None of this applies to the patient.", " No lesion.")),
        "False: " + TAKEN_BACK,
        "It is not true that there is " + TAKEN_BACK[:1].lower() + TAKEN_BACK[1:],
        TAKEN_BACK + " A second, 12 mm hypodense lesion lies in segment 2.",
    ],
)
def test_nothing_is_taken_back(text: str) -> None:
    assert text != TAKEN_BACK
    assert validate_text(TAKEN_BACK, TAKEN_BACK, None).kept
    assert not validate_text(TAKEN_BACK, text, None).kept


def test_what_the_source_says_beside_its_descriptors_is_kept_too_unless_they_are_given() -> None:
    source, without = (
        "Necrotic liver mass with rim enhancement, no calcification.",
        "Rim-enhancing necrotic hepatic mass.",
    )
    assert validate_text(source, without, None).reasons == ("composition: 'calcified' no longer denied",)
    assert validate_text(source, "Rim-enhancing necrotic hepatic mass without calcification.", None).kept
    d = Descriptors(organ="liver", composition="necrotic", enhancement="rim")
    assert validate_text(source, without, None, d).kept
    assert not validate_text(source, without[:-1] + " with calcifications.", None, d).kept


def test_given_descriptors_decide_where_the_source_is_a_whole_report() -> None:
    report = "Liver: 32 mm hypodense lesion in segment 7. 12 mm hyperdense lesion in the left kidney."
    d = Descriptors(organ="liver", attenuation="hypo", size_mm=31.6)
    assert validate_text(report, "Hypodense hepatic lesion, 3.2 cm.", None, d).kept
    assert not validate_text(report, "Hyperdense hepatic lesion, 3.2 cm.", None, d).kept
    assert validate_text(report, "Hypodense hepatic lesion, 3.2 cm.", None).kinds == ("source: no lesion",)


def test_an_organ_the_reader_does_not_know_must_be_named() -> None:
    d = Descriptors(organ="uvula_tissue", attenuation="hypo")
    assert validate_text("x", "A hypodense lesion in the uvula tissue.", None, d).kept
    assert validate_text("x", "A hypodense lesion.", None, d).reasons == ("organ: 'uvula tissue' lost",)
    d = Descriptors(organ="kidney", pathology="RCC")  # a renal cell carcinoma is in the kidney
    assert validate_text("x", "Suspicious for renal cell carcinoma.", None, d).kept


def test_the_cosine_must_pass_the_encoders_own_threshold() -> None:
    text = SOURCE.replace("lesion", "mass")
    low, high = (validate_text(SOURCE, text, Alike("mass", cosine)) for cosine in (0.52, 0.61))
    assert low.reasons == ("cosine 0.52 below 0.60 of alike",)
    assert low.cosine == pytest.approx(0.52, abs=0.01)
    assert not low.kept
    assert high.kept
    broken = validate_text(SOURCE, text, Alike("mass", float("nan")))
    assert not broken.kept


def test_a_cosine_of_one_saves_no_flip() -> None:
    assert not validate_text(SOURCE, SOURCE.replace("hypo", "hyper"), Alike()).kept


def test_only_changed_texts_that_pass_by_their_descriptors_are_embedded() -> None:
    class Asked(Alike):
        texts: Sequence[str] = ()

        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            self.texts = [*self.texts, *texts]
            return super().__call__(texts)

    flipped, far, near = SOURCE.replace("hypo", "hyper"), SOURCE.replace("lesion", "mass"), SOURCE.replace("A ", "One ")
    encoder = Asked("mass", 0.5)
    verdicts = list(validate_texts([(SOURCE, text) for text in (flipped, far, SOURCE, near, flipped)], encoder))
    assert set(encoder.texts) == {SOURCE, far, near}
    assert [v.kept for v in verdicts] == [False, False, True, True, False]
    assert [v.cosine for v in verdicts] == [None, pytest.approx(0.5, abs=0.01), 1.0, pytest.approx(1.0), None]
    assert [v.kinds for v in verdicts[:2]] == [("attenuation: changed",), ("cosine: too low",)]


def check(pairs: Sequence, least_kept: float = 0.9) -> None:
    """Every change rejected and named, rewordings kept."""
    verdicts = list(validate_texts([Pair(p.source, p.text) for p in pairs], None))
    wrong = [p for p, v in zip(pairs, verdicts, strict=True) if v.kept and p.kind != "rewording"]
    assert not wrong, wrong[:5]
    changed = [(p, v) for p, v in zip(pairs, verdicts, strict=True) if p.kind in ("flip", "loss", "invention")]
    assert np.mean([flips.names_the_change(p, v) for p, v in changed]) > 0.97
    assert np.mean([v.kept for p, v in zip(pairs, verdicts, strict=True) if p.kind == "rewording"]) >= least_kept


@pytest.fixture(scope="module")
def generated() -> list:
    return flips.generated_pairs(40, seed=7)


def test_every_change_of_a_thousand_pairs_is_rejected(generated: list) -> None:
    kinds = Counter(pair.kind for pair in generated)
    assert kinds["flip"] + kinds["loss"] + kinds["invention"] >= 1000
    assert kinds["negation"] >= 200
    assert {p.field for p in generated if p.kind == "flip"} == set(Descriptors.model_fields)
    check(generated)


def test_the_hand_written_pairs() -> None:
    """Every change is rejected, whatever its wording."""
    pairs = [p for p in flips.hand_written_pairs() if p.kind != "off-topic"]
    check(pairs)


@pytest.mark.parametrize("deaf_to", ["negation", "attenuation"])
def test_the_check_notices_a_reader_that_is_deaf(
    deaf_to: str, generated: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above must be able to fail."""
    read = validation.read_description

    def deaf(text: str) -> validation.Reading | None:
        if deaf_to == "negation":
            return read(re.sub(r"\b(not|no|without|never|neither|nor|lacks|absent|excluded) ?", "", text))
        found = read(text)
        return found and found._replace(descriptors=found.descriptors.model_copy(update={"attenuation": None}))

    monkeypatch.setattr(validation, "read_description", deaf)
    with pytest.raises(AssertionError):
        check(generated)


def test_minilm_keeps_what_is_on_the_topic_only() -> None:
    path = Path(llm_reports.__file__).parent / "data" / "calibration_pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    encoder = local_encoder()
    share = {}
    for kind, n in (("rewording", 60), ("off-topic", 31)):
        of = [row for row in rows if row["kind"] == kind][:n]
        found = cosines(encoder([row["source"] for row in of]), encoder([row["text"] for row in of]))
        share[kind] = np.mean([cosine >= encoder.threshold for cosine in found])
    assert share["rewording"] >= 0.95
    assert share["off-topic"] <= 0.2


def test_pairs_are_read_a_batch_at_a_time_and_judged_in_order() -> None:
    read = 0

    def pairs() -> Iterator[tuple[str, str]]:
        nonlocal read
        for i in range(3 * validation.BATCH):
            read += 1
            yield SOURCE, SOURCE.replace("32 mm", f"{32 + i % 2} mm")

    verdicts = validate_texts(pairs(), None)
    first = next(verdicts)
    assert read == validation.BATCH
    kept = [first.kept, *(verdict.kept for verdict in verdicts)]
    assert kept == [i % 2 == 0 for i in range(3 * validation.BATCH)]


def test_reasons_are_counted_by_kind() -> None:
    texts = [SOURCE, SOURCE.replace("32", "12"), SOURCE.replace("32", "13"), "A 32 mm lesion in the liver."]
    counts = count_kinds(validate_texts(((SOURCE, text) for text in texts), None))
    assert counts == {
        "kept": 1,
        "size_mm: changed": 2,
        "attenuation: lost": 1,
        "texture: lost": 1,
        "margin: lost": 1,
    }
