"""The nouns of a sentence and the part each plays: a lesion, its diagnosis, an organ, a thing that is no lesion."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from . import lexicon
from .lexicon import words
from .sentences import Hit, Sentence, Statement

# Organs

_PREPOSITIONS_OF_PLACE = words("in within of at off throughout involving replacing occupying inside arising both the")
_RELATIVE = words(
    "than to abutting abuts adjacent against into invading invades contacts contacting encasing encases near between "
    "below above surrounding surrounds background normal rest remaining next touching as beside alongside displacing "
    "compressing compresses toward towards unlike like relative versus vs"
)
_COMPARED = words(
    "isodense isoattenuating compared comparison contact continuity contiguous continuous abutment relation inseparable"
)
_ARISING = words(
    "exophytically arising originating projecting exophytic protruding extending bulging growing arises "
    "projects originates protrudes extends bulges grows emerging emerges springing springs stemming stems emanating "
    "emanates budding pedunculated hanging"
)
_NEUTRAL_BEFORE = words("the a an left right of both remaining")


class Place(NamedTuple):
    """An organ, and how it is named."""

    organ: str
    start: int
    end: int
    explicit: bool
    """By its name, not only by a part (*segment 7*)."""
    reference: bool
    """Only as a neighbor or as tissue to compare with."""


@lru_cache(maxsize=16)
def places_of(s: Sentence) -> tuple[Place, ...]:
    """The organs that a sentence names; asked for several times while one sentence is read."""
    places = []
    for hit in s.hits:
        for term in hit.terms:
            if term.kind in ("organ", "site"):
                places.append(
                    Place(term.name, hit.start, hit.end, term.kind == "organ", is_reference(s, hit, term.name))
                )
    return tuple(places)


def is_reference(s: Sentence, hit: Hit, organ: str) -> bool:
    after = s.tokens[hit.end : hit.end + 1]
    if _is_compared_with(s, hit.start - 1):
        return True
    if organ in lexicon.HOSTS and after and after[0] in _PLAIN_LESIONS:  # "a ring surrounds the hepatic lesion"
        return False
    if organ == "soft tissue" and after and after[0] in _LESION_WORDS:
        return True
    if organ == "soft tissue" and (s.is_negated(hit) or not _is_tissue_of_body(s, hit)):
        return True
    if organ not in lexicon.HOSTS and after and after[0] in _ORIGINS:  # "metastasis of breast cancer"
        return True
    if organ not in lexicon.HOSTS and "primary" in s.tokens[max(0, hit.start - 3) : hit.start]:
        return True  # "given the primary in the rectum"
    for i in range(hit.start - 1, max(-1, hit.start - 5), -1):
        token = s.tokens[i]
        if token == "between" and hit.has("site"):  # "between segments 2 and 3"
            return False
        before = s.tokens[i - 1] if i else ""
        if token == "to" and before in _SPREAD:
            return False  # "with metastases to the liver"
        if token in ("infiltrating", "infiltrates") and s.tokens[i + 1] == "the":
            return True
        if token in _RELATIVE or (token == "with" and before in _COMPARED) or (token == "on" and before == "effect"):
            return True
        if token == "from":
            hosted = before in _ARISING or (before in _LESION_WORDS and set(after).isdisjoint(_ORIGINS))
            return not hosted
        if token in _PREPOSITIONS_OF_PLACE - _NEUTRAL_BEFORE or token in ".,;:()" or token in ("for", "except", "but"):
            return False
    return False


def _is_tissue_of_body(s: Sentence, hit: Hit) -> bool:
    """Whether *soft tissue* is where a thing lies, and not what it is made of: *poorly enhancing soft tissue, 3 cm*."""
    before = s.tokens[hit.start - 1] if hit.start else ""
    return s.tokens[hit.start] != "soft" or before in ("", "in", "of", "within", "the", "subcutaneous", "paraspinal")


_SPREAD = words("metastasis metastases mets metastatic")
_PLAIN_LESIONS = words("lesion lesions mass masses nodule nodules")
_LESION_WORDS = frozenset(lexicon.LESION_NOUNS.split("|"))
_ORIGINS = words("primary cancer carcinoma adenocarcinoma tumor tumour malignancy")


def is_rest_of_organ(s: Sentence, hit: Hit) -> bool:
    """Whether the rest of an organ is the subject: *The remaining liver is homogeneous*."""
    return s.tokens[hit.start - 1] in words("remaining rest residual background") and hit.start <= 2


def organ_of(places: Sequence[Place]) -> str | None:
    """The organ that a text names; its own name before a part of it, a host before a neighbor."""
    ranked = sorted(places, key=lambda p: (p.reference, not p.explicit))
    return ranked[0].organ if ranked else None


def is_lesion_noun(hit: Hit) -> bool:
    return hit.has("lesion") or pathology_of(hit) is not None


def pathology_of(hit: Hit) -> str | None:
    return next((t.value for t in hit.terms if t.kind == "say" and t.name == "pathology"), None)


# Lesion nouns


def is_plural(s: Sentence, hit: Hit) -> bool:
    last = s.tokens[hit.end - 1]
    return (last.endswith("s") and not last.endswith(("is", "us", "ss", "creas"))) or last in _PLURALS


_PLURALS = words("foci hemangiomata mets filiae")


@dataclass
class Noun:
    """A noun of a sentence, and what part it plays."""

    hit: Hit
    start: int
    """Where its noun phrase begins."""
    role: str
    """*lesion*, *diagnosis* (of a lesion), *nothing* (negated, history), or *other* (a thing that is no lesion)."""
    pathology: str | None = None

    @property
    def end(self) -> int:
        return self.hit.end


_BREAKS = words(
    "with of in is are was were showing having demonstrating by as than this from for to without at shows show has "
    "have contains contain seen noted measures measuring whose there within no or on into demonstrates represents "
    "appears displays exhibits displaying exhibiting invading encasing abutting contacting compressing extending "
    "reaching displacing occluding obstructing causing "
    "toward towards against near behind between beyond along around under below above before after during via upon "
    "but except which that containing through be likely probably lies plus vs versus found presents identified not it"
)


def _phrase_start(s: Sentence, hit: Hit, taken: set[int]) -> int:
    """Where the noun phrase of a noun begins: its adjectives, its size and its article belong to it."""
    i = hit.start
    comma = 0
    while i > 0:
        token = s.tokens[i - 1]
        if i - 1 in taken or token in ";:().!?|-" or (token in _BREAKS and not _is_content(s, i - 1)):
            break
        if token == "," and (not _is_adjective(s, i - 2) or _is_size_apart(s, i - 2)):
            break
        apart = not _is_adjective(s, i) or s.tokens[i - 2] in ("attenuation", "density")
        if token == "," and hit.has("other") and apart:
            break  # "blurred, SMV encased", "fluid attenuation, imperceptible wall"
        if token == "and" and not (_is_adjective(s, i - 2) and _is_adjective(s, i)):
            break
        if token == "and" and hit.has("other") and s.tokens[i - 2] in ("attenuation", "density"):
            break  # "with low density and thin septa"
        i -= 1
        if token == ",":
            comma = comma or i
        if token in ("a", "an", "the"):
            lead = s.tokens[max(0, i - 3) : i]
            if token != "the" and s.tokens[i + 1][0] == "@" and lead[2:] == ["and"] and lead[1][0] == "@":
                return i - 3 if lead[0] in ("a", "an") else i  # "a 12 mm and a 27 mm lesion"
            break
    if comma and i and s.tokens[i - 1] in ("is", "are", "was", "were", "appears", "remains"):
        return comma + 1  # *Lesion 1 is isodense, lesion 2 is a cyst*: the adjective before the comma is a predicate
    return i


def _is_one_of_none(s: Sentence, hit: Hit) -> bool:
    """*None of the hepatic lesions washes out*: they are there."""
    return s.tokens[:3] in (["none", "of", "the"], ["neither", "of", "the"]) and hit.start <= 5 and is_plural(s, hit)


def _is_size_apart(s: Sentence, i: int) -> bool:
    """Whether a size before a comma is that of another noun; not in *a 17 mm, hypodense, blurred nodule*."""
    return s.tokens[i][0] == "@" and (i == 0 or s.tokens[i - 1] not in ("a", "an"))


def _is_content(s: Sentence, i: int) -> bool:
    """Whether *containing* is the end of an adjective: *a fat containing nodule*."""
    return s.tokens[i] == "containing" and s.tokens[i - 1] in ("fat", "gas", "air", "fluid", "calcium", "lipid")


def _is_adjective(s: Sentence, i: int) -> bool:
    if not 0 <= i < len(s.tokens):
        return False
    if s.tokens[i][0] == "@" or s.tokens[i] in _PLAIN_ADJECTIVES:
        return True
    if not s.tokens[i][0].isalpha():
        return False
    if s.tokens[i].endswith(_NOUN_ENDINGS) and s.tokens[i] not in ("attenuation", "density"):
        return False
    if s.tokens[i] in ("attenuation", "density"):
        return i > 0 and _is_adjective(s, i - 1)
    return any(h.start <= i < h.end and h.has("say", "mod") and not h.has("head", "lesion") for h in s.hits)


_PLAIN_ADJECTIVES = words(
    "small large tiny big bulky huge solitary single round rounded oval ovoid lobulated lobular exophytic endophytic "
    "subcentimeter subcentimetre subcapsular cortical new enlarging stable unchanged known incidental dominant focal "
    "indeterminate nonspecific suspicious complex simple benign malignant thin thick walled sized enhancing "
    "multilobulated"
)
_NOUN_ENDINGS = ("tion", "tions", "sis", "ment", "washout", "ity", "ities", "nent", "nents", "dule", "dules")


@lru_cache(maxsize=16)  # asked of a sentence by the reader, by nouns_of and by the verdicts
def history_tokens(s: Sentence) -> frozenset[int]:
    """The tokens that speak of the past or of the question asked: *history of HCC*, *rule out metastasis*."""
    found = _thought_before(s) | _operated_before(s) | _of_a_year(s)
    for cue in s.cues:
        if not cue.has("history") or (s.tokens[cue.start] in _OF_LESIONS and _follows_lesion(s, cue)):
            continue
        if s.tokens[cue.start : cue.end] == ["follow", "up", "of"] and _is_of_known_lesion(s, cue):
            continue
        i = cue.end
        while i < len(s.tokens) and s.tokens[i] not in ",;:().?" and s.tokens[i] not in _AFTER_HISTORY:
            i += 1
        if s.tokens[i : i + 1] != [":"] or not any(t[0] == "@" for t in s.tokens[i + 1 : i + 2]):
            found.update(range(cue.end, i))  # but "follow-up of an IPMN: 17 mm"
    return frozenset(found)


def _is_of_known_lesion(s: Sentence, cue: Hit) -> bool:
    """*Follow-up of a cystic lesion of the pancreas*: it is still there; but *follow-up of breast cancer*."""
    lesion = next((h for h in s.hits if cue.end <= h.start <= cue.end + 5 and h.has("lesion")), None)
    followed = lesion is not None and s.tokens[lesion.end - 1] in _PLAIN_LESIONS and not is_plural(s, lesion)
    return followed and any(p.organ in lexicon.HOSTS and p.explicit for p in places_of(s))


def _operated_before(s: Sentence) -> set[int]:
    """*Renal cell carcinoma operated on in 2011*."""
    treated = _TREATED.search(" ".join(s.tokens))
    if treated:  # "RCC treated by partial nephrectomy"
        return set(range(len(" ".join(s.tokens)[: treated.start()].split())))
    if _OPERATED.isdisjoint(s.tokens):
        return set()
    for i, token in enumerate(s.tokens[:-2]):
        year = next((t for t in s.tokens[i + 1 : i + 4] if len(t) == 4 and t.isdigit()), "")
        if token in _OPERATED and {"in"} & set(s.tokens[i + 1 : i + 3]) and year[:2] in ("19", "20"):
            begin = max((j + 1 for j in range(i) if s.tokens[j] in ("of", "from", "and", ",")), default=0)
            return set(range(begin, i))
    return set()


def _of_a_year(s: Sentence) -> set[int]:
    """*Clear cell RCC 2018*, *RCC, right nephrectomy 2016*: what the patient had then."""
    found: set[int] = set()
    for i, token in enumerate(s.tokens):
        if len(token) == 4 and _YEAR.fullmatch(token):
            found.update(j for h in s.hits if h.end == i and pathology_of(h) for j in range(h.start, h.end))
            found.update(range(i) if s.tokens[i - 1].endswith("ectomy") else ())
    return found


_YEAR = re.compile(r"(?:19|20)\d\d")
_TREATED = re.compile(
    r"\btreated (?:by|with) (?:\w+ ){0,2}?(?:\w+ectomy|resection|enucleation|surgery)\b|\b(?:resected|enucleated) ,"
)
_OPERATED = words("operated resected removed excised enucleated")
_THOUGHT = words("thought believed considered described suspected")
_ELSEWHERE = words("ultrasound us mri outside prior previous sonography earlier")


def _thought_before(s: Sentence) -> set[int]:
    """What another examination had made of it: *which was thought to be solid at ultrasound*."""
    for i, token in enumerate(s.tokens[:-3]):
        if token in _THOUGHT and s.tokens[i - 1] in ("was", "were") and s.tokens[i + 2] in _ELSEWHERE:
            end = next((j for j in range(i, len(s.tokens)) if s.tokens[j] in ",;.:"), len(s.tokens))
            return set(range(i + 3, end))  # "it was thought on ultrasound to be a hemangioma"
        if token in _THOUGHT and s.tokens[i - 1] in ("was", "were") and s.tokens[i + 1] in ("to", "as"):
            at = next((j for j in range(i + 2, min(i + 9, len(s.tokens))) if s.tokens[j] in _ELSEWHERE), None)
            if at is not None:
                return set(range(i + 2, at))
    return set()


def is_of_other_imaging(s: Sentence) -> bool:
    """Whether a sentence only tells what another examination found: *a lesion was suspected on ultrasound*."""
    if s.sizes or {"is", "are", "shows", "now"} & set(s.tokens):
        return False
    for before, verb, preposition, examination in zip(s.tokens, s.tokens[1:], s.tokens[2:], s.tokens[3:], strict=False):
        told = before in ("was", "were") and verb in ("suspected", "described")
        if told and preposition in _BY and examination in _ELSEWHERE:
            return True
    named = s.tokens[-2:-1] and s.tokens[-2] in _BY and s.tokens[-1] in _ELSEWHERE
    only_named = not s.statements and not {"was", "were", "not", "no"} & set(s.tokens)
    return bool(named and only_named)  # "Incidentaloma of the liver in ultrasound."


_BY = words("on in at by")


_OF_LESIONS = words("query presents presenting presented")  # said of patients, and of lesions


def _follows_lesion(s: Sentence, cue: Hit) -> bool:
    """Whether a cue such as *query* in *hepatic lesion, query hemangioma* speaks of the lesion, and not of the past."""
    return any(h.has("lesion") and h.end <= cue.start and not s.is_negated(h) for h in s.hits)


_AFTER_HISTORY = words(
    "is are shows now who presents presenting there has demonstrates demonstrate was were favoured favored contains "
    "contain remnant"
)
_KNOWN = words("known prior previous treated resected underlying primary")


def nouns_of(
    s: Sentence,
    open_to: Callable[[str | None], bool],
    suits: Callable[[Hit], bool],
    counted: bool,
    in_cyst: bool = False,
    called: Set[str] = frozenset(),
) -> list[Noun]:
    """The nouns of a sentence in order.

    ``open_to``: whether there is a lesion that can have a pathology. ``suits``: whether there is one, not yet
    diagnosed, where the sentence places this pathology. ``counted``: lesions were counted before, so that *one* and
    *the other* can stand for one of them.
    """
    past = history_tokens(s)
    nouns: list[Noun] = []
    taken: set[int] = set()
    hits = sorted([*s.hits, *_pronouns(s, counted or _counts(s))])
    for hit in hits:
        lesion, pathology = hit.has("lesion"), pathology_of(hit)
        area = hit.has("area") and not any(n.role == "lesion" for n in nouns) and _is_described(s, hit)
        if not (lesion or pathology or area or hit.has("other", "artifact")) or s.is_origin(hit):
            continue
        if lesion and not pathology and _is_source(s, hit):
            continue
        if hit.has("other") and s.tokens[hit.end - 1] in ("phase", "protocol"):
            continue
        if s.tokens[hit.end : hit.end + 2] == ["protocol", "ct"] or s.tokens[hit.end :] in _PURPOSES:
            continue  # "renal mass protocol CT", "hepatic lesion characterization"
        start = _phrase_start(s, hit, taken)
        if _is_property_of(s, hit, start, nouns) or _is_primary(s, hit) or _is_landmark(s, start):
            continue
        if (_is_compared_with(s, start) or _is_numbered_model(s, hit)) and open_to(None):
            continue
        noun = Noun(hit, start, "lesion", pathology)
        if hit.has("artifact"):
            noun.role = "nothing" if s.is_negated(hit) else "artifact"
        elif not (lesion or pathology or area or _is_sized_satellite(s, noun)):
            noun.role = "artifact" if _is_other_diagnosis(s, noun, nouns) else "other"
        elif s.tokens[hit.end - 1] in ("defect", "defects") and any(n.role == "other" for n in nouns):
            noun.role = "other"  # "the renal vein shows a filling defect"
        elif s.tokens[hit.end - 1] in ("defect", "defects") and any(n.role == "lesion" for n in nouns):
            noun.role = "other"  # "a tumor which causes a filling defect"
        elif lesion and not pathology and _is_part_of_cyst(s, noun, nouns, in_cyst):
            noun.role = "other"
            s.statements.append(
                Statement("composition", lexicon.NODULE_IN_WALL, noun.start, noun.end, s.is_negated(hit))
            )
        elif lesion and not pathology and nouns and s.tokens[hit.end : hit.end + 3] in _AT_ITS_EDGE:
            noun.role = "other"  # "a metastasis which retains an enhancing nodule at its edge"
        elif (s.is_negated(hit) and not (_is_one_of_none(s, hit) and not open_to(None))) or hit.start in past:
            noun.role = "nothing"
        elif pathology in called and _is_subject_again(s, noun):
            pass
        elif _is_diagnosis(s, noun, nouns, open_to(pathology)) or (
            pathology and not any(n.role == "lesion" for n in nouns) and _only_names(s, noun) and suits(hit)
        ):
            noun.role = "diagnosis"
        if pathology and (_describes_another_thing(s, hit) or _is_in_question(s, noun, nouns)):
            noun.role = "nothing"
        before = nouns[-1] if nouns else None
        if before and before.end == hit.start and before.role == noun.role and not before.pathology and lesion:
            nouns.pop()  # *a mass lesion*
            noun.start, before = before.start, None
        if (":" in s.tokens[:start] and not (lesion and pathology)) or s.tokens[start - 1] == "as":
            before = next((n for n in reversed(nouns) if n.role == "lesion"), before)
        if before and _is_apposed(s, before, noun):
            told = _has_size(s, before.start, start) or {"the", "this"} & set(
                s.tokens[max(0, before.start - 1) : before.start + 1]
            )
            defined = s.tokens[start - 1] == "is" and s.tokens[before.start] in ("the", "this")
            whole = (s.tokens[start - 1] == "as" or defined) and told and not _own_size(s, noun)
            (noun if whole else before).role = "diagnosis"  # "two nodules, 13 and 18 mm, seen as bright spots"
        nouns.append(noun)
        taken.update(range(hit.start, hit.end))
    diffuse = bool(nouns) and nouns[0].role == "lesion" and s.tokens[nouns[0].end - 1] in _DIFFUSE
    if diffuse and any(n.role == "nothing" and {"focal", "discrete"} & set(s.tokens[n.start : n.end]) for n in nouns):
        nouns[0].role = "nothing"  # "hypoattenuation of the medulla without a focal mass"
    return nouns


_AT_ITS_EDGE = [["at", "its", edge] for edge in ("edge", "margin", "periphery", "border", "rim")]
_PURPOSES = (
    ["characterization"],
    ["investigation"],
    ["workup"],
    ["work", "up"],
    ["evaluation"],
    ["assessment"],
)


def _is_subject_again(s: Sentence, noun: Noun) -> bool:
    """*The hyperdense cyst does not enhance*, after a cyst was told of: no diagnosis of another lesion."""
    begins = noun.start == 0 and s.tokens[0] in ("the", "this", "both", "these")
    return begins and not cue_after(s, noun)


def _is_property_of(s: Sentence, hit: Hit, start: int, before: Sequence[Noun]) -> bool:
    """Whether *hypodensity*, *structure* is what a lesion has and no further one: *the mass has a cystic structure*."""
    whole = before[-1] if before and before[-1].role == "lesion" else None
    in_phase = s.tokens[hit.end - 1] in _DENSITIES and bool(_IN_PHASE & set(s.tokens[hit.end : hit.end + 5]))
    if in_phase and before and s.tokens[hit.start - 1] == "with":
        return True
    if whole and s.tokens[hit.end - 1] in _DENSITIES and s.tokens[hit.start - 1] in ("and", ",", "with"):
        return bool(_IN_PHASE & set(s.tokens[hit.end : hit.end + 5]))  # "and hypoattenuation on the delayed phase"
    if whole and s.tokens[hit.end - 1] in _DENSITIES and s.tokens[hit.start - 1] in ("central", "internal"):
        return True  # "with peripheral enhancement and central hypodensity"
    if whole is None or s.tokens[start - 1] not in _HAVING or whole.end < start - 2:
        return False
    if s.tokens[hit.end - 1] in _MAKEUP:
        return not pathology_of(hit)
    return s.tokens[hit.end - 1] in _DENSITIES and s.tokens[start] not in ("a", "an")


def _is_landmark(s: Sentence, start: int) -> bool:
    """Whether a lesion told of before only says where another thing lies: *next to the mass there is ...*."""
    beside = s.tokens[max(0, start - 2) : start] in _BESIDE
    beside = beside or s.tokens[max(0, start - 1)] in ("beside", "near", "behind")
    return beside and s.tokens[start] in ("the", "this")


def _is_compared_with(s: Sentence, start: int) -> bool:
    """Whether a lesion told of before is only compared with: *it enhances as intensely as the renal mass*."""
    lead = s.tokens[max(0, start - 2) : start]
    compared = lead in _AS or (lead[-1:] in (["than"], ["unlike"], ["like"]) and lead[0] not in ("other", "rather"))
    return compared and start > 1 and s.tokens[start] in ("the", "this")


def _is_numbered_model(s: Sentence, hit: Hit) -> bool:
    """*As lesion 1, it is hypodense*, *unlike lesion 1 it does not wash out*."""
    lead, after = s.tokens[max(0, hit.start - 1) : hit.start], s.tokens[hit.end : hit.end + 1]
    alike = bool(lead) and lead[0] in ("as", "like", "to", "unlike", "than")
    return alike and bool(after) and after[0].isdigit() and s.tokens[hit.start] == "lesion"


_AS = (["as", "in"], ["way", "as"], ["intensely", "as"], ["strongly", "as"], ["contrast", "to"], ["opposed", "to"])
_BESIDE = (["next", "to"], ["adjacent", "to"], ["close", "to"], ["lateral", "to"], ["medial", "to"], ["anterior", "to"])


def _is_source(s: Sentence, hit: Hit) -> bool:
    """Whether a cancer is only where a metastasis comes from: *metastasis of a sigmoid carcinoma*."""
    if s.tokens[hit.end - 1] not in _CANCERS:
        return False
    if any(h.start == hit.end and pathology_of(h) == "metastasis" for h in s.hits):
        return True  # "lung cancer metastases"
    begin = next((i for i in range(hit.start - 1, max(-1, hit.start - 5), -1) if s.tokens[i] in ("of", "from")), None)
    return begin is not None and any(pathology_of(h) == "metastasis" and begin - 1 <= h.end <= begin for h in s.hits)


_CANCERS = words("carcinoma cancer primary tumor tumour malignancy neoplasm adenocarcinoma")


def _is_primary(s: Sentence, hit: Hit) -> bool:
    """Whether *primary* only belongs to the pathology after it: *primary adenocarcinoma*."""
    return s.tokens[hit.start : hit.end] == ["primary"] and any(h.start == hit.end and pathology_of(h) for h in s.hits)


_IN_PHASE = words("phase phases images series scan")
_HAVING = words(
    "shows displays demonstrates exhibits has presents showing displaying demonstrating exhibiting having of"
)
_DENSITIES = words("hypodensity hypoattenuation hyperdensity hyperattenuation")
_MAKEUP = words("structure")
_DIFFUSE = words("hypodensity hypodensities hypoattenuation area areas")


COUNTS = {"two": 2, "2": 2, "three": 3, "3": 3, "four": 4, "4": 4, "five": 5, "5": 5, "both": 2}

_FURTHER = words("second third further new smaller larger similar")
_WHICH_ONE = words(
    "upper lower left right pole cranial caudal medial lateral dorsal ventral "
    "first second third other larger smaller anterior posterior"
)
_PRONOUNS = words("one another other first second third fourth larger smaller smallest latter former")
_AFTER_PRONOUN = words("is in on measures lies shows was one at has appears of that which with a @ , (")


_OF_THEM = (["of", "them"], ["of", "these"], ["of", "those"])


def _counts(s: Sentence) -> bool:
    """Whether a sentence counts lesions: *two lesions: one in the head, one in the tail*."""
    return any(
        is_lesion_noun(h)
        and is_plural(s, h)
        and (set(s.tokens[: h.start]) & set(COUNTS) or s.tokens[h.end : h.end + 1] == [":"])
        for h in s.hits
    )


def _pronouns(s: Sentence, counted: bool) -> list[Hit]:
    """*One*, *the other*, *the third* in a sentence that speaks of lesions counted before; *another* in any."""
    found = []
    for i, token in enumerate(s.tokens[:-1]):
        begins = i == 0 or s.tokens[i - 1] in ("the", "and", ",", "while", ":", ";", "is")
        begins = begins or (token == "one" and i < 4 and s.tokens[i - 1] in _WHICH_ONE)
        begins = begins or (token == "one" and i > 1 and s.tokens[i - 2] == "a" and s.tokens[i - 1] in _FURTHER)
        exists = s.tokens[max(0, i - 2) : i] == ["there", "is"]
        exists = exists and (
            any(is_lesion_noun(h) and h.end < i for h in s.hits) or s.tokens[i + 1] in (",", "measuring", "of", "with")
        )
        one_more = s.tokens[max(0, i - 3) : i] == ["there", "is", "a"] and s.tokens[i + 1] in (",", "in", "measuring")
        one_more = one_more or (s.tokens[:i] == ["a"] and s.tokens[i + 1 : i + 3] in ([",", "in"], [",", "on"]))
        if token in ("second", "third", "fourth") and one_more:  # "there is a third, 1 cm, in segment 2"
            found.append(Hit(i, i + 1, (lexicon.Term("lesion", "pronoun"),)))
            continue
        exists = exists or (token == "one" and i > 1 and s.tokens[i - 2] == "a" and s.tokens[i - 1] in _FURTHER)
        if token == "one" and s.tokens[i + 1 : i + 3] in _OF_THEM and begins and not counted:
            found.append(Hit(i, i + 1, (lexicon.Term("lesion", "pronoun"),)))
            continue
        if counted and token == "that" and i == 0 and s.tokens[1] in ("in", "on", "at"):  # "that on the left is a cyst"
            found.append(Hit(0, 1, (lexicon.Term("lesion", "pronoun"),)))
        if token not in (_PRONOUNS if counted else ("another", "former", "latter")) and not (token == "one" and exists):
            continue
        of_noun = s.tokens[i + 1] == "," and s.tokens[i + 2 : i + 3] and s.tokens[i + 2][0] == "@"
        if token == "another" and of_noun and set(s.tokens[i + 3 : i + 5]) & _LESION_WORDS:
            continue  # "another, 7 mm lesion"
        if (
            token == "another"
            and s.tokens[i + 1] == "one"
            and (begins or s.tokens[i + 2 : i + 3] in (["of"], ["with"]))
        ):
            found.append(Hit(i, i + 2, (lexicon.Term("lesion", "pronoun"),)))
        elif begins and (s.tokens[i + 1] in _AFTER_PRONOUN or s.tokens[i + 1][0] == "@"):
            found.append(Hit(i, i + 1, (lexicon.Term("lesion", "pronoun"),)))
    return found


def _is_apposed(s: Sentence, first: Noun, second: Noun) -> bool:
    """Whether a pathology and a noun after it are one lesion: *IPMN with a 3 cm cystic lesion*."""
    if first.role != "lesion" or second.role != "lesion" or second.pathology:
        return False
    if second.hit.name("lesion") == "pronoun" and is_plural(s, first.hit):
        return False  # "two cysts, the larger 31 mm"
    between = s.tokens[first.end : second.start]
    pronoun = first.hit.name("lesion") == "pronoun"
    if between[-1:] == ["as"] and between[-2:-1] != ["well"] and _is_one_noun(s, first, second):
        return True  # "and was only seen on the arterial phase as a bright spot"
    apart = {"and", ";"} if pronoun or between[-1:] == ["as"] else {"and", ",", ";"}
    same = between and (between[-1] in ("as", "is", "represents") or between[-2:] == ["corresponds", "to"])
    if same and not apart & set(between):
        return True
    if not first.pathology:
        # "echogenic focus, segment 7: CT shows a 17 mm lesion"
        again = ":" in between and _own_size(s, second) and not _has_size(s, first.start, second.start)
        return again and not (is_plural(s, first.hit) or is_plural(s, second.hit))
    if ":" in between and ("," not in between or "not" in between) and not _has_size(s, first.start, second.start):
        # "Sarcoma is suspected: a mass ...", "Lymphoma: both kidneys with nodules"
        return not is_plural(s, first.hit) or is_plural(s, second.hit)
    if ":" in between and is_plural(s, first.hit) and is_plural(s, second.hit):  # "metastases: at least 6 lesions"
        return True
    return not _own_size(s, first) and s.tokens[first.end : second.start] in (
        ["with"],
        ["presenting", "as"],
        [","],
        ["as"],
    )


def _is_one_noun(s: Sentence, first: Noun, second: Noun) -> bool:
    """Whether nothing but the first noun stands before the second that could be its subject."""
    between = (h for h in s.hits if first.end <= h.start < second.start and s.tokens[h.end - 1] not in _TISSUES)
    return not any(is_lesion_noun(h) or h.has("other") for h in between)


_TISSUES = words("parenchyma gland cortex")  # with which a lesion is compared


def _is_described(s: Sentence, hit: Hit) -> bool:
    """Whether *area* stands for a lesion: *a hypodense area*, *an area of low attenuation*."""
    start = _phrase_start(s, hit, set())
    near = [st for st in s.statements if st.field in ("attenuation", "enhancement")]
    after = hit.end + (s.tokens[hit.end : hit.end + 1] == ["of"])
    while after < len(s.tokens) and s.tokens[after] in lexicon.SKIPPED:
        after += 1
    sized = any(
        s.tokens[i][0] == "@" for i in range(start, min(hit.end + 2, len(s.tokens)))
    )  # "a 17 mm area in the head which enhances less"
    return any(start <= st.start < st.end <= hit.start or hit.end <= st.start <= after + 8 * sized for st in near)


def _is_in_question(s: Sentence, noun: Noun, before: Sequence[Noun]) -> bool:
    """*It is not certain that the lesion is a cyst*, *whether the lesion is a cyst is unclear*."""
    at = next(
        (i for i, t in enumerate(s.tokens[:-1]) if t in ("that", "whether", "if") and s.tokens[i + 1] == "the"), None
    )
    if at is None or not any(n.role == "lesion" and at < n.start for n in before):
        return False
    doubted = any(c.has("doubt", "pseudo") and c.end == at and s.tokens[c.start] != "no" for c in s.cues)
    return at < noun.start and (doubted or s.tokens[at] == "whether")


def _describes_another_thing(s: Sentence, hit: Hit) -> bool:
    """*metastatic nodes*, *urothelial thickening*: a pathology before a noun that is no lesion here."""
    after = s.tokens[hit.end : hit.end + 2]
    if s.tokens[0] == "ct" and s.tokens[hit.end :] == ["follow", "up"]:
        return True  # "CT for sarcoma follow up"
    if after[:1] == ["would"] and after[1:] not in (["be"], ["fit"], ["match"]):
        return True  # "a hemangioma would show peripheral enhancement"
    return bool(after) and after[0] in _OTHER_NOUNS


_OTHER_NOUNS = words(
    "node nodes lymph adenopathy lymphadenopathy thickening protocol screening surveillance staging workup syndrome"
)


def _has_size(s: Sentence, start: int, end: int) -> bool:
    return any(start <= size.token < end for size in s.sizes)


def _own_size(s: Sentence, noun: Noun) -> bool:
    return any(s.tokens[i][0] == "@" for i in range(noun.start, noun.hit.start))


def _is_diagnosis(s: Sentence, noun: Noun, before: Sequence[Noun], open_lesions: bool) -> bool:
    """Whether a noun only says what a lesion is: *consistent with metastasis*, *a cyst is favored*."""
    lesions = [n for n in before if n.role == "lesion"]
    if _own_size(s, noun) and lesions and lesions[-1].hit.name("lesion") == "pronoun":
        between = s.tokens[lesions[-1].end : noun.start]
        again = between[-2:] == ["and", "is"]  # "the fourth does not enhance and is a 20 mm cyst"
        if noun.pathology and between[-1:] == ["is"] and (again or not {"and", ";"} & set(between)):
            return True  # "the other, in segment 2, is a 12 mm cyst"
    if noun.pathology and lesions and not is_plural(s, lesions[-1].hit) and _is_after_colon(s, noun, lesions[-1]):
        return True  # "Renal mass: 12 mm RCC"
    if _own_size(s, noun) or noun.hit.name("lesion") == "pronoun":
        return False
    named = (
        s.tokens[noun.end - 1] in _NAMES_OF_CANCER and lesions and s.tokens[max(0, noun.start - 1)] in (":", ",", "-")
    )
    if named:  # "a new focus of 11 mm: recurrence"
        return True
    if is_excepted(s, noun):
        return False
    cue = cue_before(s, noun, before)
    if noun.pathology is None:
        listed = lesions and "," in s.tokens[max(0, noun.start - 1) : noun.start + 1]
        if listed and not is_plural(s, noun.hit) and _organ_within(s, noun.start, noun.hit.start):
            return False  # "segment 4 lesion consistent with FNH, segment 6 lesion with hemangioma"
        lead = s.tokens[noun.start - 1] if noun.start else ""
        if lead == ":" and lesions and _has_size(s, 0, noun.start) and s.tokens[noun.start] not in ("a", "an", "the"):
            return not (is_plural(s, noun.hit) or _has_size(s, noun.end, len(s.tokens)))
        joined = bool({"or", "vs", "versus"} & set(s.tokens[noun.end : noun.end + 2]))  # "a nodule or early HCC"
        return bool((cue or (joined and cue_after(s, noun))) and (lesions or open_lesions))
    if cue or cue_after(s, noun) or _is_first_alternative(s, noun):
        return bool(lesions or open_lesions)
    placed = any(h.has("organ", "site") and not (s.is_negated(h) or is_reference(s, h, "")) for h in s.hits)
    if lesions:
        if noun.pathology == lesions[-1].pathology and _has_size(s, lesions[-1].end, noun.start):
            return not _has_size(s, noun.end, len(s.tokens))  # *cyst left 3 cm, cyst right 2 cm*
        lead = s.tokens[noun.start - 1] if noun.start else ""
        own = _organ_within(s, noun.start, noun.end)
        if own and lead == "," and _in_another_place(s, lesions[-1], noun, own):
            return False
        if lead in ("with", ",", "and", "plus", "also") and own and own != _organ_within(s, 0, noun.start):
            return False
        return not (lead in ("and", "plus", "also") and (placed or s.tokens[noun.start] in ("a", "an")))
    if len(s.tokens) <= 5 and noun.pathology != "cyst" and not is_plural(s, noun.hit):  # *Pancreatic carcinoma.*
        placed = any(h.has("site") for h in s.hits)
    own_sizes = [z for z in s.sizes if not z.prior and not z.distance]
    return open_lesions and not own_sizes and not placed and not _introduced(s, noun)


def _is_other_diagnosis(s: Sentence, noun: Noun, before: Sequence[Noun]) -> bool:
    """Whether what is no tumor is the diagnosis: *consistent with pyelonephritis*, *a hematoma rather than a tumor*."""
    if s.tokens[noun.end - 1] not in lexicon.NOT_A_TUMOR or s.is_negated(noun.hit):
        return False
    if s.tokens[noun.end : noun.end + 2] in (["rather", "than"], ["and", "not"]):
        return True
    there = [n for n in before if n.role != "nothing"]
    of_lesion = there[-1].role == "lesion" and not there[-1].pathology if there else s.tokens[0] in ("it", "this")
    if not of_lesion:
        return False  # "calcifications consistent with pancreatitis", "a pseudocyst consistent with pancreatitis"
    if s.tokens[noun.start - 1] == ":":
        return True  # "a linear lesion: laceration"
    cues = (c for c in s.cues if c.has("diagnosis") and 0 <= noun.hit.start - c.end <= 4)
    near = any("of" not in s.tokens[c.end : noun.hit.start] for c in cues)  # not "sequel of pancreatitis"
    return near and cue_before(s, noun, before)


_EXCEPTIONS = (["apart", "from"], ["aside", "from"], ["other", "than"], ["exception", "of"])


def is_excepted(s: Sentence, noun: Noun) -> bool:
    """*No renal lesion except a simple cyst*: the cyst is there."""
    lead = s.tokens[max(0, noun.start - 2) : noun.start]
    if "except" not in lead and lead not in _EXCEPTIONS:
        return False
    return any(h.end < noun.start and is_lesion_noun(h) and s.is_negated(h) for h in s.hits)


def _is_first_alternative(s: Sentence, noun: Noun) -> bool:
    """*Adenoma vs FNH* names no further lesion."""
    versus = s.tokens[noun.end : noun.end + 1] in (["vs"], ["versus"])
    return versus and any(pathology_of(h) and noun.end < h.start <= noun.end + 2 for h in s.hits)


_NAMES_OF_CANCER = words("recurrence malignancy carcinoma cancer neoplasm")


def _in_another_place(s: Sentence, first: Noun, second: Noun, organ: str) -> bool:
    """Whether two noun phrases name different parts of an organ: *segment 3 hemangioma, segment 8 cyst*."""
    mine = location_in(s, second.start, second.end, organ)
    return mine.contradicts(location_in(s, first.start, second.start, organ))


def _only_names(s: Sentence, noun: Noun) -> bool:
    """Whether a sentence names one pathology and where it is, and says nothing else: *Carcinoma of the left kidney.*"""
    others = [h for h in s.hits if is_lesion_noun(h) and h != noun.hit and not _is_with(s, noun, h)]
    said = any(st.field != "pathology" and st.end > noun.end for st in s.statements)
    return not (s.sizes or others or said or is_plural(s, noun.hit) or _introduced(s, noun))


def _is_after_colon(s: Sentence, noun: Noun, lesion: Noun) -> bool:
    return s.tokens[lesion.end : lesion.end + 1] == [":"] and noun.start == lesion.end + 1


def _is_with(s: Sentence, noun: Noun, other: Hit) -> bool:
    """Whether a pathology is only what another comes with: *carcinoma of the pancreas with hepatic metastases*."""
    between = s.tokens[noun.end : other.start]
    return pathology_of(other) == "metastasis" and "with" in between and not {",", "and", ";"} & set(between)


def _is_sized_satellite(s: Sentence, noun: Noun) -> bool:
    """*Two satellite nodules of up to 9 mm* are lesions; satellite nodules without more are not told of one by one."""
    return "satellite" in s.tokens[noun.start : noun.end] and _has_size(s, noun.start, noun.end + 6)


def _is_part_of_cyst(s: Sentence, noun: Noun, before: Sequence[Noun], in_cyst: bool) -> bool:
    """Whether a nodule is that of something cystic: *a cystic mass with septa and an enhancing nodule*.

    ``in_cyst``: the lesion told of before is cystic.
    """
    if s.tokens[noun.end - 1] not in ("nodule", "nodules"):
        return False
    if _is_carried_by_wall(s, noun):
        return True
    whole = next((n for n in before if n.role == "lesion"), None)
    if whole is None and _is_in_wall(s, noun, in_cyst):
        return True
    if s.tokens[:2] in (["inside", "it"], ["within", "it"], ["in", "it"]):
        return True
    if whole is None:
        return in_cyst and _is_unplaced_part(s, noun)
    cystic = whole.pathology == "cyst" or any(
        st.field == "composition" and st.value in ("cystic", "mixed") and not st.negated for st in s.statements
    )
    has = next((i for i in range(whole.end, noun.start) if s.tokens[i] in _HOLDING), None)
    return bool(cystic and has) and not set(s.tokens[has : noun.end]) & _PARTS_OF_ORGANS


_HOLDING = words("with contains containing shows has showing having bearing bears")
_PARTS_OF_ORGANS = words("segment lobe pole head tail kidney liver pancreas")
_CARRIES = re.compile(r"\b(?:its|whose) (?:\w+ )?walls? (?:carries|bears|contains|has|shows) .*$")
_CYST_WALLS = words("wall walls septum septa septation septations")
_BODY_WALLS = words("abdominal chest bowel gastric duodenal gallbladder bladder vascular thoracic")


def _is_carried_by_wall(s: Sentence, noun: Noun) -> bool:
    """*The upper one, 3 cm, is complex: its wall carries an enhancing nodule*."""
    carries = _CARRIES.search(" ".join(s.tokens[: noun.end]))
    return carries is not None and not {",", ";", ":"} & set(carries.group().split())


def _is_in_wall(s: Sentence, noun: Noun, in_cyst: bool) -> bool:
    """*A nodule of 9 mm in its wall*, *the wall bears a nodule*."""
    for i, token in enumerate(s.tokens):
        if token not in _CYST_WALLS or s.tokens[i - 1] in _BODY_WALLS or s.tokens[i + 1 : i + 2] == ["of"]:
            continue
        own = in_cyst or "its" in s.tokens[max(0, i - 2) : i]
        after = noun.end <= i <= noun.end + 8 and bool(_ALONG & set(s.tokens[noun.end : i]))
        if own and (after or (i <= 2 and i < noun.start)) and not {",", ";"} & set(s.tokens[noun.end : i]):
            return True
    return False


_ALONG = words("in within along on at from of")


def _is_unplaced_part(s: Sentence, noun: Noun) -> bool:
    """*There are enhancing nodules*, after a cystic lesion; but *a second nodule* or one of segment 7 is a new one."""
    placed = any(h.has("organ", "site") for h in s.hits) or _has_size(s, 0, len(s.tokens))
    phrase = set(s.tokens[noun.start : noun.end])
    begins = noun.start == 0 or s.tokens[:1] == ["there"]
    return begins and not placed and bool(phrase & _OF_A_PART) and not phrase & _ONE_MORE


_OF_A_PART = words("enhancing solid mural small tiny")
_ONE_MORE = words("second another new further additional other the this")


def _organ_within(s: Sentence, start: int, end: int) -> str | None:
    """The last organ named in tokens ``start`` to ``end``."""
    return next(
        (
            h.name("organ") or h.name("site")
            for h in reversed(s.hits)
            if start <= h.start < end and h.has("organ", "site")
        ),
        None,
    )


def _introduced(s: Sentence, noun: Noun) -> bool:
    """Whether the sentence says that the thing exists: *a cyst is seen*, *there is a cyst*."""
    return "there" in s.tokens[: noun.start] or bool(
        words("seen noted present identified visible found again demonstrated") & set(s.tokens[noun.end :])
    )


def cue_before(s: Sentence, noun: Noun, before: Sequence[Noun]) -> bool:
    """Whether a cue of diagnosis stands before the noun phrase, or before one joined to it by *or*, *versus*."""
    for cue in s.cues:
        if cue.has("diagnosis") and cue.start < noun.hit.start and cue.end >= noun.start - 3:
            between = s.tokens[cue.end : noun.start]
            if not set(between) & _STRONG_ENDS:
                return True
    lead = s.tokens[noun.start - 1] if noun.start else ""
    if lead == "?" or (lead in ("is", "are", "was", "were") and _has_lesion_subject(s, noun.start - 1, before)):
        return True
    if before and before[-1].role == "diagnosis":
        between = s.tokens[before[-1].end : noun.start]
        return len(between) <= 4 and "with" not in between
    return False


def _has_lesion_subject(s: Sentence, verb: int, before: Sequence[Noun]) -> bool:
    """Whether a lesion, or a word for one, is what *is* speaks of: *lesion 2 is a cyst*, *this is a cyst*."""
    if s.tokens[verb - 1] == ")" and "(" in s.tokens[:verb]:
        return _has_lesion_subject(s, s.tokens.index("("), before)
    if s.tokens[verb - 1] in ("it", "this", "which", "that", "these", "they", "both", "former", "latter"):
        return True
    return bool(before) and before[-1].role == "lesion" and s.chunks[before[-1].hit.start] == s.chunks[verb]


_STRONG_ENDS = words("there is are measures shows with @")


def cue_after(s: Sentence, noun: Noun) -> bool:
    after = s.tokens[noun.end : noun.end + 1]
    if after and after[0] == "?":
        return True
    return any(
        cue.has("diagnosis after")
        and 0 <= cue.start - noun.end <= 5
        and not set(s.tokens[noun.end : cue.start]) & {",", ";", "(", "and"}
        for cue in s.cues
    )


# Where a lesion is said to lie


@dataclass
class Location:
    """Where in its organ a lesion lies: side, and parts of the organ (*segment 7*, *upper pole*)."""

    side: str = ""
    parts: tuple[str, ...] = ()

    def contradicts(self, other: Location) -> bool:
        if self.side and other.side and self.side != other.side and "both" not in (self.side, other.side):
            return True
        return bool(self.parts and other.parts and not _with_segments(self.parts) & _with_segments(other.parts))

    def equals(self, other: Location) -> bool:
        if self.contradicts(other):
            return False
        return bool((self.parts and other.parts) or (self.side and self.side == other.side))

    def __bool__(self) -> bool:
        return bool(self.side or self.parts)

    def __str__(self) -> str:
        return " ".join(part for part in (self.side, "/".join(self.parts)) if part)


_OF_LOBES = {
    "left lobe": ("segment 2", "segment 3", "segment 4", "segment 4a", "segment 4b"),
    "right lobe": ("segment 5", "segment 6", "segment 7", "segment 8", "dome"),
}


def _with_segments(parts: Sequence[str]) -> set[str]:
    """The parts of an organ, and the segments of its lobes: *the HCC of the left lobe* can be that in segment 3."""
    found = {*parts, *(segment for part in parts for segment in _OF_LOBES.get(part, ()))}
    return found | ({"segment 4a", "segment 4b"} if "segment 4" in found else set())


SEGMENT_WORDS = words("segment segments seg segs segm s")
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "iva": "4a", "ivb": "4b", "v": "5", "vi": "6", "vii": "7"}
_ROMAN |= {"viii": "8"}
_SEGMENT = re.compile(r"^s?([1-8][ab]?)$")
_SIDES = {"left": "left", "lt": "left", "l": "left", "right": "right", "rt": "right", "r": "right"}
_SIDES |= {"rk": "right", "lk": "left"}
_SIDES |= {"sided": "", "bilateral": "both", "both": "both"}
_POLES = {
    "upper": "upper pole",
    "superior": "upper pole",
    "lower": "lower pole",
    "inferior": "lower pole",
    "mid": "interpolar",
    "middle": "interpolar",
    "interpolar": "interpolar",
    "midpole": "interpolar",
    "up": "upper pole",
    "lp": "lower pole",
    "mp": "interpolar",
}
PANCREAS_PARTS = words("head neck body tail uncinate isthmus")


def segment_number(token: str) -> str | None:
    match = _SEGMENT.match(token)
    return match.group(1) if match else _ROMAN.get(token)


def location_in(s: Sentence, start: int, end: int, organ: str | None) -> Location:
    """The location named in tokens ``start`` to ``end``."""
    tokens = s.tokens
    side, parts = "", []
    i = start
    while i < end:
        token = tokens[i]
        if organ == "liver":
            if token in SEGMENT_WORDS:
                i += 1
                while i < end and (
                    segment_number(tokens[i])
                    or tokens[i] in (",", "and", "/", "-", "(")
                    or tokens[i][0] == "@"
                    or tokens[i] == ")"
                ):
                    number = segment_number(tokens[i])
                    if number:
                        parts.append(f"segment {number}")
                    i += 1
                continue
            if re.match(r"^s[1-8][ab]?$", token):
                parts.append(f"segment {token[1:]}")
            elif token in ("left", "right") and ("lobe" in tokens[i + 1 : i + 4] or _is_of_lesion(s, i)):
                parts.append(f"{token} lobe")
            elif token in ("caudate", "dome"):
                parts.append(token)
        elif organ == "kidney":
            side = side or _SIDES.get(token, "")
            apart = token in ("interpolar", "midpole", "lp", "mp") or set(tokens[i + 1 : i + 3]) & _POLE_WORDS
            if token in _POLES and (apart or (token == "mid" and _is_of_kidney(tokens, i))):
                parts.append(_POLES[token])
        elif organ == "pancreas" and token in PANCREAS_PARTS and not _is_distant(s, i):
            parts.append("neck" if token == "isthmus" else token)
        i += 1
    return Location(side if organ == "kidney" else "", tuple(dict.fromkeys(parts)))


def _is_of_lesion(s: Sentence, i: int) -> bool:
    """*The left nodule*, *the right-sided hepatic mass*."""
    following = (t for t in s.tokens[i + 1 : i + 4] if t not in ("sided", "hepatic", "liver"))
    return next(following, "") in _PLAIN_LESIONS


def _is_of_kidney(tokens: Sequence[str], i: int) -> bool:
    """*Mid left kidney*, *left mid cyst*."""
    return bool({*tokens[max(0, i - 1) : i], *tokens[i + 1 : i + 2]} & {"left", "right", "l", "r", "kidney"})


_POLE_WORDS = words("pole third polar region portion")


def _is_distant(s: Sentence, i: int) -> bool:
    return any(
        t in ("toward", "towards", "into") or (t == "from" and s.tokens[j - 1] not in _ARISING)
        for j, t in enumerate(s.tokens[:i])
        if j >= i - 3
    )
