"""The bank: strict lines, draws of the same and of contradicting looks, vectors kept beside it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytest

import nnunet_textomorph
from nnunet_textomorph.llm_reports.bank import (
    VISIBLE,
    BankLine,
    DescriptionBank,
    build_bank,
    load_bank,
    write_bank,
)
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.errors import ReportError
from nnunet_textomorph.llm_reports.extraction import read_description
from nnunet_textomorph.llm_reports.phrasing import describe
from nnunet_textomorph.llm_reports.validation import Pair, validate_texts
from nnunet_textomorph.llm_reports.variants import vary_offline

SHIPPED = Path(nnunet_textomorph.__file__).parent / "data" / "descriptions.jsonl"


@runtime_checkable
class TextPairs(Protocol):
    """All that a contrastive loss needs; written here as a package would that does not know llm_reports."""

    def similar(self, text: str, rng: np.random.Generator) -> str | None: ...

    def different(self, text: str, rng: np.random.Generator) -> str | None: ...


def line(d: Descriptors, n: int = 4, seed: int = 0) -> BankLine:
    variants = tuple(vary_offline(d, n, seed=seed, encoder=None))
    return BankLine(organ=d.organ or "any", descriptors=d, description=describe(d), variants=variants)


@pytest.fixture(scope="module")
def bank() -> DescriptionBank:
    looks = itertools.product(("liver", "kidney"), ("hypo", "hyper"), ("well-defined", "ill-defined", None))
    lines = [line(Descriptors(organ=o, attenuation=a, margin=m)) for o, a, m in looks]  # type: ignore[arg-type]
    lines.append(line(Descriptors(organ="pancreas", attenuation="hypo", pathology="PDAC", size_mm=30)))
    return DescriptionBank(lines)


def augmented(d: Descriptors | None, variants: Sequence[str] = ("x",), **more: Any) -> dict[str, Any]:
    """A line as ``reports augment`` writes it."""
    values = d.model_dump(exclude_none=True) if d else None
    description = describe(d) if d else None
    return {"id": "r1", "lesion": 0, "report": "...", "descriptors": values, "description": description} | {
        "checks": {},
        "variants": list(variants),
        **more,
    }


def test_the_shipped_bank_is_one_and_every_text_of_it_valid() -> None:
    bank = load_bank(SHIPPED)
    assert bank.organs == {"liver", "kidney", "pancreas", "soft tissue", "any"}
    pairs = [Pair(x.description, text, x.descriptors) for x in bank for text in x.texts]
    assert len(pairs) > 400
    wrong = [(p.text, v.reasons) for p, v in zip(pairs, validate_texts(pairs, None), strict=True) if not v.kept]
    assert not wrong


def test_it_is_what_a_contrastive_loss_asks_for(bank: DescriptionBank) -> None:
    assert isinstance(bank, TextPairs)


def test_a_similar_text_says_the_same_in_other_words(bank: DescriptionBank) -> None:
    rng = np.random.default_rng(0)
    for x in bank:
        for text in x.texts:
            drawn = {bank.similar(text, rng) for _ in range(60)}
            assert drawn == set(x.texts) - {text}


def test_a_different_text_contradicts_and_is_of_the_same_organ(bank: DescriptionBank) -> None:
    rng = np.random.default_rng(0)
    for x in bank:
        if x.organ == "pancreas":  # has one line only: others must do
            continue
        drawn = [bank.different(text, rng) for text in x.texts for _ in range(20)]
        for text in drawn:
            assert text is not None
            read = read_description(text)
            assert read is not None
            assert read.descriptors.organ == x.organ
            both = [(getattr(x.descriptors, f), getattr(read.descriptors, f)) for f in VISIBLE]
            assert any(a and b and a != b for a, b in both), (x.descriptors, text)
        if x.descriptors.margin:  # another margin will do, and so will another attenuation
            fields = {f for t in drawn if t for f in VISIBLE if _contradicts(x.descriptors, t, f)}
            assert fields == {"attenuation", "margin"}


def _contradicts(d: Descriptors, text: str, field: str) -> bool:
    read = read_description(text)
    assert read is not None
    a, b = getattr(d, field), getattr(read.descriptors, field)
    return bool(a and b and a != b)


def test_without_a_contradiction_in_the_organ_another_must_do_and_without_any_there_is_none(
    bank: DescriptionBank,
) -> None:
    rng = np.random.default_rng(0)
    text = bank.of("pancreas").lines[0].description
    drawn = {bank.different(text, rng) for _ in range(50)}
    assert all(t and _contradicts(Descriptors(attenuation="hypo"), t, "attenuation") for t in drawn)
    assert bank.of("pancreas").different(text, rng) is None


def test_texts_that_the_bank_does_not_hold_are_read(bank: DescriptionBank) -> None:
    rng = np.random.default_rng(0)
    unknown = "The liver harbours one focal abnormality, hypodense, poorly defined lesion."
    wanted = Descriptors(organ="liver", attenuation="hypo", margin="ill-defined")
    assert bank.similar(unknown, rng) in next(x.texts for x in bank if x.descriptors == wanted)
    other = bank.different(unknown, rng)
    assert other is not None
    assert _contradicts(wanted, other, "attenuation") or _contradicts(wanted, other, "margin")
    assert bank.similar("A 99 mm hypodense liver lesion.", rng) is None
    with pytest.raises(ReportError, match="describes no lesion"):
        bank.similar("Nothing here.", rng)


def test_draws_by_organ_and_pathology(bank: DescriptionBank) -> None:
    rng = np.random.default_rng(0)
    of_kidney = {text for x in bank if x.organ == "kidney" for text in x.variants}
    assert {bank.draw(rng, organ="kidney") for _ in range(300)} == of_kidney
    assert {bank.draw(rng, pathology="PDAC") for _ in range(60)} == set(bank.of("pancreas").lines[0].variants)
    assert bank.pathologies == {"PDAC"}
    with pytest.raises(ReportError, match="no line of organ 'kidney' and pathology 'PDAC'"):
        bank.draw(rng, organ="kidney", pathology="PDAC")
    sized = DescriptionBank(
        BankLine(
            organ="liver",
            descriptors=Descriptors(organ="liver", size_mm=mm),
            description=f"A {mm} mm liver lesion.",
            variants=(f"Liver lesion, {mm} mm.",),
        )
        for mm in (10.0, 15.0, 40.0, 60.0)
    )
    assert {sized.draw(rng, size_mm=14.0) for _ in range(60)} == {"Liver lesion, 10.0 mm.", "Liver lesion, 15.0 mm."}
    assert len({sized.draw(rng, size_mm=200.0) for _ in range(60)}) == 4  # none fits: any
    assert [bank.draw(np.random.default_rng(1)) for _ in range(3)] == [bank.draw(np.random.default_rng(1))] * 3


class Watched(tuple[BankLine, ...]):
    """Lines that may be looked up but not gone through."""

    looked = 0

    def __getitem__(self, index: Any) -> Any:
        type(self).looked += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[BankLine]:
        raise AssertionError("went through all lines")


def test_a_draw_looks_at_few_lines_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bank that only sizes tell apart: a thousand lines."""
    made = [
        BankLine(
            organ="liver",
            descriptors=Descriptors(organ="liver", attenuation=a, size_mm=s),  # type: ignore[arg-type]
            description=f"A {s} mm {a}dense liver lesion.",
            variants=(f"Liver lesion, {a}dense, {s} mm.",),
        )
        for a in ("hypo", "hyper")
        for s in range(1, 500)
    ]
    bank, rng = DescriptionBank(made), np.random.default_rng(0)
    text = made[0].description
    bank.similar(text, rng), bank.different(text, rng)  # what is found once
    monkeypatch.setattr(bank, "lines", Watched(bank.lines))
    draws: list[Callable[[], str | None]] = [
        lambda: bank.draw(rng, organ="liver"),
        lambda: bank.similar(text, rng),
        lambda: bank.different(text, rng),
    ]
    for draw in draws:
        Watched.looked = 0
        assert draw()
        assert Watched.looked <= 3


