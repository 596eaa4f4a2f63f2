"""Variants: a hundred distinct texts that each say what the description says, or fewer, never a repeat."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_textomorph.llm_reports import variants
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.encoders import local_encoder
from nnunet_textomorph.llm_reports.phrasing import describe, rephrase
from nnunet_textomorph.llm_reports.validation import Pair, validate_texts
from nnunet_textomorph.llm_reports.variants import distinct_key, vary_offline

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
flips = importlib.import_module("validation_flips")

LIVER = Descriptors(
    organ="liver", attenuation="hypo", texture="heterogeneous", margin="ill-defined", pathology="metastasis", size_mm=32
)


def test_two_hundred_descriptions_have_a_hundred_distinct_valid_variants_each() -> None:
    rng = np.random.default_rng(0)
    descriptions = [flips.random_descriptors(rng) for _ in range(200)]
    counts = []
    for seed, d in enumerate(descriptions):
        found = vary_offline(d, 100, seed=seed, encoder=None)
        keys = {re.sub(r"[^a-z0-9]", "", text.lower()) for text in (describe(d), *found)}
        assert len(keys) == len(found) + 1
        counts.append(len(found))
    assert np.mean(np.array(counts) == 100) >= 0.99
    # as few as one and as many as all descriptors are set
    stated = [len(d.model_dump(exclude_none=True)) for d in descriptions]
    assert min(stated) <= 1
    assert max(stated) == len(Descriptors.model_fields)


def test_variants_pass_the_encoder_too() -> None:
    found = vary_offline(LIVER, 20, seed=0, encoder=local_encoder())
    assert len(found) == 20
    assert all(v.kept for v in validate_texts((Pair(describe(LIVER), text) for text in found), local_encoder()))


def test_the_same_seed_gives_the_same_variants() -> None:
    first, second, other = (vary_offline(LIVER, 30, seed=seed, encoder=None) for seed in (3, 3, 4))
    assert first == second != other


def test_a_shortfall_is_a_shorter_list() -> None:
    found = vary_offline(Descriptors(size_mm=8.0), 4000, seed=0, encoder=None)
    assert 100 <= len(found) < 4000
    assert len({distinct_key(text) for text in found}) == len(found)
    assert vary_offline(LIVER, 0, seed=0, encoder=None) == []


def test_what_the_grammar_gets_wrong_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = LIVER.model_copy(update={"margin": "well-defined"})

    def careless(d: Descriptors, rng: np.random.Generator, location: str | None = None) -> str:
        return rephrase(wrong if rng.random() < 0.5 else d, rng, location)

    monkeypatch.setattr(variants, "rephrase", careless)
    found = vary_offline(LIVER, 50, seed=0, encoder=None)
    assert len(found) == 50
    assert not any(re.search(r"\bwell[ -]|\bsharp|crisp|smooth|\bclear", text.lower()) for text in found)


class NoNodules:
    """An encoder to which a text about a nodule is like nothing else."""

    name, threshold = "no nodules", 0.5

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[0, 1] if "nodule" in text.lower() else [1, 0] for text in texts], np.float32)


def test_what_the_encoder_rejects_is_left_out() -> None:
    d = Descriptors(organ="liver", attenuation="hypo")
    assert any("nodule" in text.lower() for text in vary_offline(d, 50, seed=0, encoder=None))
    found = vary_offline(d, 50, seed=0, encoder=NoNodules())
    assert len(found) == 50
    assert not any("nodule" in text.lower() for text in found)


def test_variants_differ_in_style_and_may_name_the_place() -> None:
    found = vary_offline(LIVER, 100, seed=0, encoder=None, location="segment 7")
    assert len(found) == 100
    assert all(re.search(r"segment (7|vii)\b", text.lower()) for text in found)
    for style in (r"^(impression|conclusion|summary|opinion|1\.)", r"there is|is seen", r"(attenuation|density): "):
        assert any(re.search(style, text.lower()) for text in found), style
    assert any("hepatic segment" in text.lower() for text in found)
    assert any("of the liver" in text.lower() for text in found)


@given(st.text(alphabet="aB 1.-,;:\n_é"), st.text(alphabet="aB 1.-,;:\n_é"))
def test_texts_are_distinct_by_their_letters_and_digits(first: str, second: str) -> None:
    def letters(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    assert (distinct_key(first) == distinct_key(second)) == (letters(first) == letters(second))
