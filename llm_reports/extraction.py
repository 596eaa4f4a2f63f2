"""Offline extraction: what a radiology report says of its lesions, as descriptors (paper section III-A).

Deterministic and without a network. A sentence becomes tokens, tokens become phrases of ``lexicon``, phrases become
statements about a lesion, each affirmed or negated, and statements are gathered by lesion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from . import lexicon
from .descriptors import Descriptors
from .lexicon import Hit

Said = tuple[str, str]
"""A descriptor and a value of it."""


class Reading(NamedTuple):
    """What one text says of one lesion."""

    descriptors: Descriptors
    denied: frozenset[Said] = frozenset()
    """What the text explicitly negates of the lesion: ``("composition", "calcified")`` for *without calcification*."""
    also: frozenset[Said] = frozenset()
    """Further values that the text states and a stronger one of the same descriptor outranks (*solid, necrotic*)."""


class ReportedLesion(BaseModel):
    """One lesion that a report affirms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    descriptors: Descriptors
    denied: frozenset[Said] = frozenset()
    location: str | None = None
    evidence: tuple[str, ...] = ()
    uncertain: bool = False


class Statement(NamedTuple):
    """One value of one descriptor at tokens ``start`` to ``end`` of a sentence."""

    field: str
    value: str
    start: int
    end: int
    negated: bool


class Size(NamedTuple):
    """A measurement in a sentence: its token and its longest dimension in millimetres."""

    token: int
    mm: float
    prior: bool
    distance: bool


class Noun(NamedTuple):
    """A word for a lesion: a generic noun or the name of a pathology."""

    start: int
    end: int
    pathology: str | None
    plural: bool
    negated: bool


class Place(NamedTuple):
    """An organ, and whether it is named only as a neighbor or as tissue to compare with."""

    organ: str
    start: int
    end: int
    reference: bool


class Sentence:
    """A sentence, read: tokens, phrases, statements, sizes, lesion nouns and organs."""

    def __init__(self, text: str) -> None:
        self.text = text
        plain, self.measures = _set_sizes_apart(lexicon.normalized(text))
        self.tokens = lexicon.tokens_of(plain)
        self.hits = lexicon.find(self.tokens)
        self.chunks = _chunks(self.tokens, self.hits)
        self.negated = _negated_tokens(self.tokens, self.hits)
        self.statements = [*_standing(self), *_paired(self)]
        self.sizes = _sizes(self)
        self.nouns = _nouns(self)
        self.places = _places(self)


# Sizes

_NUMBER = r"\d+(?:[.,]\d+)?"
_UNIT = r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)"
_SIZE = re.compile(
    rf"(?<![\w.,])(?:(?P<growth>from)\s+)?"
    rf"(?P<first>{_NUMBER})[\s-]*(?P<u1>{_UNIT}\b)?"
    rf"(?P<rest>(?:\s*(?:\([a-z]{{1,3}}\)\s*)?(?P<joint>x|by|to|-|/|\*|and(?=\s*{_NUMBER}[\s-]*{_UNIT}\b(?!\s*(?:in|from|lesion))))"
    rf"\s*{_NUMBER}[\s-]*(?:{_UNIT}\b)?)*)",
)
_PART = re.compile(rf"({_NUMBER})[\s-]*({_UNIT}\b)?")


def _in_mm(number: str, unit: str) -> float:
    return float(number.replace(",", ".")) * (10 if unit.startswith("c") else 1)


def _set_sizes_apart(text: str) -> tuple[str, list[float]]:
    """The text with each measurement replaced by ``@n``, and the longest dimension of each in millimetres."""
    found: list[float] = []

    def replace(match: re.Match[str]) -> str:
        parts = _PART.findall(match.group())
        units = [unit for _, unit in parts if unit]
        if not units:
            return match.group()
        unit, values = "", []
        for number, own in reversed(parts):
            unit = own or unit
            values.append(_in_mm(number, unit or units[-1]))
        values.reverse()
        current = values[-1] if match.group("growth") else max(values)
        found.append(current)
        return f" @{len(found) - 1} "

    return _SIZE.sub(replace, text), found


