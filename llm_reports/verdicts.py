"""Verdicts: which lesions a sentence calls what, as in *segments 4 and 5 metastases, segment 8 cyst*.

A sentence is divided where another lesion or another diagnosis can begin. Which lesions of the report a verdict means
is for ``extraction`` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from itertools import pairwise
from typing import NamedTuple

from .lexicon import HOSTS, words
from .nouns import SEGMENT_WORDS, history_tokens, is_plural, location_in, pathology_of, places_of, segment_number
from .sentences import Hit, Sentence

_DIVIDING = frozenset(",;()") | words("and with while whereas but plus as +")
_ALTERNATIVE = words("or vs versus over than /")
_LISTING = SEGMENT_WORDS - {"s"}  # "S4, S7" names one after the other
_WHERE = words("in within to")
_DENYING = words("no not nor without except neither")
_MARKED = words("l lesion lesions mass masses nodule nodules tumor tumors cyst cysts target #")
_MARKS = frozenset((*"abcdefgh", *map(str, range(1, 10))))
_AFTER_MARK = words("is are was = : - probably likely presumably represents being and most")
_SEVERAL_OF_RANK = re.compile(
    r"\bthe (?:(?:two|three|other) \w+|(?:first|last|larger|smaller|largest|smallest) (?:two|three)|\w+ (?:ones|two))\b"
)
_RANKS = words("former latter first second third fourth larger smaller largest smallest dominant")


class Naming(NamedTuple):
    """What names lesions in tokens ``start`` to ``end``: an organ, a place, a mark (*#2*), a rank (*the latter*)."""

    start: int
    end: int
    organ: str | None
    marks: tuple[str, ...]
    rank: str

    @property
    def empty(self) -> bool:
        return not (self.organ or self.marks or self.rank)


class Verdict(NamedTuple):
    """A diagnosis, and what names the lesions that it is of."""

    pathology: str
    plural: bool
    named: tuple[Naming, ...]
    start: int
    end: int


class _Part(NamedTuple):
    """Tokens between two that divide, the diagnosis among them, and the token that divides them from those before."""

    start: int
    end: int
    diagnosis: Hit | None
    after: str


def verdicts_of(s: Sentence, marks: frozenset[str]) -> list[Verdict]:
    """The verdicts of a sentence in order. ``marks``: what the report calls its lesions."""
    found: list[Verdict] = []
    waiting: list[Naming] = []
    if "the" in s.tokens and _SEVERAL_OF_RANK.search(" ".join(s.tokens)):
        return []
    for part in _parts(s):
        naming = _naming(s, part, marks)
        named = _names(s, naming)
        if part.diagnosis is None:
            denied = any(h.has("lesion") and s.is_negated(h) for h in s.hits if part.start <= h.start < part.end)
            if denied or _DENYING & set(s.tokens[part.start : part.end]):
                waiting = []  # "segment 8 no viable tumor", "HCC in segment 6, not in segment 2"
            elif named and found and not waiting and _goes_on(s, found[-1], part):
                found[-1] = found[-1]._replace(named=(*found[-1].named, naming), end=part.end)
            elif named:
                waiting.append(naming)
            elif found and not waiting and found[-1].end >= part.start - 1 and _describes(s, found[-1], part):
                found[-1] = found[-1]._replace(end=part.end)
            continue
        pathology = pathology_of(part.diagnosis) or ""
        # "hemangioma (segment 7), HCC", "HCC, benign lesion (hemangioma)"
        apart = s.tokens[max(0, part.start - 2) : part.start] == [")", ","]
        apart = apart or bool(found and _has_noun(s, found[-1].end, part.start))
        if not (named or waiting or apart) and found and part.after in (",", "("):
            if found[-1].pathology == "cyst":  # "pancreatic cyst, likely IPMN"; but "carcinoma (adenocarcinoma)"
                found[-1] = found[-1]._replace(pathology=pathology, end=part.end)
            continue
        if named and part.after != "and" and waiting and not _is_bare(s, waiting[-1]):
            waiting = []  # "adrenal nodule unclear, S3 cyst"
        start = waiting[0].start if waiting else part.start
        namings = (*waiting, naming) if named else tuple(waiting)
        plural = is_plural(s, part.diagnosis) or "multifocal" in s.tokens[start : part.diagnosis.start]
        found.append(Verdict(pathology, plural, namings, start, part.end))
        waiting = []
    return found


def _goes_on(s: Sentence, verdict: Verdict, part: _Part) -> bool:
    """Whether a further place can be one more of the verdict's: *metastases S4 and S7*, after the diagnosis."""
    if part.after in ("(", ")") and part.start - 1 == verdict.end and not verdict.named:
        return not _has_noun(s, part.start, part.end)  # "HCC (segment 5)", "carcinoma (HCC) in segment 5"
    if part.after not in ("and", ",", "(") or _has_noun(s, part.start, part.end):
        return False
    if "lr" in s.tokens[part.start : part.end]:  # "HCC in segment 3 and LR-3 in segment 6"
        return False
    at = next(h for h in s.hits if verdict.start <= h.start and pathology_of(h) == verdict.pathology)
    return verdict.plural or (bool(verdict.named) and is_placed(s, at.end, verdict.named[-1].end))


def _describes(s: Sentence, verdict: Verdict, part: _Part) -> bool:
    """Whether a part only says more of a verdict's lesion: *HCC with capsule and washout*."""
    told = part.after == "with" or (part.after == "and" and "with" in s.tokens[verdict.start : part.start])
    return told and not _has_noun(s, part.start, part.end)


def _is_bare(s: Sentence, naming: Naming) -> bool:
    """Whether a naming is all that is said: *S3* of *S3, S5 and S8: cysts*; not *L2 intermediate*."""
    said = {i for h in s.hits if h.has("organ", "site") for i in range(h.start, h.end)}
    held = said | _segment_lists(s.tokens)
    rest = [t for i, t in enumerate(s.tokens[naming.start : naming.end], naming.start) if i not in held]
    return all(t in _OF_NAMING or t in _MARKED or t in _MARKS or not t.isalpha() for t in rest)


_OF_NAMING = words("the left right upper lower mid pole lobe head neck body tail uncinate process of in both")


def _has_noun(s: Sentence, start: int, end: int) -> bool:
    return any(h.has("lesion") for h in s.hits if start <= h.start < end)


def is_placed(s: Sentence, start: int, end: int, organ: str | None = None) -> bool:
    """Whether some tokens name a place within the organ, or within any host."""
    return any(location_in(s, start, end, host) for host in ((organ,) if organ else HOSTS))


def _names(s: Sentence, naming: Naming) -> bool:
    return not naming.empty or is_placed(s, naming.start, naming.end) or bool(sizes_in(s, naming))


def sizes_in(s: Sentence, naming: Naming) -> list[float]:
    """The present sizes that a naming tells its lesions by, in mm."""
    return [z.mm for z in s.sizes if naming.start <= z.token < naming.end and not (z.prior or z.distance)]


def _parts(s: Sentence) -> Iterator[_Part]:
    past = history_tokens(s)
    held = _segment_lists(s.tokens) | _mark_lists(s.tokens)
    begin, after = 0, ""
    for i, token in enumerate([*s.tokens, ";"]):
        marks = token in _MARKS and i not in held  # "1) IPMN 3) MCN"; not "(segment 7)"
        if marks and i > begin and s.tokens[i + 1 : i + 2] == [")"]:
            yield _Part(begin, i, _diagnosis(s, begin, i, past), after)
            begin, after = i, ""
        if token not in _DIVIDING or i in held:
            continue
        if i > begin:
            yield _Part(begin, i, _diagnosis(s, begin, i, past), after)
            after = ""
        begin, after = i + 1, after if token == ")" and after else token


def _diagnosis(s: Sentence, start: int, end: int, past: Set[int]) -> Hit | None:
    """The affirmed diagnosis in some tokens; of alternatives the first."""
    for hit in s.hits:
        if start <= hit.start < end and pathology_of(hit) and not (s.is_negated(hit) or s.is_origin(hit)):
            alternative = bool(_ALTERNATIVE & set(s.tokens[start : hit.start]))
            following = next((h for h in s.hits if h.start == hit.end and pathology_of(h)), hit)
            hit = following if pathology_of(hit) == "metastasis" else hit  # "metastatic RCC"
            named = next((h for h in s.hits if hit.end <= h.start < end and pathology_of(h)), hit)
            likely = not _ALTERNATIVE & set(s.tokens[hit.end : named.start]) and any(
                c.has("diagnosis") and hit.end <= c.start < named.start for c in s.cues
            )
            hit = named if pathology_of(hit) == "cyst" and likely else hit  # "pancreatic cyst most likely IPMN"
            return None if alternative or hit.start in past else hit
    return None


def _segment_lists(tokens: Sequence[str]) -> set[int]:
    """The tokens of lists such as *segments 2, 4 and 5*, which name one set of lesions."""
    held: set[int] = set()
    for i, token in enumerate(tokens):
        if token not in _LISTING:
            continue
        end = i + 1
        while end < len(tokens) and (segment_number(tokens[end]) or tokens[end] in (",", "and", "/", "-")):
            end += 1
        while end > i + 1 and not segment_number(tokens[end - 1]):
            end -= 1
        held.update(range(i, end))
    return held


def _mark_lists(tokens: Sequence[str]) -> set[int]:
    """The tokens between the marks of *lesions 1, 2 and 3*; but *lesion 1 and 2 cysts* has one mark."""
    held: set[int] = set()
    for i, token in enumerate(tokens):
        end = i + 2
        while token in _MARKED and token.endswith("s") and tokens[end : end + 1] in (["and"], [","]):
            if not _MARKS.issuperset((tokens[end - 1], *(tokens[end + 1 : end + 2] or [""]))):
                break
            held.add(end)
            end += 2
    return held


def naming_of(s: Sentence, marks: frozenset[str]) -> Naming:
    """What a phrase names lesions by: *the segment 2 lesion*."""
    return _naming(s, _Part(0, len(s.tokens), None, ""), marks)


def _naming(s: Sentence, part: _Part, marks: frozenset[str]) -> Naming:
    places = [p for p in places_of(s) if part.start <= p.start < part.end]
    places = [p for p in places if not p.reference or (p.start == part.start and p.organ not in HOSTS)]
    explicit = [p.organ for p in places if p.explicit and not _is_origin(s, part, p.start)]
    tokens = s.tokens[part.start : part.end]
    rank = next((b for a, b in pairwise(["the", *tokens]) if a == "the" and b in _RANKS), "")
    named = explicit or [p.organ for p in places if not p.explicit]
    return Naming(part.start, part.end, named[0] if named else None, tuple(_marks(tokens, marks)), rank)


def _is_origin(s: Sentence, part: _Part, at: int) -> bool:
    """Whether an organ is where a metastasis comes from: *metastasis of the rectal carcinoma*; not *in the liver*."""
    hit = part.diagnosis
    of = hit is not None and pathology_of(hit) == "metastasis" and s.tokens[hit.end : hit.end + 1] in (["of"], ["from"])
    return of and hit is not None and at >= hit.end and not _WHERE & set(s.tokens[hit.end : at])


def _marks(tokens: Sequence[str], known: frozenset[str]) -> Iterator[str]:
    """The numbers or letters that stand for lesions: *lesions 1 and 2*, *A is a metastasis*, *new metastases (2)*."""
    listed = _mark_lists(tokens)
    for i, token in enumerate(tokens):
        if token not in known:
            continue
        after = tokens[i + 1 : i + 2]
        if (i and tokens[i - 1] in _MARKED) or i - 1 in listed or (i == 0 and (not after or after[0] in _AFTER_MARK)):
            yield token


_MARK = re.compile(
    r"(?:^L(?P<short>[1-9])\b|\b(?i:lesion|mass|nodule|tumou?r|cyst) (?P<named>[A-H]|[1-9])\b(?!\.\d| ?[cm]m)|"
    r"(?P<number>#[1-9])\b|"
    r"(?<![\w.])\((?P<letter>[A-Ha-h1-9])\) |(?:^|[,;:] )(?P<item>[1-9])\) )"
)
_LEADING_MARK = re.compile(r"\s*(?:#([1-9])[.):,]?|\(?([a-h1-9])\))\s", re.IGNORECASE)


def marks_in(text: str) -> list[str]:
    """What a text calls the lesions that it tells of: *Lesion A*, *#2 in the tail*, *(b) 22 mm mass*."""
    return [match.group(match.lastgroup or 0).strip("#").lower() for match in _MARK.finditer(text)]


def leading_mark(numbering: str) -> str:
    """The number or letter of a line of a list: *#2*, *b)*, *(3)*."""
    match = _LEADING_MARK.match(numbering) if numbering[:1] == "#" or ")" in numbering[:4] else None
    return (match.group(1) or match.group(2)).lower() if match else ""
