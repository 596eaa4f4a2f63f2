"""Offline extraction: what a radiology report says of its lesions, as descriptors (paper section III-A).

Deterministic and without a network. ``sentences`` says what each sentence states, negates and measures; here the
statements are given to lesions: which nouns speak of a lesion, which of the same one, in which organ, and which only
name its diagnosis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from . import lexicon
from .descriptors import Descriptors
from .lexicon import HOSTS, words
from .nouns import (
    COUNTS,
    PANCREAS_PARTS,
    Location,
    Noun,
    Place,
    cue_after,
    cue_before,
    history_tokens,
    is_excepted,
    is_lesion_noun,
    is_of_other_imaging,
    is_plural,
    is_reference,
    is_rest_of_organ,
    location_in,
    nouns_of,
    organ_of,
    pathology_of,
    places_of,
    segment_number,
)
from .references import LARGER, SMALLER, Reference, all_but, clauses_of, reference_of, with_noun, with_verb
from .sections import Context, sections_of
from .sentences import Hit, Sentence, Size, Statement, in_another_organ, sentences_of
from .verdicts import Naming, Verdict, is_placed, marks_in, naming_of, sizes_in, verdicts_of

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
    """What the report explicitly negates of the lesion."""
    location: str | None = None
    """Where in the organ, in words: *segment 7*, *head*, *left upper pole*."""
    evidence: tuple[str, ...] = ()
    """The sentences of the report that it was read from."""
    uncertain: bool = False
    """Hedged as a whole (*cannot exclude a lesion*): no lesion of certainty."""


# Values of one lesion from its statements

_RANKS: dict[str, tuple[str, ...]] = {
    "composition": ("mixed", "necrotic", "cystic", "calcified", "solid"),
    "enhancement": ("washout", "arterial", "rim", "none", "hyper", "hypo"),
}
_EXCLUSIVE: dict[str, frozenset[str]] = {
    "attenuation": words("hypo iso hyper"),
    "texture": words("homogeneous heterogeneous"),
    "margin": words("well-defined ill-defined"),
    "enhancement": words("none hypo hyper"),
}


class Gathered(NamedTuple):
    """The values of one lesion, what is denied, outranked values, and whether statements contradict each other."""

    values: dict[str, str]
    denied: frozenset[Said]
    also: frozenset[Said]
    contradictory: bool


def gathered(statements: Iterable[Statement]) -> Gathered:
    """The statements about one lesion, put together: the first of each descriptor, or the one that ranks highest.

    A denial that the values make needless (*hypodense, not hyperdense*) is left out.
    """
    said: dict[str, list[str]] = {}
    denied: set[Said] = set()
    for st in statements:
        if st.negated:
            if st.value != lexicon.NODULE_IN_WALL:
                denied.add((st.field, st.value))
        elif st.value not in said.setdefault(st.field, []):
            said[st.field].append(st.value)
    values: dict[str, str] = {}
    also: set[Said] = set()
    contradictory = False
    for name, found in said.items():
        if name == "composition":
            found = _compositions(found)
            if not found:
                continue
        ranks = _RANKS.get(name)
        values[name] = min(found, key=ranks.index) if ranks else found[0]
        also.update((name, v) for v in found if v != values[name])
        contradictory |= len(_EXCLUSIVE.get(name, frozenset()) & set(found)) > 1
    needless = {(n, v) for n in ("attenuation", "texture", "margin") if n in values for v in _EXCLUSIVE[n]}
    return Gathered(values, frozenset(denied - set(values.items()) - needless), frozenset(also), contradictory)


def _compositions(found: Sequence[str]) -> list[str]:
    """Solid and cystic is mixed, and so is a nodule in the wall of something cystic."""
    has_nodule = lexicon.NODULE_IN_WALL in found
    found = [v for v in found if v != lexicon.NODULE_IN_WALL]
    if "mixed" in found or ("cystic" in found and ("solid" in found or has_nodule)):
        return ["mixed", *(v for v in found if v not in ("mixed", "solid", "cystic"))]
    return found


# One text about one lesion

_MANY = words("two three four five six several multiple numerous many both innumerable various")
_PHRASE_BREAKS = words("with of in is are showing having demonstrating by as than this from and for to without at")


def read_description(text: str) -> Reading | None:
    """What a description or variant says of its lesion.

    ``None`` when it states no lesion, several, or contradicts itself.

    >>> read_description("Ill-defined 3.2 cm hypodense liver mass without calcification.").descriptors.size_mm
    32.0
    """
    sentences = [Sentence(part) for part in sentences_of(text)]
    nouns = [(s, h) for s in sentences for h in s.hits if is_lesion_noun(h)]
    nouns += [(s, h) for s in sentences for h in _findings_of(s)]
    affirmed = [h for s, h in nouns if not s.is_negated(h) and not _is_in_doubt(s, h)]
    if not affirmed and (nouns or not _LISTED.search(text)):
        return None
    if any(c.has("gone") for s, _ in nouns for c in s.cues) or _counts_several(sentences):
        return None
    read = gathered(st for s in sentences for st in s.statements)
    sizes = {z.mm for s in sentences for z in s.sizes if not z.prior and not z.distance}
    if read.contradictory or len(sizes) > 1:
        return None
    organ = organ_of([p for s in sentences for p in places_of(s)])
    fields: dict[str, Any] = dict(read.values)
    size = _valid_size(sizes)
    if size:
        fields["size_mm"] = size
    if not (fields or organ or affirmed):
        return None
    return Reading(Descriptors(organ=organ, **fields), read.denied, read.also)


def _findings_of(s: Sentence) -> list[Hit]:
    """The word *finding*, which in a description of one lesion is that lesion."""
    return [Hit(i, i + 1, (lexicon.Term("lesion"),)) for i, token in enumerate(s.tokens) if token == "finding"]


def _is_in_doubt(s: Sentence, noun: Hit) -> bool:
    """*Cannot exclude a mass*, *history of a mass*; but *suspected metastasis: a mass* states one.

    *No mass, consistent with metastasis* states none either.
    """
    if "yes" in s.tokens:  # "question of a mass: yes"
        return False
    if not noun.has("lesion"):
        return any(h.has("lesion") and h.end <= noun.start and s.is_negated(h) for h in s.hits)
    before = [c for c in s.cues if c.end <= noun.start and (c.has("doubt") or (c.has("history") and c.start == 0))]
    return any(not any(pathology_of(h) and c.end <= h.start < noun.start for h in s.hits) for c in before)


# A list of properties needs no noun, nor does "it", but a sentence does: "The liver is homogeneous" states no lesion.
_LISTED = re.compile(
    r"(?:^|[.;]\s*)it\b|\b(?:attenuation|density|texture|margins?|borders?|enhancement|contrast behaviou?r|composition|"
    r"structure|size|diameter|location|site|organ)\s*:",
    re.IGNORECASE,
)


def _valid_size(sizes: Iterable[float]) -> float | None:
    largest = round(max(sizes, default=0.0), 3)
    return largest if 0 < largest <= 500 else None


def _counts_several(sentences: Sequence[Sentence]) -> bool:
    indefinite = 0
    for s in sentences:
        for hit in s.hits:
            if not hit.has("lesion") or s.is_negated(hit):
                continue
            before = s.tokens[max(0, hit.start - 8) : hit.start]
            if is_plural(s, hit) and _MANY & set(before):
                return True
            if {"second", "another", "third"} & set(before):
                return True
            indefinite += _is_indefinite(s, hit)
    return indefinite > 1


def _is_indefinite(s: Sentence, noun: Hit) -> bool:
    """Whether the noun has the article *a*: *a small, hypodense lesion*."""
    for i in range(noun.start - 1, -1, -1):
        token = s.tokens[i]
        if token in ("a", "an"):
            return True
        if token in _PHRASE_BREAKS or token in ".;:()":
            return False
    return False


# Lesions as they are gathered


@dataclass
class Facts:
    """What is said of a lesion: in one sentence, or in the report so far."""

    organ: str | None = None
    location: Location = field(default_factory=Location)
    statements: list[Statement] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    called: str | None = None
    """The pathology that its noun names (*a cyst*); a diagnosis outranks it."""
    diagnoses: list[str] = field(default_factory=list)
    """What it is said to be, in the order of the report."""
    denied: set[Said] = field(default_factory=set)
    plural: bool = False
    count: int = 0
    """How many lesions, where a plural says so."""
    uncertain: bool = False
    name: str = ""
    """What the report calls it: the number in *lesion 2*."""
    noun: str = ""
    """The noun that it was introduced with, were it *mass* or *tumor*; not *lesion*, which any may be called."""
    epithets: frozenset[str] = frozenset()
    """The adjectives that tell it from others: *the cranial tumor*."""
    placed: bool = False
    """Whether its own sentence says where it lies, and not only an earlier one or a heading."""
    elsewhere: list[Said] = field(default_factory=list)
    """Diagnoses of lesions of another organ, and that organ: *carcinoma with suspected liver metastasis*."""

    @property
    def pathology(self) -> str | None:
        return self.diagnoses[0] if self.diagnoses else self.called

    def says(self, name: str) -> set[str]:
        return {st.value for st in self.statements if st.field == name and not st.negated}


@dataclass
class Lesion(Facts):
    """A lesion of the report."""

    evidence: list[str] = field(default_factory=list)
    kind: list[Statement] = field(default_factory=list)
    """The adjectives of the noun that it was introduced with, which *another one* shares."""
    shared: list[Statement] = field(default_factory=list)
    """What a plural says of each of its lesions, were the largest told of since: *three cysts; the largest ...*."""
    members: int = 0
    """How many lesions of a plural have since been described one by one."""
    dropped: bool = False
    concluded: bool = False
    """First told of in a conclusion."""
    doubted: bool = False
    """Its diagnosis is only one that *cannot be excluded*: a likelier one goes before it."""
    past: bool = False
    """Told of only as something that an earlier examination showed."""
    of_all: str = ""
    """The diagnosis that it only has as one of all in its organ: *hepatic metastases*."""
    mark: str = ""
    """The number or letter that the report tells it from others by: *lesion A*, *#2*."""

    def add(self, facts: Facts, text: str) -> None:
        """Take over what another sentence says."""
        self.organ = self.organ or facts.organ
        if not facts.location.contradicts(self.location):
            self.location = Location(
                self.location.side or facts.location.side, self.location.parts or facts.location.parts
            )
        self.statements += facts.statements
        if not self.sizes:
            self.sizes += facts.sizes
        self.called = self.called or facts.called
        self.diagnoses += [d for d in facts.diagnoses if d not in self.diagnoses]
        self.denied |= facts.denied
        self.uncertain &= facts.uncertain
        self.past = self.past and text in self.evidence
        if text not in self.evidence:
            self.evidence.append(text)

    def finished(self) -> ReportedLesion:
        read = gathered(self.statements)
        fields: dict[str, Any] = dict(read.values)
        fields.pop("pathology", None)
        if self.pathology:
            fields["pathology"] = self.pathology
        if "cyst" in (self.called, self.pathology):
            fields["composition"] = _with_cyst(self.statements)
        size = _valid_size(self.sizes)
        if size:
            fields["size_mm"] = size
        return ReportedLesion(
            descriptors=Descriptors(organ=self.organ, **fields),
            denied=frozenset((read.denied | self.denied) - set(fields.items())),
            location=str(self.location) or None,
            evidence=tuple(self.evidence),
            uncertain=self.uncertain,
        )


def _with_cyst(statements: Sequence[Statement]) -> str:
    """The composition of a lesion that is called a cyst: cystic, unless more is said."""
    return gathered([Statement("composition", "cystic", 0, 0, False), *statements]).values["composition"]


# Reading the report


