"""One sentence of a report: its tokens, its phrases, and what it states, negates and measures.

A sentence becomes tokens (typing errors of one letter corrected), tokens become phrases of ``lexicon``, and phrases
become statements about descriptors, each affirmed or negated. Whose statements they are is for ``extraction`` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import DamerauLevenshtein
from rapidfuzz.process import extract as closest

from . import lexicon
from .lexicon import words
from .phrases import Hit, Phrases, vocabulary
from .wording import NUMBER, NUMERALS, normalized

_CONTENT = Phrases(lexicon.content())
_CUES = Phrases(lexicon.cues())

# Tokens

_TERMS = vocabulary(lexicon.content())
_KNOWN = _TERMS | vocabulary(lexicon.cues()) | lexicon.SKIPPED | lexicon.SAFE
_CORRECTABLE = sorted(w for w in _TERMS - lexicon.SKIPPED if len(w) >= 5 and w.isalpha())


@lru_cache(maxsize=65_536)
def corrected(word: str) -> str:
    """The term of the table that ``word`` is one letter away from, or the word itself.

    One letter: changed, missing, too many, or two changed about. Where terms that differ in meaning are as near
    (*hypedense*), the word is left alone.
    """
    if len(word) < 6 or word in _KNOWN or not word.isalpha():
        return word
    near = closest(word, _CORRECTABLE, scorer=DamerauLevenshtein.distance, score_cutoff=1, limit=4)
    names = [str(n[0]) for n in near if n[0][0] == word[0]] or [str(n[0]) for n in near if len(word) >= 8]
    if len({_CONTENT.terms(name) for name in names}) != 1:
        return word
    return names[0]


_TOKEN = re.compile(r"@\d+|s\d[ab]?\b|[a-z]+(?:'[a-z]+)?|s?\d+(?:\.\d+)?[ab]?\b|\d+|[^\sa-z\d]")


def _tokens(plain: str) -> list[str]:
    """The tokens of a normalized text, typing errors corrected; *noncystic* becomes two."""
    tokens = []
    for token in _TOKEN.findall(plain):
        if token.startswith("non") and token not in _KNOWN and token[3:] in _CONTENT:
            tokens += ["non", token[3:]]
        elif token != ".":
            tokens.append(corrected(token))
    return tokens


# Sizes

_UNIT = r"(?:mms?|cms?|millimet(?:er|re)s?|centimet(?:er|re)s?)(?![a-z²³2])"
_DIRECTION = r"(?:ap(?! (?:hyper|enh|bright|blush|uptake|phase))|cc|tr|trans|craniocaudal|anteroposterior)"
"""Not the arterial phase: *17 mm AP hyperenhancing nodule*."""
_MEASURE = rf"{NUMBER}(?:[ -]?{_UNIT})?(?: ?\([a-z]{{1,2}}\)| {_DIRECTION}\b)?"
_SIZE = re.compile(
    rf"(?<![\w.,/])(?<!segment )(?<!segments )(?<!seg )(?<!segs )(?P<lead>from |between )?(?P<first>{_MEASURE})"
    rf"(?P<rest>(?: ?(?:x|by|\*) ?{_MEASURE})*)(?P<range> ?(?:-|to|/) ?{_MEASURE}| and {NUMBER}[ -]?{_UNIT})?"
)
_PART = re.compile(rf"({NUMBER})(?:[ -]?({_UNIT}))?")


class _Measure(NamedTuple):
    mm: float
    before_mm: float | None
    """The earlier size, in *from 12 to 18 mm*."""
    dimensions: int = 1


def _set_sizes_apart(text: str) -> tuple[str, list[_Measure]]:
    """The text with each measurement replaced by ``@n``, and the measurements."""
    found: list[_Measure] = []

    def replace(match: re.Match[str]) -> str:
        parts = _PART.findall(match.group())
        units = [unit for _, unit in parts if unit]
        if not units:
            return match.group()
        values: list[float] = []
        unit = units[-1]
        for number, own in reversed(parts):
            unit = own or unit
            values.insert(0, float(number.replace(",", ".")) * (10 if unit.startswith("c") else 1))
        lead, far = match.group("lead"), match.group("range")
        if far and lead == "from ":
            found.append(_Measure(values[-1], values[0]))
            return f" @{len(found) - 1} "
        if far and far.lstrip().startswith("and") and lead != "between ":
            found.extend(_Measure(v, None) for v in (max(values[:-1]), values[-1]))
            return f" {lead or ''}@{len(found) - 2} and @{len(found) - 1} "
        if far and far.lstrip().startswith("to") and match.string[: match.start()].endswith("by "):
            found.extend(_Measure(v, None) for v in (values[0], values[-1]))  # "increased by 5 mm to 27 mm"
            return f" @{len(found) - 2} to @{len(found) - 1} "
        if far and far.strip().startswith("/"):
            values = values[:-1] if len(values) > 1 and not match.group("rest") and values[-1] < 0 else values
        found.append(_Measure(max(values), None, 1 if far else len(values)))
        return f" {lead or ''}@{len(found) - 1} "

    return _SIZE.sub(replace, text), found


class Size(NamedTuple):
    """A measurement in a sentence: its token and its longest dimension in millimetres."""

    token: int
    mm: float
    prior: bool
    """Of an earlier study: *previously 18 mm*."""
    distance: bool
    """No size: *4 mm from the capsule*."""


_PRIOR_BEFORE = words(
    "previously formerly prior prev was measured earlier initially before were compared had previous baseline"
)
_PRIOR_AFTER = words("previously formerly earlier before initially in on prior ago")
_DISTANCE_AFTER = words("from away above below proximal distal deep cranial caudal off beyond inside beneath")
_GROWN = words("smaller larger bigger shrunk grown decreased increased enlarged")
_NOW = words("now currently today measures measuring")


def _sizes(s: Sentence) -> list[Size]:
    return [
        Size(i, measure.mm, _is_prior(s.tokens, i), _is_distance(s.tokens, i, measure.dimensions > 1))
        for i, token in enumerate(s.tokens)
        if token[0] == "@"
        for measure in (s.measures[int(token[1:])],)
    ]


def _is_prior(tokens: Sequence[str], at: int) -> bool:
    alone = sum(t[0] == "@" for t in tokens) == 1
    after = next((i for i in range(at + 1, len(tokens)) if tokens[i][0] == "@"), 0)
    between = set(tokens[at + 1 : after])
    if after and tokens[after - 1] == "to" and _CHANGED & between and not between & _OF_ANOTHER_CLAUSE:
        return True  # "the 35 mm abscess has decreased to 18 mm"
    for i in range(at - 1, max(-1, at - 6), -1):
        ends = tokens[i] in ".,;)" or (tokens[i] in (":", "-") and tokens[i - 1] not in _PRIOR_BEFORE)
        if tokens[i] in _NOW or ends or tokens[i][0] == "@" or tokens[i] in ("unchanged", "stable"):
            break
        if alone and tokens[i] == "previously" and tokens[i + 1] in _TOLD and not _CHANGED & set(tokens):
            break  # "the previously described 19 mm lesion is stable"
        if alone and i + 1 < at and tokens[i] in _FORMERLY and tokens[at + 1 : at + 2] in _OF_LESION:
            break  # "the formerly hypervascular 19 mm lesion"
        if tokens[i] in _PRIOR_BEFORE and tokens[i - 1] != "as":  # "the same size as before (9 mm)"
            return True
    if tokens[at - 2 : at] in (["instead", "of"], ["rather", "than"]) and tokens[at - 3 : at - 2][:1] != ["@"]:
        return any(t[0] == "@" for t in tokens[:at])
    if (
        tokens[at - 1] in ("after", "vs", "versus", "against") and at > 1 and tokens[at - 2][0] == "@"
    ):  # "28 mm after 33 mm"
        return True
    if at > 0 and tokens[at - 1] == "from":
        return True
    if tokens[max(0, at - 2) : at] == ["having", "been"]:  # "41 mm, having been 50 mm"
        return True
    if at > 1 and tokens[at - 1] == "(" and (tokens[at - 2][0] == "@" or tokens[at - 2] in _GROWN):  # 23 mm (20 mm)
        return tokens[at - 2] not in _GROWN or "compared" in tokens[: at - 2]  # "compared to ... it is smaller (92 mm)"
    follow = tokens[at + 1 : at + 4]
    if not follow or follow[0] not in _PRIOR_AFTER:
        return False
    # "20 mm in 2020", "18 mm on the prior study", "12 mm previously"; but not "3 cm in segment 4"
    return follow[0] not in ("in", "on") or any(_is_year(t) or t in ("prior", "previous", "last") for t in follow[1:])


_OF_LESION = (["lesion"], ["mass"], ["nodule"], ["metastasis"], ["tumor"])
_CHANGED = words("decreased increased grown shrunk shrunken regressed enlarged progressed reduced smaller larger")
_OF_ANOTHER_CLAUSE = words("and but while whereas , ;")
_TOLD = words("described seen noted known reported demonstrated identified mentioned documented")


def _is_year(token: str) -> bool:
    return len(token) == 4 and token.isdigit() and token[:2] in ("19", "20")


_PART_NOUNS = words("component components septum septa septation wall scar capsule nodularity")


def _is_of_part(tokens: Sequence[str], at: int) -> bool:
    """Whether a size is that of a part of the lesion: *a solid component of 11 mm*, *a 5 mm mural nodule*."""
    i = at - 1
    while i > 0 and tokens[i] in ("of", "measuring", "up", "to", "(", "thick"):
        i -= 1
    if (i >= 0 and tokens[i] in _PART_NOUNS) or (tokens[i] == "nodule" and "mural" in tokens[max(0, i - 2) : i]):
        return True
    for token in tokens[at + 1 : at + 4]:
        if token in _PART_NOUNS or token == "mural":
            return True
        if token in _LESION_WORDS or token in _PUNCTUATION or token in _ENDS_OF_PART:
            return False
    return False


_ENDS_OF_PART = words("and with in whose which without no cyst cysts metastasis hemangioma abscess pseudocyst")


def _is_distance(tokens: Sequence[str], at: int, spatial: bool) -> bool:
    """``spatial``: measured in several dimensions, as lesions are and walls are not."""
    before, after = tokens[max(0, at - 3) : at], tokens[at + 1 : at + 3]
    if after[:1] == ["from"] and after[1:] and after[1][0] == "@":  # grown to 38 mm from 30 mm
        return False
    if (bool(after) and after[0] in _DISTANCE_AFTER) or "distance" in before or "within" in before[-1:]:
        return True
    if not spatial and _is_of_part(tokens, at):
        return True
    if _is_of_organ(tokens, at):
        return True
    if _BOUNDED & set(tokens[max(0, at - 5) : at]) and before[-1:] in (["than"], ["above"], ["exceeding"], ["exceeds"]):
        return True  # "none exceeding 15 mm"
    if before[-1:] in ([":"], ["of"], ["by"]) and before[-2:-1] and before[-2] in _GROWTH:
        return True  # "growth: 5 mm in 8 months", but not "an increased diameter of 27 mm"
    return before[-1:] in (["below"], ["under"], ["<"]) or before[-2:] in (["less", "than"], ["smaller", "than"])


def _is_of_organ(tokens: Sequence[str], at: int) -> bool:
    """*Both kidneys are enlarged (right 19 cm, left 21 cm)*; but *the metastasis has enlarged (34 mm)*."""
    bracket = next((i for i in range(at - 1, max(0, at - 9), -1) if tokens[i] in "()"), 0)
    if tokens[bracket] != "(" or tokens[bracket - 1] not in _ENLARGED:
        return False
    subject = set(tokens[:bracket])
    return bool(subject & _ENLARGED_ORGANS) and not subject & _LESION_WORDS


_BOUNDED = words("none neither not")
_GROWTH = words("growth grown increase increased")
_ENLARGED = words("enlarged shrunken atrophic hepatomegaly splenomegaly nephromegaly")
_ENLARGED_ORGANS = words("kidneys kidney liver spleen both hepatomegaly splenomegaly nephromegaly")


# Scope of negation and of other cues

_ENDS = frozenset(";:()!?|-.")
_PUNCTUATION = _ENDS | {","}
_VERBS = words(
    "is are was were has have shows show measures measuring demonstrates appears contains remains lies enhances "
    "looks seems takes becomes speaks represents"
)


def _chunks(tokens: Sequence[str], cues: Sequence[Hit], hits: Sequence[Hit]) -> list[int]:
    """For each token the number of its chunk; commas, brackets and words such as *but* divide chunks.

    *But* between two adjectives does not: *homogeneous but weak enhancement*.
    """
    stops = {h.start for h in cues if h.has("stop")}
    adjectives = [h for h in hits if h.has("say", "mod") and not (h.has("lesion", "head") or _names(h))]
    joining = {h.end for h in adjectives if tokens[h.end : h.end + 1] == ["but"]} & {h.start - 1 for h in adjectives}
    chunks, current = [], 0
    for i, token in enumerate(tokens):
        joins = i in joining or tokens[max(0, i - 1) : i + 1] == ["of", "which"]
        if (token in _PUNCTUATION and token != ":" and not _holds_size(tokens, i)) or (i in stops and not joins):
            current += 1
        chunks.append(current)
    return chunks


def _holds_size(tokens: Sequence[str], at: int) -> bool:
    """Whether a bracket holds nothing but a size: *the uptake of the mass (70 mm) is weak* is one chunk."""
    if tokens[at] == "(":
        return tokens[at + 2 : at + 3] == [")"] and tokens[at + 1][0] == "@"
    return tokens[at] == ")" and at > 1 and tokens[at - 2] == "(" and tokens[at - 1][0] == "@"


_EITHER_WAY = ("absent", "unlikely", "less")  # forward only where the word stands before what it denies


_OF_UNLIKELY = ("be", "represent")  # "unlikely to be a metastasis"


def _negated_tokens(s: Sentence) -> list[bool]:
    negated = [False] * len(s.tokens)
    starts = {h.start: h for h in s.hits}
    stops = {h.start for h in s.cues if h.has("stop") and s.tokens[h.start - 1 : h.start + 1] != ["of", "which"]}
    for hit in _lesser(s):
        negated[hit.start : hit.end] = [True] * (hit.end - hit.start)
    for hit in s.hits:  # "arterial +, washout -"
        end = hit.end
        while end < len(s.tokens) and s.tokens[end] in _NAMING_PHASES:  # "washout in the portal venous phase -"
            end += 1
        end += s.tokens[end : end + 1] == [":"]  # "washout: -"
        letter = s.tokens[end - 1] == ":" and s.tokens[end : end + 1] == ["n"]
        minus = s.tokens[end : end + 1] in (["-"], ["negative"], ["neg"]) and not _is_lesion(hit)
        if (minus or letter) and s.tokens[end + 1 : end + 2] in ([], [","], [")"]):
            negated[hit.start : hit.end] = [True] * (hit.end - hit.start)
    therefore = {i for i in stops if s.tokens[i] in ("therefore", "thus", "hence")}
    for cue in s.cues:
        answer = cue.has("negation") and _answers(s.tokens, cue)
        after = cue.end + (s.tokens[cue.end : cue.end + 1] in (["any"], ["a"]))
        after += after not in starts and bool(_OF_PROPERTY & set(s.tokens[after : after + 1]))
        for hit in _denied_by_verb(s, cue):
            negated[hit.start : hit.end] = [True] * (hit.end - hit.start)
        forward = s.tokens[cue.start] not in _EITHER_WAY or after in starts or s.tokens[cue.end - 1] in _OF_UNLIKELY
        if cue.has("negation", "absent") and (_is_there_after_all(s.tokens, cue) or _only_earlier(s.tokens, cue)):
            continue
        if cue.has("absent") and _unseen_in_phase(s.tokens, cue):
            continue
        if cue.has("negation") and _at_no_time(s.tokens, cue):
            for hit in s.hits:  # the lesion is there, and what is said of it with a verb is not
                if hit.start >= cue.end and hit.has("say", "head", "mod") and not (hit.has("lesion") or _names(hit)):
                    negated[hit.start : hit.end] = [True] * (hit.end - hit.start)
            continue
        if cue.has("negation") and not answer and forward:
            begin = _scope_start(s.tokens, cue)
            whole = cue if begin == cue.end else cue._replace(end=min(begin + 1, len(s.tokens)))
            for i in range(begin, _scope_end(s.tokens, whole, starts, stops)):
                negated[i] = True
        elif answer:
            last = cue.start - (2 if s.tokens[cue.start - 1] == ":" else 1)
            first = last
            while first > 0 and s.chunks[first - 1] == s.chunks[cue.start] and s.tokens[first - 1] != ":":
                if s.tokens[first - 1] == "and" and _ends_description(s, first - 1):
                    break
                first -= 1
            # "enhancement of the lesion: none" denies the enhancement, and not the lesion
            inside = (i for i in range(first, last) if s.tokens[i] in _INSIDE and _is_property(first, i, starts))
            last = next(inside, last)
            negated[first : last + 1] = [True] * (last + 1 - first)
        elif cue.has("gone"):
            for hit in s.hits:  # "washout is no longer seen"
                shown = any(t.kind in ("say", "head") and t.name in ("enhancement", "composition") for t in hit.terms)
                shown = shown and not any(t in _LESION_WORDS for t in s.tokens[hit.end : cue.start])
                if shown and hit.end <= cue.start and s.chunks[hit.start] == s.chunks[cue.start]:
                    negated[hit.start : hit.end] = [True] * (hit.end - hit.start)
        elif cue.has("absent"):
            i = cue.start - (2 if s.tokens[cue.start - 1 : cue.start] == [":"] else 1)  # "washout: absent"
            if _is_there_after_all(s.tokens, cue):
                continue
            joined = s.tokens[i - 1 : i + 1] in (["and", "is"], ["and", "are"])
            if i > 0 and (s.tokens[i] == "and" or joined):  # "it is hypodense and not seen on the arterial phase"
                continue
            begins = {i for i, t in enumerate(s.tokens) if t in _RELATIVES}
            # "hemangioma features (puddling, fill-in) are missing"
            if i > 0 and s.tokens[i] == ")" and "(" in s.tokens[:i]:
                opens = max(j for j in range(i) if s.tokens[j] == "(")
                negated[opens:i] = [True] * (i - opens)
                i = opens - 1
            while i >= 0 and s.tokens[i] not in _ENDS and s.tokens[i] != "," and i not in (stops | begins) - therefore:
                if s.tokens[i] == "and" and _ends_description(s, i):
                    break
                negated[i] = True
                i -= 1
    return negated


_NAMING_PHASES = words("in on at the arterial portal venous delayed late phase phases images")


def _ends_description(s: Sentence, at: int) -> bool:
    """Whether what stands before *and* describes the lesion: *hypodense and enhancement absent*."""
    before = [h for h in s.hits if h.end == at]
    return any(
        t.name in ("attenuation", "margin", "texture") and t.kind in ("say", "head") for h in before for t in h.terms
    )


def _denied_by_verb(s: Sentence, cue: Hit) -> Iterator[Hit]:
    """*Washout is not*, *washout is not a feature*: what stands before the verb is denied, and not the lesion."""
    before, after = s.tokens[max(0, cue.start - 1) : cue.start], s.tokens[cue.end : cue.end + 2]
    ends = not after or after[0] in _PUNCTUATION or (after[0] in ("a", "part") and set(after[1:]) & _A_FEATURE)
    if s.tokens[cue.start] != "not" or not ends or before not in _BEING:
        return
    for hit in s.hits:
        shown = hit.has("say", "head") and not _is_lesion(hit) and hit.end <= cue.start
        if (
            shown
            and s.chunks[hit.start] == s.chunks[cue.start]
            and not {"that", "which"} & set(s.tokens[hit.end : cue.start])
        ):
            yield hit


_BEING = (["is"], ["are"], ["was"], ["were"])
_A_FEATURE = words("feature finding characteristic of")
_RELATIVES = words("where when whose")  # "a lesion where enhancement could not be shown"


def _only_earlier(tokens: Sequence[str], cue: Hit) -> bool:
    """*Not seen on the prior CT*, *not present in 2018*, *not seen before*: it is there now."""
    after = tokens[cue.end : cue.end + 5]
    if cue.has("absent") and after[:1] in (["before"], ["previously"]):
        return True
    begins = cue.has("absent") and after[:1] in (["on"], ["in"], ["at"])
    return begins and any(t in _EARLIER_STUDY or _is_year(t) for t in after)


_EARLIER_STUDY = words("prior previous last earlier outside old former initial ultrasound us sonography mri")


def _at_no_time(tokens: Sequence[str], cue: Hit) -> bool:
    """*At no time does the lesion enhance*, *in none of the phases*."""
    if cue.start == 0 or cue.start > 2 or tokens[cue.start - 1] not in ("at", "in", "on", "during"):
        return False
    after = tokens[cue.end : cue.end + 4]
    return tokens[cue.start] in ("no", "none") and bool({"time", "point", *_PHASES} & set(after))


def _is_there_after_all(tokens: Sequence[str], cue: Hit) -> bool:
    """*Washout is absent in the portal venous phase but present in the delayed phase*."""
    after = tokens[cue.end : cue.end + 12]
    at = next((i for i, t in enumerate(after) if t in ("but", "yet", "however")), None)
    phase = at is not None and bool(_PHASES & set(after[:at])) and after[0] in _DURING
    shown = after[(at or 0) + 1 : (at or 0) + 3]
    return phase and bool(_SEEN & set(shown) or shown[:1] == ["only"] or _DURING & set(shown[:1]))


def _unseen_in_phase(tokens: Sequence[str], cue: Hit) -> bool:
    """*Smallest (10 mm): not visible in the arterial phase*: it is there all the same."""
    after = tokens[cue.end : cue.end + 5]
    unseen = tokens[cue.end - 1] in ("visible", "seen", "visualized", "discernible") and after[:1] != []
    return unseen and tokens[cue.start - 1] == ":" and after[0] in _DURING and bool(_PHASES & set(after))


_SEEN = words("present seen evident visible there noted found appears occurs")
_RATHER = words("more likely probable likelier favored favoured preferred")


_COUNTED = frozenset(NUMERALS) | words("a half dozen twenty")


def _lesser(s: Sentence) -> Iterator[Hit]:
    """What is thought less likely: *fat rather than*, *more in line with fat than with a tumor*."""
    if "than" not in s.tokens and "over" not in s.tokens:
        return
    for i, token in enumerate(s.tokens):
        if token in ("than", "over") and _RATHER & set(s.tokens[max(0, i - 9) : i]):
            if "less" in s.tokens[max(0, i - 2) : i] or (token == "than" and _is_count(s.tokens[i + 1 : i + 3])):
                continue
            named = (h for h in s.hits if h.end <= i and h.end >= i - 4)  # "fat is more likely than metastasis"
            fat = any(h.has("artifact") or (_names(h) and "enhan" not in s.tokens[i - 1]) for h in named)
            lesser = [h for h in s.hits if i < h.start <= i + 4]
            tumor = any(h.has("lesion") and not _names(h) for h in lesser)  # "rather than a solid tumor"
            for h in lesser:
                if h.has("lesion") or (fat and _names(h)) or (tumor and h.has("say") and not _names(h)):
                    yield h


def _is_count(after: Sequence[str]) -> bool:
    """*More than ten nodules*, *more than a dozen*."""
    if after[:1] in (["a"], ["half"]):
        return after[1:] != [] and after[1] in _COUNTED
    return bool(after) and (after[0] in _COUNTED or after[0].isdigit())


def _answers(tokens: Sequence[str], cue: Hit) -> bool:
    """Whether a negation is the answer in a list: *Calcification: none*, *washout no*."""
    after = tokens[cue.end : cue.end + 1]
    asked = tokens[cue.start - 1] == ":" or (tokens[cue.start] in ("no", "none", "absent") and cue.end == cue.start + 1)
    return cue.start > 0 and asked and (not after or after[0] in _PUNCTUATION)


def _scope_start(tokens: Sequence[str], cue: Hit) -> int:
    """Where the scope begins: *no evidence that the lesion washes out*, *I do not think that ...* deny no lesion."""
    if tokens[cue.end + 1 : cue.end + 3] not in (["that", "the"], ["that", "this"], ["that", "it"]):
        return cue.end
    verbs = (i for i in range(cue.end + 3, len(tokens)) if _is_verb(tokens[i]) or tokens[i] in ("does", "do", "did"))
    return next(verbs, len(tokens))


def _is_verb(token: str) -> bool:
    return token in _VERBS or (token.endswith("s") and token[:-1] in _OTHER_VERBS)


_OTHER_VERBS = words(
    "communicate connect invade infiltrate take wash reach extend arise involve grow contain originate"
)


def _scope_end(tokens: Sequence[str], cue: Hit, starts: dict[int, Hit], stops: set[int]) -> int:
    """Where the scope of a negation that looks forward ends."""
    if tokens[cue.start] in ("none", "neither") and "nor" not in tokens[cue.end :]:  # "neither lesion shows washout"
        inside = range(cue.end, len(tokens))
        comma = (i for i in inside if tokens[i] == "," and not _list_goes_on(tokens, i, stops))
        return min(next(comma, len(tokens)), next((i for i in inside if tokens[i] in _ENDS or i in stops), len(tokens)))
    nor = next((i for i in range(cue.end, len(tokens)) if tokens[i] == "nor"), None)
    if tokens[cue.start] == "neither" and nor and not any(t in _ENDS for t in tokens[cue.end : nor]):
        return nor  # "neither a focal mass nor a cyst"
    if tokens[cue.start] in ("non", "rather", "instead", "neither") or tokens[cue.end - 1] == "any":
        at = cue.end
        between = {"a", "an", "any", "the", "clearly", "definitely"}
        between |= _OF_PROPERTY if tokens[cue.end - 1] == "any" else set()
        while at < len(tokens) - 1 and at not in starts and tokens[at] in between:
            at += 1
        return starts[at].end if at in starts else min(at + 1, len(tokens))
    i = cue.end
    while i < len(tokens):
        token = tokens[i]
        both = tokens[cue.start] == "nor" and "neither" in tokens  # "neither the liver nor the kidney shows a lesion"
        verb = token in _VERBS and i > cue.end and not both
        if token in _ENDS or i in stops or (verb and not _is_of_denied_verb(tokens, cue, i)):
            return i
        listed = tokens[cue.start] in _LIST_OPENERS and "," in tokens[i - 2 : i + 1] and _ends_in_and(tokens, i)
        again = token == "and" and tokens[cue.end - 1] == "of" and tokens[i + 1 : i + 2] == ["of"]
        ends = i + 3 >= len(tokens) or tokens[i + 3] in _PUNCTUATION
        if again and ends and tokens[min(i + 2, len(tokens) - 1)].endswith(_NOUN_ENDINGS):
            i += 1
            continue  # "absence of fat and of calcium"; but "free of enhancement and of cystic composition"
        pair = i + 2 == len(tokens) or bool(_PUNCTUATION & set(tokens[i + 2 : i + 3]))
        pair = pair and tokens[cue.start] in ("free", "devoid")
        if token == "and" and pair and tokens[i + 1].endswith(_NOUN_ENDINGS):
            listed = True  # "free of enhancement and calcification"
        if token == "," and not (listed or _list_goes_on(tokens, i, stops)):
            return i
        if token == "and" and not listed and not (_joins_adjectives(tokens, i) or _joins_nouns(tokens, i, starts)):
            return i
        if token == "by" and tokens[i + 1 : i + 2] in (["the"], ["this"]):  # "no invasion by the solid mass"
            return i
        fronted = tokens[cue.start] in _FRONTED and cue.start <= 2 and i > cue.end
        if token == "the" and fronted and tokens[i - 1] not in _BEFORE_ARTICLE:
            return i  # the subject, after "in the absence of washout" or "without contrast"
        if token in ("as", "since") and tokens[i + 1 : i + 2] in (["it"], ["they"], ["this"], ["these"]):
            return i  # "they are not cysts as they enhance"
        if token in _CONCLUDING and _is_property(cue.end, i, starts):
            return i
        if token in _PROBABLY and i > cue.end and tokens[i + 1 : i + 2] in (["a"], ["an"], ["likely"], ["probably"]):
            return i  # "without known malignancy most likely a hemangioma"
        if token in _INSIDE and (_names_lesion_after(tokens, cue.end, i, starts) or _names_sized(tokens, i, starts)):
            return i
        if token == "with" and i > cue.end and tokens[i - 1] not in _WITH and not _of_lesion(tokens, cue.end, i):
            return i
        i += 1
    return i


def _is_of_denied_verb(tokens: Sequence[str], cue: Hit, at: int) -> bool:
    """Whether a verb is what *does not* denies, too: *does not clearly show washout*, *does not grow or show ...*."""
    if tokens[at - 1] == "or":
        return tokens[cue.start - 1 : cue.end] in (["does", "not"], ["do", "not"], ["did", "not"])
    return all(token.endswith("ly") for token in tokens[cue.end : at])


_OF_PROPERTY = words("contrast delayed late portal venous internal central significant relevant associated")
_FRONTED = words("without absence lacking lack minus in contrary as unlike")
_BEFORE_ARTICLE = words(
    "of in from within for to on at with and or nor by into than as like between through around , :"
)
_WITH = words(
    "consistent compatible concordant keeping associated accompanied"
)  # these go on: "not consistent with a cyst"
_PROBABLY = words("most likely probably presumably")
_EDGES = words("margin margins border borders edge edges contour contours outline")
_INSIDE = words("in of within for")
_CONCLUDING = words("consistent compatible suggestive keeping representing likely most")


def _is_property(start: int, end: int, starts: dict[int, Hit]) -> bool:
    """Whether tokens ``start`` to ``end`` name a property, and no lesion."""
    inside = [h for i, h in starts.items() if start <= i < end]
    return any(h.has("say", "head", "mod") for h in inside) and not any(h.has("lesion") or _names(h) for h in inside)


def _names_lesion_after(tokens: Sequence[str], start: int, at: int, starts: dict[int, Hit]) -> bool:
    """Whether a property is negated and its lesion is not: *no enhancement of the 18 mm lesion*."""
    if tokens[at + 1 : at + 2] not in (["the"], ["this"], ["that"], ["its"]):
        return False
    near = [h for i, h in starts.items() if at < i <= at + 6]
    inside = [(i, h) for i, h in starts.items() if start <= i < at]
    named = any(_names(h) for _, h in inside) or any(tokens[i] in _SUSPECTED for i in range(start, at))
    if named and not any(h.has("lesion") and tokens[i] not in _SUSPECTED for i, h in inside):
        # "no evidence of metastasis in the hepatic lesion"
        return any(h.has("lesion") and not _names(h) for h in near)
    return _is_property(start, at, starts) and any(h.has("lesion") or _names(h) for i, h in starts.items() if i > at)


def _names_sized(tokens: Sequence[str], at: int, starts: dict[int, Hit]) -> bool:
    """Whether what is denied is denied of a lesion with a size: *no thick septa in the 6 cm renal cyst*."""
    if tokens[at + 1 : at + 2] not in (["the"], ["this"], ["that"]):
        return False
    lesion = next((i for i in range(at + 2, min(at + 9, len(tokens))) if i in starts and _is_lesion(starts[i])), None)
    return lesion is not None and any(t[0] == "@" for t in tokens[at + 2 : lesion])


def _is_lesion(hit: Hit) -> bool:
    return hit.has("lesion") or bool(_names(hit))


_LESION_WORDS = frozenset(lexicon.LESION_NOUNS.split("|"))


_SUSPECTED = words("malignancy recurrence")


def _of_lesion(tokens: Sequence[str], start: int, end: int) -> bool:
    """Whether a lesion is negated, with all that it has: *no mass with washout*."""
    return any(t in _LESION_WORDS or t in ("cyst", "cysts") for t in tokens[start:end])


_HEDGING = words("probably likely presumably possibly perhaps maybe consistent compatible suggestive suspicious")
_LIST_OPENERS = words("free devoid lack lacks lacking absence")


def _ends_in_and(tokens: Sequence[str], at: int) -> bool:
    """Whether a list of single nouns ends a clause: *free of calcium, necrosis and fat*; not *..., solid and round*."""
    i = at
    while i < len(tokens) and tokens[i] == "," and i + 2 < len(tokens):
        i += 2
    ends = i + 2 >= len(tokens) or tokens[i + 2] in _PUNCTUATION
    adjectives = any(token.endswith(_ADJECTIVE_ENDINGS) for token in tokens[at + 1 : i + 2])
    return i < len(tokens) and tokens[i] == "and" and ends and not adjectives


def _list_goes_on(tokens: Sequence[str], comma: int, stops: set[int]) -> bool:
    """Whether *no a, b or c* goes on after a comma: an *or* follows, and nothing but short items stands before it."""
    length = 0
    for i in range(comma + 1, len(tokens)):
        token = tokens[i]
        if token in ("or", "nor"):
            return True
        if token in _ENDS or i in stops or token in _VERBS or token in ("and", "with", "no", "not", "without"):
            return False
        if token in _HEDGING:
            return False  # "no enhancement, probably a lipoma or an AML"
        length = 0 if token == "," else length + (token not in _NAMING_PHASES)
        if length > 4:
            return False
    return False


def _joins_adjectives(tokens: Sequence[str], at: int) -> bool:
    """Whether *and* joins adjectives of one negated noun: *no solid and enhancing mass*, *no hazy and blurred edge*."""
    return tokens[at - 1].endswith(_ADJECTIVE_ENDINGS) and any(
        t in _LESION_WORDS or t in _EDGES for t in tokens[at + 1 : at + 4]
    )


_ADJECTIVE_ENDINGS = ("ing", "ic", "ous", "ed", "ense", "ar", "solid")
_NOUN_ENDINGS = (
    "tion",
    "tions",
    "sis",
    "ment",
    "washout",
    "calcium",
    "fat",
    "blush",
    "capsule",
    "aphe",
    "hemorrhage",
    "component",
    "components",
)


def _joins_nouns(tokens: Sequence[str], at: int, starts: dict[int, Hit]) -> bool:
    """Whether *and* joins nouns that one negation denies: *free of calcification and necrosis*."""
    second, first = starts.get(at + 1), next((h for h in starts.values() if h.end == at), None)
    if second is None or not tokens[at - 1].endswith(_NOUN_ENDINGS):
        return False
    told = first is not None and not first.has("other")
    if first and told and not {t.name for t in first.terms} & {t.name for t in second.terms}:
        return False  # "no enhancement and calcifications"
    ends = second.end == len(tokens) or tokens[second.end] in _PUNCTUATION
    return ends and tokens[second.end - 1].endswith(_NOUN_ENDINGS)


# Statements


class Statement(NamedTuple):
    """One value of one descriptor at tokens ``start`` to ``end`` of a sentence."""

    field: str
    value: str
    start: int
    end: int
    negated: bool


_MODS = {name: values for name, (values, _) in lexicon.MODIFIERS.items()}
_REACH = {"strong": 3, "weak": 3, "rim": 6, "arterial": 7, "gone": 4, "sharp": 10, "smooth": 10}
_NEAR_ONLY = words("inferior below above like more less greater smaller hyper hypo soft visible clear rich edge")
_PARTS = words(
    "mural septa septum septation septations component components capsule scar necrosis area areas portion "
    "portions parts "
    "center centre core element elements pseudocapsule"
)


def _standing(s: Sentence) -> Iterator[Statement]:
    """What words say by themselves. A word that goes with a head instead is left to ``_paired``."""
    for hit in s.hits:
        for term in hit.terms:
            if term.kind != "say" or term.name == "enhancement":
                continue
            if hit.has("mod") and _partner(s, hit, max_gap=1):
                continue
            if term.name == "pathology" and s.is_origin(hit):
                continue
            yield Statement(term.name, term.value, hit.start, hit.end, s.is_negated(hit))


def _inside_areas(s: Sentence, st: Statement) -> bool:
    """Whether a density is that of a part of the lesion: *central low-density areas*, *hypodense core*."""
    if st.field != "attenuation":
        return False
    after, before = s.tokens[st.end : st.end + 3], s.tokens[max(0, st.start - 4) : st.start]
    inner = bool(_INNER & {*before[-3:], *after[:2]})
    for i, token in enumerate(after):
        following = s.tokens[st.end + i + 1 : st.end + i + 2]
        if following and following[0].startswith(("enhanc", "hyper", "like", "shaped")):
            break  # "a hypodense rim-enhancing nodule", "a ring-shaped one"
        if token in _CORE or token in _OUTER or (inner and token in _AREAS):
            return True
        if token in _PUNCTUATION or token in _LESION_WORDS or token in ("in", "with", "and", "without", "but"):
            break
    if before[-2:] in (["areas", "of"], ["zones", "of"], ["regions", "of"], ["foci", "of"]) and st.start > 3:
        lead = s.tokens[: st.start - 2]
        if any(t in _LESION_WORDS for t in lead) and lead[-1] in (",", "with", "and", "contains", "containing", "has"):
            return True  # "a mass with areas of low attenuation"
    contained = before[-1:] in (["contains"], ["containing"]) and after[:1] and after[0] in _AREAS
    if contained and (s.tokens[0] in ("it", "which") or _LESION_WORDS & set(s.tokens[: st.start])):
        return True  # "it contains hypodense areas"; but "the liver contains hypodense areas"
    if before[-1:] and before[-1] in _CENTRALLY and not any(t in _LESION_WORDS for t in after):
        return True  # "with central low density"
    begin = max((i + 1 for i, t in enumerate(before) if t in (",", "-", "and")), default=0)
    if begin and before[-1:] != ["remains"] and before[-1:] != ["stays"]:
        return False
    before = before[begin:]
    joined = bool(before) and before[-1] in _JOINING
    return joined and any(t in _CORE or t in _INTERIOR or (inner and t in _AREAS) for t in before)


_INTERIOR = words("interior inside")
_JOINING = words("of with is are remain remains appears appear stays stay")
_CENTRALLY = words("central centrally internal")
_INNER = words("central internal intralesional inner scattered interspersed")
_AREAS = words("area areas zone zones portion portions region regions part parts contents content")
_CORE = words("core center centre scar lakes pockets components component halo septa necrosis middle")
_OUTER = words("rim ring capsule pseudocapsule wall border")


_SHOWING = words("show have demonstrate exhibit display enhance expect")  # "a hemangioma would show"
_SEARCHING = words("look search check watch looking searching")
_DISTINGUISH = words("distinguish differentiate distinguished differentiated distinction differentiation discriminate")


def _is_asked(s: Sentence, st: Statement) -> bool:
    """Whether it is only an alternative: *whether it is solid or cystic*, *cannot distinguish between ...*."""
    if st.field == "pathology":
        return False
    for i in range(st.start):
        asked = s.tokens[i] == "whether" and "or" in s.tokens[i:]
        asked = asked or (s.tokens[i] == "between" and s.tokens[i - 1] in _DISTINGUISH)
        asked = asked or (s.tokens[i] == "would" and bool(_SHOWING & set(s.tokens[i + 1 : i + 2])))
        asked = asked or (s.tokens[i : i + 2] == ["would", "be"] and st.start == i + 2)  # "a cyst would be hypodense"
        asked = asked or (s.tokens[i] == "if" and i == 0)
        searched = s.tokens[i] == "for" and s.tokens[i - 1] in _SEARCHING  # "MRI to look for washout"
        asked = asked or (searched and "the" not in s.tokens[i : st.start])  # "... of the hypodense lesion": it is
        if asked and not _PUNCTUATION & set(s.tokens[i : st.start]):
            return True
    return False


def _is_doubtful(s: Sentence, st: Statement) -> bool:
    """*Equivocal washout* is not stated; but in *suspected hypodense metastasis* only the metastasis is in doubt."""
    if st.field == "pathology":
        return False
    if not any(c.has("doubt") and c.end == st.start and s.tokens[c.start] in _DOUBTFUL for c in s.cues):
        return False
    for i in range(st.end, min(st.end + 5, len(s.tokens))):
        if s.tokens[i] in _IN_PHRASE:
            break
        if any(h.start <= i < h.end and (_is_lesion(h) or _names(h)) for h in s.hits):
            return False
    return True


_DOUBTFUL = words("equivocal questionable doubtful possible potential suspected questionably")


def _of_some(s: Sentence, st: Statement) -> bool:
    """Whether it is said of a few of many: *innumerable cysts, some hyperdense*; *some cysts are hyperdense*."""
    verb = next((i for i, t in enumerate(s.tokens[:7]) if t in _VERBS or t in ("show", "contain", "enhance")), 0)
    subject = s.tokens[:verb]
    if subject[:1] in (["some"], ["few"], ["others"]) and (len(subject) < 3 or subject[1] == "of") and st.start >= verb:
        goes_on = not {"none", "all", "they", "no"} & set(s.tokens[verb : st.start])
        return st.field in ("attenuation", "enhancement") and goes_on
    before = s.tokens[max(0, st.start - 4) : st.start]
    if st.value == "calcified":
        return False  # "a few foci of calcification"
    some = next((i for i, t in enumerate(before) if t in ("some", "few", "others")), None)
    if some is None or {",", "and"} & set(before[some:]):
        return False
    if before[some - 1 : some + 1] == ["a", "few"] and s.tokens[st.end - 1].endswith("ies"):
        return False  # "a few tiny hypodensities"
    if some == len(before) - 1 and s.tokens[st.end - 1] in ("enhancement", "uptake"):
        return False  # "some faint enhancement"
    end = st.end + (s.tokens[st.end : st.end + 1] in (["content"], ["contents"]))
    return end == len(s.tokens) or s.tokens[end] in (",", ")")


def _is_unassessed(s: Sentence, st: Statement) -> bool:
    """*Washout cannot be assessed*, *its enhancement is unknown*: neither stated nor denied."""
    if "not" not in s.tokens and "unknown" not in s.tokens and "unassessable" not in s.tokens:
        return False
    after = " ".join(s.tokens[st.end : st.end + 7])
    return st.field != "pathology" and _UNASSESSED.match(after) is not None


_UNASSESSED = re.compile(
    r"(?:(?:of|in) (?:the |this |it)?\w* ?)?(?:(?:can|could|was|were|is|are|has|have) )?(?:therefore )?"
    r"(?:not (?:be(?:en)? )?(?:reliably |fully |properly |further )?"
    r"(?:assess|evaluat|determin|judge|quantif|characteri[sz])\w*|"
    r"unknown\b|unassessable\b)"
)


def _is_former(s: Sentence, st: Statement) -> bool:
    """*Formerly hypervascular, now calcified*; but *the previously described hypodense lesion is now larger*."""
    before = s.tokens[max(0, st.start - 2) : st.start]
    return bool(_FORMERLY & set(before)) and not _TOLD & set(before) and bool(_NOW_DIFFERENT & set(s.tokens))


_FORMERLY = words("previously formerly")
_NOW_DIFFERENT = words("now presently currently lost becomes today")
_LOSING = words("lost losing")
_CHANGES = _FORMERLY | _LOSING
_OWN = words("its their the any all")


def _of_lost(s: Sentence, st: Statement) -> Statement:
    """*It has lost its arterial enhancement*: it has none of it."""
    before = s.tokens[max(0, st.start - 3) : st.start]
    lost = next((i for i, token in enumerate(before) if token in _LOSING), None)
    return st._replace(negated=True) if lost is not None and _OWN & set(before[lost + 1 : lost + 2]) else st


def _of_other_imaging(s: Sentence, st: Statement) -> bool:
    """*The lesion described on ultrasound as solid*: what the other examination made of it."""
    at = next((i for i in range(max(0, st.start - 3), st.start) if s.tokens[i] == "as"), 0)
    told = bool(
        at and _INTERPRETED & set(s.tokens[max(0, at - 5) : at]) and _IMAGING & set(s.tokens[max(0, at - 3) : at])
    )
    return told and not _PUNCTUATION & set(s.tokens[at : st.start])


_INTERPRETED = words("described reported interpreted read called labelled labeled classified regarded")
_IMAGING = words("elsewhere ultrasound us sonography mri mr pet ceus")
_TISSUES = words("liver pancreas kidney kidneys parenchyma gland cortex medulla livers")
_IN_PHRASE = frozenset(",:;.()") | words("is are was were with in of and there shows contains has")


def _of_tissue(s: Sentence, st: Statement) -> bool:
    """Whether an adjective is that of the organ: *in the hypodense liver*, *than the strongly enhancing pancreas*."""
    if s.tokens[st.end - 1] in ("of", "to", "than", "as", "with"):
        return False
    if _before_another(s, st) or _is_predicate_of_tissue(s, st):
        return True
    at = st.end + (s.tokens[st.end : st.end + 1] in (["normal"], ["fatty"], ["remaining"]))
    if at >= len(s.tokens) or s.tokens[at] not in _TISSUES or st.field in ("pathology", "composition"):
        return False
    for token in s.tokens[at + 1 : at + 5]:
        if token in _IN_PHRASE:
            break
        if token in _LESION_WORDS or token in ("area", "areas", "spot"):
            return False
    if any(_names(h) and at < h.start <= at + 3 for h in s.hits):
        return False
    article = s.tokens[max(0, st.start - 1)]
    return article in ("the", "a", "an", "this") or st.start == 0


def _is_predicate_of_tissue(s: Sentence, st: Statement) -> bool:
    """*..., where normal parenchyma is brighter*, *..., while the cortex enhances strongly*: said of the organ."""
    i = st.start - 1
    while i > 0 and (s.tokens[i] in _COPULAR or s.tokens[i] in lexicon.SKIPPED or s.tokens[i] in _SHOWS):
        i -= 1
    if i < 1 or s.tokens[i] not in _TISSUES or (i == st.start - 1 and s.tokens[st.start] not in _TAKING_UP):
        return False
    while i > 0 and s.tokens[i - 1] in _BEFORE_TISSUE:
        i -= 1
    return i > 0 and s.tokens[i - 1] in ("where", "while", "whereas", "when")


_SHOWS = words("shows show demonstrates has")
_BEFORE_TISSUE = words("the normal surrounding adjacent healthy remaining renal hepatic pancreatic background liver")


def _before_another(s: Sentence, st: Statement) -> bool:
    """Whether an adjective is that of a neighbor: *adjacent to the strongly enhancing vena cava*."""
    if st.field in ("pathology", "composition") or "the" not in s.tokens[max(0, st.start - 3) : st.start + 1]:
        return False
    near = next((h for h in s.hits if st.end <= h.start <= st.end + 1), None)
    if near is None or any(t in _LESION_WORDS or t in _IN_PHRASE for t in s.tokens[st.end : near.end + 1]):
        return False
    organ = near.name("organ") not in (None, *lexicon.HOSTS, "soft tissue")
    vessel = near.has("other") and near.name("other") != "state" and not any(t in _LESION_WORDS for t in s.tokens)
    return organ or vessel


def _of_another(s: Sentence, st: Statement) -> bool:
    """Whether it is said of a vessel or another organ: *calcifications of the aorta*."""
    object_of = s.tokens[st.start] in ("infiltrating", "infiltrates") and s.tokens[st.end : st.end + 1] == ["the"]
    around = s.tokens[st.end : st.end + 4]
    if st.field == "enhancement" and around[:1] in (["of"], ["in"]) and _AROUND & set(around[1:3]):
        return True  # "hyperenhancement of the surrounding parenchyma"
    beyond = around[1:2] == ["to"] if _BEYOND & set(around[:1]) else around[:1] in (["around"], ["surrounding"])
    if st.field == "enhancement" and st.value != "rim" and beyond and _LESION_WORDS & set(around[1:]):
        return True  # "hyperenhancement distal to the lesion", but not "a hyperenhancing peripheral lesion"
    if s.tokens[st.end : st.end + 1] not in (["of"], ["in"], ["within"], ["along"]) and not object_of:
        return False
    if st.field == "pathology":
        return False
    near = next((h for h in s.hits if st.end < h.start <= st.end + 3), None)
    if near is None or any(t in _LESION_WORDS or t in _PHASES for t in s.tokens[st.end : near.end]):
        return False
    thing = near.has("other") and near.name("other") != "state"
    organ = near.name("organ")
    return thing or (organ is not None and organ not in (*lexicon.HOSTS, "soft tissue"))


_AROUND = words("surrounding adjacent neighboring neighbouring adjoining perilesional remaining")
_BEYOND = words("distal adjacent peripheral next proximal")


def in_another_organ(s: Sentence, st: Statement) -> bool:
    """*Ill-defined opacities in the lungs*, after a lesion of the liver: nothing that the sentence says is of it."""
    if st.field == "pathology" or s.tokens[0] in _SUBJECTS:
        return False
    after = s.tokens[st.end : st.end + 5]
    at = next((i for i, t in enumerate(after) if t in ("in", "of", "within", "around")), None)
    if at is None or _PUNCTUATION & set(after[:at]) or {"and", "with"} & set(after[:at]):
        return False
    organ = next((h.name("organ") for h in s.hits if st.end + at < h.start <= st.end + at + 2 and h.has("organ")), None)
    return organ not in (None, *lexicon.HOSTS, "soft tissue") and not any(_is_lesion(h) for h in s.hits)


_SUBJECTS = words("it they this these which both all")
_OPPOSITES = {("margin", "well-defined"): "ill-defined", ("texture", "homogeneous"): "heterogeneous"}


def _turned(st: Statement) -> Statement:
    """*Not sharp* is blurred, *not uniform* is heterogeneous; but *not blurred* says only what is not."""
    opposite = _OPPOSITES.get((st.field, st.value)) if st.negated else None
    return st._replace(value=opposite, negated=False) if opposite else st


def _after_contrast(s: Sentence, st: Statement) -> Statement:
    """*The same density before and after contrast* says that nothing enhances."""
    if st.field != "attenuation" or st.value != "iso" or not _SAME & set(s.tokens[st.start : st.end]):
        return st
    end = next((i for i in range(st.end, len(s.tokens)) if s.tokens[i] in _PUNCTUATION), len(s.tokens))
    begin = next((i + 1 for i in range(st.start - 1, -1, -1) if s.tokens[i] in _PUNCTUATION), 0)
    rest = set(s.tokens[st.end : end])
    given = rest | set(s.tokens[begin : st.start])
    if "contrast" not in given or not given & {"after", "following", "post"} or rest & _COMPARED_WITH:
        return st
    if any(_enhancement_word(h) for h in s.hits):
        return st
    return Statement("enhancement", "none", st.start, st.end, False)


def _of_enhancement(s: Sentence, st: Statement) -> Statement:
    """*Its enhancement is below that of the liver* speaks of no density."""
    if st.field != "attenuation" or s.tokens[st.start] not in ("is", "lies"):
        return st
    before = [h for h in s.heads if h.end <= st.start and s.chunks[h.start] == s.chunks[st.start]]
    return st._replace(field="enhancement") if before and _enhancement_word(before[-1]) else st


def _unchanged_by_contrast(s: Sentence) -> Iterator[Statement]:
    """*After contrast there is no change in density*: nothing enhances."""
    text = " ".join(s.tokens)
    match = _NO_RISE.search(text)
    if match and _CONTRAST_GIVEN.search(text) and not any(_enhancement_word(h) for h in s.hits):
        start = len(text[: match.start()].split())
        yield Statement("enhancement", "none", start, start + len(match.group().split()), False)


def _of_constant_hu(s: Sentence) -> Iterator[Statement]:
    """*20 HU on all phases*, *22 HU native, 25 HU after contrast*: nothing enhances."""
    if not _HOUNSFIELD & set(s.tokens):
        return
    text = " ".join(s.tokens)
    match = _SAME_HU.search(text)
    pairs = (_TWO_HU, _HU_OF_TWO, _HU_BEFORE_BOTH, _HU_OF_BOTH, _HU_RISING)
    pair = None if match else next((found for found in (p.search(text) for p in pairs) if found), None)
    if pair and _rise([int(hu) for hu in pair.groups() if hu]) <= _LEAST_RISE:
        match = pair
    if match:
        start = len(text[: match.start()].split())
        end = start + len(match.group().split())
        if all(start <= h.start < end for h in s.hits if _enhancement_word(h)):  # "unenhanced 30 HU, enhanced 33 HU"
            yield Statement("enhancement", "none", start, end, False)


def _rise(values: Sequence[int]) -> int:
    """The largest difference from the first value, which is that before contrast."""
    return max(abs(value - values[0]) for value in values[1:])


_LEAST_RISE = 8
_SAME_HU = re.compile(
    r"\b\d+ (?:hu|hounsfield)(?: units)? (?:(?:on|in|through|throughout|across|during|over) (?:all|both|every)|"
    r"(?:both )?(?:before and after|pre and post))\b|\b(?:stays|remains|staying|remaining) at \d+ hu\b"
)
_TWO_HU = re.compile(
    r"\b(\d+)(?: hu)? (?:(?:on|in|at|during) )?(?:the )?"
    r"(?:native|unenhanced|pre\w*|before|plain|non ?contrast|without(?: contrast)?)[^.;]{0,30}? (\d+) hu "
    r"(?:after|post\w*|with|(?:on|in|at|during) (?:the )?"
    r"(?:portal|venous|nephrographic|late|delayed|arterial|post\w*|enhanced|contrast)|with contrast|"
    r"enhanced|nephrographic|portal|venous)"
)
_HU_OF_TWO = re.compile(
    r"\b(?:native(?:ly)?|unenhanced|pre\w*|plain|non ?contrast)(?: (?:ct|scan|density|attenuation|contrast))?:? "
    r"(?:(?:is|was|of) )?(\d+)(?: hu)?[^.;]{0,20}? "
    r"(?:enhanced|post\w*(?: contrast)?|after contrast|portal(?: venous)?|nephrographic|contrast)(?: density)?:? "
    r"(?:(?:is|was|of) )?(\d+) hu\b"
)
_HU_BEFORE_BOTH = re.compile(
    r"\bhu (?:values? )?(?:of )?(\d+) (?:on|in|at) (?:the )?"
    r"(?:plain|native|unenhanced|pre\w*|non ?contrast)[^.;]{0,15}? "
    r"(\d+) (?:on|in|at|after) (?:the )?(?:contrast|post\w*|enhanced|portal|venous|nephro\w*)"
)
_BEFORE = (
    r"(?:native(?:ly)?|unenhanced|pre|precontrast|plain|non ?contrast|before)(?: (?:ct|scan|contrast|phase|images))?"
)
_AFTER = (
    r"(?:(?:late )?arterial|corticomedullary|portal(?: venous)?|venous|nephrographic|pv|delayed|late|excretory|post|"
    r"postcontrast|enhanced|after|with)(?: (?:ct|scan|contrast|phase|images))?"
)
_HU_OF_BOTH = re.compile(  # "HU before contrast 20, after contrast 22", "HU 20 pre, 22 post", "plain 20, venous 22 HU"
    rf"\b{_BEFORE} ?:? (\d+)(?: hu)? ?[,;:/-]? (?:and )?{_AFTER} ?:? (\d+)\b(?:(?: hu)? ?[,;/-]? {_AFTER} ?:? (\d+)\b)?"
    rf"|\bhu (\d+) (?:\( )?{_BEFORE}(?: \))? ?[,;/-]? (?:and )?(\d+) (?:\( )?{_AFTER}"
)
_HU_RISING = re.compile(
    r"\b(?:rises?|rising|increases?|enhances?|change[sd]?)(?: only)? from (\d+)(?: hu)? to (\d+) hu\b"
)
_NO_RISE = re.compile(
    r"\b(?:density|attenuation|hu) (?:stays|remains|is) (?:the )?(?:same|unchanged|constant|identical)\b|"
    r"\b(?:does|do) not change (?:its |in |their )?(?:density|attenuation)\b|"
    r"\b(?:no|without) (?:any |significant |measurable |relevant )*(?:change|increase|rise|difference) (?:in|of) "
    r"(?:its )?(?:density|attenuation|hu)\b"
)
_CONTRAST_GIVEN = re.compile(r"\b(?:after|following|post) (?:iv |intravenous )?(?:contrast|injection)\b")
_SAME = words("same similar identical equal no unchanged constant")
_COMPARED_WITH = words("parenchyma gland cortex surrounding tissue background")
_PHASE_REACH = 9


def _in_phase(s: Sentence, st: Statement) -> Statement:
    """*Bright in the arterial phase* is arterial enhancement, and so is strong enhancement then."""
    if st.value != "hyper" or not {"arterial", "arterially"} & set(s.tokens):
        return st
    if s.tokens[max(0, st.start - 3) : st.start] in (["arterially", "it", "is"], ["arterially", "they", "are"]):
        return st._replace(field="enhancement", value="arterial")  # "arterially it is bright"
    heading = next((i for i in (0, 1) if s.tokens[i + 1 :] and _is_phase_heading(s, i)), None)
    if heading is not None and not (_OTHER_PHASE | {";"}) & set(s.tokens[heading + 1 : st.start]):
        return st._replace(field="enhancement", value="arterial")
    for i in range(max(0, st.start - _PHASE_REACH), min(len(s.tokens) - 1, st.end + _PHASE_REACH)):
        between = s.tokens[min(i, st.end) : max(i, st.start)]
        if i <= 3 and s.tokens[0] in _DURING and "," in between[:3]:  # "On the arterial phase, there is a bright mass"
            between = between[between.index(",") + 1 :]
        if st.field == "attenuation" and _ENHANCED & set(between):
            continue
        if _is_phase_before_dash(s, i, st.start):
            return st._replace(field="enhancement", value="arterial")
        if st.field == "attenuation" and not _DURING & set(_before_phase(s.tokens, i)):
            continue  # "a hyperdense lesion with arterial phase enhancement" says both
        in_phase = s.tokens[i] == "arterial" and (s.tokens[i + 1] in _PHASES or _is_first_phase(s.tokens, i))
        if in_phase and not _PHASE_ENDS & set(between):
            return st._replace(field="enhancement", value="arterial")
    return st


def _before_phase(tokens: Sequence[str], at: int) -> Sequence[str]:
    """The tokens that can hold the preposition of a phase: *on the arterial ...*, *in the late hepatic arterial*."""
    named = {"late", "hepatic"} >= set(tokens[max(0, at - 2) : at])
    return tokens[max(0, at - (5 if named else 3)) : at]


def _bright_after_contrast(s: Sentence, st: Statement) -> Statement:
    """*It becomes bright after contrast*: it enhances strongly."""
    if (st.field, st.value) != ("attenuation", "hyper") or not _BEFORE_TOO.isdisjoint(s.tokens):
        return st
    given = _CONTRAST_GIVEN.search(" ".join(s.tokens[st.end : st.end + 6]))
    return st._replace(field="enhancement") if given and not any(_enhancement_word(h) for h in s.hits) else st


_BEFORE_TOO = words("before pre precontrast and unenhanced native natively plain")


def _is_phase_before_dash(s: Sentence, at: int, start: int) -> bool:
    """*Nodule 22 mm: arterial phase - stains more than liver*."""
    begins = at == 0 or s.tokens[at - 1] in _PUNCTUATION or s.tokens[at - 1] in ("late", "early")
    headed = s.tokens[at] == "arterial" and s.tokens[at + 1] in _PHASES and s.tokens[at + 2 : at + 3] in ([":"], ["-"])
    return begins and headed and at + 2 < start <= at + 6 and not (_PUNCTUATION & set(s.tokens[at + 3 : start]))


def _is_phase_heading(s: Sentence, at: int) -> bool:
    """*Arterial phase: bright nodule*, *Late arterial: homogeneous, bright*."""
    lead = s.tokens[:at]
    end = next((i for i in range(at + 1, min(at + 3, len(s.tokens))) if s.tokens[i] in (":", "-")), None)
    named = s.tokens[at] == "arterial" and end is not None and set(s.tokens[at + 1 : end]) <= _PHASES
    return named and lead in ([], ["late"], ["early"], ["hepatic"])


_OTHER_PHASE = words("portal venous delayed late nephrographic equilibrium unenhanced native")


def _is_first_phase(tokens: Sequence[str], at: int) -> bool:
    """*Hyperdense in the arterial and isodense in the venous phase*."""
    joined = tokens[at + 1] in ("and", "but", ",") and tokens[at - 1] in ("the", "on", "in")
    return joined and bool(_PHASES & set(tokens[at + 2 : at + 11]))


_ENHANCED = words("enhancement enhancing enhances enhanced uptake")
_DURING = words("in on during at")
_PHASES = words("phase phases images imaging series scan one")
_PHASE_ENDS = words(", ; : - and but without no not")


_HOUNSFIELD = words("hu hounsfield")
_OF_TISSUE = words(
    "liver parenchyma gland pancreas cortex kidney normal surrounding adjacent background rest unaffected"
)
_OF_CONTRAST = words("after post postcontrast portal venous arterial delayed phase enhanced injection to from increase")
_LEAST_DIFFERENCE = 5


def _compared(s: Sentence) -> Iterator[Statement]:
    """*35 HU, the liver 60 HU*: the density of the lesion beside that of the tissue around it."""
    found = [
        i
        for i, token in enumerate(s.tokens[:-1])
        if token.isdigit() and s.tokens[i + 1] in _HOUNSFIELD and s.tokens[max(0, i - 1)] != "-"
    ]
    if len(found) != 2:
        return
    first, second = found
    after = set(s.tokens[first:])
    known = any(h.has("say") and any(t.name == "attenuation" for t in h.terms) for h in s.hits)
    if s.tokens[first - 1] == "to":  # "rises from 28 to 41 HU, the cortex 165 HU"
        return
    if known or not after & _OF_TISSUE or after & _OF_CONTRAST:
        return
    difference = int(s.tokens[first]) - int(s.tokens[second])
    value = "iso" if abs(difference) < _LEAST_DIFFERENCE else ("hyper" if difference > 0 else "hypo")
    if "arterial" in s.tokens[:first]:
        if value == "hyper":  # "arterial phase 190 HU, the pancreas 105 HU"
            yield Statement("enhancement", "arterial", first, first + 2, False)
        return
    yield Statement("attenuation", value, first, first + 2, s.is_negated(Hit(first, second, ())))


_ORGAN_TISSUE = (
    r"(?:the )?(?:surrounding |adjacent |normal )?(?:liver|pancreas|kidney|parenchyma|cortex|gland|background)"
)
_PHASE_NAME = (
    r"(?:unenhanced|native|plain|precontrast|pre contrast|non ?contrast|before contrast|portal(?: venous)?|venous|pv|"
    r"delayed|late|nephrographic|equilibrium)"
)
_PHASE_FIRST = re.compile(
    rf"\b{_PHASE_NAME}(?: (?:phase|scan|images|series|ct))? ?:?,? (?:(?:it|is|measures|appears|the lesion) )*"
    rf"(?P<level>lower|less|higher|same|equal|identical) (?:than|as|to) (?:that of )?{_ORGAN_TISSUE}\b"
)
_LEVEL_FIRST = re.compile(
    rf"\b(?P<level>lower|less|higher|same|equal|identical) (?:than|as|to) (?:that of )?{_ORGAN_TISSUE} "
    rf"(?:on|in|at|during) (?:the )?{_PHASE_NAME}\b"
)
_NOT_TOLD_FROM = re.compile(
    rf"\b{_PHASE_NAME}(?: (?:phase|scan|images|series|ct))? ?:?,? (?:(?:it|the lesion) )?"
    r"(?:(?:can|could|is|are|was) )?"
    r"not (?:be )?(?:told|told apart|distinguish\w+|differentiated|separated|separable|discernible) "
    rf"from {_ORGAN_TISSUE}\b"
)
_LEVELS = {"lower": "hypo", "less": "hypo", "higher": "hyper", "same": "iso", "equal": "iso", "identical": "iso"}


def _level_in_phase(s: Sentence) -> Iterator[Statement]:
    """*Unenhanced: lower than liver*, *on the plain scan it cannot be told from the liver*: a density, not named."""
    if s.heads or not {"than", "as", "to", "from"} & set(s.tokens) or not _TISSUES & set(s.tokens):
        return
    text = " ".join(s.tokens)
    match = _PHASE_FIRST.search(text) or _LEVEL_FIRST.search(text)
    value = _LEVELS[match.group("level")] if match else "iso"
    match = match or _NOT_TOLD_FROM.search(text)
    if match:
        start = len(text[: match.start()].split())
        yield Statement("attenuation", value, start, start + len(match.group().split()), False)


def _enhancement_word(hit: Hit) -> bool:
    return any(t.kind in ("head", "say") and t.name == "enhancement" for t in hit.terms)


def _takes(head: Hit, field: str) -> bool:
    """Whether a modifier of ``field`` can go with a head: *hyperenhancing* is one for enhancement, *washout* is not."""
    if field == "enhancement":
        return any(t.kind in ("head", "say") and t.name == field and t.value != "washout" for t in head.terms)
    return any(t.kind == "head" and t.name == field for t in head.terms)


def _gap(s: Sentence, mod: Hit, head: Hit) -> int:
    """Tokens between a modifier and a head; a head that follows is nearer, and words that join clauses count thrice."""
    first, second = (mod, head) if mod.start < head.start else (head, mod)
    between = s.tokens[first.end : second.start]
    if first is head and ":" in between:  # "enhancement pattern: intense"
        between = between[between.index(":") :]
    if first is head and between and between[0] in _SUBJECT_GOES_ON:  # "the enhancement of the mass is modest"
        linked = next((i for i, t in enumerate(between) if t in _COPULAR), None)
        if linked is not None:
            between = between[linked + 1 :]
    joined = "and" in between and mod.start > 1 and s.tokens[mod.start - 1] == "and" and head.end <= mod.start
    joined = joined and any(h.end == mod.start - 1 and h.has("mod", "say") for h in s.hits)  # "it is even and weak"
    row = (
        s.tokens[mod.end - 1] not in _RIM_NOUNS
        and s.tokens[second.start] not in _TAKING_UP
        and _is_row_of_adjectives(s, first.end, second.start)
    )
    heavy = ("with",) if joined or row else ("with", "and")
    counted = [t for t in between if t not in lexicon.SKIPPED and not (t in ("and", "only") and "and" not in heavy)]
    gap = sum(3 if t in heavy else 1 for t in counted)
    return gap if mod.start < head.start else gap + 1


def _is_row_of_adjectives(s: Sentence, start: int, end: int) -> bool:
    """Whether nothing but adjectives joined by *and* stands between: *weak and homogeneous enhancement*."""
    inside = s.tokens[start:end]
    if inside and inside[0] in _COPULAR:
        inside, start = inside[1:], start + 1
    plain = {"and", "only"} | lexicon.SKIPPED | _OF_TIME
    row = all(t in plain or t.endswith("ly") or _is_adjective(s, start + i) for i, t in enumerate(inside))
    return row and "and" in inside


_OF_TIME = words(
    "later earlier sooner delayed late slow slower gradual progressive persistent prolonged transient rapid fast faster"
)


def _in_row(s: Sentence, mod: Hit, head: Hit) -> bool:
    """Whether a comma only divides adjectives of one noun: *irregular, lobulated margins*, *thin, nodular uptake*."""
    between = s.tokens[mod.end : head.start]
    row = len(between) in (2, 3) and between[0] == "," and between.count(",") == 1 and between[-1] not in _NOT_IN_ROW
    return row and (head.name("head") == "margin" or (head.has("head") and _enhancement_word(head)))


def _goes_on(s: Sentence, mod: Hit, head: Hit) -> bool:
    """Whether a predicate goes on after a comma: *the enhancement is homogeneous, although weaker than ...*."""
    between = s.tokens[head.end : mod.start]
    links = [i for i, t in enumerate(between) if t in _COPULAR] or [-1]
    if links == [-1] and (between[:1] != [","] or between[-1] not in _ALTHOUGH):
        return False
    if not links or len(between) > 8 or not {*between[-2:]} & _CONCEDING:
        return False
    return all(
        t in _CONCEDING or t in lexicon.SKIPPED or _is_adjective(s, head.end + i) for i, t in _after(between, links[0])
    )


def _after(tokens: Sequence[str], at: int) -> Iterator[tuple[int, str]]:
    return ((i, t) for i, t in enumerate(tokens) if i > at)


def _is_adjective(s: Sentence, at: int) -> bool:
    """Whether a token belongs to a phrase that describes, and names nothing."""
    return any(h.start <= at < h.end and h.has("say", "mod") and not h.has("lesion", "organ", "other") for h in s.hits)


_ALTHOUGH = words("although though albeit but yet")
_CONCEDING = _ALTHOUGH | words("and only if ,")


def _is_of_margin(s: Sentence, mod: Hit) -> bool:
    """Whether *at its edge* only says where a margin is: *poorly defined at its edge*."""
    return any(h.end == mod.start and any(t.name == "margin" for t in h.terms) for h in s.hits)


def _is_bordered(s: Sentence, mod: Hit, head: Hit) -> bool:
    """Whether a word for a rim is the noun of the margin before it: *a crisp edge, weak enhancement*."""
    terms = [term for hit in s.hits if hit.end == mod.start for term in hit.terms]
    if not any(t.name == "margin" or (t.kind == "mod" and "margin" in _MODS[t.name]) for t in terms):
        return False
    return bool({",", "and"} & set(s.tokens[mod.end : head.start]))


def _lies_there(s: Sentence, mod: Hit, head: Hit) -> bool:
    """Whether *at its rim* says where a lesion lies, and not where it enhances."""
    return s.tokens[mod.start] in _PREPOSITIONS and bool(_LIES & set(s.tokens[head.end : mod.start]))


def _is_next_heading(s: Sentence, mod: Hit, head: Hit) -> bool:
    """Whether a phase is the heading of what follows: *enhancement: arterial phase - none, portal phase - weak*."""
    listed = head.end <= mod.start and ":" in s.tokens[head.end : mod.start]
    return listed and s.tokens[mod.end - 1] in _PHASES and s.tokens[mod.end : mod.end + 1] in _HEADS_END


_HEADS_END = ([":"], ["-"])
_LIES = words("lies lie located situated sits found arises")
_PREPOSITIONS = words("at along around on")
_RIM_NOUNS = words("edge rim ring periphery halo corona crown zone circumference")
_NOT_IN_ROW = words("no the a its without with and or of not")
_SUBJECT_GOES_ON = words("of in by within is are was were remains appears that which")
_COPULAR = words("is are was were remains remain appears appear seems")
_FARTHEST = 16
"""Tokens from a modifier to its head: those that count for nothing (*very*) included."""


def _partner(s: Sentence, mod: Hit, max_gap: int | None = None) -> tuple[Hit, str, str] | None:
    """The head that a modifier goes with, and the descriptor and value that they state together."""
    best: tuple[int, Hit, str, str] | None = None
    for head in s.heads:
        if head is mod or abs(head.start - mod.start) > _FARTHEST:
            continue
        divided = s.chunks[head.start] != s.chunks[mod.start]
        goes_on = divided and _goes_on(s, mod, head)
        if divided and not (goes_on or _in_row(s, mod, head)):
            continue
        predicate = s.tokens[mod.start - 1] in _COPULAR and mod.start > 0
        if predicate and head.start > mod.start and any(t.name == "gone" for t in mod.terms):
            continue  # "washout is absent but arterial enhancement is present"
        if s.tokens[mod.start] in _PREPOSITIONS and (head.start > mod.start or _is_of_margin(s, mod)):
            continue  # "blurred at its edges and enhancing"
        if _is_bordered(s, mod, head) or _lies_there(s, mod, head) or _is_next_heading(s, mod, head):
            continue
        for term in mod.terms:
            for field, value in _MODS[term.name].items() if term.kind == "mod" else ():
                if not _takes(head, field):
                    continue
                gap = 2 if goes_on else _gap(s, mod, head)
                near = s.tokens[mod.start] in _NEAR_ONLY and mod.end == mod.start + 1
                reach = 2 if near else _REACH.get(term.name, 8)
                if gap <= (reach if max_gap is None else max_gap) and (best is None or gap < best[0]):
                    best = (gap, head, field, value)
    return best and best[1:]


def _paired(s: Sentence) -> Iterator[Statement]:
    """What modifiers and heads say together: *low* and *attenuation*; and all that is said of enhancement."""
    by_head: dict[int, list[tuple[Hit, str]]] = {}
    for hit in s.hits:
        if not hit.has("mod") or (hit.has("say") and not _partner(s, hit, max_gap=1)):
            continue
        if _is_degree_of_less(s, hit):
            continue
        if s.tokens[hit.start] == "unchanged" and s.tokens[hit.end : hit.end + 1] in (["and"], [","]):
            continue  # "unchanged and of low attenuation"
        pair = _partner(s, hit)
        if pair is None:
            continue
        head, field, value = pair
        if value == "none" and any(h.start == hit.end and h is not head for h in s.hits):
            continue  # "absent washout in an enhancing nodule": the enhancement is there
        if field == "enhancement":
            by_head.setdefault(head.start, []).append((hit, value))
        elif value:
            start, end = min(hit.start, head.start), max(hit.end, head.end)
            yield Statement(field, value, start, end, s.is_negated(hit) or s.is_negated(head))
    for hit in s.hits:
        lone = _stands_alone(s, hit)
        if lone:
            value = next(_MODS[t.name][lone] for t in hit.terms if t.kind == "mod")
            yield Statement(lone, value, hit.start, hit.end, s.is_negated(hit))
        if _enhancement_word(hit) and not _of_a_part(s, hit):
            yield from _enhancement(s, hit, by_head.get(hit.start, []))


def _is_degree_of_less(s: Sentence, mod: Hit) -> bool:
    """*Markedly lower*, *considerably reduced*: the adverb says how much less, and not how strong."""
    strong = any(t.name == "strong" for t in mod.terms)
    lower = (t.name for h in s.hits if h.start == mod.end for t in h.terms if t.kind == "mod")
    return strong and bool({"low", "weak"} & set(lower))


_ALONE = {
    **dict.fromkeys(
        ("sharp", "crisp", "distinct", "irregular", "ragged", "jagged", "vague", "unsharp", "discrete", "uneven"),
        "margin",
    ),
    **dict.fromkeys(("hypo", "iso", "hyper"), "attenuation"),
    "avid": "enhancement",
    "arterial": "enhancement",
    "dense": "attenuation",
}


_DENSE_THINGS = words("cyst cysts lesion lesions nodule nodules mass focus")
_OF_DEGREE = words("as less more low high soft very homogeneously")
_SHAPES = words("round rounded oval ovoid spherical small tiny large")


def _stands_alone(s: Sentence, hit: Hit) -> str | None:
    """What an adjective speaks of that is all between two commas or after a size: *12 mm, hypodense, sharp*."""
    field = _ALONE.get(s.tokens[hit.start])
    if field is None or not hit.has("mod"):
        return None
    if s.tokens[hit.start] == "dense":  # "a dense cyst", "dense calcified lesion"
        at = hit.end + (s.tokens[hit.end : hit.end + 1] in (["calcified"], ["renal"], ["cortical"], ["liver"]))
        alone = s.tokens[hit.start - 1] not in _OF_DEGREE if hit.start else True
        return field if alone and s.tokens[at : at + 1] and s.tokens[at] in _DENSE_THINGS else None
    if field == "attenuation" and _opens_list(s, hit.end):
        return field
    if s.tokens[hit.start] == "arterial":  # "an arterial focus of 6 mm"
        after = s.tokens[hit.end : hit.end + 1]
        return field if hit.end == hit.start + 1 and bool(after) and after[0] in _LESION_WORDS else None
    if hit.start == 0:  # "Sharp."
        return field if hit.end == len(s.tokens) or s.tokens[hit.end] == "," else None
    before, after = s.tokens[hit.start - 1], s.tokens[hit.end : hit.end + 1]
    if before in _COPULAR:  # "the lesion is discrete and sharp"
        return field if all(t in _PUNCTUATION or t == "and" for t in after) else None
    if before in _PUNCTUATION and after == ["and"] and _is_adjective(s, hit.end + 1):  # "round, sharp and hypodense"
        return field
    if any(h.end <= hit.start and s.chunks[h.start] == s.chunks[hit.start] and _enhancement_word(h) for h in s.heads):
        return None  # "its enhancement is brisk and uneven"
    joined = before == "and" and (
        s.tokens[hit.start - 2] in _SHAPES or any(h.end == hit.start - 1 and h.has("say", "mod") for h in s.hits)
    )
    ends = (before in _PUNCTUATION or before[0] == "@" or joined) and all(t in _PUNCTUATION for t in after)
    return field if ends else None


def _opens_list(s: Sentence, at: int) -> bool:
    """Whether a size or a lesion follows, as in telegrams: *S6 hypo 14 mm*, *iso nodule*."""
    after = s.tokens[at] if at < len(s.tokens) else ""
    return after.startswith("@") or after in _LESION_WORDS


def _enhancement(s: Sentence, head: Hit, mods: Sequence[tuple[Hit, str]]) -> Iterator[Statement]:
    own = [t.value for t in head.terms if t.kind == "say"]
    remains = {"residual", "viable", "remaining"} & set(s.tokens[max(0, head.start - 3) : head.start])
    if s.is_negated(head) and (remains or _in_several_phases(s, head)):
        mods = [(m, v) for m, v in mods if v != "arterial"]
    if (s.is_negated(head) or "none" in own) and _of_inside(s, head):
        return
    if s.tokens[head.end - 1] in _RINGS and _is_of_other_kind(s, head):
        return
    wall = _wall_that_enhances(s, head)
    wall = _wall_of_lesion(s, head) if wall is None else wall
    values = [*own, *(value for _, value in mods)]
    if wall is not None or (not values and _is_of_wall(s, head)):
        values.append("rim")  # "its wall is thin and enhances slightly"
    start = min([head.start, *(m.start for m, _ in mods)])
    start = start if wall is None else min(start, wall)
    end = max([head.end, *(m.end for m, _ in mods)])
    negated = s.is_negated(head) or any(s.is_negated(m) for m, _ in mods)
    if "none" in values and own == ["rim"]:
        yield Statement("enhancement", "rim", start, end, True)  # "enhancing wall: none"
    elif "none" in values:
        gone = any(v == "none" for _, v in mods)
        kind = next((v for v in ("rim", "arterial", "hyper", "hypo") if v in values), None)
        if gone and kind:
            yield Statement("enhancement", kind, start, end, True)  # "rim enhancement is lacking"
            return
        yield Statement("enhancement", "none", start, end, negated and not gone)
    elif (
        not values
        and negated
        and {"central", "centrally"} & {*s.tokens[max(0, start - 1) : start], *s.tokens[end : end + 1]}
    ):
        return  # "no central enhancement" says nothing of the rest
    elif not values and negated and _of_a_kind(s, end):
        return
    elif not values:
        nodular = s.tokens[max(0, start - 2) : start] in (["no", "nodular"], ["without", "nodular"])
        if negated and not nodular and not (_TYPICAL | _ABOUT) & set(s.tokens[max(0, start - 2) : start]):
            yield Statement("enhancement", "none", start, end, False)
    else:
        value = next(v for v in ("washout", "rim", "arterial", "hyper", "hypo") if v in values)
        late = {"venous", "portal", "delayed", "late", "all", "both"} & set(s.tokens[head.end : end + 4])
        if value == "arterial" and "hypo" in values and late:
            value = "hypo"  # "enhances poorly in the arterial as well as the venous phase"
        if value == "arterial" and any(v == "hypo" and _LOW & set(s.tokens[m.start : m.end]) for m, v in mods):
            value = "hypo"  # "arterial phase: low enhancement"
        if value in ("arterial", "hyper") and "hypo" in own:  # "enhances less avidly than the gland"
            value = "hypo"
        yield Statement("enhancement", value, start, end, negated)


_RINGS = words("rim ring halo")
_NOT_ENHANCING = words("without not no non nonenhancing unenhancing calcified hypodense")
_OF_VESSELS = words(
    "enhancement hyperenhancement contrast uptake vascular vascularized enhancing viable perfused avidly"
)


_LOW = words("low lower less reduced decreased diminished poor poorly deficient")


def _is_of_other_kind(s: Sentence, head: Hit) -> bool:
    """*It has a thin rim of calcification*, *a thin rim without enhancement*: no rim that enhances."""
    after = s.tokens[head.end : head.end + 4]
    if _OF_VESSELS & set(after[:1]):
        return False  # "it demonstrates a rim-enhancing, calcified focus"
    if after[:2] in ([",", "which"], [",", "that"]):
        return bool(_NOT_ENHANCING & set(after))
    end = next((i for i, t in enumerate(after) if t in _PUNCTUATION or t in ("and", "but", "in", "on")), len(after))
    after = after[:end]
    return bool(_NOT_ENHANCING & set(after)) or (after[:1] == ["of"] and not _OF_VESSELS & set(after))


def _of_inside(s: Sentence, head: Hit) -> bool:
    """*The centre stays unenhanced*, *no enhancement of its contents*, *Centre: fluid, not enhancing*."""
    if s.tokens[1:2] == [":"] and s.tokens[0] in _INSIDES:
        return True
    if s.tokens[0] in _SHARES_OF and s.tokens[1:2] == ["of"] and s.chunks[head.start] == 0:
        return True  # "most of it does not enhance"
    beside = s.tokens[head.end : head.end + 2]
    if any(t in _NAMED_PARTS and not _BEFORE_PLACE & set(beside[:i]) for i, t in enumerate(beside)):
        return True  # "an avascular necrotic middle", "a thin nonenhancing rim"
    after = s.tokens[head.end : head.end + 4]
    if after[:1] and after[0] in _INSIDE and next((t for t in after[1:] if t not in _ARTICLES), "") in _INSIDES:
        return True
    for i in range(head.start - 1, max(-1, head.start - 9), -1):
        token = s.tokens[i]
        if token in _LESION_WORDS and s.tokens[max(0, i - 2) : i] in (["of", "the"], ["of", "this"]):
            continue  # "the cystic component of the mass"
        if token in _PUNCTUATION or token in _LESION_WORDS or token in ("and", "nor", "or", "but", "with", "which"):
            return False
        if token in _SHARES and s.tokens[i - 1] in _OF_INSIDES:
            return i < 3
        if token in _INSIDES and "nor" in s.tokens[max(0, i - 2) : i]:
            return False
        if token in _INSIDES:
            return s.tokens[i - 1] in _ARTICLES or i == 0 or s.chunks[i - 1] != s.chunks[i]
    return False


_OF_INSIDES = words("necrotic cystic central calcified liquid fluid hemorrhagic fatty")
_NAMED_PARTS = words("center centre middle core interior rim ring halo wall walls capsule septa septations")
_BEFORE_PLACE = _PUNCTUATION | words("in of within along at and or")
_SHARES_OF = words("most much part parts half some portions areas")
_INSIDES = words("center centre middle core interior inside lumen content contents cavity loculi locules")
_ARTICLES = words("the its their a")


def _of_a_kind(s: Sentence, end: int) -> bool:
    """*It does not enhance like a hemangioma*, *not the enhancement pattern of an HCC*: it may enhance otherwise."""
    after = s.tokens[end : end + 2]
    return after in (["like", "a"], ["like", "an"], ["as", "a"]) or after in (["pattern", "of"], ["features", "of"])


_WALLS = words("septa septum septation septations wall walls capsule")
_PART_SUBJECTS = words("wall walls septa content contents center centre rim periphery")
_SHARES = words("part parts portion portions component components area areas content contents")
_INNER_PARTS = words("septa septum septation septations scar")


def _in_several_phases(s: Sentence, head: Hit) -> bool:
    """*No enhancement on the arterial or venous phase* denies all enhancement, and not only an arterial one."""
    after = s.tokens[head.end : head.end + 8]
    before = s.tokens[: head.start]
    if "neither" in before and "nor" in after and {"venous", "portal", "delayed", "late", "later"} & set(after):
        return True  # "it neither enhances arterially nor later"
    if "nor" in before and "arterial" in before and {"venous", "portal", "delayed", "late"} & set(before):
        return True  # "neither the arterial nor the portal phase shows enhancement"
    return after[:1] in (["in"], ["on"], ["during"]) and bool({"venous", "portal", "delayed", "late"} & set(after))


_TYPICAL = words("typical characteristic classic classical expected usual")  # "not the typical enhancement of an FNH"
_ABOUT = words("about regarding concerning whether assess assessment")  # "no statement about enhancement"
_OUTSIDE = words("wall walls margin margins edge edges border borders shell")


def _is_subject(tokens: Sequence[str], edge: int) -> bool:
    """Whether an edge is what a clause is about: *its outer margin*, and not *a mass with an irregular margin*."""
    for i in range(edge - 1, max(-1, edge - 5), -1):
        if tokens[i] in ("the", "its", "their", "whose"):
            return i == 0 or tokens[i - 1] not in ("with", "of", "by", "has", "shows", "and")
        if tokens[i] in _PUNCTUATION:
            return True
        if tokens[i] in ("a", "an", "with", "of", "by", "and"):
            return False
    return edge < 5


def _wall_that_enhances(s: Sentence, head: Hit) -> int | None:
    """The wall that is the subject of a verb: *the wall is thick and enhances*."""
    if s.tokens[0] in ("periphery", "wall", "walls", "rim") and s.tokens[1] == ":" and not s.is_negated(head):
        return 0  # "Periphery: thick, enhancing"
    predicate = s.tokens[head.start] == "enhancing" and s.tokens[head.start - 1] in (
        *("and", "is", "are"),
        *("wall", "walls"),  # "its walls enhancing"
    )
    shown = s.tokens[max(0, head.start - 4) : head.start]
    verb = next((i for i, t in enumerate(shown) if t in _WALL_SHOWS), 0)
    if verb and shown[verb - 1] in ("wall", "walls", "rim") and not s.is_negated(head):
        at = head.start - len(shown) + verb - 1
        return at if s.tokens[at - 1] in ("the", "its", "their") else None  # "the wall shows marked enhancement"
    if s.tokens[head.start] not in _TAKING_UP and not predicate:
        return None
    for i in range(head.start - 1, max(-1, head.start - 6), -1):
        if s.tokens[i] in _EDGES and i == head.start - 1 and not predicate:
            return i if _is_subject(s.tokens, i) else None  # "the margin enhances"
        if s.tokens[i] in ("wall", "walls", "rim"):
            if s.tokens[i + 1] in ("that", "which") and _has_article(s.tokens, i):
                return i  # "with a thick wall that enhances"
            named = i == 0 or s.tokens[i - 1] in ("the", "its", "their", "whose", ",")
            return i if named or _has_the(s.tokens, i) else None
        if s.tokens[i] in _PUNCTUATION or s.tokens[i] in ("not", "no", "nor", "of"):
            return None
        if s.tokens[i] in ("that", "which") and not (s.tokens[i - 1] == "wall" and _has_article(s.tokens, i - 1)):
            return None
    return None


def _wall_of_lesion(s: Sentence, head: Hit) -> int | None:
    """The wall that a sentence is about: *the wall of the abscess is thick and enhances strongly*."""
    begin = 1 if s.tokens[0] == "the" else 0
    of_lesion = s.tokens[begin] in (*_OUTSIDE, "rim", "periphery") and s.tokens[begin + 1 : begin + 2] == ["of"]
    verb = s.tokens[head.start] in _TAKING_UP or bool(_WALL_SHOWS & set(s.tokens[begin : head.start]))
    if not (of_lesion and verb) or s.is_negated(head) or _BEFORE_OTHER & set(s.tokens[begin : head.start]):
        return None
    organs = (h.name("organ") for h in s.hits if h.end <= head.start)
    return begin if {None, *lexicon.HOSTS}.issuperset(organs) else None


_BEFORE_OTHER = words(", ; : but which while whereas it vein artery duct vessel")


def _has_the(tokens: Sequence[str], at: int) -> bool:
    """*The thick, irregular wall*, *thick wall enhances*: it is the subject; not *with a thick wall and enhances*."""
    i = at
    while i > 0 and tokens[i - 1] in _OF_WALLS:
        i -= 1
    return i < at and (i == 0 or tokens[i - 1] in ("the", "its"))


_OF_WALLS = words("thick thin thickened irregular smooth nodular outer cyst entire whole ,")
_WALL_SHOWS = words("shows show has have demonstrates demonstrate displays")
_TAKING_UP = words("enhances enhance takes take stains opacifies")


def _has_article(tokens: Sequence[str], at: int) -> bool:
    """*A thick, irregular wall*."""
    return "a" in tokens[max(0, at - 4) : at]


def _is_of_wall(s: Sentence, head: Hit) -> bool:
    """Whether it is the wall of a lesion that enhances: *the wall of the collection enhances*."""
    lead = s.tokens[max(0, head.start - 8) : head.start]
    outside = (
        i
        for i, t in enumerate(lead[:-1])
        if lead[i + 1] == "of" and (t in _OUTSIDE or "outer" in lead[max(0, i - 1) : i])
    )
    at = next(outside, None)
    return at is not None and not _PUNCTUATION & set(lead[at:]) and not {"and", "with", "which"} & set(lead[at:])


def _is_whole_lesion(s: Sentence, head: Hit, lesions: Set[int]) -> bool:
    """*A hypoenhancing area in the pancreatic head*, *the mass is seen as one*; but *the mass has one*."""
    if s.tokens[0] == "it" or _INSIDES & set(s.tokens[head.end : head.end + 6]):
        return False
    return "as" in s.tokens[max(0, head.start - 6) : head.start] or not any(i < head.start for i in lesions)


def _is_of_relative_wall(s: Sentence, head: Hit) -> bool:
    """Whether *that* or *which* before a verb stands for a wall or rim."""
    relative = (i for i in range(max(1, head.start - 5), head.start) if s.tokens[i] in ("that", "which"))
    return any({*_WALLS, "rim", "ring"} & set(s.tokens[max(0, i - 1 - (s.tokens[i - 1] == ",")) : i]) for i in relative)


def _of_a_part(s: Sentence, head: Hit) -> bool:
    """Whether an adjective speaks of a part of the lesion only: *enhancing mural nodule*."""
    if s.tokens[0] in _INNER_PARTS and s.tokens[1:2] == [":"]:
        return True  # "Septa: two, thin, minimally enhancing"
    lead = s.tokens[max(0, head.start - 4) : head.start]
    if _PART_SUBJECTS & set(lead) and {"neither", "nor"} <= set(s.tokens[: head.start]):
        return False  # "neither wall nor content enhances"
    wall = next((i for i, t in enumerate(lead[-3:]) if t in _WALLS), 3)
    since = set(lead[-3:][wall:])
    if {"without", "no", "lacking"} & since and not (_PUNCTUATION | {"and", "or", "nor"}) & since:
        return True  # "thin septa without enhancement"
    for token in reversed(lead):
        if token in ("center", "centre", "core"):
            return True  # "the centre does not enhance"
        if token in _PUNCTUATION or token in ("and", "with", "it"):
            break
    if s.tokens[head.start] in ("enhance", "enhances"):
        linking = lexicon.SKIPPED | {"do", "does", "not", "that", "which"}
        at = next((i for i in range(head.start - 1, -1, -1) if s.tokens[i] not in linking), 0)
        inner = s.tokens[at] in _INNER_PARTS and s.tokens[max(0, at - 1)] != "and"  # not "wall and septa enhance"
        if inner or (s.tokens[at] in _SHARES and s.is_negated(head)):
            return True  # "its septa enhance mildly", "the cystic parts do not enhance"
    if s.is_negated(head) and _is_of_relative_wall(s, head):
        return True  # "with a thick wall that does not enhance"
    if not s.tokens[head.end - 1].endswith(("enhancing", "enhanced")):
        return False
    lesions = {h.end - 1 for h in s.hits if h.has("lesion") or _names(h)}
    soft = s.tokens[head.end : head.end + 2] == ["soft", "tissue"] and head.end + 2 not in lesions
    if soft and head.end + 1 not in lesions and any(i < head.start for i in lesions):
        return True  # "an AML with strongly enhancing soft tissue"
    for i in range(head.end, min(head.end + 4, len(s.tokens))):
        if i in lesions or s.tokens[i] in _PUNCTUATION or s.tokens[i] in ("and", "with", "or", "but", "in"):
            return False
        if s.tokens[i] in _PARTS and i + 1 not in lesions:
            return not (s.tokens[i] == "area" and _is_whole_lesion(s, head, lesions))
        if s.tokens[i] in _WALLS and s.is_negated(head):
            return True  # "no enhancing wall"
    return False


# The sentence


def _names(hit: Hit) -> list[str]:
    """The pathologies that a hit names."""
    return [t.value for t in hit.terms if t.kind == "say" and t.name == "pathology"]


class Sentence:
    """A sentence, read: tokens, phrases, cues, statements and sizes."""

    def __init__(self, text: str) -> None:
        self.text = text
        plain, self.measures = _set_sizes_apart(normalized(text))
        self.tokens = _tokens(plain)
        self.hits = _CONTENT.find(self.tokens)
        long = {i for h in self.hits if h.end - h.start > 1 for i in range(h.start, h.end)}
        self.cues = [c for c in _CUES.find(self.tokens) if not (long.issuperset(range(c.start, c.end)))]
        self.heads = [h for h in self.hits if h.has("head") or _enhancement_word(h)]
        self.chunks = _chunks(self.tokens, self.cues, self.hits)
        self._negated = _negated_tokens(self)
        read = (
            _of_enhancement(self, _after_contrast(self, st))
            for st in (
                *_standing(self),
                *_paired(self),
                *_compared(self),
                *_level_in_phase(self),
                *_unchanged_by_contrast(self),
                *_of_constant_hu(self),
            )
            if not any(is_other(self, st) for is_other in _NOT_OF_LESION)
        )
        # the first value that a report states counts
        shown = (_bright_after_contrast(self, _in_phase(self, st)) for st in read)
        self.statements = sorted(map(_turned, shown), key=lambda st: st.start)
        if not _CHANGES.isdisjoint(self.tokens):
            self.statements = [_of_lost(self, st) for st in self.statements if not _is_former(self, st)]
        past = {(st.field, st.value) for st in self.statements if st.negated and self._is_no_longer(st)}
        self.statements = [st for st in self.statements if st.negated or (st.field, st.value) not in past]
        self.sizes = _sizes(self)

    def _is_no_longer(self, st: Statement) -> bool:
        """*The formerly hyperdense lesion is no longer hyperdense*."""
        return self.tokens[max(0, st.start - 2) : st.start] == ["no", "longer"]

    def is_origin(self, hit: Hit) -> bool:
        """Whether a pathology is only where a metastasis comes from: *RCC metastasis*, *metastasis of an RCC*."""
        if not _names(hit) or "metastasis" in _names(hit):
            return False
        for other in self.hits:
            if abs(other.start - hit.end) <= 10 and "metastasis" in _names(other):
                between = self.tokens[other.end : hit.start]
                if other.start == hit.end or (between[:1] in (["of"], ["from"]) and len(between) <= _FAR_ORIGIN):
                    return True
        return False

    def part(self, start: int, end: int) -> str:
        """The text of some of the tokens, with their sizes."""
        return " ".join(f"{self.measures[int(t[1:])].mm:g} mm" if t[0] == "@" else t for t in self.tokens[start:end])

    def is_negated(self, hit: Hit) -> bool:
        return any(self._negated[hit.start : hit.end])


_NOT_OF_LESION = (
    _is_unassessed,
    _of_other_imaging,
    _inside_areas,
    _of_tissue,
    _of_another,
    _is_asked,
    _is_doubtful,
    _of_some,
)
_FAR_ORIGIN = 6
"""Tokens between a metastasis and where it comes from: *metastases from the known small bowel NET*."""
_ABBREVIATION = re.compile(
    r"(?:\b(?:approx|ca|vs|e\.g|i\.e|seg|segm|segs|prev|susp|approximat|no|dr|max|diam|incl|cf|resp|st|pat|lt|rt|fig|pt|panc|enh|hypoenh|hyperenh|homog|heterog|inhomog|hypovasc|hypervasc|hypodens|hyperdens|pap|w|pos|neg|unch|art|ven|het|hom|hemang|enhanc|indet|neg|bilat|post|ant|inf|sup|"
    r"[a-z])|(?<![\d/])\d+)\.$",
    re.IGNORECASE,
)
_BREAK = re.compile(r"(?<=[.!?;])\s+|(?<=[.!?][\"”])\s+|(?<=[a-z]{3}[.;])(?=[A-Z])|\s*[;|]\s*|\s*\n\s*")
_ENDS_IN_SEGMENT = re.compile(r"\b(?:segments?|segs?|s) ?\d[ab]?\.$", re.IGNORECASE)
_NEXT_NUMBER = re.compile(r"\d(?:\) |\. (?=[A-Z]))")
_NEXT_SIZE = re.compile(r"\d[\d.,x ]{0,12} ?[cm]m\b", re.IGNORECASE)
_LONGEST = 2000


def sentences_of(text: str) -> Iterator[str]:
    """The sentences of a text. Full stops within numbers and after abbreviations end none.

    A line that begins in lower case goes on the line before. A piece without an end is cut after 2,000 characters.
    """
    start, n = 0, len(text)
    for match in _BREAK.finditer(text):
        piece = text[start : match.start()]
        rest = text[match.end() : match.end() + 1]
        newline = "\n" in match.group()
        if newline and rest.islower() and piece.rstrip()[-1:] not in ".:!?":
            continue
        divides = match.group().strip() == ";" or piece.endswith(";")
        if divides and piece.count("(") > piece.count(")") and ")" in text[match.end() : match.end() + 80]:
            continue
        if piece.endswith(" no.") and _SIZE.match(text, match.end()):
            pass  # "Capsule no. 12 mm lesion in segment 5 ..."
        elif _ENDS_IN_SEGMENT.search(piece) and _NEXT_SIZE.match(text, match.end()):
            pass  # "Cyst in segment 6. 28 mm mass in segment 2"
        elif _ENDS_IN_SEGMENT.search(piece) and _NEXT_NUMBER.match(text, match.end()):
            pass  # "1) Cyst in segment 6. 2) Renal cyst"
        elif not newline and piece.endswith(".") and _ABBREVIATION.search(piece) and not rest.isupper():
            continue
        yield from _cut(piece)
        start = match.end()
    yield from _cut(text[start:n])


def _cut(piece: str) -> Iterator[str]:
    for i in range(0, len(piece), _LONGEST):
        part = piece[i : i + _LONGEST].strip()
        if part:
            yield part