_PRIOR = lexicon.words("previously formerly prior was measured earlier initially before were compared")
_DISTANCE_AFTER = lexicon.words("from away above below proximal distal deep cranial caudal off lateral medial to")


def _sizes(s: Sentence) -> list[Size]:
    sizes = []
    for i, token in enumerate(s.tokens):
        if not token.startswith("@"):
            continue
        before = s.tokens[max(0, i - 4) : i]
        after = s.tokens[i + 1 : i + 3]
        for k, word in enumerate(reversed(before)):
            if word in (",", ";", "."):
                before = before[len(before) - k :]
                break
        prior = bool(_PRIOR & set(before)) and "now" not in before
        distance = bool(after) and after[0] in _DISTANCE_AFTER
        sizes.append(Size(i, s.measures[int(token[1:])], prior, distance))
    return sizes


# Negation: what of a sentence stands in the scope of "no", "without", "is absent"

_PUNCTUATION = frozenset(",;:().!?|-")
_SCOPE_ENDS = frozenset(";:()!?|-.")


def _chunks(tokens: Sequence[str], hits: Sequence[Hit]) -> list[int]:
    """For each token the number of its chunk; commas, brackets and words such as *but* divide chunks."""
    stops = {h.start for h in hits for t in h.terms if t.kind == "stop"}
    chunks, current = [], 0
    for i, token in enumerate(tokens):
        if token in ",;().|!?-" or i in stops:
            current += 1
        chunks.append(current)
    return chunks


def _negated_tokens(tokens: Sequence[str], hits: Sequence[Hit]) -> list[bool]:
    negated = [False] * len(tokens)
    stops = {h.start for h in hits if any(t.kind == "stop" for t in h.terms)}
    starts = {h.start: h for h in hits}
    for hit in hits:
        kinds = {t.kind for t in hit.terms}
        if "negation" in kinds and (tokens[hit.start] != "absent" or hit.end in starts):
            for i in range(hit.end, _scope_end(tokens, hit, starts, stops)):
                negated[i] = True
        elif "absent" in kinds:
            i = hit.start - 1
            while i >= 0 and tokens[i] not in _SCOPE_ENDS and tokens[i] != "," and i not in stops:
                negated[i] = True
                i -= 1
    return negated


def _scope_end(tokens: Sequence[str], cue: Hit, starts: dict[int, Hit], stops: set[int]) -> int:
    if tokens[cue.start] == "non":
        return starts[cue.end].end if cue.end in starts else cue.end + 1
    i = cue.end
    while i < len(tokens):
        token = tokens[i]
        if token in _SCOPE_ENDS or i in stops:
            return i
        if token == "," and not _list_goes_on(tokens, i, stops):
            return i
        if token == "and" and not _joins_adjectives(tokens, i, starts):
            return i
        if token in ("with", "is", "are", "has", "shows", "measures", "measuring") and i > cue.end:
            return i
        i += 1
    return i


def _list_goes_on(tokens: Sequence[str], comma: int, stops: set[int]) -> bool:
    """Whether *no a, b or c* goes on after a comma: an *or* follows, and nothing but short items stands before it."""
    length = 0
    for i in range(comma + 1, len(tokens)):
        token = tokens[i]
        if token in ("or", "nor"):
            return True
        if token in _SCOPE_ENDS or i in stops or token in ("and", "with", "is", "are", "no", "without", "has"):
            return False
        length = 0 if token == "," else length + 1
        if length > 4:
            return False
    return False


_LESION_WORDS = frozenset(lexicon.LESION_NOUNS.split("|"))