class _Reader:
    """Goes through the sentences of a report and gathers lesions."""

    def __init__(self) -> None:
        self.lesions: list[Lesion] = []
        self.current: list[Lesion] = []
        """The lesions that *it*, *the lesion* or a bare adjective speaks of."""
        self.organ: str | None = None
        self.hint: str | None = None
        """The last organ that was named at all, were it only in *renal vein*."""
        self.site: str | None = None
        """The last host organ that an earlier sentence placed something in."""
        self.location = Location()
        self.concluding = False
        self.label = ""
        """The heading of the sentence before."""
        self.held = Facts()
        """What the lines of a form say before enough is said to make a lesion: *Type: cystic. Size: 21 mm.*"""
        self.before = ""
        """The sentence before."""
        self.subject: list[Lesion] = []
        """The lesions that the subject of the clause stands for: *the latter*, *the first two*."""

    def read(self, text: str, context: Context) -> None:
        if _QUESTION.search(text) or (not self.lesions and (_FIRST_QUESTION.fullmatch(text) or _is_title(text))):
            self.hint = _hinted(Sentence(text)) or self.hint
            return
        if context.aside:  # "Duct: 3 mm." in the middle of a lesion's description
            spoken, organ, location = self.current, self.organ, self.location
            self._read(text, Sentence(text), text, context)
            self.current, self.organ, self.location = spoken, organ, location
            return
        whole, self.before = with_verb(text, self.before), text
        s = Sentence(text)
        left = self._conclude(s, context)
        if left is not None:
            for part in left:
                self._read(part, Sentence(part), text, replace(context, conclusion=True))
            return
        for clause in (item for part in clauses_of(whole) for item in _by_segment(part)):
            s = s if clause == text else Sentence(clause)
            self._read(clause, s, text, context)

    def _read(self, clause: str, s: Sentence, text: str, context: Context) -> None:
        """``s``: the clause, read as a sentence; ``text``: the sentence of the report that it is of."""
        exception, reference = all_but(clause), None
        if exception:
            clause, excepted = exception
            s = Sentence(clause)
            self.subject = self._all_but(excepted)
        else:
            reference = reference_of(clause)
            self.subject = self._referred(reference, s) if reference else self._marked(s, context)
        if reference and reference.rest and reference.plural and not self.subject:
            self.current = []  # "the others are smaller than 2 cm" says nothing of the largest
            self.subject = self._remaining(s, reference)
        if self.subject:
            s = Sentence(reference.clause) if reference else s
            self.current = self.subject
        elif self.lesions and not any(x.plural and x.members < x.count for x in self.recent):
            named = with_noun(clause, (self.current[-1].called if self.current else None) or "lesion")
            s = s if named == clause else Sentence(named)
        s.text = text
        if not s.tokens or (context.skipped and not _is_finding(s)):
            return
        context.skipped = False
        if context.conclusion and not self.concluding and len(self.current) < len(self.lesions):
            self.current = []
        self.concluding = context.conclusion
        past = history_tokens(s)
        s.statements = [st for st in s.statements if st.start not in past and not in_another_organ(s, st)]
        earlier = _is_earlier(s) or is_of_other_imaging(s)
        if earlier:
            s.statements, s.sizes = [], [z._replace(prior=True) for z in s.sizes]
        before = len(self.lesions)
        if context.label:
            self._read_label(context.label)
        elif context.mark and not context.conclusion:
            organs = [p.organ for p in places_of(s) if p.explicit and not p.reference and p.start < 2]
            self.organ = next((organ for organ in organs if organ in HOSTS), self.organ)
        self.hint = _hinted(s) or self.hint
        counted = any(x.plural and x.members < x.count for x in self.recent)
        labelled = self.organ if context.label not in ("", self.label) and self.organ in HOSTS else None
        self.label = context.label
        # "(3) multiple simple cysts" is no diagnosis of (2)
        listed = bool(context.mark) and not (context.conclusion or self.subject)
        nouns = nouns_of(
            s,
            lambda x: not listed and self._open_to(x, labelled),
            lambda hit: not listed and self._suits(s, hit),
            counted,
            self._is_in_cyst(),
            {x.called for x in self.recent if x.called and not x.dropped},
        )
        for noun in nouns if self.subject and not self.subject[0].evidence else ():
            noun.role = "diagnosis" if noun.pathology and noun.role == "lesion" else noun.role
        lesion_nouns = [n for n in nouns if n.role == "lesion"]
        loose = Facts()
        apart = [(n.start, n.end) for n in nouns if n.role in ("diagnosis", "nothing")]
        facts = [self._facts(s, n, lesion_nouns, apart, context) for n in lesion_nouns]
        self._share(s, nouns, lesion_nouns, facts, loose)
        told = _without_plural(s, list(zip(facts, lesion_nouns, strict=True)))
        told = [(part, n) for f, n in told for part in _split(s, f, _first_size(s, n))]
        there = [(f, n) for f, n in told if not _is_gone(s, n)]
        if there:
            self._take(s, there, context)
        elif any(c.has("gone") and not _in_phase_only(s, c) for c in s.cues):
            self._forget(s, nouns)
        form = _FORM.match(clause) is not None and not lesion_nouns
        if form:
            loose.statements, loose.sizes = [*self.held.statements, *loose.statements], [*self.held.sizes, *loose.sizes]
        self.held = Facts()
        self._apply(s, loose, nouns, context)
        if form and not (self.current or any(n.role != "other" for n in nouns)):
            self.held = loose
        opened = self.lesions[before:]
        marks = [context.mark] if context.mark else marks_in(clause) if opened else []
        for lesion in opened:
            lesion.past = earlier
            lesion.mark = lesion.name
        for lesion, mark in zip(opened, marks, strict=False) if len(marks) == len(opened) else ():
            lesion.mark = mark
        self._liken(s)
        self._move_on(s, nouns)

    def _conclude(self, s: Sentence, context: Context) -> list[str] | None:
        """Give the diagnoses of a sentence to the lesions that it names, and return what is left to be read.

        ``None``: it names none of the lesions told of, and is to be read as any other sentence.
        """
        text, live = s.text, [x for x in self.recent if not x.dropped]
        if context.conclusion and not any(x.mark for x in live):  # "lesion 2", where none was numbered
            for i, lesion in enumerate(live):
                lesion.mark = str(i + 1)
        named = {st.field for st in s.statements if not (st.field == "pathology" and st.negated)}
        if "pathology" not in named or context.skipped or not live:
            return None
        if not context.conclusion and (s.sizes or len(named) > 1):
            return None
        if context.conclusion and (context.label or context.mark):  # "Segments 5 and 8: metastases", "#2 IPMN"
            label, mark = f"{context.label}: " if context.label else "", f"#{context.mark} " if context.mark else ""
            s = Sentence(label + mark + text)
        verdicts = verdicts_of(s, frozenset(x.mark for x in live if x.mark))
        if not any(v.named for v in verdicts) or not (context.conclusion or self._tells_which(s, verdicts, live)):
            return None
        sizes = [z.token for z in s.sizes if not (z.prior or z.distance)]
        if any(not any(v.start <= z < v.end for v in verdicts) for z in sizes):
            return None
        taken: list[Lesion] = []
        left: list[str] = []
        for verdict in sorted(verdicts, key=lambda v: not _is_exact(s, v)):
            found = self._judged(s, verdict, [x for x in live if x not in taken])
            if found is None:
                left.append(s.part(verdict.start, verdict.end))
            else:
                taken += found
                _pronounce(s, verdict, found, text)
        if len(left) == len(verdicts):
            return None
        self.concluding, self.current = context.conclusion, taken if len(taken) == 1 else []
        return left

    def _tells_which(self, s: Sentence, verdicts: Sequence[Verdict], live: Sequence[Lesion]) -> bool:
        """Whether a sentence among the findings tells what lesions are: *the former is a cyst, the latter ...*."""
        pointed = all(n.marks or n.rank for v in verdicts for n in v.named)
        return pointed or (len(verdicts) > 1 and all(self._is_of_one(s, v, live) for v in verdicts))

    def _is_of_one(self, s: Sentence, verdict: Verdict, live: Sequence[Lesion]) -> bool:
        """Whether a verdict names one lesion that has no diagnosis yet: *RCC is likely on the right*."""
        placed = [n for n in verdict.named if is_placed(s, n.start, n.end, n.organ)]
        found = [x for x in live for n in placed if _is_named(s, n, verdict.pathology, x)]
        return len(found) == 1 and not (found[0].diagnoses or found[0].called)

    def _judged(self, s: Sentence, verdict: Verdict, live: Sequence[Lesion]) -> list[Lesion] | None:
        """The lesions told of that a verdict names; none where it is not clear which, ``None`` where there is none."""
        found: list[Lesion] = []
        if not verdict.named:
            return None
        for naming in verdict.named:
            fitting = [x for x in live if _is_named(s, naming, verdict.pathology, x)]
            if naming.marks and not fitting:  # the numbers of the conclusion's own list
                unmarked = naming._replace(marks=())
                fitting = [x for x in live if _is_named(s, unmarked, verdict.pathology, x)]
            if naming.rank:
                row = [x for x in fitting if not self.current or x.organ == self.current[-1].organ]
                fitting = self._pointed_at(Reference(naming.rank, 0, False, ""), live, row or fitting or live)
            if not fitting:
                return None if naming.organ in (None, *HOSTS) else []  # "bladder tumor: urothelial carcinoma"
            if len(fitting) > 1:
                likely = [x for x in fitting if not x.diagnoses and _looks_like(x, verdict.pathology)]
                each = _is_in_each(s, naming, fitting)  # "HCC in segments 4 and 7", "cysts in segments 2 and 3"
                fitting = fitting if each else likely if verdict.plural or len(likely) == 1 else []
                if not (fitting or _is_exact(s, verdict)):
                    return None
            found += [x for x in fitting if x not in found]
        return found

    @property
    def recent(self) -> list[Lesion]:
        """The lesions that a sentence can still speak of: no report tells of hundreds one by one."""
        return self.lesions[-100:]

    def _forget(self, s: Sentence, nouns: Sequence[Noun]) -> None:
        """*It is no longer seen*: the lesion spoken of is none; but *the ascites has resolved* says nothing of it."""
        gone = [c for c in s.cues if c.has("gone")]
        treated = all(s.tokens[c.start] in ("no", "without") and s.tokens[c.end - 1] == "tumor" for c in gone)
        if treated and s.statements:
            return  # "it is hypodense and does not enhance, so no viable tumor"
        of_property = any(
            h.has("say", "head") and h.end <= c.start and s.chunks[h.start] == s.chunks[c.start]
            for c in gone
            for h in s.hits
        )
        if of_property or (gone and not _is_subject(s.tokens[: gone[0].start])):  # "encasement is no longer seen"
            return
        if not nouns and not any(h.has("organ") for h in s.hits):
            for lesion in self.current:
                lesion.dropped = True
        self.current = []

    def _is_in_cyst(self) -> bool:
        """Whether the one lesion spoken of is cystic, so that a nodule can be that of its wall."""
        said = [x for x in self.current if not x.dropped]
        return len(said) == 1 and (
            said[0].pathology == "cyst" or bool(said[0].says("composition") & {"cystic", "mixed"})
        )

    def _open_to(self, pathology: str | None, labelled: str | None) -> bool:
        """Whether there is a lesion that a bare *metastasis* could be the diagnosis of.

        ``labelled``: the organ that the line is of.
        """
        organ = lexicon.ORGAN_OF_PATHOLOGY.get(pathology or "") or labelled
        return any(not x.dropped and organ in (None, x.organ) for x in self.recent)

    def _suits(self, s: Sentence, hit: Hit) -> bool:
        """Whether a pathology can be that of a lesion told of before, not yet diagnosed, in the place that is named."""
        pathology = pathology_of(hit) or ""
        organ = organ_of([p for p in places_of(s) if not p.reference]) or lexicon.ORGAN_OF_PATHOLOGY.get(pathology)
        place = location_in(s, 0, len(s.tokens), organ)
        return any(
            x.organ in (organ, None) and not x.diagnoses and not x.location.contradicts(place) and _can_be(x, pathology)
            for x in self.recent
            if not x.dropped
        )

    def _read_label(self, label: str) -> None:
        s = _heading(label)
        organ = organ_of([p for p in places_of(s) if not p.reference])
        parts = set(s.tokens) & PANCREAS_PARTS
        if (
            organ is None and parts == set(s.tokens) and "pancreas" not in (self.organ, self.hint)
        ):  # "Body:" of the report
            return
        if organ is None and parts and ("pancreas" in (self.organ, self.hint) or "uncinate" in parts):
            organ = "pancreas"
        if organ != self.organ or not any(lesion.organ == organ for lesion in self.current):
            self.current = []
        self.organ = organ or "other"
        self.location = location_in(s, 0, len(s.tokens), organ)
        for lesion in self.current:
            if len(self.current) == 1 and not lesion.location:
                lesion.location = self.location

    def _facts(
        self, s: Sentence, noun: Noun, nouns: Sequence[Noun], apart: Sequence[tuple[int, int]], context: Context
    ) -> Facts:
        """Organ, location and kind of a lesion noun; statements and sizes are shared out later."""
        start, end = _region(s, noun, nouns)
        organ = self._organ(s, noun, (start, end), apart, context)
        location = location_in(s, start, end, organ)
        summary = context.conclusion and not context.label
        before = s.tokens[noun.start : noun.hit.start]
        of_all = {"all", "both", "these"} & set(before)
        placed = bool(location)
        if not location and self.location and organ == self.organ and not (summary or of_all):
            location = self.location
        if organ == self.organ == "kidney" and not (location.side or summary or of_all):
            location = Location(self.location.side, location.parts)
        plural = is_plural(s, noun.hit) or _is_gapped(s, noun) or bool({"bilateral", "multiple"} & set(before))
        count = next((COUNTS[t] for t in before if t in COUNTS), 0) if plural else 0
        both_parts = s.tokens[0] == "both" and len(location.parts) == 2  # "both the head and the tail contain a cyst"
        if not plural and (both_parts or _in_both_organs(s)):  # "each kidney has a cyst: 4 cm left, 2 cm right"
            plural, count = True, 2
        if plural and not count and not before and "both" in s.tokens[:2] and not s.sizes:
            count = 2  # "both kidneys contain masses"
        if plural and s.tokens[noun.end : noun.end + 2] == [":", "one"]:
            count = count or 2
        uncertain = _is_doubted(s, noun) if noun.pathology is None else _is_not_excluded(s, noun)
        name = "" if noun.pathology else _name_of(s, noun)
        head = s.tokens[noun.end - 1]
        whole = self.current[-1] if self.current and s.tokens[noun.end : noun.end + 2] == ["of", "them"] else None
        return Facts(
            organ,
            location,
            called=noun.pathology
            or (self.current[-1].called if (whole or _is_another(s, noun)) and self.current else None),
            diagnoses=list(whole.diagnoses) if whole and whole.plural else [],
            plural=plural,
            count=count,
            uncertain=uncertain,
            name=name,
            noun="" if head in ("lesion", "lesions") or noun.pathology else head,
            epithets=frozenset(_epithets(s, noun)),
            placed=placed,
        )

    def _organ(
        self, s: Sentence, noun: Noun, region: tuple[int, int], apart: Sequence[tuple[int, int]], context: Context
    ) -> str | None:
        """``apart``: the tokens of nouns that are not lesions, whose places are their own."""
        start, end = region
        places = [p for p in places_of(s) if not p.reference]
        denied = [p for p in places if s.is_negated(Hit(p.start, p.end, ())) and not noun.start <= p.start < noun.end]
        if is_excepted(s, noun) and not [p for p in places if p not in denied]:
            denied = []
        places = [p for p in places if p not in denied]  # "RCC, no metastasis in the liver"
        here = [p for p in places if start <= p.start < end]
        here = [p for p in here if p.organ in HOSTS or not any(a <= p.start < b for a, b in apart)]
        here = _of_last_clause(here, noun, apart)
        within = [p for p in here if noun.start <= p.start < noun.end]
        if not any(p.explicit for p in here) and _RENAL & set(s.tokens[noun.start : noun.end]):
            return "kidney"  # "a parapelvic cyst"
        named = next((h.name("organ") for h in s.hits if h.end == noun.hit.start and noun.start <= h.start), None)
        if named not in (None, "soft tissue", *HOSTS) and s.tokens[max(0, noun.start - 1)] not in ("from", "of"):
            return named  # "colon tumor"; but "metastases from a colon primary"
        for group in (within, here):
            explicit = [p.organ for p in group if p.explicit]
            if explicit:
                return explicit[0]
        lobed = self.organ in ("thyroid", "lung")  # "Thyroid: nodule of the left lobe"
        if context.label and (lobed or not (here and self.organ not in HOSTS and here[0].organ in HOSTS)):
            return self.organ
        if here:
            return here[0].organ
        earlier = [p.organ for p in places if p.start < noun.start]
        if earlier:
            return earlier[-1]
        if places and "and" in s.tokens[noun.end : places[0].start]:
            return places[0].organ
        own = lexicon.ORGAN_OF_PATHOLOGY.get(noun.pathology or "")
        if own == "kidney" and not (places or context.label) and {"left", "right"} & set(s.tokens):
            return own  # "the AML on the right"
        if set(s.tokens[noun.start : noun.hit.start]) & _DEFINITE:
            told = self.current or [x for x in self.recent if not x.dropped]
            if told and not any(x.organ == self.organ for x in told):
                return told[-1].organ
            if self.current:
                return self.current[-1].organ
        if own and context.conclusion and (self.organ not in HOSTS or own in {x.organ for x in self.recent}):
            return own  # "Kidneys normal. Impression: 11 cm HCC."
        last = self.site if s.sizes else None  # "after RFA in segment 8: adjacent to the defect a focus of 12 mm"
        return self.organ or own or self.hint or _compared_with(s) or last

    def _share(
        self, s: Sentence, nouns: Sequence[Noun], lesion_nouns: Sequence[Noun], facts: Sequence[Facts], loose: Facts
    ) -> None:
        """Give each statement, size and diagnosis of the sentence to its lesion, or leave it loose."""
        by_noun = {id(n): f for n, f in zip(lesion_nouns, facts, strict=True)}
        for st in s.statements:
            if st.field == "pathology":
                continue
            if st.value == lexicon.NODULE_IN_WALL and not lesion_nouns:
                loose.statements.append(st)  # "its wall bears a nodule"
                continue
            for f in _owners(s, st.start, st.end, nouns, by_noun, loose, is_size=False):
                f.statements.append(st)
        for size in s.sizes:
            if not size.prior and not size.distance:
                for f in _owners(s, size.token, size.token + 1, nouns, by_noun, loose, is_size=True):
                    f.sizes.append(size.mm)
        for noun in nouns:
            if noun.role == "diagnosis" and noun.pathology:
                elsewhere = _own_place(s, noun)
                if elsewhere is not None and elsewhere not in HOSTS:
                    continue  # "RCC, suspected pulmonary metastases"
                if elsewhere and "with" in s.tokens[max(0, noun.start - 2) : noun.start + 1] and loose.diagnoses:
                    loose.elsewhere.append((noun.pathology, elsewhere))
                    continue
                target = _diagnosed(s, noun, lesion_nouns, by_noun)
                joined = "and" in s.tokens[noun.start - 1 : noun.start + 1]
                if joined and target and target.called not in (None, noun.pathology):
                    target = None  # "stable cyst and hemangioma"
                if target and target.organ is None and target.sizes:  # "a collection in the lesser sac: pseudocyst"
                    target.organ = lexicon.ORGAN_OF_PATHOLOGY.get(noun.pathology)
                if target and not target.plural and _are_parts(s, noun):
                    target.statements.append(Statement("composition", "cystic", noun.start, noun.end, False))
                elif not target and _is_made_of(s, noun):
                    loose.statements.append(Statement("composition", "cystic", noun.start, noun.end, False))
                elif _is_of_all(s, noun, lesion_nouns):  # "nodules in body and tail, consistent with metastases"
                    for f in facts:
                        f.diagnoses.append(noun.pathology)
                elif (target or loose).diagnoses and _is_preferred(s, noun):
                    (target or loose).diagnoses.insert(0, noun.pathology)
                else:
                    (target or loose).diagnoses.append(noun.pathology)
            elif noun.role == "nothing" and noun.pathology and cue_before(s, noun, ()):
                loose.denied.add(("pathology", noun.pathology))

    def _take(self, s: Sentence, told: Sequence[tuple[Facts, Noun]], context: Context) -> None:
        """Find or open the lesions that the sentence speaks of."""
        current: list[Lesion] = []
        for f, noun in told:
            found = self._same(s, f, noun, context)
            if not found and context.conclusion and _is_vague(s, f):
                continue
            if not found:
                found = [self._opened(f, s.text, one_of=noun.hit.name("lesion") == "pronoun")]
                found[0].concluded = context.conclusion
                if f.plural:
                    largest = next((i for i, t in enumerate(s.tokens) if t in LARGER), len(s.tokens))
                    found[0].shared = [st for st in f.statements if not st.negated and st.start < largest]
                before = (current or self.current)[-1:]
                of_kind = _is_another(s, noun) and before
                kind = list(before[0].kind) if of_kind else [st for st in f.statements if _is_within(st, noun)]
                found[0].kind = [st for st in kind if not st.negated]
                if of_kind:
                    f.statements = [*f.statements, *(st for st in kind if not f.says(st.field))]
                if _is_similar(s, noun) and self.current and not self.current[-1].dropped:
                    kept = [st for st in self.current[-1].statements if not st.negated]
                    f.statements = [*f.statements, *(st for st in kept if not f.says(st.field))]
                    if not f.called and f.organ == self.current[-1].organ:
                        f.diagnoses = f.diagnoses or list(self.current[-1].diagnoses)
            for lesion in found:
                if lesion.uncertain or not f.uncertain:  # "a solid tumor cannot be ruled out" does not make it solid
                    lesion.add(f, s.text)
            current += [lesion for lesion in found if lesion not in current]
        self.current = current

    def _opened(self, f: Facts, text: str, listed: bool = False, one_of: bool = False) -> Lesion:
        """A new lesion, with what was said of the plural that counted it. ``listed``: it stands in a list of them.

        ``one_of``: it is only called *the smallest* or *another one*.
        """
        lesion = Lesion(
            f.organ,
            f.location,
            plural=f.plural,
            count=f.count,
            uncertain=f.uncertain,
            name=f.name,
            noun=f.noun,
            epithets=f.epithets,
        )
        template = next((t for t in reversed(self.recent) if _has_member(t, f, listed)), None)
        whole = next((t for t in reversed(self.recent) if one_of and _has_next(t, f)), None)
        if whole:
            whole.members += 1
            lesion.statements += whole.shared
            lesion.called = whole.called
        elif template:
            template.members += 1
            template.dropped = True
            lesion.statements += template.statements
            lesion.diagnoses += template.diagnoses
            lesion.called = template.called
            lesion.evidence += template.evidence
        elif listed and self.current and self.current[-1].plural and self.current[-1].organ == f.organ:
            lesion.diagnoses += self.current[-1].diagnoses  # "the metastases: segment 4, 18 mm; segment 6, 12 mm"
            lesion.called = self.current[-1].called
        self.lesions.append(lesion)
        return lesion

    def _same(self, s: Sentence, f: Facts, noun: Noun, context: Context) -> list[Lesion]:
        """The lesions told of before that a noun speaks of again; none: it is a new one."""
        if noun.hit.name("lesion") == "pronoun":
            return self._ranked(s.tokens[noun.hit.start])
        phrase = s.tokens[max(0, noun.start - 1) : noun.hit.start]
        pointed = set(phrase) & words("this that these those")
        counted = set(phrase) & _COUNTED and not pointed
        definite = bool(f.name or set(phrase) & _DEFINITE or (f.plural and "all" in phrase)) and not counted
        new = bool(set(phrase) & _NEW) and not definite
        unsized = len(self.current) == 1 and not (self.current[0].sizes or self.current[0].plural or f.plural)
        sizes_it = unsized and s.tokens[noun.end : noun.end + 1] in (["size"], ["diameter"])  # "Lesion size is 33 mm."
        bare = not new and (not f.sizes or sizes_it)
        if self._is_apposed(s, f, noun):
            return self.current
        numbered = self._numbered(f) or self._placed_each(s, f, noun)
        if numbered:
            return numbered
        if len(self.current) == 1 and self._is_only_named(f, self.current[0]):  # "Ductal carcinoma. Tumor of 5 cm"
            return self.current
        if not context.conclusion and not counted:
            concluded = [x for x in self.recent if x.concluded]
            named = [x for x in concluded if self._is_only_named(f, x) or (x.sizes == f.sizes != [] and _fits(f, x))]
            if len(named) == 1 and named[0].location.equals(f.location):
                return named  # "Impression: Left renal AML. Findings: The left kidney has a nodule ..."
        if counted and "the" in phrase and not f.plural:
            known = self._known_as(set(phrase), f)
            if known:
                return known
        ranked = self._by_size(set(phrase), f) if definite and not f.plural else []
        if ranked:
            return ranked
        if not (context.conclusion or definite or bare):
            return []
        fitting = [lesion for lesion in self.recent if not lesion.dropped and _fits(f, lesion)]
        if not fitting and definite and not (f.placed or context.label):
            # "Segment 8 is free. The lesion ...", after one in segment 7
            fitting = [x for x in self.current if not x.dropped and _fits(replace(f, location=Location()), x)]
            f.location = Location() if fitting else f.location
        if not fitting and definite and not (f.epithets or f.placed) and _measures(s, noun):
            # "the mass measures 45 mm craniocaudally", after 41 mm
            fitting = [x for x in self.current if not (x.dropped or x.plural) and _fits(replace(f, sizes=[]), x)]
        if not fitting:
            return []
        organs = {p.organ for p in places_of(s) if p.explicit and p.organ in HOSTS and not p.reference}
        if f.plural and context.conclusion and f.called and len(organs) > 1:  # "Hepatic and renal metastases"
            live = [x for x in self.recent if not x.dropped and x.organ in organs and _can_be(x, f.called)]
            return [x for x in live if not x.diagnoses] or fitting
        if f.plural:
            wanted = [lesion for lesion in fitting if not f.location or f.location.equals(lesion.location)] or fitting
            if f.called in _SOLID:
                wanted = [lesion for lesion in wanted if "cystic" not in lesion.says("composition")] or wanted
            if "bilateral" in phrase and {"left", "right"} <= {x.location.side for x in wanted}:
                return [x for x in wanted if x.location.side]
            if "both" in phrase or f.count:
                wanted = wanted[-(f.count or 2) :]
            elif not context.conclusion and not definite:
                open_ones = [
                    x for x in wanted if _is_label(s) and f.called and not x.diagnoses and _can_be(x, f.called)
                ]
                wanted = open_ones or [lesion for lesion in wanted if lesion.plural]
            return wanted
        plain = not (f.sizes or f.location or f.pathology or f.epithets)  # "the lesion" is the one just spoken of
        spoken = self.current if plain and len(self.current) == 1 else []
        best = max(fitting, key=lambda x: (_likeness(f, x) + 2 * (x in spoken), self.recent.index(x)))
        if definite or context.conclusion:
            return [best]
        inherited = not context.label and f.location == self.location
        told = best in self.current and (not f.location or inherited)
        label = len(s.tokens) <= 4 and not f.plural  # "Benign hepatic cyst."
        label = label and (not best.diagnoses or f.called in best.diagnoses)
        return [best] if f.location.equals(best.location) or (told and (label or not f.called)) else []

    def _is_apposed(self, s: Sentence, f: Facts, noun: Noun) -> bool:
        """Whether *a lesion* is the one just told of: *Thus a poorly enhancing tumor*, *it presents as a nodule*."""
        told = [x for x in self.current if not x.dropped]
        alone = len(told) == 1 and bool(told[0].sizes) and not (told[0].plural or f.plural or f.sizes or noun.pathology)
        if not alone or any(not p.reference for p in places_of(s)):
            return False
        at = noun.start - 1 if s.tokens[noun.start - 1 : noun.start] in (["a"], ["an"]) else noun.start
        if s.tokens[at : at + 1] not in (["a"], ["an"]):
            return False
        concluded = s.tokens[0] in _CONCLUDING and at == 1
        shown = s.tokens[0] in ("it", "this") and s.tokens[at - 1] in ("as", "is")
        rest = s.tokens[noun.end :]
        ends = not rest or rest[0] in ("that", "which") or (rest[0] in ("without", "with") and "is" not in rest)
        fragment = at == 0 and ends and bool(f.statements)  # and not "a lesion without enhancement is seen"
        return concluded or shown or fragment

    def _apply(self, s: Sentence, loose: Facts, nouns: Sequence[Noun], context: Context) -> None:
        """Give what is said without a noun to the lesions spoken of."""
        targets = self._spoken_of(s)
        if len(targets) > 1:
            self.current = targets
        artifact = any(n.role == "artifact" for n in nouns) and not _is_dismissed(s)
        artifact = artifact and s.tokens[:2] not in (["a", "further"], ["a", "second"])  # "... blush is an artifact"
        artifact = artifact and not (nouns[0].role == "other" and nouns[0].start == 0)  # "the aorta ... artifacts"
        artifact = artifact and not (
            "possible" in s.tokens and "or" in s.tokens and any(x.sizes and x.says("enhancement") for x in targets)
        )
        if artifact and not any(n.role == "diagnosis" for n in nouns):
            named = {p.organ for p in places_of(s) if p.explicit and not p.reference}
            place = location_in(s, 0, len(s.tokens), organ_of([p for p in places_of(s) if not p.reference]))
            for lesion in targets:
                if (named and lesion.organ not in named) or lesion.location.contradicts(place):
                    continue  # "the liver has focal fatty sparing only", after a pancreatic lesion
                if not (context.label and lesion.location.contradicts(self.location)):
                    lesion.dropped, lesion.plural = True, False
            return
        if "respectively" in s.tokens and len(loose.sizes) > 1:  # "The sizes are 22 and 13 mm, respectively"
            unsized = [x for x in self.recent if not (x.dropped or x.sizes)][-len(loose.sizes) :]
            if len(unsized) == len(loose.sizes):
                for lesion, mm in zip(unsized, loose.sizes, strict=True):
                    lesion.add(Facts(sizes=[mm], uncertain=True), s.text)
                loose.sizes = []
        if loose.statements or loose.sizes or loose.denied:
            targets = self._members(targets, loose, s.text)
            if self._implied(s, loose, nouns, targets, context):
                begins = [p.organ for p in places_of(s) if p.explicit and not p.reference and p.start == 0]
                if begins and begins[0] in HOSTS and not context.label:  # "Liver segment 7, 21 mm", after the pancreas
                    self.organ = begins[0]
                place = self.location if context.label else location_in(s, 0, len(s.tokens), self.organ)
                parts = _split(s, Facts(self.organ, sizes=loose.sizes, plural=True), 0)
                if len(parts) == 1 or not all(part.location.parts for part in parts):
                    parts = [Facts(self.organ, place)]
                counted = [x for x in targets if x.plural and not x.sizes and len(parts) > 1]
                targets = [self._opened(part, s.text, listed=bool(targets)) for part in parts]
                for lesion in counted:
                    lesion.dropped = True
                for lesion, part in zip(targets, parts, strict=True):
                    lesion.plural = False
                    lesion.sizes += part.sizes
                self.current = targets
            places = [p for p in places_of(s) if not p.reference]
            hosts = {p.organ for p in places if p.explicit and p.organ in HOSTS}
            if hosts and not loose.sizes and s.tokens[0] not in _POINTING:  # "coarse calcifications in the pancreas"
                targets = [x for x in targets if x.organ is None or x.organ in hosts]
            for st in loose.statements if not loose.sizes else ():
                elsewhere = self._placed_elsewhere(s, st, targets)
                if elsewhere:
                    elsewhere.add(Facts(statements=[st], uncertain=True), s.text)
                    loose.statements = [x for x in loose.statements if x is not st]
            for lesion in targets:
                lesion.organ = lesion.organ or organ_of(places)
                location = location_in(s, 0, len(s.tokens), lesion.organ)
                facts = Facts(None, location, loose.statements, loose.sizes, denied=loose.denied, uncertain=True)
                lesion.add(facts, s.text)
        for pathology, organ in loose.elsewhere:
            for lesion in [x for x in self.recent if not x.dropped and x.organ == organ and x.pathology is None]:
                lesion.add(Facts(diagnoses=[pathology], uncertain=True), s.text)
        self._name_primary(s)
        told = self.subject or self.recent[-len(loose.diagnoses) :]
        each = "respectively" in s.tokens or (len(self.subject) > 1 and "or" not in s.tokens)
        if each and len(told) == len(loose.diagnoses):
            for lesion, pathology in zip(told, loose.diagnoses, strict=True):
                lesion.add(Facts(called=pathology, diagnoses=[pathology], uncertain=True), s.text)
            return
        if "respectively" in s.tokens and len(loose.diagnoses) > 1:
            return
        doubted = any(c.has("doubt") and _EXCLUDED & set(s.tokens[c.start : c.end]) for c in s.cues)
        for pathology in loose.diagnoses[:1]:
            rest = loose.diagnoses
            for lesion in self._diagnosed(s, pathology, nouns, targets, context):
                if lesion.called and any(_is_not_excluded(s, n) for n in nouns if n.role == "diagnosis"):
                    continue  # "numerous cysts; cystadenomas not excluded"
                if lesion.doubted and not doubted and _FAVORED & set(s.tokens):
                    lesion.diagnoses = [d for d in rest if d not in lesion.diagnoses] + lesion.diagnoses
                lesion.doubted = doubted and not lesion.diagnoses
                lesion.add(Facts(diagnoses=rest, uncertain=True), s.text)

    def _placed_elsewhere(self, s: Sentence, st: Statement, targets: Sequence[Lesion]) -> Lesion | None:
        """The lesion where a sentence places a property: *calcification is present in segment 4 and absent in 7*."""
        ends = (i for i in range(st.end, len(s.tokens)) if s.tokens[i] in ("and", "but", ";", "while", "whereas"))
        end = next(ends, len(s.tokens))
        if not {"in", "on", "around", "within"} & set(s.tokens[st.end : end]):
            return None
        organ = targets[-1].organ if targets else self.organ
        place = location_in(s, st.end, end, organ)
        found = [x for x in self.recent if place and x.organ == organ and not x.dropped and x.location.equals(place)]
        return found[0] if len(found) == 1 and any(x.location.contradicts(place) for x in targets) else None

    def _name_primary(self, s: Sentence) -> None:
        """*Metastatic RCC*, *given the RCC*: the one kidney lesion without a diagnosis is the RCC."""
        for hit in s.hits:
            organ = lexicon.ORGAN_OF_PATHOLOGY.get(pathology_of(hit) or "")
            metastatic = "metastatic" in s.tokens[max(0, hit.start - 2) : hit.start]
            given = s.tokens[max(0, hit.start - 2) : hit.start] == ["given", "the"]
            if organ and (metastatic or given) and not history_tokens(s):
                told = [x for x in self.recent if not x.dropped and x.organ == organ]
                if len(told) == 1 and told[0].pathology is None:
                    told[0].add(Facts(diagnoses=[pathology_of(hit) or ""], uncertain=True), s.text)

    def _members(self, targets: list[Lesion], loose: Facts, text: str) -> list[Lesion]:
        """*There are two lesions. They measure 8 and 19 mm*: each of those counted gets its size."""
        whole = targets[0] if len(targets) == 1 else None
        if whole is None or not whole.plural or whole.sizes or whole.members:
            return targets
        if len(loose.sizes) < 2 or whole.count != len(loose.sizes):
            return targets
        members = []
        for mm in loose.sizes:
            part = Facts(whole.organ, whole.location, sizes=[mm])
            members.append(self._opened(part, text, listed=True))
            members[-1].sizes.append(mm)
            whole.dropped = False  # until all have what was said of it
        whole.dropped = True
        loose.sizes = []
        self.current = members
        return members

    def _implied(
        self, s: Sentence, loose: Facts, nouns: Sequence[Noun], targets: Sequence[Lesion], context: Context
    ) -> bool:
        """Whether adjectives and a size without a noun tell of a new lesion: *Liver: hypodense, ill-defined, 2 cm*."""
        self.organ = self.organ or organ_of([p for p in places_of(s) if not p.reference])
        things = [n for n in nouns if n.role != "other" or not (s.is_negated(n.hit) or _is_compared(s, n))]
        if loose.sizes and (context.mark or (context.label and self.location.parts)):
            # "Uncinate: 3.6 cm, solid, SMV encased", "#1 in the tail, 21 mm, no mural nodule"
            said = min([z.token for z in s.sizes], default=0)
            things = [n for n in things if n.role != "other" or n.start < said]
        if (
            any(not (_LESION_PARTS | {"fat"}) & set(s.tokens[n.hit.start : n.end]) for n in things)
            or self.organ not in HOSTS
        ):
            return False
        if _OF_WHOLE_ORGANS & set(s.tokens):
            return False  # "Liver: enlarged (19 cm), diffusely hypodense."
        if targets:  # *Segment 2: 3.2 cm. Segment 8: 4 cm.*
            place = self.location if context.label else Location()
            place = place if place.parts else location_in(s, 0, min(6, len(s.tokens)), self.organ)
            elsewhere = all((x.plural and not x.sizes) or x.location.contradicts(place) for x in targets)
            sided = place.side and (
                s.tokens[0] in ("left", "right") or s.tokens[:3] in (["on", "the", "left"], ["on", "the", "right"])
            )
            return bool((place.parts or sided) and loose.sizes and elsewhere)
        if loose.sizes and self._is_only_place(s):
            return True
        affirmed = {st.field for st in loose.statements if not st.negated}
        return len(affirmed) + bool(loose.sizes) + bool(context.label and self.location.parts) >= 2

    def _is_only_place(self, s: Sentence) -> bool:
        """Whether a sentence is but a part of an organ and a size: *Segment 5, 18 mm.*"""
        place = location_in(s, 0, len(s.tokens), self.organ)
        if len(s.tokens) == 1:  # "Segment 6. 44 mm."
            place = self.location
        small = any(part.startswith("segment") or part.endswith("pole") for part in place.parts)
        return small and len(s.tokens) <= 7 and not _LINKS & set(s.tokens)

    def _liken(self, s: Sentence) -> None:
        """*It behaves identically*: what is said of the lesion before holds for this one too.

        *As lesion 1, except that washout is lacking*: what is said of that one, but for what is denied.
        """
        found, numbered = _ALIKE.search(" ".join(s.tokens)), _AS_NUMBERED.search(" ".join(s.tokens))
        denying = any(c.has("negation") for c in s.cues) and "except" not in s.tokens
        found = numbered or found
        if len(self.current) != 1 or not found or denying:
            return
        lesion = self.current[0]
        live = [x for x in self.recent if not x.dropped and x.organ == lesion.organ]
        at = live.index(lesion) if lesion in live else 0
        if at and s.text in lesion.evidence:
            named = [x for x in live[:at] if numbered and numbered.group(1) in (x.mark, x.name)]
            model = live[at - 1] if not numbered else named[0] if named else lesion
            denied = {(st.field, st.value) for st in lesion.statements if st.negated}
            kept = [st for st in model.statements if not st.negated and not lesion.says(st.field)]
            kept = [st for st in kept if (st.field, st.value) not in denied]
            for word, fields in _ALIKE_IN.items():
                if word in found.group():
                    kept = [st for st in kept if st.field in fields]
            lesion.add(Facts(statements=kept, uncertain=True), s.text)

    def _is_only_named(self, f: Facts, named: Lesion) -> bool:
        """Whether the report has named a diagnosis, and nothing but it, which the lesion now told of can have."""
        if (f.plural and "multifocal" not in named.epithets) or f.called not in (None, named.called):
            return False
        known = (
            named.statements
            or named.sizes
            or (named.plural and not f.plural)
            or named.dropped
            or named.called in (None, "cyst")
        )
        return not known and named.organ == f.organ and not named.location.contradicts(f.location)

    def _numbered(self, f: Facts) -> list[Lesion]:
        """*Lesion 2* of a report that names none of them so is the second that it tells of."""
        live = [x for x in self.recent if not x.dropped]
        names = {x.name: x for x in live if x.name} or {str(i + 1): x for i, x in enumerate(live)}
        found = [names[name] for name in f.name.split() if name in names]
        fits = all(_fits(replace(f, name="", organ=None), x) for x in found)
        return found if fits and len(found) == len(f.name.split()) else []

    def _placed_each(self, s: Sentence, f: Facts, noun: Noun) -> list[Lesion]:
        """The lesions of several places: *the right upper pole and left lower pole masses*."""
        if not f.plural or not f.organ or s.sizes:
            return []
        first = next((h.end for h in reversed(s.hits) if h.end <= noun.start and h.has("lesion")), 0)
        begins = [first, *(i + 1 for i in range(first, noun.hit.start) if s.tokens[i] in ("and", ","))]
        places = [location_in(s, i, j, f.organ) for i, j in pairwise([*begins, noun.hit.start])]
        live = [x for x in self.recent if not (x.dropped or x.plural) and x.organ == f.organ]
        found = [[x for x in live if place and x.location.equals(place)] for place in places]
        return [x for row in found for x in row] if len(found) > 1 and all(len(row) == 1 for row in found) else []

    def _known_as(self, phrase: set[str], f: Facts) -> list[Lesion]:
        """*The new lesion*, *the second nodule*: the one that was introduced as such, or else the second in the row."""
        live = [x for x in self.recent if not x.dropped and f.organ in (None, x.organ)]
        found = [x for x in live if phrase & _COUNTED & x.epithets]
        ordinal = next((i for i, word in enumerate(("first", "second", "third")) if word in phrase), None)
        complete = not any(x.plural for x in live)
        if not found and ordinal is not None and complete:
            found = live[ordinal : ordinal + 1]
        return found[-1:] if found and _fits(f, found[-1]) else []

    def _by_size(self, phrase: set[str], f: Facts) -> list[Lesion]:
        """*Rim enhancement of the larger lesion*: the largest told of in the organ; not where a plural counts more."""
        row = [x for x in self.recent if not x.dropped and f.organ in (None, x.organ)]
        if any(x.plural for x in row):
            return []
        sign = 1 if phrase & LARGER else -1 if phrase & SMALLER else 0
        found = _of_size(row, sign) if sign else []
        return [x for x in found if _fits(f if f.placed else replace(f, location=Location()), x)]

    def _ranked(self, word: str) -> list[Lesion]:
        """The lesion that *the former* or *the latter* is."""
        live = [lesion for lesion in self.recent if not lesion.dropped]
        return {"latter": live[-1:], "former": live[-2:-1]}.get(word, [])

    def _referred(self, reference: Reference, s: Sentence) -> list[Lesion]:
        """The lesions told of before that the subject of a clause stands for; none: it tells of a new one."""
        live = [x for x in self.recent if not x.dropped]
        told = sum(x.organ == live[-1].organ for x in live) if live else 0
        untold = (x for x in self.recent if x.plural and x.members < x.count and x.organ == live[-1].organ)
        if not live or any(told < x.count or not x.sizes for x in untold):
            return []  # it is one of those that were counted, and not yet told of
        row = len(live) - next((i for i, x in enumerate(reversed(live)) if x.organ != live[-1].organ), len(live))
        if reference.word == "that":  # "that in segment 3"
            beginning = location_in(s, 0, min(7, len(s.tokens)), live[-1].organ)
            found = [x for x in live[row:] if x.location.equals(beginning)]
            found = found if len(found) == 1 and not found[0].plural else []
        else:
            found = self._pointed_at(reference, live, live[row:])
        place = location_in(s, 0, len(s.tokens), found[0].organ) if found else Location()
        sizes = [z.mm for z in s.sizes if not z.prior and not z.distance]
        if not all(_fits(Facts(location=place, sizes=sizes), x) for x in found):
            return []
        return found

    def _all_but(self, excepted: str) -> list[Lesion]:
        """The lesions of an organ but those that some words name: *all but the segment 2 lesion*."""
        s = Sentence(excepted)
        live = [x for x in self.recent if not x.dropped]
        naming = naming_of(s, frozenset(x.mark for x in live))
        exact = naming.marks or is_placed(s, naming.start, naming.end, naming.organ)
        named = [x for x in live if exact and _is_named(s, naming, "", x)]
        return [x for x in live if x.organ == named[0].organ and x not in named] if named else []

    def _remaining(self, s: Sentence, reference: Reference) -> list[Lesion]:
        """New lesions for *the other two, in segments 2 and 8*, where no lesion of that place has been told of."""
        organ = self.lesions[-1].organ if self.lesions else None
        place = location_in(s, 0, len(s.tokens), organ)
        told = any(x.location.equals(place) for x in self.recent if x.organ == organ and not x.dropped)
        if not place or told or not reference.number:
            return []
        sizes = [z.mm for z in s.sizes if not (z.prior or z.distance)]
        parts = _split(s, Facts(organ, place, sizes=sizes, plural=True, count=reference.number), 0)
        opened = [self._opened(part, s.text, listed=True) for part in parts]
        for lesion, part in zip(opened, parts, strict=True):
            lesion.sizes += part.sizes
        return opened

    def _marked(self, s: Sentence, context: Context) -> list[Lesion]:
        """The lesion whose mark a sentence begins with: *(A) does not enhance*."""
        if not context.mark:
            return []
        known = [x for x in self.recent if x.mark == context.mark and not x.dropped]
        begins = context.conclusion or (s.tokens[:1] and s.tokens[0] in _LINKS | {"does"})
        return known if len(known) == 1 and not s.sizes and begins else []

    def _pointed_at(self, reference: Reference, live: Sequence[Lesion], row: Sequence[Lesion]) -> list[Lesion]:
        """``row``: the lesions of the organ spoken of last, in their order."""
        if reference.word in ("former", "latter"):
            pair = self.current if len(self.current) == 2 else live[-2:]
            if reference.number:
                return list(live[-reference.number :]) if reference.word == "latter" else []
            return [] if len(pair) < 2 else [pair[0] if reference.word == "former" else pair[1]]
        if len(row) < 2:
            row = live
        if reference.ordinal is not None:
            last = max(1, reference.number) + reference.ordinal
            return list(row[reference.ordinal : last]) if 2 <= len(row) >= last else []
        if reference.word == "last":
            return list(row[-max(1, reference.number) :])
        if reference.by_size:
            return _of_size(row, reference.by_size, max(1, reference.number))
        if reference.place:
            placed = [x for x in live if reference.place in f"{x.location}".split()]
            return placed if len(placed) == 1 or (reference.plural and placed) else []
        rest = [x for x in row if x not in self.current]
        wanted = reference.number or (len(rest) if reference.plural else 1)
        return rest if rest and len(rest) == wanted and len(rest) < len(row) else []

    def _spoken_of(self, s: Sentence) -> list[Lesion]:
        live = [lesion for lesion in self.recent if not lesion.dropped]
        if self.subject:
            return self.subject
        first = s.tokens[:2]
        if "both" in first and (self.organ in HOSTS or self.organ is None):
            return live[-2:]
        if first[:1] == ["neither"] and "nor" not in s.tokens and len(self.current) == 1 and not self.current[0].plural:
            return live[-2:] if len({x.organ for x in live[-2:]}) == 1 else self.current
        of_both = (["in", "either"], ["of", "either"], ["both", "sides"], ["either", "side"])
        if s.tokens[-2:] in of_both and len({x.organ for x in live[-2:]}) == 1:
            return live[-2:]
        ranked = next((t for t in s.tokens[:3] if t in ("latter", "former")), "")
        if ranked:
            return self._ranked(ranked)
        every = _is_of_each(s)
        if every or ({"all", "they", "these", "those", "lesions"} & set(first) and self.current):
            count = next((COUNTS[t] for t in s.tokens[1:5] if t in COUNTS), 0)
            named = organ_of([p for p in places_of(s) if p.start < 6 and not p.reference]) if every else None
            organ = named or (self.current[-1].organ if self.current else self.organ)
            return [lesion for lesion in live if lesion.organ == organ][-count:]
        return [lesion for lesion in self.current if not lesion.dropped]

    def _diagnosed(
        self, s: Sentence, pathology: str, nouns: Sequence[Noun], targets: Sequence[Lesion], context: Context
    ) -> list[Lesion]:
        """The lesions that a diagnosis without a lesion noun is of."""
        if context.label and self.organ not in HOSTS and not context.conclusion:
            own = lexicon.ORGAN_OF_PATHOLOGY.get(pathology)  # "Adrenal: not involved. Clear cell RCC."
            if not (_is_label(s) and own and any(x.organ == own and not x.pathology for x in self.recent)):
                return []
        noun = next(n for n in nouns if n.role == "diagnosis" and n.pathology == pathology)
        named = [p for p in places_of(s) if not p.reference and p.explicit and p.start < noun.end + 3]
        named = [p for p in named if "with" not in s.tokens[noun.end : p.start]]  # "carcinoma with liver metastases"
        explicit = [p.organ for p in named if p.organ in HOSTS or p.end >= noun.start]
        organ = explicit[0] if explicit else lexicon.ORGAN_OF_PATHOLOGY.get(pathology)
        sites = [p.organ for p in places_of(s) if not p.reference and noun.start <= p.start < noun.end + 3]
        if organ is None and sites and any(x.organ == sites[0] for x in self.recent):  # "metastasis in segment 8"
            organ = sites[0]
        live = [lesion for lesion in self.recent if not lesion.dropped]
        fitting = [lesion for lesion in live if organ in (None, lesion.organ)]
        if not fitting and len(live) == 1 and live[0].organ is None:  # "a collection in the lesser sac: pseudocyst"
            live[0].organ = lexicon.ORGAN_OF_PATHOLOGY.get(pathology)
            fitting = live
        place = location_in(s, 0, len(s.tokens), organ or self.organ)
        solid = _SOLID if place else _SOLID | {"RCC"}  # a cystic RCC is not the simple cyst beside it
        likely = [x for x in fitting if not (x.called == "cyst" and pathology in solid)]
        fitting = likely or fitting
        spoken = [x for x in targets if x.organ not in HOSTS]
        if spoken and len(spoken) == len(targets) and organ is None and pathology in ("metastasis", "adenoma"):
            return spoken  # "left adrenal nodule; suspicious for metastasis of the renal cell carcinoma"
        fitting = [x for x in fitting if x.organ in HOSTS] or fitting
        targets = [x for x in targets if x in fitting] or targets
        placed = [x for x in fitting if place and x.location.equals(place) and not x.diagnoses]
        if placed:
            return placed if is_plural(s, noun.hit) else placed[-1:]
        if any(lesion.pathology == pathology for lesion in fitting) and context.conclusion:
            return []
        if is_plural(s, noun.hit) and len(set(explicit)) > 1:  # "renal and hepatic angiomyolipomas"
            return [x for x in live if x.organ in explicit and not x.diagnoses and x.called is None]
        if len(targets) > 1:
            open_ones = [lesion for lesion in targets if lesion in fitting]
            return [lesion for lesion in open_ones if lesion.called in (None, pathology)] or open_ones
        untold = [lesion for lesion in fitting if not lesion.diagnoses]
        if len(targets) == 1 and "satellite" in targets[0].epithets and len(untold) > 1:
            return [*[x for x in untold if x is not targets[0]][-1:], targets[0]]  # "A satellite lies beside it. HCC."
        if context.conclusion and not targets:
            untold.sort(key=lambda lesion: max(lesion.sizes, default=0.0))
        several = is_plural(s, noun.hit) and (context.conclusion or _is_label(s))
        if several or {"multifocal", "multiple", "both", "all", "bilateral"} & set(s.tokens):
            return untold
        for lesion in reversed(targets):
            if lesion in fitting:
                return [lesion]
        return untold[-1:] or fitting[-1:]

    def _move_on(self, s: Sentence, nouns: Sequence[Noun]) -> None:
        """Remember the organ that the sentence spoke of."""
        self.site = next((p.organ for p in places_of(s) if p.organ in HOSTS and not p.reference), self.site)
        alone = not nouns and not s.statements and not any(c.has("negation") for c in s.cues)
        for lesion in self.current if alone else ():
            if lesion.organ is None:  # "It lies in the pancreatic tail."
                lesion.organ = organ_of([p for p in places_of(s) if not p.reference])
                lesion.location = location_in(s, 0, len(s.tokens), lesion.organ)
        if s.tokens[0] in ("it", "they") and self.current:
            return
        if nouns and all(n.role == "nothing" for n in nouns):
            subject = next((h for h in s.hits if h.has("organ")), None)
            if subject and subject.start <= 1 + (s.tokens[0] == "the"):
                self.organ = subject.name("organ")
            return
        told = [lesion.organ for lesion in self.current if s.text in lesion.evidence]
        places = [p for p in places_of(s) if not p.reference]
        explicit = [p.organ for p in places if p.explicit] or [p.organ for p in places]
        if told:
            organ = told[-1]
        elif explicit:
            organ = explicit[-1]
            if organ != self.organ:
                self.current = [lesion for lesion in self.current if lesion.organ in (None, organ)]
        else:
            return
        if organ != self.organ:
            self.location = Location()
        self.organ = organ
        if not nouns and organ:
            self.location = location_in(s, 0, len(s.tokens), organ) or self.location


