"""Words that stand for a lesion told of before: *the latter*, *the smaller one*, *the other two*, *that on the left*.

They are found in the text of a clause, before it is read; which lesions they mean is for ``extraction`` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .lexicon import words

_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3}
LARGER = words("larger bigger greater largest biggest dominant")
SMALLER = words("smaller lesser smallest")
_REST = words("other others remaining")
_PLACES = words("left right upper lower superior inferior")
_WORD = (
    "former|latter|first|second|third|fourth|last(?:-mentioned|-named)?|larger|bigger|greater|largest|biggest|smaller|lesser|smallest|"
    "others?|remaining|(?:left|right|upper|lower|superior|inferior)(?=[ -](?:sided )?(?:one|lesion|mass|tumou?r)\\b)"
    "(?:-sided)?|(?:left|right)-sided"
)
_THINGS = "ones?|lesions?|mass(?:es)?|tumou?rs?|nodules?|cysts?|foc(?:us|i)"
_THING_IN_PLURAL = re.compile(r"(?:[^su]s|foci)$")
_SUBJECT = re.compile(
    rf"\bthe (?:(?P<few>two|three) )?(?P<word>{_WORD})(?: (?P<count>two|three))?"
    r"(?: of (?:the|these|those) (?:two|three|lesions))?"
    rf"(?: (?P<noun>{_THINGS}))?(?= |,|$)",
    re.IGNORECASE,
)
_BEFORE = r"(?:[,;] (?:and |but |while |whereas )?|\s(?:and|but|while|whereas) )(?=the )"
_PAIRED = re.compile(_BEFORE, re.IGNORECASE)
_VERB = re.compile(
    r"^,? ?(?:too,? |also |again |likewise |still |now |both |most likely |probably |presumably )*"
    r"(?:is|are|was|were|has|have|had|does|do|did|can|could|may|might|must|shows?|enhances?|measures?|represents?|"
    r"remains?|appears?|contains?|meets?|suggests?|corresponds?|demonstrates?|lies|looks?|fits?|being|washes|wash|"
    r"displays?|exhibits?|abuts?|communicates?|arises?|lacks?|favou?rs?|seems?|takes?|fails?|retains?|fills?|loses?|"
    r"stays?|lights?|becomes?|enhanced|washed)\b",
    re.IGNORECASE,
)
_FURTHER = re.compile(r"^,? (?:with|in|of|at|on|within|@|\d|\()", re.IGNORECASE)


_LEAD_OF_PHASE = re.compile(
    r"(?:on|in|at|during|after) [^,;.]{0,40}\b(?:phases?|images?|imaging|series|scans?|acquisitions?|contrast),? "
    rf"(?=the (?:{_WORD})\b)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^(?:(?:(?:of|among) (?:these|those|them|which)|in (?:summary|conclusion|synopsis)|overall|therefore|thus|hence|"
    r"consequently),? (?=the )|"
    r"(?:unlike|in contrast to|as opposed to|contrary to) [^,;]{3,60}, (?=(?:the|this|it)\b)|"
    rf"(?:while|whereas) (?=the (?:{_WORD})\b))",
    re.IGNORECASE,
)
_KIND = r"(?:\w+[ -]){1,2}(?:lesion|mass|tumou?r|nodule|one)"
_OF_ONE = re.compile(rf"the {_KIND}\b", re.IGNORECASE)
_NUMBERED_NEXT = re.compile(r"; lesion \d", re.IGNORECASE)
_ELLIPSIS = re.compile(
    rf"(?:,| and|,? while|,? whereas|, and) the (?P<subject>{_KIND}) (?=(?:probably |likely )?an? )", re.IGNORECASE
)


# What a clause leaves out because the clause before says it.
_ORGAN_PART = (
    r"(?:the )?(?:segments? \w+|(?:left|right)(?: (?:side|kidney|lobe))?|"
    r"(?:\w+ ){0,2}(?:head|neck|body|tail|pole|lobe|kidney|liver|pancreas|dome))"
)
_WHICH = (
    r"(?:left|right|upper|lower|cranial|caudal|anterior|posterior|larger|smaller|largest|smallest|other|first|second|"
    r"third|hepatic|renal|pancreatic|liver|kidney|pole|lobe|\d+(?:[.,]\d+)?[ -]?[cm]m)(?:-sided)?"
)
_ONE = rf"(?:that|the one) (?:in|on|at|of) {_ORGAN_PART}|the (?:{_WHICH}[ -]){{1,3}}one"
_OTHER_ONE = (
    rf"{_ONE}|the (?:{_WHICH}[ -]){{1,3}}(?:lesion|mass|tumou?r|nodule|cyst)(?: (?:in|on|at|of) {_ORGAN_PART})?|"
    r"lesion \d|the (?:larger|smaller|other|second|third)"
)
_CONJUNCTION = r"(?:[,;] (?:and |but |while |whereas )?| (?:and|but|while|whereas) )"
_VALUE = (
    r"(?:(?:clearly|rather|slightly|only|probably|possibly|presumably|(?:most )?likely|strongly|predominantly) )*"
    r"(?:an? |\d|well\b|ill\b|"
    r"sharply|poorly|hypo|hyper|iso|solid|cystic|homogen|heterogen|inhomogen|enhancing|calcified|necrotic|unchanged|"
    r"stable)"
)
_WITHOUT_VERB = re.compile(rf"{_CONJUNCTION}(?P<subject>{_OTHER_ONE}),? (?={_VALUE})", re.IGNORECASE)
_ONE_MORE_SUBJECT = re.compile(rf"{_CONJUNCTION}(?=(?:{_ONE}) )", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|measures|being|measuring|was|has)\b", re.IGNORECASE)
_EDGE = r"margins?|borders?|contours?|edges?|outlines?|enhancement|texture|density|attenuation"
_SHARED_NOUN = re.compile(
    rf"\b(?P<verb>has|have|shows?) (?P<first>(?:an? )?\w+(?: \w+)?),? (?:and |but |while |whereas )?"
    rf"(?P<subject>{_OTHER_ONE}),? (?P<second>\w+(?: \w+)?) (?P<noun>{_EDGE})\b",
    re.IGNORECASE,
)
_ENHANCING = re.compile(
    r"\b(?:(?P<enhance>enhances?)|(?P<take_up_contrast>takes? up contrast)|(?P<wash_out>wash(?:es)? out))\b",
    re.IGNORECASE,
)
_DOES_NOT = re.compile(r"\b(does|do) not(?=[.,;]|$)", re.IGNORECASE)
_BUT_ONLY = re.compile(
    r"(?:,| and|,? but|,? while|,? whereas) only "
    r"(?=the (?:larger|bigger|smaller|first|second|third|former|latter)\b)",
    re.IGNORECASE,
)
_NOT_ENHANCING = re.compile(r"\b(?:not|fails? to) (?:enhance|take up contrast)\b", re.IGNORECASE)
_BUT_DOES = re.compile(
    r"\b(?:but|while|whereas|and) (?:the|its) \w+(?: \w+)? (?P<verb>do(?:es)?)(?=[.,;]|$)", re.IGNORECASE
)
_LEADING_ONE = re.compile(rf"(?:while |whereas )?(?P<subject>{_ONE}) ", re.IGNORECASE)
_SOME_ONE = re.compile(r"(?<=and )one (?=(?:of|measuring) (?:\d|about))", re.IGNORECASE)


_OF_AN_ORGAN = re.compile(
    r"^(?:is (?:normal|free|unremarkable|clear|small|enlarged|intact)|"
    r"(?:contains?|bears?|harbou?rs?|shows?|has) (?:an?|no|two|three)? ?(?:\w+ )*?"
    r"(?:cysts?|mass|lesions?|tumou?rs?|stones?|nodules?)\b)",
    re.IGNORECASE,
)
"""What is said of an organ: *the left one bears a cyst, the right one is normal*."""


_SIDED_SUBJECT = re.compile(rf"\bthe (?:left|right)(?:-sided)? (?:{_THINGS})\b", re.IGNORECASE)
_OTHER_SIDE = re.compile(
    r"(?<=[,;] )((?:and |but |while |whereas )?the (?:left|right)) (?=(?:does|is|has|shows|enhances)\b)"
)


def completed(sentence: str) -> str:
    """The sentence with the words that a clause leaves out: *that in segment 7 [is] isodense*, *does not [enhance]*.

    *The left mass enhances, the right [one] does not*.
    """
    sentence = _OTHER_SIDE.sub(r"\1 one ", sentence) if _SIDED_SUBJECT.search(sentence) else sentence
    sentence = _SOME_ONE.sub("a lesion ", sentence)
    sentence = _BUT_ONLY.sub("; ", sentence)
    sentence = _SHARED_NOUN.sub(r"\g<verb> \g<first> \g<noun>; \g<subject> has \g<second> \g<noun>", sentence)
    first = _COPULA.search(sentence)
    for match in reversed(list(_WITHOUT_VERB.finditer(sentence)) if first else []):
        if first and first.start() < match.start():
            verb = "measures" if sentence[match.end()].isdigit() else "is"
            sentence = f"{sentence[: match.start()]}; {match.group('subject')} {verb} {sentence[match.end() :]}"
    does, enhancing = _DOES_NOT.search(sentence), _ENHANCING.search(sentence)
    if does and enhancing and enhancing.start() < does.start():
        verb = (enhancing.lastgroup or "enhance").replace("_", " ")
        sentence = f"{sentence[: does.end()]} {verb}{sentence[does.end() :]}"
    does, enhancing = _BUT_DOES.search(sentence), _NOT_ENHANCING.search(sentence)
    if does and enhancing and enhancing.start() < does.start():
        sentence = f"{sentence[: does.start('verb')]}enhances{sentence[does.end() :]}"
    return sentence


_DOES = re.compile(r"^[^.,;:]{3,60}? (?P<verb>does|do)(?=[.,;:]|$)", re.IGNORECASE)
_AND_DOES_NOT = re.compile(r"\b(?:and|but) (?:does|do) not(?=[.,;]?$)", re.IGNORECASE)
_OTHER_VERB = re.compile(r"\b(?:is|are|was|were|has|have|shows?|measures?|not|and|which|that)\b", re.IGNORECASE)


def with_verb(sentence: str, before: str) -> str:
    """The sentence with the verb of the one before it: *The first does not enhance. The second does.*

    *The first enhances. The second is a cyst and does not.*
    """
    denied, told = _AND_DOES_NOT.search(sentence), _ENHANCING.search(before)
    if denied and told and not _ENHANCING.search(sentence):
        return f"{sentence[: denied.end()]} {(told.lastgroup or '').replace('_', ' ')}{sentence[denied.end() :]}"
    does = _DOES.match(sentence)
    if does is None or _OTHER_VERB.search(does.group()) or not _ENHANCING.search(before):
        return sentence
    return f"{sentence[: does.start('verb')]}enhances{sentence[does.end() :].replace(':', '', 1)}"


def with_noun(clause: str, noun: str) -> str:
    """The clause with ``noun`` in place of *that* or *one*: *the lesion in segment 7*, *the right cyst*."""
    match = _LEADING_ONE.match(clause)
    if match is None or _OF_AN_ORGAN.search(clause[match.end() :]):
        return clause
    words_of = match.group("subject").split()
    at = next((i for i, word in enumerate(words_of) if word.lower() == "one"), 0)
    phrase = [*(words_of[:at] or ["the"]), noun, *words_of[at + 1 :]]
    return f"{' '.join(phrase)} {clause[match.end() :]}"


_ALL_BUT = re.compile(
    r"(?:\b(?:in|of|for) )?\b(?:all|each)(?: of them| lesions)?,? (?:but|except(?: for)?) "
    r"(?P<excepted>(?:the|that|lesions?) [^,.;]+?)"
    r"(?=[,.;]|$| (?:is|are|has|have|shows?|(?:hyper)?enhances?|do|does|contains?|demonstrates?|wash)\b)",
    re.IGNORECASE,
)


def all_but(clause: str) -> tuple[str, str] | None:
    """A clause on all lesions but one without them, and what names that one: *rim in all but the segment 2 lesion*."""
    match = _ALL_BUT.search(clause) if " but " in clause or "except" in clause else None
    if match is None:
        return None
    rest = clause[: match.start()] + clause[match.end() :]
    return (rest if clause[: match.start()].strip() else f"They{rest}"), match.group("excepted")


_LESION = re.compile(rf"\b(?:{_THINGS})\b", re.IGNORECASE)


class Reference(NamedTuple):
    """A subject that stands for lesions told of before, and the clause with *it* or *they* in its place."""

    word: str
    """The word that tells which: *latter*, *smaller*, *left*."""
    number: int
    """How many of them, where the text says so."""
    plural: bool
    clause: str

    @property
    def ordinal(self) -> int | None:
        return _ORDINALS.get(self.word)

    @property
    def by_size(self) -> int:
        """1: the larger one, -1: the smaller one."""
        return (self.word in LARGER) - (self.word in SMALLER)

    @property
    def rest(self) -> bool:
        return self.word in _REST

    @property
    def place(self) -> str:
        return self.word if self.word in _PLACES else ""


def clauses_of(sentence: str) -> Iterator[str]:
    """The clauses of a sentence, divided where another of the lesions that it refers to becomes the subject."""
    in_phase = _LEAD_OF_PHASE.match(sentence)
    if in_phase:
        yield from (in_phase.group() + clause for clause in clauses_of(sentence[in_phase.end() :]))
        return
    sentence = completed(sentence)
    last = _OBJECT.search(sentence)
    parted = last and _LAST_CLAUSE.match(sentence[: last.start()])
    if parted:  # "both enhance, but washout is restricted to the right one"
        yield from clauses_of(parted.group(1))
        yield sentence[parted.end() :]
        return
    sentence = _ELLIPSIS.sub(r"; the \g<subject> is ", sentence) if _OF_ONE.match(sentence) else sentence
    sentence = _LEAD.sub("", sentence)
    if "; the " in sentence or _NUMBERED_NEXT.search(sentence):
        for part in sentence.split("; "):
            yield from clauses_of(part)
        return
    subjects = [m for m in _SUBJECT.finditer(sentence) if m.group("noun") or not _names_another_thing(sentence, m)]
    starts = [m.end() for m in _ONE_MORE_SUBJECT.finditer(sentence) if _LESION.search(sentence[: m.start()])]
    if starts and not subjects:
        begins = [0, *starts]
        yield from (sentence[i:j].rstrip(" ,;") for i, j in zip(begins, [*starts, len(sentence)], strict=True))
        return
    begin = 0
    for match in subjects:
        lead = sentence[begin : match.start()]
        divides = _PAIRED.search(lead[-10:] + "the ") if lead.strip() else None
        if divides is None or not _is_paired(match, subjects, sentence):
            continue
        yield sentence[begin : match.start() - len(lead[-10:]) + divides.start()].rstrip(" ,;")
        begin = match.start()
    yield sentence[begin:]


def _is_paired(match: re.Match[str], subjects: list[re.Match[str]], sentence: str) -> bool:
    """Whether a clause before has such a subject too: *the first is a cyst and the second ...*."""
    earlier = [m for m in subjects if m.start() < match.start()]
    word = match.group("word").lower()
    if word == "former":
        return any(m.group("word").lower() == "latter" for m in subjects)
    return any(m.start() == 0 or m.group("word").lower() == "former" for m in earlier)


def _names_another_thing(sentence: str, match: re.Match[str]) -> bool:
    """Whether the word only describes a noun after it: *the left kidney*, *the other organs*."""
    after = sentence[match.end() :]
    if match.group("word").lower() in ("former", "latter"):
        return False
    return not (_VERB.match(after) or re.match(r"^(?:,| an? |\.?$)", after) or _FURTHER.match(after))


_PLACED = re.compile(r"(?:that|this one|the one) (?:in|on|at|of) ", re.IGNORECASE)
_ONLY = re.compile(r"^only (?=the )", re.IGNORECASE)
_END_OF_PLACE = re.compile(r"(?=\s)")
_OBJECT = re.compile(
    rf",? (?:in|for|of|to|around|within|by) the (?:(?P<word>former|latter|first|second|third)(?: {_THINGS})?|"
    r"(?P<which>left|right|upper|lower|larger|smaller) ones?)(?: only| alone)?[.,;]?$",
    re.IGNORECASE,
)


_LAST_CLAUSE = re.compile(r"(.*), (?:and|but|while|whereas) (?=\w+ (?:\w+ )?(?:is|are)\b)", re.IGNORECASE)


def reference_of(clause: str) -> Reference | None:
    """The subject of a clause, where it stands for lesions told of before, or its end: *... in the former*."""
    found = _OBJECT.search(clause)
    if found:
        word = found.group("word") or found.group("which")
        return Reference(word.lower(), 0, False, clause[: found.start()])
    clause = _ONLY.sub("", clause.lstrip())
    lead = _LEAD_OF_PHASE.match(clause)
    if lead:  # "on the venous phase the larger one shows washout"
        of_rest = reference_of(clause[lead.end() :])
        return of_rest and of_rest._replace(clause=lead.group() + of_rest.clause)
    if _PLACED.match(clause):
        rest = next((clause[m.start() :] for m in _END_OF_PLACE.finditer(clause) if _VERB.match(clause[m.end() :])), "")
        bracket = re.search(r" \(|, ", clause)
        if bracket and len(clause) - len(rest) > bracket.start():
            rest = clause[bracket.start() :]
        return Reference("that", 0, False, f"It{rest}") if rest else None
    match = _SUBJECT.match(clause)
    if match is None:
        return None
    if not match.group("noun") and _names_another_thing(clause, match):
        return None
    after = clause[match.end() :]
    word = match.group("word").lower().removesuffix("-sided").removesuffix("-mentioned").removesuffix("-named")
    noun = (match.group("noun") or "").lower()
    said = match.group("count") or match.group("few") or ""
    plural = bool(said) or word == "others" or _THING_IN_PLURAL.search(noun) is not None
    count = {"two": 2, "three": 3}.get(said.lower(), 0)
    subject = "They" if plural else "It"
    verb = "" if _VERB.match(after) or after.startswith((",", " (")) else (" are" if plural else " is")
    return Reference(word, count, plural, f"{subject}{verb}{after}")