def _joins_adjectives(tokens: Sequence[str], at: int, starts: dict[int, Hit]) -> bool:
    """Whether *and* stands between adjectives of one negated noun: *no solid and enhancing mass*."""
    before = tokens[at - 1]
    adjective = before.endswith(("ing", "ic", "ous", "ed", "ense", "ar", "solid"))
    return adjective and any(t in _LESION_WORDS for t in tokens[at + 1 : at + 4])


# Statements

_MODS = {name: values for name, (values, _) in lexicon.MODIFIERS.items()}
_REACH = {"strong": 3, "weak": 3, "rim": 6, "arterial": 7, "gone": 4}
_NEAR_ONLY = lexicon.words("below above like more less greater smaller hyper hypo soft visible clear rich edge")
_PARTS = lexicon.words(
    "mural septa septum septation septations component components capsule scar necrosis area areas portion "
    "portions center centre core element elements parts pseudocapsule"
)


def _standing(s: Sentence) -> Iterable[Statement]:
    """What words say by themselves. A word that goes with a head instead is left to ``_paired``."""
    for hit in s.hits:
        for term in hit.terms:
            if term.kind != "say" or term.name == "enhancement":
                continue
            if any(t.kind == "mod" for t in hit.terms) and _partner(s, hit, max_gap=1):
                continue
            negated = any(s.negated[hit.start : hit.end])
            yield Statement(term.name, term.value, hit.start, hit.end, negated)


def _is_head(hit: Hit, name: str) -> bool:
    return any(t.kind == "head" and t.name == name for t in hit.terms)


def _enhances(hit: Hit) -> bool:
    return any(t.kind in ("head", "say") and t.name == "enhancement" for t in hit.terms)


def _is_enhancement_head(hit: Hit) -> bool:
    """Whether modifiers can go with it: *enhancement*, *hyperenhancing*, but not *washout*."""
    return any(t.kind in ("head", "say") and t.name == "enhancement" and t.value != "washout" for t in hit.terms)


def _gap(s: Sentence, a: Hit, b: Hit) -> int:
    """Tokens between a modifier and a head; a head that follows is nearer, and words that join clauses count thrice."""
    first, second = (a, b) if a.start < b.start else (b, a)
    between = s.tokens[first.end : second.start]
    gap = sum(3 if t in ("with", "and") else 1 for t in between if t not in lexicon.SKIPPED)
    return gap if a.start < b.start else gap + 1


def _partner(s: Sentence, mod: Hit, max_gap: int | None = None) -> tuple[Hit, str, str] | None:
    """The head that a modifier goes with, and the descriptor and value that they state together."""
    best: tuple[int, Hit, str, str] | None = None
    names = [t.name for t in mod.terms if t.kind == "mod"]
    for head in s.hits:
        if head is mod or s.chunks[head.start] != s.chunks[mod.start]:
            continue
        for name in names:
            for field, value in _MODS[name].items():
                if not (_is_head(head, field) or (field == "enhancement" and _is_enhancement_head(head))):
                    continue
                gap = _gap(s, mod, head)
                reach = 2 if s.tokens[mod.start] in _NEAR_ONLY else _REACH.get(name, 8)
                if gap <= (reach if max_gap is None else max_gap) and (best is None or gap < best[0]):
                    best = (gap, head, field, value)
    return best and best[1:]


def _paired(s: Sentence) -> Iterable[Statement]:
    """What modifiers and heads say together: *low* and *attenuation*; and all that is said of enhancement."""
    by_head: dict[int, list[tuple[Hit, str]]] = {}
    for hit in s.hits:
        if not any(t.kind == "mod" for t in hit.terms):
            continue
        if any(t.kind == "say" for t in hit.terms) and not _partner(s, hit, max_gap=1):
            continue
        pair = _partner(s, hit)
        if pair is None:
            continue
        head, field, value = pair
        if field == "enhancement":
            by_head.setdefault(head.start, []).append((hit, value))
        elif value:
            start, end = min(hit.start, head.start), max(hit.end, head.end)
            negated = s.negated[hit.start] or s.negated[head.start]
            yield Statement(field, value, start, end, negated)
    for hit in s.hits:
        if _enhances(hit):
            yield from _enhancement(s, hit, by_head.get(hit.start, []))