def _pronounce(s: Sentence, verdict: Verdict, lesions: Sequence[Lesion], text: str) -> None:
    """Give a verdict to its lesions, and what else it says to a single one: *a calcified PNET of the tail*."""
    exact = _is_exact(s, verdict)
    within = [st for st in s.statements if verdict.start <= st.start < verdict.end]
    said = [st for st in within if st.field != "pathology"]
    if any((st.field, st.value, st.negated) == ("pathology", "cyst", False) for st in within):
        said.append(Statement("composition", "cystic", verdict.start, verdict.end, False))  # "a cyst, probably an IPMN"
    for lesion in lesions:
        if exact and lesion.of_all in lesion.diagnoses:
            lesion.diagnoses.remove(lesion.of_all)
        lesion.of_all = "" if exact or lesion.diagnoses else verdict.pathology
        statements = said if len(lesions) == 1 else []
        lesion.add(Facts(statements=statements, diagnoses=[verdict.pathology], uncertain=True), text)


def _is_vague(s: Sentence, f: Facts) -> bool:
    """Whether a conclusion speaks of something that it does not describe: *treated tumor nonviable*."""
    told = f.placed or f.sizes or f.pathology or f.statements or f.plural or f.uncertain
    return not (told or any(p.explicit for p in places_of(s)))