def test_lines_of_several_report_files_become_one_per_look() -> None:
    d = Descriptors(organ="liver", attenuation="hypo", size_mm=31.7)
    same = Descriptors(organ="liver", attenuation="hypo", size_mm=32.2)
    other = Descriptors(attenuation="hyper")
    first = [augmented(d, ["Hypodense, 32 mm.", "hypodense 32 mm"]), augmented(None), augmented(other, [])]
    second = [augmented(same, ["Low density, 32 mm."]), augmented(other, ["Hyperdense lesion."])]
    bank = build_bank(itertools.chain(first, second))
    assert [(x.organ, x.descriptors.size_mm, x.variants) for x in bank] == [
        ("any", None, ("Hyperdense lesion.",)),
        ("liver", 32.0, ("Hypodense, 32 mm.", "Low density, 32 mm.")),
    ]


def test_a_bank_that_was_written_is_read_as_it_was(bank: DescriptionBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl"
    write_bank(bank, path)
    assert list(load_bank(path)) == list(bank)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ReportError, match="exists already"):
        write_bank(bank, path)
    organs = [json.loads(row)["organ"] for row in path.read_text().splitlines()]
    assert organs == sorted(organs)


GOOD = {
    "organ": "liver",
    "descriptors": {"organ": "liver", "attenuation": "hypo"},
    "description": "Hypodense liver lesion.",
    "variants": ["Low-density liver lesion."],
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"descriptors": {"attenuation": "dark"}}, "descriptors.attenuation"),
        ({"descriptors": {"organ": "liver", "margins": "x"}}, "descriptors.margins"),
        ({"descriptors": {"organ": "kidney"}}, "organ 'liver' is not the descriptors' 'kidney'"),
        ({"variants": []}, "variants"),
        ({"variants": ["Hypodense liver lesion", "x"]}, "'Hypodense liver lesion' repeats"),
        ({"variants": [" . "]}, "a text is empty"),
        ({"variants": [7]}, "variants.0"),
        ({"wordings": []}, "wordings"),
    ],
)
def test_a_broken_line_is_named(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{json.dumps(GOOD | change)}\n")
    with pytest.raises(ReportError, match=r"bank\.jsonl, line 3: ") as caught:
        load_bank(path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "holds no line"), (b"{", "line 1"), (b"\xff\xfe", "cannot be read")]
)
def test_what_is_no_bank_is_said_so(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=complaint):
        load_bank(path)
    with pytest.raises(ReportError, match="no such file"):
        load_bank(tmp_path / "nowhere")


def test_a_broken_line_of_reports_is_named_by_its_id() -> None:
    wrong = augmented(Descriptors(organ="liver")) | {"descriptors": {"attenuation": "dark"}}
    with pytest.raises(ReportError, match=r"Line 2 \(id 'r1'\): attenuation"):
        build_bank([augmented(Descriptors(organ="liver"), ["Liver lesion"]), wrong])
    with pytest.raises(ReportError, match="not all strings"):
        build_bank([augmented(Descriptors(organ="liver"), [None])])  # type: ignore[list-item]


def test_vectors_are_kept_beside_the_bank(bank: DescriptionBank, tmp_path: Path) -> None:
    asked: list[str] = []

    class Encoder:
        name, threshold = "e", 0.5

        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            asked.extend(texts)
            return np.array([[len(text), 1.0] for text in texts], np.float32)

    first, second = (bank.embeddings(Encoder(), tmp_path / "bank.jsonl") for _ in "ab")
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[:, 0], [len(text) for text in bank.texts])
    assert asked == list(bank.texts)
    assert [p.name for p in tmp_path.iterdir()] == ["bank.e.safetensors"]
