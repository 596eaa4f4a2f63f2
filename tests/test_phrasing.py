# ruff: noqa: E501
"""The wordings say what the descriptors say: all of it and nothing else."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import time
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_textomorph.llm_reports import phrasing
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import describe, rephrase

_spec = importlib.util.spec_from_file_location(
    "held_out_prompts", Path(__file__).parents[1] / "benchmarks" / "held_out_prompts.py"
)
assert _spec is not None
assert _spec.loader is not None
held_out = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(held_out)

REF = r"(?:the |its )(?:surround|adjacent|normal|background)"
# Written apart from the grammar: how a reader recognizes each value in a lower-case text.
SAYS: dict[str, dict[str, str]] = {
    "attenuation": {
        "hypo": r"hypo(attenuating|dense)|\blow(er)?[ -](in )?(density|attenuation)|\b(reduced|decreased) (attenuation|den"
        r"sity)|\bdark|less (dense|attenuating)|(attenuation|density) (is )?(below|lower|low\b|reduced)",
        "iso": r"iso(attenuating|dense)|(same|similar|equal)( in)? (density|attenuation)|(attenuation|density) (is )?(simi"
        r"lar|equal|the same|equals|matches)|unchanged attenuation|as dense as|no density difference",
        "hyper": r"hyper(attenuating|dense)|\bhigh(er)?[ -](in )?(density|attenuation)|(increased|raised) (attenuation|dens"
        r"ity)|\bbright|denser than|more attenuating|(attenuation|density) (is )?(above|higher|high\b|increased)",
    },
    "texture": {
        "homogeneous": r"\bhomogeneous|(?<!non-)\buniform|\beven(ly)?\b",
        "heterogeneous": r"heterogene|inhomogeneous|mottled|patchy|non-uniform|varying|density varies",
    },
    "composition": {
        "solid": r"^(?!.*cystic).*\bsolid",
        "cystic": r"^(?!.*(solid|partly cystic)).*(\bcystic|fluid)",
        "mixed": r"solid-cystic|part-solid|partly cystic|solid and (partly )?cystic|of mixed composition",
        "necrotic": r"necro",
        "calcified": r"calci",
    },
    "margin": {
        "well-defined": r"well[ -](defined|circumscribed)|(?<!poorly )\bcircumscribed|\bsharp|\bcrisp|\bsmooth|\bclear"
        r"|ends abruptly",
        "ill-defined": r"ill[ -]defined|poorly (defined|marginated|circumscribed|separated)|indistinct|blur|hazy|unsharp"
        r"|infiltrative|merg(es|ing) gradually",
    },
    "enhancement": {
        "hypo": r"hypoenhanc|hypovascular|(poor|weak)(ly)? enhanc|enhanc\w+ less|less enhanc|enhancement is weak"
        r"|enhances poorly",
        "hyper": r"hyperenhanc|hypervascular|(avid|strong)(ly)? enhanc|enhanc\w+ more|more enhanc|enhancement is avid"
        r"|enhances avidly",
        "arterial": r"arterial",
        "washout": r"wash",
        "rim": r"\brim\b|peripheral|ring[ -]enhanc",
        "none": r"non-enhancing|unenhancing|not enhanc|without enhanc|free of enhanc|\bno (contrast )?enhanc|absent enhanc"
        r"|enhancement is absent",
    },
    "pathology": {
        "PDAC": r"\bpdac\b|ductal adenocarcinoma",
        "PNET": r"\bpnet\b|neuroendocrine",
        "cyst": r"\bcyst\b",
        "metastasis": r"metasta|secondary deposit",
        "HCC": r"\bhcc\b|hepatocellular",
        "hemangioma": r"ha?emangioma",
        "RCC": r"\brcc\b|renal cell",
        "sarcoma": r"sarcoma",
        "cholangiocarcinoma": r"cholangiocarcinoma|cholangiocellular",
        "IPMN": r"\bipmn\b|papillary mucinous",
        "MCN": r"\bmcn\b|mucinous cystadenoma",
        "SCA": r"\bsca\b|serous",
        "SPN": r"\bspn\b|frantz",
        "pseudocyst": r"pseudocyst",
        "AML": r"\baml\b|angiomyolipoma",
        "oncocytoma": r"oncocytoma",
        "adenoma": r"\badenoma",
        "FNH": r"\bfnh\b|nodular hyperplasia",
        "abscess": r"abscess",
        "UC": r"urothelial|transitional cell",
        "lymphoma": r"lymphoma",
    },
    "organ": {
        "liver": r"\bliver|\bhepatic",
        "pancreas": r"\bpancrea",
        "kidney": r"\bkidney|\brenal (?!cell)",
        "soft tissue": r"soft[ -]tissue|muscle|intramuscular",
    },
}


def values(field: str) -> list[str]:
    return list(SAYS[field])


def optional(field: str) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(values(field))


any_descriptors = st.builds(
    Descriptors,
    **{field: optional(field) for field in SAYS},
    size_mm=st.none() | st.floats(1.0, 200.0),
)


def heard(text: str) -> dict[str, set[str]]:
    text = text.lower()
    return {f: {v for v, pattern in said.items() if re.search(pattern, text)} for f, said in SAYS.items()}


def sizes(text: str) -> set[int]:
    found = re.findall(r"(\d+(?:\.\d+)?)[ -](mm|cm)\b", text.lower())
    return {round(float(number) * (10 if unit == "cm" else 1)) for number, unit in found}


def check_states_exactly(d: Descriptors, text: str) -> None:
    said = heard(text)
    for field in SAYS:
        value = getattr(d, field)
        if d.composition == "mixed" and field == "composition":
            assert "mixed" in said[field], text
            continue
        assert said[field] == (set() if value is None else {value}), f"{field}={value}: {text}"
    assert sizes(text) == (set() if d.size_mm is None else {max(1, round(d.size_mm))}), text


def test_the_wordings_cover_the_descriptors() -> None:
    for field, wordings in {**phrasing.WORDINGS, "pathology": phrasing.PATHOLOGIES}.items():
        literal = typing.get_args(Descriptors.model_fields[field].annotation)[0]
        assert set(typing.get_args(literal)) == set(wordings) == set(SAYS[field])


@settings(max_examples=300, deadline=None)
@given(any_descriptors, st.integers(0, 2**32 - 1))
def test_every_wording_states_all_and_nothing_else(d: Descriptors, seed: int) -> None:
    check_states_exactly(d, describe(d))
    rng = np.random.default_rng(seed)
    for _ in range(5):
        check_states_exactly(d, rephrase(d, rng))


@pytest.mark.parametrize(
    ("organ", "location", "said"),
    [
        ("liver", "segment 7", r"segment (7|vii)\b"),
        ("liver", "segment 4a", r"segment (4|iv)a\b"),
        ("liver", "left lobe", r"left (hepatic )?lobe"),
        ("pancreas", "head", r"\bhead\b"),
        ("kidney", "left upper pole", r"left renal upper pole|upper pole of the left kidney"),
        ("kidney", "right", r"right (kidney|renal)"),
    ],
)
def test_a_place_in_the_organ_is_said_and_takes_nothing_away(organ: str, location: str, said: str) -> None:
    rng = np.random.default_rng(0)
    d = Descriptors(organ=organ, attenuation="hypo", texture="heterogeneous", margin="ill-defined", size_mm=32)
    for _ in range(200):
        text = rephrase(d, rng, location)
        check_states_exactly(d, text)
        assert re.search(said, text.lower()), text
        assert not re.search(said, rephrase(d, rng).lower())


def test_one_description_is_said_in_every_style() -> None:
    d = Descriptors(organ="liver", attenuation="hypo", margin="ill-defined", pathology="metastasis", size_mm=32)
    rng = np.random.default_rng(0)
    texts = [rephrase(d, rng) for _ in range(100)]
    styles = {
        "impression": r"(?i)^(impression|conclusion|summary|opinion|in summary|1\.)",
        "sentence": r"(?i)there is|is seen|shows|contains",
        "list": r"(?i)(attenuation|density): ",
        "telegram": r"(?i)^((?!\b(is|are|shows?|contains)\b).)*$",
        "subject": r"(?i)^(this|the) [\w ]*(is|appears) ",
        "hepatic": r"(?i)hepatic (lesion|nodule|focus|tumou?r|mass|metast)",
    }
    for style, pattern in styles.items():
        assert sum(bool(re.search(pattern, text)) for text in texts) >= 3, style


def test_the_check_notices_a_flip() -> None:
    """The property above must be able to fail."""
    d = Descriptors(organ="liver", attenuation="hypo", margin="ill-defined")
    flipped = Descriptors(organ="liver", attenuation="hyper", margin="ill-defined")
    with pytest.raises(AssertionError):
        check_states_exactly(d, describe(flipped))
    with pytest.raises(AssertionError):
        check_states_exactly(d, describe(Descriptors(organ="liver", attenuation="hypo")))


@given(any_descriptors, st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_same_random_state_gives_the_same_text(d: Descriptors, seed: int) -> None:
    first, second = (rephrase(d, np.random.default_rng(seed)) for _ in range(2))
    assert first == second
    assert describe(d) == describe(d)


def test_ten_thousand_distinct_texts_and_fast() -> None:
    d = Descriptors(organ="pancreas", attenuation="hypo", texture="heterogeneous", margin="ill-defined", size_mm=32)
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    texts = [rephrase(d, rng) for _ in range(15_000)]
    assert len(texts) / (time.perf_counter() - start) > 5_000
    assert len({re.sub(r"[\W_]+", " ", text.lower()).strip() for text in texts}) > 10_000


def test_the_canonical_text() -> None:
    d = Descriptors(organ="liver", attenuation="hypo", margin="ill-defined", size_mm=31.8)
    assert describe(d) == "A 32 mm hypoattenuating lesion in the liver with ill-defined margins."
    assert describe(Descriptors()) == "A lesion."


def test_an_organ_without_wordings_is_said_by_its_name() -> None:
    rng = np.random.default_rng(0)
    d = Descriptors(organ="adrenal_gland", attenuation="hypo")
    assert all("adrenal gland" in rephrase(d, rng).lower() for _ in range(200))
    assert "adrenal gland" in describe(d)


# Held-out prompts: never producible by the grammar.


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def grammar_words() -> set[str]:
    """Every word in any string of the grammar's source: more than it can ever say."""
    tree = ast.parse(Path(phrasing.__file__).read_text(encoding="utf-8"))
    strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return set().union(*(words(s) for s in strings)) | {"a", "an"}