def _is_exact(s: Sentence, verdict: Verdict) -> bool:
    """Whether a verdict says more of its lesions than their organ."""
    return any(is_placed(s, n.start, n.end, n.organ) or n.marks or n.rank for n in verdict.named)


def _is_in_each(s: Sentence, naming: Naming, lesions: Sequence[Lesion]) -> bool:
    """Whether a naming lists as many places as there are lesions, each with one that has no diagnosis yet."""
    parts = location_in(s, naming.start, naming.end, lesions[0].organ).parts
    apart = {x.location.parts for x in lesions}
    return len(parts) == len(lesions) == len(apart) and not any(x.diagnoses for x in lesions)


def _is_named(s: Sentence, naming: Naming, pathology: str, lesion: Lesion) -> bool:
    """Whether a lesion is of the organ, place, size and mark that a verdict names."""
    organ = naming.organ or lexicon.ORGAN_OF_PATHOLOGY.get(pathology)
    if organ not in (None, lesion.organ) or (naming.marks and lesion.mark not in naming.marks):
        return False
    if not _fits(Facts(sizes=sizes_in(s, naming)), lesion):
        return False
    if not is_placed(s, naming.start, naming.end, naming.organ):
        return True
    place = location_in(s, naming.start, naming.end, lesion.organ)
    return not place.contradicts(lesion.location) if naming.marks else place.equals(lesion.location)