def _enhancement(s: Sentence, head: Hit, mods: Sequence[tuple[Hit, str]]) -> Iterable[Statement]:
    if _of_a_part(s, head):
        return
    own = [t.value for t in head.terms if t.kind == "say"]
    values = [*own, *(value for _, value in mods)]
    start = min([head.start, *(m.start for m, _ in mods)])
    end = max([head.end, *(m.end for m, _ in mods)])
    negated = any(s.negated[i] for h in (head, *(m for m, _ in mods)) for i in range(h.start, h.end))
    if "none" in values:
        gone = any(v == "none" for _, v in mods)
        yield Statement("enhancement", "none", start, end, negated and not gone)
    elif not values:
        if negated:
            yield Statement("enhancement", "none", start, end, False)
    else:
        value = next(v for v in ("washout", "arterial", "rim", "hyper", "hypo") if v in values)
        if value == "arterial" and "hypo" in own:
            value = "hypo"
        yield Statement("enhancement", value, start, end, negated)


def _of_a_part(s: Sentence, head: Hit) -> bool:
    """Whether an adjective speaks of a part only: *enhancing mural nodule*."""
    if not s.tokens[head.end - 1].endswith(("enhancing", "enhanced")):
        return False
    lesions = {h.end - 1 for h in s.hits if any(t.kind == "lesion" for t in h.terms)}
    for i in range(head.end, min(head.end + 4, len(s.tokens))):
        if i in lesions or s.tokens[i] in _PUNCTUATION:
            return False
        if s.tokens[i] in _PARTS and i + 1 not in lesions:
            return True
    return False


# Nouns and organs


def _nouns(s: Sentence) -> list[Noun]:
    nouns = []
    for hit in s.hits:
        for term in hit.terms:
            if term.kind == "lesion" or (term.kind == "say" and term.name == "pathology"):
                last = s.tokens[hit.end - 1]
                plural = (last.endswith("s") and not last.endswith(("is", "us", "ss"))) or last in ("foci", "mets")
                negated = any(s.negated[hit.start : hit.end])
                nouns.append(Noun(hit.start, hit.end, term.value or None, plural, negated))
    return nouns


_RELATIVE = lexicon.words(
    "than from to abutting abuts adjacent against into invading invades contacts contacting encasing near between with "
    "surrounding surrounds background normal rest remaining next touching of_the_known as"
)


def _places(s: Sentence) -> list[Place]:
    places = []
    for hit in s.hits:
        for term in hit.terms:
            if term.kind == "organ":
                before = s.tokens[max(0, hit.start - 3) : hit.start]
                after = s.tokens[hit.end : hit.end + 1]
                weak = term.name == "soft tissue" and bool(after) and after[0] in _LESION_WORDS
                reference = weak or any(t in _RELATIVE for t in before)
                places.append(Place(term.name, hit.start, hit.end, reference))
    return places


# One text about one lesion