def full_descriptors() -> list[Descriptors]:
    return [
        Descriptors(organ=organ, attenuation=a, texture=t, margin=m, composition=c, pathology=p, size_mm=size)  # type: ignore[arg-type]
        for organ in values("organ")
        for a in values("attenuation")
        for t in values("texture")
        for m in values("margin")
        for c, p, size in ((None, None, None), ("solid", "metastasis", 23.0))
    ]


def test_the_grammar_says_only_its_own_words() -> None:
    known, rng = grammar_words(), np.random.default_rng(1)
    for d in full_descriptors():
        for _ in range(30):
            assert words(rephrase(d, rng)) <= known


def test_no_held_out_prompt_can_come_from_the_grammar() -> None:
    known = grammar_words()
    for template in held_out._TEMPLATES:
        assert words(re.sub(r"\{\w+\}", "", template)) - known, f"the grammar has all words of: {template}"
    for d in full_descriptors():
        prompts = held_out.held_out_prompts(d)
        assert len(prompts) == 40
        assert all(words(prompt) - known for prompt in prompts)


def test_a_third_of_the_held_out_wordings_is_unknown_to_the_grammar() -> None:
    source = re.sub(r"\s+", " ", Path(phrasing.__file__).read_text(encoding="utf-8").lower())
    for table in (held_out.ADJECTIVES, held_out.FEATURES):
        for field, wordings in table.items():
            for value, forms in wordings.items():
                new = [form for form in forms if form.lower() not in source]
                assert len(new) >= len(forms) / 3, f"{field} {value}: only {new} are new"


