"""Is a text a faithful wording of another? Its descriptors, read afresh, must be equal and its cosine high enough.

The cosine alone (paper section III-A) does not see polarity: "well-defined" and "ill-defined" are 0.99 alike to
all-MiniLM-L6-v2. The descriptors alone do not see a text that says the same and much else besides. So both must hold.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from .descriptors import Descriptors
from .encoders import Encoder, cosines
from .extraction import Reading, read_description
from .phrasing import ORGANS, whole_mm

BATCH = 256
"""Pairs that are held, read and embedded together: memory does not grow with the corpus."""

# Which values a stated one rules out, so that denying them says nothing new. In fields not named here: all others.
_EXCLUDES: dict[str, dict[str, frozenset[str]]] = {
    "composition": {
        "solid": frozenset({"cystic", "mixed"}),
        "cystic": frozenset({"solid", "mixed"}),
    },
    "enhancement": {
        "none": frozenset({"hypo", "hyper", "arterial", "washout", "rim"}),
        "hypo": frozenset({"hyper", "arterial", "none"}),
        "hyper": frozenset({"hypo", "none"}),
        "arterial": frozenset({"hypo", "none"}),
        "washout": frozenset({"none"}),
        "rim": frozenset({"none"}),
    },
}
_ORGAN_OF = {"PDAC": "pancreas", "PNET": "pancreas", "HCC": "liver", "RCC": "kidney"}
"""Pathologies whose name says the organ: "RCC" is a renal cell carcinoma."""


# Words that take a text back or leave it open. A wording of a certain lesion needs none, and there are more ways
# to say so than any reader of descriptors knows ("False: ...", "... None of this applies"): so none may be new.
_TAKES_BACK = re.compile(
    r"\b(?:unlikely|improbable|implausible|doubtful|dubious|questionable|uncertain|unclear whether|"
    r"unproven|unconfirmed|allegedly|hypothetical|imaginary|fictitious|false|untrue|not true|wrong|incorrect|mistaken|"
    r"error|erroneous|refuted?|disproved|disproven|retracted|denied|denies|excluded?|ruled? out|none of|nonexistent|"
    r"non-existent|inconsistent with|incompatible with|against(?! (?:the|its) )|other than|instead|opposite|contrary|"
    r"loss of|(?:fail|fails|failed|failing) to (?:show|demonstrate|exhibit|display|have)|if|unless|resolved|"
    r"hardly(?! (?:any|enhanc|perfus|vascular))|disappeared|"
    r"no (?:(?:other|further|additional|such|focal|discrete) )?(?:lesion|mass|tumou?r|nodule|focus|finding)s?)\b|\?",
    re.IGNORECASE,
)


class Pair(NamedTuple):
    """A text to judge, and what it must say: ``descriptors`` where they are known, else those read from ``source``."""

    source: str
    text: str
    descriptors: Descriptors | None = None


class Verdict(BaseModel):
    """Whether a text is kept. ``reasons`` name field and values; ``kinds`` are the same without the values, to count.

    ``cosine``: to the source; None without an encoder, and where the descriptors reject the text already.
    """

    model_config = ConfigDict(frozen=True)

    kept: bool
    reasons: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    cosine: float | None = None


class _Fault(NamedTuple):
    kind: str
    reason: str


def validate_text(
    source: str, text: str, encoder: Encoder | None, source_descriptors: Descriptors | None = None
) -> Verdict:
    """Judge one text; without an encoder, by its descriptors alone."""
    return next(validate_texts([Pair(source, text, source_descriptors)], encoder))


def validate_texts(pairs: Iterable[Pair | tuple[str, str]], encoder: Encoder | None) -> Iterator[Verdict]:
    """One verdict per pair (source, text[, descriptors]), in order; reads and holds ``BATCH`` pairs at a time.

    Only texts that pass by their descriptors are embedded: that takes far longer than reading them.
    """
    remaining = (Pair(*pair) for pair in pairs)
    while batch := list(itertools.islice(remaining, BATCH)):
        sources = {source: read_description(source) for source in dict.fromkeys(pair.source for pair in batch)}
        faults = [_faults(pair, sources[pair.source]) for pair in batch]
        passed = [pair for pair, found in zip(batch, faults, strict=True) if not found]
        alike = iter(_cosines_of(passed, encoder) if encoder is not None else [])
        for found in faults:
            yield _verdict(found, encoder, next(alike, None) if not found else None)


def _cosines_of(pairs: list[Pair], encoder: Encoder) -> list[float]:
    """Cosines of texts to their sources; what is its own source need not be embedded."""
    changed = [pair for pair in pairs if pair.text != pair.source]
    if not changed:
        return [1.0] * len(pairs)
    vectors = encoder([pair.source for pair in changed] + [pair.text for pair in changed])
    found = iter(cosines(vectors[: len(changed)], vectors[len(changed) :]))
    return [1.0 if pair.text == pair.source else next(found) for pair in pairs]


def _verdict(faults: list[_Fault], encoder: Encoder | None, cosine: float | None) -> Verdict:
    if encoder is not None and cosine is not None and not cosine >= encoder.threshold:  # nan is too low as well
        reason = f"cosine {cosine:.2f} below {encoder.threshold:.2f} of {encoder.name}"
        faults = [*faults, _Fault("cosine: too low", reason)]
    return Verdict(
        kept=not faults,
        reasons=tuple(fault.reason for fault in faults),
        kinds=tuple(fault.kind for fault in faults),
        cosine=cosine,
    )


def count_kinds(verdicts: Iterable[Verdict]) -> Counter[str]:
    """How many texts were kept, and how many rejected for each kind of reason (a text may have several)."""
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        counts.update(["kept"] if verdict.kept else verdict.kinds)
    return counts


def _faults(pair: Pair, source: Reading | None) -> list[_Fault]:
    """What a text says otherwise than its source, which was read already; empty where they agree."""
    if pair.descriptors is not None:
        # these are all that must be kept; what the source says beyond them may be kept
        before = Reading(pair.descriptors, *source[1:]) if source else Reading(pair.descriptors)
    elif source is None:
        return [_Fault("source: no lesion", "the source states no lesion, or more than one")]
    else:
        before = source
    after = read_description(pair.text)
    if after is None:
        return [_Fault("text: no lesion", "states no lesion, or more than one")]
    faults = [f for field in Descriptors.model_fields if (f := _compare(field, before.descriptors, after, pair.text))]
    doubts, known = ({word.lower() for word in _TAKES_BACK.findall(x)} for x in (pair.text, pair.source))
    faults += [_Fault("text: doubt", f"{word!r} puts the text in doubt") for word in sorted(doubts - known)]
    faults += _further(before, after, "invented") + _denied(before, after, "denied")
    if pair.descriptors is None:
        faults += _further(after, before, "lost") + _denied(after, before, "no longer denied")
    return faults


def _compare(field: str, source: Descriptors, text: Reading, words: str) -> _Fault | None:
    before, after = _value(field, source), _value(field, text.descriptors)
    if field == "organ" and after is None and before not in ORGANS and f" {before}" in " ".join(words.lower().split()):
        return None  # an organ that the reader does not know, named in the text
    if before == after:
        return None
    if field == "size_mm" and before and after:
        return _Fault("size_mm: changed", f"size_mm: {after} instead of {before}")
    if after is None:
        denied = (field, before) in text.denied
        return _Fault(f"{field}: lost", f"{field}: {before!r} {'is denied' if denied else 'lost'}")
    if before is None:
        return _Fault(f"{field}: invented", f"{field}: {after!r} invented")
    return _Fault(f"{field}: changed", f"{field}: {before!r} became {after!r}")


def _value(field: str, d: Descriptors) -> str | int | None:
    """A descriptor as it is compared: sizes in whole mm, organs by their plain name or their tumor's."""
    if field == "size_mm":
        return None if d.size_mm is None else whole_mm(d.size_mm)
    if field == "organ":
        return " ".join(d.organ.replace("_", " ").lower().split()) if d.organ else _ORGAN_OF.get(d.pathology or "")
    value: str | None = getattr(d, field)
    return value


def _further(first: Reading, second: Reading, kind: str) -> list[_Fault]:
    """Values that the second states beside its descriptors (*necrotic and calcified*), and the first not at all."""
    new = sorted(second.also - first.also)
    return [
        _Fault(f"{field}: {kind}", f"{field}: {value!r} {kind}")
        for field, value in new
        if getattr(first.descriptors, field) != value
    ]


def _denied(first: Reading, second: Reading, kind: str) -> list[_Fault]:
    """Values that the second denies, although the first neither denies them nor rules them out."""
    faults = []
    for field, value in sorted(second.denied - first.denied):
        stated, now = getattr(first.descriptors, field, None), getattr(second.descriptors, field, None)
        if stated == value and now != value:
            continue  # the descriptors differ, which is said already
        if stated is None or stated == value or not _rules_out(field, stated, value):
            faults.append(_Fault(f"{field}: {kind}", f"{field}: {value!r} {kind}"))
    return faults


def _rules_out(field: str, stated: str, value: str) -> bool:
    return field not in _EXCLUDES or value in _EXCLUDES[field].get(stated, frozenset())