@lru_cache(maxsize=1024)  # reports share their headings
def _heading(label: str) -> Sentence:
    return Sentence(label)


def _of_last_clause(places: Sequence[Place], noun: Noun, apart: Sequence[tuple[int, int]]) -> list[Place]:
    """The places that no other noun parts from a lesion: *no mass in the kidney, and the liver shows a cyst*."""
    since = max((end for _, end in apart if end <= noun.start), default=0)
    later = [p for p in places if p.start >= since]
    return later if any(p.explicit for p in later) else list(places)


_OF_WHOLE_ORGANS = words("enlarged diffusely diffuse shrunken atrophic steatotic hepatomegaly normal")
_HINTS = {
    **dict.fromkeys(
        ("liver", "hepatic", "hepatomegaly", "hepatectomy", "hemihepatectomy", "cirrhosis", "cirrhotic"), "liver"
    ),
    **dict.fromkeys(("pancreas", "pancreatic", "pancreatectomy", "wirsung", "mpd"), "pancreas"),
    **dict.fromkeys(
        ("kidney", "kidneys", "renal", "nephrectomy", "nephrogram", "hydronephrosis", "nephrolithiasis"), "kidney"
    ),
}


def _hinted(s: Sentence) -> str | None:
    """The last host organ that any word of a sentence points to, references left out."""
    references = {i for p in places_of(s) if p.reference for i in range(p.start, p.end)}
    named = [_HINTS[t] for i, t in enumerate(s.tokens) if t in _HINTS and i not in references]
    return named[-1] if named else None