def test_the_training_wordings_hold_no_held_out_one_but_plain_terms() -> None:
    """What the shipped generator is trained on; else its text control would be measured on learned wordings."""
    plain = {"hypodense", "isodense", "hyperdense", "homogeneous", "heterogeneous", "well-defined", "ill-defined"}
    plain |= {"solid", "cystic", "necrotic", "calcified"}
    files = ("training_wordings.py", "broad_wordings.json", "sentences.jsonl")
    paths = [Path(held_out.__file__).with_name(name) for name in files]
    source = re.sub(r"\s+", " ", " ".join(path.read_text(encoding="utf-8") for path in paths).lower())
    for table in (held_out.ADJECTIVES, held_out.FEATURES):
        for field in ("attenuation", "texture", "composition", "margin"):
            for forms in table[field].values():
                assert not [form for form in forms if form.lower() in source and form not in plain]


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """Every ``length`` words of a text that follow each other."""
    found = re.findall(r"[\w{}']+", text.lower())
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def test_no_six_words_in_a_row_are_both_in_a_fresh_prompt_and_in_a_training_sentence() -> None:
    folder = Path(held_out.__file__).parent

    def texts(name: str) -> list[str]:
        return [json.loads(line)["text"] for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    asked = texts("fresh_prompts.jsonl") + texts("fresh_prompts_2.jsonl")
    taught = texts("sentences.jsonl")
    assert len(asked) == 360
    assert len(taught) > 1500
    assert not set().union(*(runs(t, 6) for t in asked)) & set().union(*(runs(t, 6) for t in taught))


def test_no_broad_wording_of_several_words_stands_in_a_fresh_prompt() -> None:
    folder = Path(held_out.__file__).parent
    prompts = (folder / "fresh_prompts.jsonl").read_text(encoding="utf-8").lower().replace("{organ}", "{o}")
    broad = json.loads((folder / "broad_wordings.json").read_text(encoding="utf-8"))
    wordings = [w.lower() for values in broad.values() for kinds in values.values() for kind in kinds for w in kind]
    assert len(wordings) > 3000
    assert not [w for w in wordings if len(re.findall(r"\w+", w)) > 1 and w in prompts]


def test_held_out_prompts_state_every_descriptor() -> None:
    for d in full_descriptors():
        for prompt in held_out.held_out_prompts(d):
            for field in ("attenuation", "texture", "margin"):
                value = getattr(d, field)
                stated = [v for v, forms in held_out.ADJECTIVES[field].items() if any(f in prompt for f in forms)]
                stated += [v for v, forms in held_out.FEATURES[field].items() if any(f in prompt for f in forms)]
                assert value in stated, prompt
            assert str(d.organ) in prompt