_RANKS: dict[str, tuple[str, ...]] = {
    "composition": ("mixed", "necrotic", "cystic", "calcified", "solid"),
    "enhancement": ("washout", "arterial", "rim", "none", "hyper", "hypo"),
}
_MANY = lexicon.words("two three four five six several multiple numerous many both innumerable")
_END = re.compile(r"(?<=[.!?])(?:\s+|$)|[;|]\s*|\n+")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text. Full stops within numbers and after abbreviations end none."""
    parts = _END.split(text)
    return [p.strip() for p in parts if p.strip()]


def gathered(statements: Iterable[Statement]) -> tuple[dict[str, str], frozenset[Said], frozenset[Said], bool]:
    """Values by descriptor, denials, outranked values, and whether affirmed values contradict each other."""
    said: dict[str, list[str]] = {}
    denied: set[Said] = set()
    for st in statements:
        if st.negated:
            denied.add((st.field, st.value))
        elif st.value not in said.setdefault(st.field, []):
            said[st.field].append(st.value)
    values: dict[str, str] = {}
    also: set[Said] = set()
    contradictory = False
    for field, found in said.items():
        if field == "composition" and "cystic" in found and "solid" in found:
            found = ["mixed", *found]
        ranks = _RANKS.get(field)
        values[field] = min(found, key=ranks.index) if ranks else found[0]
        if values[field] == "mixed":
            found = [v for v in found if v not in ("solid", "cystic")]
        rest = [v for v in found if v != values[field]]
        also.update((field, v) for v in rest)
        if field in ("attenuation", "texture", "margin") and rest:
            contradictory = True
        if (
            field == "enhancement"
            and {"none", "hypo", "hyper"} & set(found)
            and len({"none", "hypo", "hyper"} & set(found)) > 1
        ):
            contradictory = True
    denied -= set(values.items())
    return values, frozenset(denied), frozenset(also), contradictory


def read_description(text: str) -> Reading | None:
    """What a description or variant says of its lesion.

    ``None`` when it states no lesion, several, or contradicts itself.

    >>> read_description("Ill-defined 3.2 cm hypodense liver mass without calcification.").descriptors.size_mm
    32.0
    """
    sentences = [Sentence(part) for part in sentences_of(text)]
    statements = [st for s in sentences for st in s.statements]
    nouns = [(s, n) for s in sentences for n in s.nouns]
    affirmed = [n for _, n in nouns if not n.negated]
    if not any(s.tokens for s in sentences) or (nouns and not affirmed):
        return None
    if _counts_several(sentences):
        return None
    values, denied, also, contradictory = gathered(statements)
    sizes = {z.mm for s in sentences for z in s.sizes if not z.prior and not z.distance}
    if contradictory or len(sizes) > 1:
        return None
    organ = _organ_of([p for s in sentences for p in s.places])
    fields: dict[str, Any] = dict(values)
    if sizes:
        size = round(sizes.pop(), 3)
        if 0 < size <= 500:
            fields["size_mm"] = size
    if not (fields or organ or affirmed):
        return None
    return Reading(Descriptors(organ=organ, **fields), denied, also)


def _organ_of(places: Sequence[Place]) -> str | None:
    own = [p.organ for p in places if not p.reference] or [p.organ for p in places]
    return own[0] if own else None


def _counts_several(sentences: Sequence[Sentence]) -> bool:
    indefinite = 0
    for s in sentences:
        for noun in s.nouns:
            if noun.negated or noun.pathology:
                continue
            before = s.tokens[max(0, noun.start - 8) : noun.start]
            if noun.plural and _MANY & set(before):
                return True
            if {"second", "another", "third"} & set(before):
                return True
            indefinite += _is_indefinite(s, noun)
    return indefinite > 1


_PHRASE_BREAKS = lexicon.words("with of in is are showing having demonstrating by as than the this from and for")


def _is_indefinite(s: Sentence, noun: Noun) -> bool:
    """Whether the noun has the article *a*: *a small, hypodense lesion*."""
    for i in range(noun.start - 1, -1, -1):
        token = s.tokens[i]
        if token in ("a", "an"):
            return True
        if token in _PHRASE_BREAKS or token in ".;:()":
            return False
    return False


def extract_lesions(report: str, organ: str | None = None) -> list[ReportedLesion]:
    """The lesions that a report affirms in liver, pancreas and kidneys, in the order of their first mention."""
    found = []
    for text in sentences_of(report):
        reading = read_description(text)
        s = Sentence(text)
        if reading is None or not any(not n.negated for n in s.nouns):
            continue
        if organ is None or reading.descriptors.organ == organ:
            found.append(ReportedLesion(descriptors=reading.descriptors, denied=reading.denied, evidence=(text,)))
    return found