def _is_compared(s: Sentence, noun: Noun) -> bool:
    """Whether a thing is only named beside the lesion: *hypodense compared with the cortex*."""
    before = s.tokens[max(0, noun.hit.start - 2) : noun.hit.start]
    beside = bool(before) and "the" in before[-1:] and before[0] in ("with", "to", "as", "than")
    described = any(h.start == 0 and h.end <= noun.hit.start and h.has("say", "mod") for h in s.hits)
    begins = described or s.tokens[0] in ("compared", "relative")  # "isoattenuating to parenchyma, rim enhancement"
    return (noun.start > 2 or begins) and (beside or is_reference(s, noun.hit, ""))


def _is_dismissed(s: Sentence) -> bool:
    """*Focal sparing was considered, but the lesion is round*."""
    at = next((i for i, t in enumerate(s.tokens) if t in ("considered", "discussed")), None)
    return at is not None and "but" in s.tokens[at : at + 3]


_COMPARING = words("than compared comparison relative versus")


def _compared_with(s: Sentence) -> str | None:
    """The organ that a lesion is compared with, where nothing else says which it is in: *denser than the liver*."""
    for p in places_of(s):
        if p.organ in HOSTS and _COMPARING & set(s.tokens[max(0, p.start - 6) : p.start]):
            return p.organ
    return None


_NOT_BEFORE = r"(?! (?:to|as|compared|on|than|with) (?:the |in )?(?:before|prior|previous|last|earlier))"
_ALIKE = re.compile(
    r"\b(?:(?:behaves?|enhances?|appears?|looks?) (?:just |exactly |much |quite )?"
    r"(?:the same|identically|identical|similarly|similar|alike|in the same (?:way|manner|fashion))"
    r"|of the same (?:kind|type|nature)"
    r"|(?:shows?|has|have|with) (?:the same|identical|similar) (?:enhancement|attenuation|density)"
    r"|(?:same|identical|similar) (?:imaging |contrast |enhancement )?"
    rf"(?:behaviou?r|characteristics|features|appearances?|pattern|properties|dynamics|morphology)"
    r"|(?<=, )same (?:contrast )?(?:enhancement|attenuation|density)(?: pattern)?(?= ?(?:,|$))"
    rf"|likewise(?= ?[.]?$))\b{_NOT_BEFORE}"
)
_AS_NUMBERED = re.compile(r"(?:^|[,:] |\b(?:same|identical|similar|likewise) )(?:as|like|to) lesion (\w)\b")
_ALIKE_IN = {
    "behav": ("attenuation", "enhancement"),
    "enhance": ("attenuation", "enhancement"),
    "enhancement": ("enhancement",),
    "attenuation": ("attenuation",),
    "density": ("attenuation",),
}
_SOLID = words("PDAC PNET metastasis HCC hemangioma oncocytoma AML FNH adenoma lymphoma UC sarcoma cholangiocarcinoma")
"""What is not called a cyst."""


def _can_be(lesion: Facts, pathology: str) -> bool:
    """Whether nothing speaks against a diagnosis: a solid or strongly enhancing lesion is no cyst."""
    if lesion.called not in (None, pathology):
        return False
    cystic = "cystic" in lesion.says("composition") or "none" in lesion.says("enhancement")
    return pathology != "cyst" or cystic


def _looks_like(lesion: Facts, pathology: str) -> bool:
    """Whether a diagnosis suits a lesion among others: what is cystic or does not enhance is no RCC beside it."""
    if pathology not in _SOLID | {"RCC"}:
        return _can_be(lesion, pathology)
    denied = any(st.negated and st.value == "solid" for st in lesion.statements)
    cystic = lesion.says("composition") == {"cystic"} or "none" in lesion.says("enhancement")
    return _can_be(lesion, pathology) and not (denied or cystic)


_FORM = re.compile(
    r"\s*(?:type|organ|site|location|localization|position|side|size|diameter|dimensions?|density|attenuation|"
    r"enhancement|margins?|borders?|contours?|texture|structure|composition|consistency|septa|walls?|calcifications?|"
    r"mural nodules?|shape|fat|contrast(?: behaviou?r)?|communication[\w ]*|(?:\w+ )?duct|diagnosis|dx|number)\s*:",
    re.IGNORECASE,
)
_EARLIER = re.compile(
    r"^(?:was (?:avid|hyper|hypo|iso)|"
    r"(?:compared to )?(?:in|on|at) (?:(?:review|comparison) (?:of|with) )?(?:the |that |an? |his |her )?"
    r"(?:previous|prior|last|earlier|preceding|outside|initial|baseline|"
    r"former|old) (?:\w+ ){0,2}?(?:ct|mri|mr|scan|study|examination|exam|ultrasound|us|investigation|imaging|images)\b|"
    r"(?:in|on|at) (?:\w+ )?(?:19|20)\d\d\b|previously|formerly|initially|at (?:baseline|that time)|"
    r"the (?:previous|prior|last|earlier|outside|old) (?:\w+ )?(?:ct|mri|scan|study|examination|exam|ultrasound) "
    r"(?:showed|had))"
)
_THEN = words("was were had measured showed")
_STILL = words("is are has have now today currently remains shows measures")


def _is_earlier(s: Sentence) -> bool:
    """Whether a sentence only tells of an earlier examination: *in the previous CT the lesion was ill-defined*."""
    said = set(s.tokens)
    return bool(said & _THEN) and not said & _STILL and _EARLIER.match(" ".join(s.tokens)) is not None


_ASKED_AND_DENIED = re.compile(r"(?<=[a-z])\?\s+(?:none|no|nil)\b\s*[.;:\u2013\u2014-](?=\s|$)", re.IGNORECASE)
"""*Liver metastases? None.*"""
_HU_APART = re.compile(
    r"(?<=HU)[.;] (?=(?:post|after|nephrographic|portal|venous|enhanced|delayed|with contrast|arterial|"
    r"corticomedullary|late)[\w -]{0,25}:? \d+ ?HU)",
    re.IGNORECASE,
)
"""*Precontrast 12 HU. Postcontrast 14 HU.* is one statement."""
_ITEM = (
    r"(?:\b(?:s?\d+(?:\.\d+)?[ab]?(?: ?[cm]m)?|[ivx]+|segments?|seg|in|the|of|at|left|right|upper|lower|mid|pole|lobe|"
    r"head|body|tail|neck|uncinate|process|kidney|new|stable|unchanged|previously|measuring)\b[ ,()]*)+"
)
_SIZED_ITEMS = re.compile(
    r"\b(?:lesions|masses|nodules|metastases|cysts|tumou?rs)(?: [a-z][a-z -]{0,50})?: "
    rf"(?:{_ITEM}; (?:and )?)+{_ITEM}",
    re.IGNORECASE,
)
"""*Three hypodense lesions: segment 2, 10 mm; segment 5, 14 mm* is one sentence."""


def _in_one_sentence(match: re.Match[str]) -> str:
    items = match.group().split(";")
    plain = all(_SIZED.search(item) and ("(" not in item or "previously" in item) for item in items)
    return ",".join(items) if plain else match.group()  # "segment 2, 34 mm (30 mm)": of two sizes one is former


_QUESTION = re.compile(r"^(?:is|are|does|do|has|have|could|can|was|were) .*\?$", re.IGNORECASE)
_FIRST_QUESTION = re.compile(r"(?:\w[\w-]* ){0,4}\w[\w-]*\?|\? ?\w[^.;]{0,60}[.?]?")
"""A question that opens a report, and asks for what is to be found: *Cyst?*, *?liver mets*"""
_TITLE = re.compile(
    r"(?:CT|MDCT|CECT|NCCT)\b(?: [A-Za-z/-]+){1,5}[.:]?|(?:[a-z-]+ ){0,3}CT\b(?: [a-z/-]+){0,5} \([^)]*\)[.:]?",
    re.IGNORECASE,
)
_TITLE_VERBS = words("shows show showed demonstrates demonstrated reveals revealed depicts confirms detects with has")


def _is_title(text: str) -> bool:
    """*CT kidney mass.* names what was looked for; but *CT shows a kidney mass* finds it."""
    if not _TITLE.fullmatch(text) or _TITLE_VERBS & set(text.lower().split()):
        return False
    return all(st.field == "pathology" for st in Sentence(text).statements)


_LIST_VERBS = words("is are was were shows show has have there measures enhances contains")


_SEGMENT_ITEM = re.compile(r"[,;] (?=(?:s|seg\.? ?|segment )(?:[1-8][ab]?|[iv]+)\b)", re.IGNORECASE)
_SIZED = re.compile(r"\d ?[cm]m\b", re.IGNORECASE)


def _by_segment(clause: str) -> list[str]:
    """The items of a telegram: *S4 hypodense 12 mm, S8 hemangioma 28 mm*."""
    items = _SEGMENT_ITEM.split(clause)
    listed = len(items) > 1 and all(_SIZED.search(item) and len(item.split()) < 10 for item in items)
    return items if listed and ":" not in clause and not _LIST_VERBS & set(clause.lower().split()) else [clause]


_LESION_PARTS = words("capsule pseudocapsule septa septum septation septations scar wall")
_POINTING = words("it they this these which both all")
_RENAL = words("parapelvic peripelvic")
_CONCLUDING = words("thus hence therefore so accordingly altogether overall ie")
_DEFINITE = words(
    "index reference the this these that those both its said known previously above aforementioned such same"
)
_COUNTED = words("new second third another")
_NEW = words("a an another second third new additional further one two three four five six several multiple numerous")


def _is_similar(s: Sentence, noun: Noun) -> bool:
    """*A similar lesion of 11 mm*: what was said of the lesion before holds for this one too."""
    alike = {"similar", "identical", "analogous", "comparable", "such"} & set(s.tokens[noun.start : noun.hit.start])
    return bool(alike) and not any(h.has("head") for h in s.hits if noun.start <= h.start < noun.hit.start)


def _in_both_organs(s: Sentence) -> bool:
    """Whether a single noun stands for two lesions: *each kidney*, *both kidneys contain a mass*."""
    pairs = zip(s.tokens, s.tokens[1:], strict=False)
    return any(a in ("each", "both", "either") and b in ("kidney", "kidneys", "lobe", "lobes") for a, b in pairs)


def _is_another(s: Sentence, noun: Noun) -> bool:
    """Whether a pronoun stands for one more of the same kind: *a second one has formed*, *another in the tail*."""
    if noun.hit.name("lesion") != "pronoun":
        return False
    before = s.tokens[max(0, noun.hit.start - 2) : noun.hit.start]
    if s.tokens[noun.hit.start] == "another":
        return True
    sided = s.tokens[noun.hit.start] == "one" and bool({"left", "right", "upper", "lower"} & set(before))
    return sided or before[:1] in (["a"], ["another"])  # "a second one", "the right one"


def _epithets(s: Sentence, noun: Noun) -> list[str]:
    """The words that tell a lesion from others: *exophytic*, *large*, *new*, *dominant*; its organ and size do not."""
    of_organs = {i for h in s.hits if h.has("organ", "site") for i in range(h.start, h.end)}
    phrase = (t for i, t in enumerate(s.tokens[noun.start : noun.end], noun.start) if i not in of_organs)
    return [_POSITIVE.get(t, t) for t in phrase if t.isalpha() and t not in _NO_EPITHETS]


_POSITIVE = {"larger": "large", "smaller": "small", "bigger": "large", "big": "large"}


_NO_EPITHETS = (
    _DEFINITE
    | words("a an and focal single solitary left right other all none lesion mass nodule tumor focus cyst metastasis")
    | words("lesions masses nodules tumors foci cysts metastases")
    | frozenset(COUNTS)
)


def _is_within(st: Statement, noun: Noun) -> bool:
    """Whether it is an adjective of the noun that says it."""
    return noun.start <= st.start and st.end <= noun.end


def _name_of(s: Sentence, noun: Noun) -> str:
    """The number or letter of a lesion: *lesion 2*, *lesions 1 and 2*, *lesion (B)*; but *lesion 60 HU* has none."""
    after = s.tokens[noun.end : noun.end + 3]
    if is_plural(s, noun.hit):
        both = len(after) == 3 and after[1] == "and" and {after[0], after[2]} <= _NAMES
        return f"{after[0]} {after[2]}" if both else ""
    if after[:1] == ["("] and after[2:] == [")"] and after[1] in _NAMES:
        return after[1]
    if after and after[0].isdigit() and len(after[0]) < 3 and after[1:2] != ["hu"]:
        return after[0]
    begins = noun.start == 0 and s.tokens[noun.hit.start] in ("lesion", "mass", "nodule")
    lettered = begins and after[:1] and after[0] in _LETTERS and after[1:2] and after[1] in _AFTER_LETTER
    return after[0] if lettered else ""


_LETTERS = "abcdef"
_NAMES = frozenset((*_LETTERS, *map(str, range(1, 10))))


def _is_finding(s: Sentence) -> bool:
    """Whether a sentence below a heading such as *Comparison* is a finding all the same, as it describes a lesion."""
    past = history_tokens(s)
    lesion = any(is_lesion_noun(h) and h.start not in past and not s.is_negated(h) for h in s.hits)
    said = {st.field for st in s.statements if st.field != "pathology" and st.start not in past}
    return lesion and len(said) + 2 * bool([z for z in s.sizes if not z.distance]) >= 2


def _region(s: Sentence, noun: Noun, nouns: Sequence[Noun]) -> tuple[int, int]:
    """The tokens of a sentence that belong to one of its lesion nouns."""
    at = nouns.index(noun)
    start = 0 if at == 0 else _with_place_before(s, noun, nouns[at - 1].end)
    end = len(s.tokens) if at + 1 == len(nouns) else _with_place_before(s, nouns[at + 1], noun.end)
    return start, end


def _with_place_before(s: Sentence, noun: Noun, bound: int) -> int:
    """The start of a noun phrase, with the place that stands before it: *and in the left kidney a cyst*."""
    i = noun.start
    while i > bound and s.tokens[i - 1] not in ("and", ",", "while", "plus", ";", "(", ")", ":"):
        i -= 1
    return i if s.tokens[i] in ("in", "within", "at", "on") else noun.start


def _is_doubted(s: Sentence, noun: Noun) -> bool:
    if s.tokens[0] == "there" and s.tokens[1:3] in (["may", "be"], ["might", "be"], ["could", "be"]):
        return True
    for cue in s.cues:
        if cue.has("doubt"):
            if s.tokens[cue.start] == "suspected" and s.sizes:
                continue
            if s.tokens[cue.end : cue.end + 2] in _THAT_THE:
                continue  # "it is not certain that the lesion is a cyst"
            if any(pathology_of(h) and h.end <= cue.start and s.chunks[h.start] == s.chunks[cue.start] for h in s.hits):
                continue  # "HCC cannot be excluded in the nodule" does not doubt the nodule
            if s.tokens[cue.start - 1] == "is" and noun.end < cue.start and not (s.sizes or s.statements):
                return True  # "a mass is suspected"
            if cue.end <= noun.hit.start and s.chunks[cue.start] == s.chunks[noun.hit.start]:
                return True
            if cue.start >= noun.end and s.chunks[cue.start] == s.chunks[noun.hit.start] and cue.end - cue.start >= 3:
                return True
    return "?" in (s.tokens[noun.start - 1 : noun.start] + s.tokens[noun.end : noun.end + 1])


def _is_of_each(s: Sentence) -> bool:
    """*All of them*, *none of the three liver lesions*, *each of these*; but *none of the nodes* speaks of others."""
    if s.tokens[:2] not in (["all", "of"], ["none", "of"], ["each", "of"]):
        return False
    nouns = (h for h in s.hits if is_lesion_noun(h) and h.end <= 7 and is_plural(s, h))
    return s.tokens[2:3] in (["them"], ["these"], ["those"]) or any(nouns)


_EXCLUDED = words("excluded exclude ruled rule")


def _is_not_excluded(s: Sentence, noun: Noun) -> bool:
    """*An occult insulinoma is not excluded* states none; but *a 9 mm cyst* would be there, whatever it is."""
    if s.sizes or any(st.field != "pathology" for st in s.statements):
        return False
    return any(c.has("doubt") and _EXCLUDED & set(s.tokens[c.start : c.end]) for c in s.cues)


def _is_background(lesion: Lesion) -> bool:
    """Whether a cancer is only what the patient is known to have: *Metastatic pancreatic NET. Liver: ...*."""
    said = lesion.statements or lesion.sizes or lesion.plural or lesion.concluded
    operated = any(_AFTER_SURGERY.search(text) for text in lesion.evidence)  # whose side is that of the operation
    if said or (lesion.location and not operated) or lesion.pathology not in _CANCERS or len(lesion.evidence) != 1:
        return False
    return _OF_PATIENT.search(lesion.evidence[0]) is not None


def _is_bare_plural(lesion: Lesion) -> bool:
    """*Renal lesions: left three, right none*: those that are described after it."""
    return lesion.plural and not (lesion.statements or lesion.sizes or lesion.pathology or lesion.location.parts)


_CANCERS = words("RCC PNET PDAC HCC cholangiocarcinoma UC lymphoma sarcoma")
_AFTER_SURGERY = re.compile(r"\b(?:after|post|s/p|following) [^.;]*(?:ectomy|resection|surgery)\b", re.IGNORECASE)
_OF_PATIENT = re.compile(
    r"^(?:metastatic|metastasi[sz]ed|recurrent)\b|\b(?:recurrent|metastasi[sz]ed|metastatic)\.?$", re.I
)


_CHANGED = words("increased progressed decreased regressed")


def _is_label(s: Sentence) -> bool:
    """Whether a sentence without a verb only names a diagnosis: *Metastases of the gastric cancer.*"""
    said = any(st.field != "pathology" for st in s.statements)
    if _CHANGED & set(s.tokens) and not (said or s.sizes):
        return True  # "Hepatic metastases of the NET have increased in number."
    return not (said or s.sizes or _LINKS & set(s.tokens) or {"with", "and", "no", "new"} & set(s.tokens))


def _is_subject(tokens: Sequence[str]) -> bool:
    """Whether the words before a verb can stand for a lesion: *it*, *this one has*, *the latter*."""
    return len(tokens) <= 1 or bool(
        {"it", "this", "which", "these", "they", "one", "latter", "former"} & set(tokens[:3])
    )


_THAT_THE = (["that", "the"], ["whether", "the"], ["if", "the"])


def _in_phase_only(s: Sentence, cue: Hit) -> bool:
    """*No longer visible on the delayed phase*: it is there all the same."""
    if s.tokens[cue.end : cue.end + 1] == ["from"]:  # "no longer discernible from the parenchyma"
        return True
    return bool(_PHASE_WORDS & set(s.tokens[cue.end : cue.end + 5]) or _PHASE_WORDS & set(s.tokens[:3]))


_PHASE_WORDS = words(
    "unenhanced native plain precontrast noncontrast "
    "phase phases portal venous delayed arterial nephrographic later afterwards"
)


def _is_gone(s: Sentence, noun: Noun) -> bool:
    """Whether a lesion is said to be there no more: *the lesion has resolved*."""
    stops = [c.start for c in s.cues if c.has("stop") and s.tokens[c.start : c.start + 2] != ["which", "has"]]
    for cue in s.cues:
        if (
            cue.has("gone")
            and not _in_phase_only(s, cue)
            and not _is_of_next(s, noun, cue)
            and not any(noun.end <= i < cue.start or cue.end <= i <= noun.start for i in stops)
        ):
            return True
    return False


def _is_of_next(s: Sentence, noun: Noun, cue: Hit) -> bool:
    """Whether another lesion stands between: *segment 5 lesion 8 mm, segment 2 lesion gone*."""
    others = (h for h in s.hits if h.has("lesion") and noun.end <= h.start and h.start <= cue.start)
    return any("," in s.tokens[noun.end : h.start] for h in others)


_LINKS = words("is are was were appears appear shows show measures measuring contains has have enhances")
_AFTER_LETTER = _LINKS | {"in", "(", ":", ",", "-"}


def _owners(
    s: Sentence,
    start: int,
    end: int,
    nouns: Sequence[Noun],
    facts: dict[int, Facts],
    loose: Facts,
    is_size: bool,
) -> list[Facts]:
    """Whose the statement or size at tokens ``start`` to ``end`` is; nobody's where it speaks of another thing."""
    for noun in nouns:
        if noun.start <= start and end <= noun.hit.start:
            return _of(noun, nouns, facts, loose)
        if noun.hit.start <= start and end <= noun.end:
            return [facts[id(noun)]] if id(noun) in facts else ([loose] if noun.role == "diagnosis" else [])
    lesions = [n for n in nouns if id(n) in facts]
    if is_size and lesions and s.tokens[end : end + 1] in (["overall"], ["altogether"], ["total"]):
        return [facts[id(lesions[0])]]  # "a cluster of cysts beside the duct, 2.3 cm overall"
    before = [n for n in nouns if n.end <= start]
    if not lesions:
        if _speaks_of_other(s, start, before, is_size):
            return []
        return [loose]
    left = [n for n in lesions if n.end <= start]
    if not left:
        organ = next((h for h in reversed(s.hits) if h.end <= start and h.has("organ")), None)
        between = s.tokens[organ.end : start] if organ else ["-"]
        linked = not between if is_size else bool(set(between[:2]) & _LINKS)
        measured = is_size and bool(set(between) & words("measures measuring length is"))
        introduced = bool(set(between) & words("there a an with contains shows"))
        if ((linked or measured) and not introduced) or (before and before[-1].role != "diagnosis"):
            return []
        return [facts[id(lesions[0])]]
    other = before[-1]
    if other.role in ("other", "nothing") and _holds(s, other, start, is_size):
        return []
    if is_size and _organ_holds(s, left[-1], start, bool(facts[id(left[-1])].sizes)):
        return []
    if (
        len(left) > 1
        and len(left) == len(lesions)
        and set(s.tokens[left[-1].end : start]) & {"are", "both", "were", "all"}
    ):
        return [facts[id(n)] for n in lesions]
    return [facts[id(left[-1])]]


_LOCATING = words("in of within at near along behind into on close")


def _of(noun: Noun, nouns: Sequence[Noun], facts: dict[int, Facts], loose: Facts) -> list[Facts]:
    if id(noun) in facts:
        return [facts[id(noun)]]
    if noun.role == "diagnosis":
        left = [n for n in nouns if id(n) in facts and n.end <= noun.start]
        return [facts[id(left[-1])]] if left else [loose]
    return []


def _holds(s: Sentence, other: Noun, start: int, is_size: bool) -> bool:
    """Whether what follows a thing that is no lesion speaks of that thing: *the duct measures 8 mm*."""
    between = s.tokens[other.end : start]
    if not is_size and between[:1] in (["as"], ["since"], ["because"]):
        return False  # "they are not cysts, as they enhance"
    if is_size and s.is_negated(other.hit) and between == [","]:
        return False  # "without mass effect, 8 mm"
    if is_size and other.role == "nothing" and between == [":"]:
        return False  # "a cyst and not a metastasis: 19 mm"
    if is_size and (other.hit.name("other") == "state" or (other.hit.has("site") and between == [","])):
        return False
    if s.tokens[max(0, other.start - 1)] in _LOCATING and (set(between) & _LINKS or between in ([","], ["("])):
        return False  # "a mass in the renal sinus measures ..."
    if not is_size and between[:1] in (["that"], ["which"]):  # "septa that do not enhance"
        return True
    if (
        is_size and between[:2] == [",", "which"] and other.hit.name("other") != "state"
    ):  # "the duct, which is 7 mm wide"
        return True
    if not is_size and between[:2] == [",", "which"] and s.tokens[other.end - 1] in _LESION_PARTS:
        return True
    if set(between) & {"and", "or", "nor", "but", "with", ",", ";", "(", ")"} and not (
        is_size and len(between) <= 1 and "with" not in between
    ):
        return False
    return is_size or other.role == "nothing" or bool(set(between) & _LINKS)


def _organ_holds(s: Sentence, lesion: Noun, start: int, has_size: bool) -> bool:
    """Whether a size after a lesion noun is that of an organ or node: *and a lymph node of 12 mm*."""
    between = [h for h in s.hits if lesion.end <= h.start and h.end <= start and h.has("organ")]
    if has_size and any(h.name("organ") not in (*HOSTS, "soft tissue") for h in between):
        return True
    for hit in between:
        if (hit.name("organ") not in (*HOSTS, "soft tissue") and not is_reference(s, hit, "")) and not set(
            s.tokens[hit.end : start]
        ) & {
            ",",
            "(",
            "and",
        }:
            return s.tokens[hit.start - 1] not in ("in", "the", "of")
    return False


def _speaks_of_other(s: Sentence, start: int, before: Sequence[Noun], is_size: bool) -> bool:
    """Whether, in a sentence without a lesion, the subject is an organ or another thing."""
    before = [n for n in before if n.role != "other" or not (s.is_negated(n.hit) or _is_compared(s, n))]
    if before and before[-1].role in ("other", "nothing", "artifact"):
        between = set(s.tokens[before[-1].end : start])
        if s.tokens[0] == "it" and before[-1].role == "nothing" and "and" in between and _LINKS & between:
            return False  # "it is unlike the other lesions and has ..."
        if {"it", "there", "given"} & between:
            return False  # "compared with the parenchyma it is hypodense", "it has a wall and there is no enhancement"
        listed = before[-1].role == "nothing" and s.tokens[before[-1].end - 1] in ("nodule", "nodules")
        if listed and not is_size and s.tokens[before[-1].end] in ("or", "and", "nor", ","):
            return False  # "there are no septa, no nodules and no enhancement"
        part = (
            s.tokens[before[-1].end - 1] in _LESION_PARTS - {"wall"}
            and s.chunks[before[-1].hit.start] != s.chunks[start]
        )
        if part and not is_size and not {"that", "which"} & set(s.tokens[before[-1].end : start]):
            return False  # "septations are seen, and the wall enhances"
        if s.tokens[0] == "it" and before[-1].role == "other" and not _holds(s, before[-1], start, is_size):
            return False  # "it is encapsulated with a scar and intense enhancement"
        if not is_size and any(c.has("stop") and before[-1].end <= c.start < start for c in s.cues):
            return False
        return not (is_size and before[-1].hit.name("other") == "state")
    if s.tokens[0] in ("it", "this", "which"):
        return False
    for hit in (h for h in s.hits if h.has("organ")):
        if is_reference(s, hit, "") and not is_rest_of_organ(s, hit):
            continue
        lead = s.tokens[max(0, hit.start - 3) : hit.start]
        if set(lead) & words("remainder rest"):
            return hit.start < start
        apart = set(s.tokens[hit.end : start]) & {":", ","} and not set(s.tokens[hit.end : start]) & _LINKS
        if hit.start < start and apart and s.sizes:  # "Kidney, right, 2.7 cm: hypodense"
            continue
        if not set(lead) & words("in within of at off throughout") and not _is_bracketed(s, hit, start):
            return hit.start < start or (hit.start - start <= 3 and not is_size)
    return False


def _is_bracketed(s: Sentence, hit: Hit, start: int) -> bool:
    """*Density: 25 HU (liver: 60 HU)* speaks of the lesion."""
    return start < hit.start and s.tokens[hit.start - 1] == "("


def _diagnosed(s: Sentence, noun: Noun, lesions: Sequence[Noun], facts: dict[int, Facts]) -> Facts | None:
    """The lesion of the same sentence that a diagnosis is of."""
    left = [n for n in lesions if n.end <= noun.start] or list(lesions)
    organ = lexicon.ORGAN_OF_PATHOLOGY.get(noun.pathology or "")
    of_organ = s.tokens[noun.end : noun.end + 1] in (["of"], ["in"])
    named = (p.organ for p in places_of(s) if p.explicit and noun.end < p.start <= noun.end + 2 and p.organ in HOSTS)
    organ = next(named, organ) if of_organ else organ  # "AML of the liver"
    for n in reversed(left):
        if organ is None or facts[id(n)].organ in (None, organ):
            return facts[id(n)]
    return None


def _is_of_all(s: Sentence, noun: Noun, lesions: Sequence[Noun]) -> bool:
    """Whether a diagnosis in the plural closes a sentence on several lesions."""
    before = all(n.end <= noun.start and n.pathology is None for n in lesions)
    return len(lesions) > 1 and before and is_plural(s, noun.hit) and cue_before(s, noun, ())


_PREFERRED = words("favored favoured preferred likelier")
_FAVORED = _PREFERRED | words("likely probable probably presumed suspected")


def _is_preferred(s: Sentence, noun: Noun) -> bool:
    """Whether a later diagnosis is put before an earlier one: *oncocytoma possible, but RCC more likely*."""
    before = [h for h in s.hits if pathology_of(h) and h.end <= noun.start]
    last = not any(pathology_of(h) and h.start >= noun.end for h in s.hits)
    if before and last and "latter" in s.tokens[noun.end :]:  # "metastasis and lymphoma, the latter being favored"
        at = s.tokens.index("latter", noun.end)
        return bool((_PREFERRED | {"likely"}) & set(s.tokens[at : at + 5])) and "less" not in s.tokens[at : at + 5]
    if not before or s.chunks[before[-1].start] == s.chunks[noun.hit.start]:
        return False
    after = s.tokens[noun.end : noun.end + 4]
    doubted = {s.chunks[c.start] for c in s.cues if c.has("doubt")}
    if s.chunks[before[-1].start] in doubted and {"must", "should", "assumed"} & set(after):
        return True  # "although a cyst is not excluded, a metastasis must be assumed"
    more = any(a in ("more", "most") and b in ("likely", "probable") for a, b in pairwise(after))
    return more or bool(_PREFERRED & set(after) and "not" not in after and "less" not in after)


def _without_plural(s: Sentence, told: Sequence[tuple[Facts, Noun]]) -> list[tuple[Facts, Noun]]:
    """A plural that is followed by its members in the same sentence, merged into them: *metastases: one in ...*."""
    first, members = told[0][0] if told else Facts(), [f for f, _ in told[1:]]
    least = 1 if told and not first.count and s.tokens[told[0][1].end : told[0][1].end + 1] == [":"] else 2
    if (
        not first.plural
        or first.sizes
        or len(members) < least
        or any(m.plural or m.organ != first.organ for m in members)
    ):
        return list(told)
    for member in members:
        member.statements = first.statements + member.statements
        member.diagnoses = first.diagnoses + member.diagnoses
        member.called = member.called or first.called
    return list(told[1:])


def _own_place(s: Sentence, noun: Noun) -> str | None:
    """The organ that a noun phrase itself names: *pulmonary metastases*."""
    places = (p for p in places_of(s) if p.explicit and not p.reference)
    return next((p.organ for p in places if noun.start <= p.start and p.end <= noun.hit.start), None)


def _are_parts(s: Sentence, noun: Noun) -> bool:
    """Whether cysts are what a lesion is made of, and not what it is: *composed of many small cysts*."""
    return noun.pathology == "cyst" and is_plural(s, noun.hit) and not (cue_before(s, noun, ()) or cue_after(s, noun))


def _is_made_of(s: Sentence, noun: Noun) -> bool:
    """*A structure of many little cysts*."""
    return _are_parts(s, noun) and noun.hit.start - noun.start <= 3 and s.tokens[noun.start - 1] == "of"


def _is_gapped(s: Sentence, noun: Noun) -> bool:
    """*A 12 mm and a 27 mm lesion* are two."""
    return s.tokens[noun.start + 2 : noun.start + 3] == ["and"] and _sizes_within(s, noun) > 1


def _measures(s: Sentence, noun: Noun) -> bool:
    """Whether a size is what the sentence says of one lesion: *the mass measures 45 mm*; not *the mass of 45 mm*."""
    last = max((z.token for z in s.sizes), default=0)
    return not is_plural(s, noun.hit) and bool({"measures", "measured"} & set(s.tokens[noun.end : last]))


def _sizes_within(s: Sentence, noun: Noun) -> int:
    """How many sizes a noun phrase holds: *the 8 mm and 10 mm hepatic cysts*."""
    return sum(noun.start <= z.token < noun.hit.start for z in s.sizes)


def _first_size(s: Sentence, noun: Noun) -> int:
    """Where the sizes of a plural can begin: *upper pole 20 mm and lower pole 12 mm masses* has them before it."""
    if s.sizes and is_plural(s, noun.hit) and all(z.token < noun.hit.start for z in s.sizes):
        return 0
    return noun.start if _sizes_within(s, noun) > 1 else noun.end


def _split(s: Sentence, f: Facts, begin: int) -> list[Facts]:
    """Several lesions where sizes follow a plural: *two lesions, 2 cm in segment 4 and 3 cm in segment 8*."""
    sizes = [z for z in s.sizes if z.mm in f.sizes and not z.prior and not z.distance and z.token >= begin]
    upper = set(s.tokens) & words("largest biggest dominant ranging up maximum")
    sided = upper == {"up"} and {"left", "right"} <= set(s.tokens)  # "on the right up to 3 cm and on the left up to 2"
    if not f.plural or len(sizes) < 2 or (upper and not sided):
        return [f]
    ends = [z.token for z in sizes[1:]] + [len(s.tokens)]
    starts = [begin] + [z.token for z in sizes[:-1]]
    after = bool(location_in(s, sizes[-1].token, len(s.tokens), f.organ))
    first = location_in(s, 0, sizes[0].token, f.organ)
    # "in segments 5 and 8 there are nodules of 19 and 31 mm"
    listed = list(first.parts) if not after and len(first.parts) == len(sizes) else []
    listed = [] if any(location_in(s, z.token, end, f.organ) for z, end in zip(sizes, ends, strict=True)) else listed
    own = _shared_out(s, f.statements, sizes, begin)
    found = []
    for i, (z, start, end) in enumerate(zip(sizes, starts, ends, strict=True)):
        span = (z.token, end) if after else (start, z.token)
        location = location_in(s, *span, f.organ) or _bare_segment(s, z.token, f.organ) or Location(f.location.side)
        location = Location(first.side, (listed[i],)) if listed else location
        found.append(
            Facts(
                f.organ,
                location,
                own[i],
                [z.mm],
                f.called,
                list(f.diagnoses),
                set(f.denied),
                uncertain=f.uncertain,
            )
        )
    return found


def _shared_out(
    s: Sentence, statements: Sequence[Statement], sizes: Sequence[Size], begin: int
) -> list[list[Statement]]:
    """Of each of several lesions what is said of it: in the bracket of its size, or once before or after each size.

    What is said before token ``begin``, with the plural, is said of all, and so is what cannot be told apart.
    """
    opened, brackets = 0, []  # the bracket that each token stands in, by what follows it; 0: none
    for i, token in enumerate(s.tokens, 1):
        opened = i if token == "(" else opened
        brackets.append(opened)
        opened = 0 if token == ")" else opened
    around = [brackets[z.token] for z in sizes]
    bracketed = {bracket: i for i, bracket in enumerate(around) if bracket and around.count(bracket) == 1}
    owner = {st: bracketed[brackets[st.start]] for st in statements if brackets[st.start] in bracketed}
    for descriptor in {st.field for st in statements}:
        told = [st for st in statements if st.field == descriptor and st.start >= begin and st not in owner]
        told.sort(key=lambda st: st.start)
        order = sorted([(z.token, True) for z in sizes] + [(st.start, False) for st in told])
        if len(told) == len(sizes) and all(a[1] != b[1] for a, b in pairwise(order)):
            owner |= {st: i for i, st in enumerate(told)}
    return [[st for st in statements if owner.get(st, i) == i] for i in range(len(sizes))]


def _bare_segment(s: Sentence, at: int, organ: str | None) -> Location:
    """The number before a bracket: *in segments 3 (9 mm) and 6 (12 mm)*."""
    number = segment_number(s.tokens[at - 2]) if organ == "liver" and at > 1 and s.tokens[at - 1] == "(" else None
    return Location(parts=(f"segment {number}",)) if number else Location()


def _has_member(template: Lesion, f: Facts, listed: bool) -> bool:
    """Whether a lesion told of alone is one of those that a plural counted before."""
    return (
        template.plural
        and (template.members < template.count or listed)
        and not template.sizes
        and not f.plural
        and template.organ == f.organ
        and f.called in (None, template.called)
    )


def _has_next(whole: Lesion, f: Facts) -> bool:
    """Whether a further lesion is one of a plural whose largest has been told of."""
    return whole.plural and bool(whole.sizes) and whole.members + 1 < whole.count and whole.organ == f.organ


def _of_size(row: Sequence[Lesion], sign: int, number: int = 1) -> list[Lesion]:
    """The ``number`` largest (``sign`` 1) or smallest (-1) of the lesions with a size, if there are more of them."""
    sized = sorted((x for x in row if x.sizes), key=lambda x: sign * max(x.sizes))
    return sized[-number:] if len(sized) > number else []


def _fits(f: Facts, lesion: Lesion) -> bool:
    """Whether what a noun says can be said of a lesion."""
    if f.name and f.name != lesion.name:
        return False
    if f.name:
        return True
    if f.organ != lesion.organ and f.organ is not None and lesion.organ is not None:
        return False
    if f.location.contradicts(lesion.location) and not lesion.plural:
        return False
    if f.sizes and lesion.sizes and not f.plural:
        first, second = max(f.sizes), max(lesion.sizes)
        if abs(first - second) > max(1.5, 0.06 * max(first, second)):
            return False
    if f.pathology and lesion.diagnoses and f.pathology not in (*lesion.diagnoses, lesion.called):
        return f.pathology == "cyst" and "cystic" in lesion.says("composition")
    if f.called == "cyst" and not lesion.called:
        return not lesion.says("composition") & {"solid", "necrotic"}
    if lesion.called and f.called and lesion.called != f.called:
        return False
    return not (lesion.pathology == "cyst" and f.says("composition") & {"solid", "necrotic"})


def _likeness(f: Facts, lesion: Lesion) -> float:
    points = 0.0
    if f.sizes and lesion.sizes:
        points += 4
    if f.location.equals(lesion.location):
        points += 3
    if f.pathology and f.pathology == lesion.pathology:
        points += 2
    if f.pathology and not lesion.diagnoses:
        points += 1
    if not f.pathology and lesion.pathology == "cyst":
        points -= 1
    if f.noun and f.noun == lesion.noun:
        points += 1
    if f.epithets and lesion.epithets:
        points += 3 if f.epithets & lesion.epithets else -0.5
    for name in ("attenuation", "margin", "composition", "texture", "enhancement"):
        mine, its = f.says(name), lesion.says(name)
        if mine and its:
            points += 1 if mine & its else -1
    return points


def extract_lesions(report: str, organ: str | None = None) -> list[ReportedLesion]:
    """The lesions that a report affirms in liver, pancreas and kidneys, in the order of their first mention.

    ``organ``: only lesions of that organ (any organ that the lexicon knows). A lesion that is merely possible
    (*cannot exclude a small lesion*) is marked ``uncertain``.
    """
    reader = _Reader()
    report = _HU_APART.sub(", ", _ASKED_AND_DENIED.sub(": none.", report))
    report = _SIZED_ITEMS.sub(_in_one_sentence, report)
    for sentence, context in sections_of(report):
        reader.read(sentence, context)
    wanted = HOSTS if organ is None else (organ,)
    told = [x for x in reader.lesions if not (x.dropped or x.past)]
    told = [x for x in told if not (_is_background(x) and len(told) > 1)]
    told = [x for x in told if not (_is_bare_plural(x) and any(y.organ == x.organ and y.sizes for y in told))]
    found = [x.finished() for x in told if (x.organ in wanted or not (organ or x.organ))]
    return [x for x in found if x.descriptors.model_dump(exclude={"pathology"}, exclude_none=True)]
