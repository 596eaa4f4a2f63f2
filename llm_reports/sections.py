"""The sections of a report: its sentences without headings, each with the section and organ it stands under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .lexicon import words
from .nouns import is_lesion_noun, is_reference
from .sentences import Sentence, sentences_of
from .tables import tables_as_sentences
from .verdicts import leading_mark

_SKIPPED_SECTIONS = re.compile(
    r"(?:clinical|history|hx\b|pmh\b|ind\b|indication|technique|comparison|reason|exam\b|examination|procedure|protocol|"
    r"contrast(?! (?:medium )?(?:enhancement|behaviou?r|uptake|dynamics|pattern|kinetics))|dose|"
    r"question|(?:dr\.? )?request|study|type of|referr|symptom|information|recommendation|background|prior|priors|"
    r"patient|surveillance)",
    re.IGNORECASE,
)
_CONCLUSIONS = re.compile(
    r"(?:impression|in (?:conclusion|summary)|impr?$|concl?$|dx$|conclusion|opinion|summary|assessment|"
    r"interpretation|bottom line|result|comments?$)",
    re.IGNORECASE,
)
_FINDINGS = re.compile(r"(?:findings?|report|description|ct\b|abdomen|observations?)\b", re.IGNORECASE)
_BARE_HEADING = re.compile(
    r"\s*(?:findings|impression|conclusions?|opinion|summary|assessment|interpretation)\s*", re.IGNORECASE
)
_LABEL = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])?\s*([A-Za-z][A-Za-z0-9 ,/&()'\-]{0,60}?)\s*:(?!\d)\s*")
_NUMBERING = re.compile(r"^\s*(?:[-*\u2022\u00b7]|#\d{1,2}[.):,]?|\(?\d{1,2}[.)]|\(?[a-h]\))\s*(?=\D)", re.IGNORECASE)


@dataclass
class Context:
    """Where in the report one is: the section, and the organ that its heading or the last sentence spoke of."""

    skipped: bool = False
    conclusion: bool = False
    label: str = ""
    """Heading of the sentence: an organ or a place, in the report's words."""
    aside: bool = False
    """The heading, within a line, is that of a duct or vessel: it holds for one sentence."""
    mark: str = ""
    """What the line calls the lesion that it tells of: *2* of *(2) 21 mm nodule*."""


def sections_of(report: str) -> Iterator[tuple[str, Context]]:
    """The sentences of a report, without their headings, each with where it stands."""
    context = Context()
    above = ""  # the organ that stands alone on a line, and holds for the parts of it on the lines below
    for line in _lines(report):
        line = _items_apart(line, context.conclusion)
        if context.skipped:  # a section that is no finding ends with its line
            context = Context(conclusion=context.conclusion)
        context.label = ""
        if _LABEL.fullmatch(line):
            above = line.strip().rstrip(":")
        for sentence in sentences_of(line):
            begins, skipped = line.lstrip().startswith(sentence), context.skipped
            before, aside = context, False
            mark = leading_mark(sentence)
            mark = "" if context.conclusion and mark.isdigit() and not sentence.startswith("#") else mark
            sentence = _NUMBERING.sub("", sentence)
            while True:
                match = _LABEL.match(sentence)
                kind = _heading(match.group(1)) if match else None
                if kind == "skipped" and match and len(match.group(1).split()) > (5 if begins else 2):
                    kind = None  # "Patient is a woman of 22 years: ..."
                if match and _BEHAVIOUR.match(sentence):
                    kind = None
                if not match or kind is None:
                    break
                label = context.label
                if kind == "place":
                    label = match.group(1)
                    organ = above or (context.label if context is not before else "")  # "Pancreas: head: no mass"
                    label = f"{organ} {label.lower()}" if organ and _is_part_only(label) else label
                    aside = not begins and _names_no_organ(label)
                context = Context(
                    kind == "skipped", kind == "conclusion" or (kind == "place" and context.conclusion), label
                )
                if kind != "place":
                    context.label = ""
                sentence = sentence[match.end() :]
            after_label = leading_mark(sentence)
            if context.conclusion:
                if after_label.isdigit() and sentence[0] != "#" and ")" not in sentence[3:]:
                    sentence = _NUMBERING.sub("", sentence)  # "Impression: 1) metastases"; but "1) IPMN 3) MCN"
            elif after_label and not mark and ")" in sentence[:4]:  # "Liver: 1) segment 8, 12 mm"
                mark, sentence = after_label, _NUMBERING.sub("", sentence)
            context.aside, context.mark = aside, mark
            if sentence:
                yield sentence, context
            if aside:
                context = before
            if context.skipped and not begins:  # "Prior size: 15 mm." within a line says nothing of what follows
                context.skipped = skipped


def _lines(report: str) -> Iterator[str]:
    """Lines, those joined that only wrap a sentence."""
    held = ""
    for line in tables_as_sentences(report).splitlines():
        line = f"{line.rstrip()}:" if _BARE_HEADING.fullmatch(line) else line
        wraps = line.strip() and (line.strip()[0].islower() or held.rstrip()[-1:] in (",", "-"))
        if held and wraps and not _NUMBERING.match(line):
            held = f"{held.rstrip()} {line.strip()}"
            continue
        if held.strip():
            yield held
        held = line
    if held.strip():
        yield held


_NUMBERED_ITEM = re.compile(
    r"(?P<before>^\s*|[:.;,]\s+|\s(?=\(?[1-9]\d?\))|"
    r"(?<!segment)(?<!segments)(?<!seg)(?<!seg\.)(?<!and)(?<!&)\s(?=[1-9]\d?\. [A-Z]))"
    r"\(?(?P<number>[1-9]\d?)(?P<close>[.)])(?= +[A-Za-z])"
)


def _items_apart(line: str, conclusion: bool) -> str:
    """A conclusion's list, with semicolons: *1) HCC segment 5; 2) cyst segment 2*, or "5, 2" would be two segments."""
    items: list[re.Match[str]] = []
    for item in _NUMBERED_ITEM.finditer(line):
        if int(item["number"]) != len(items) + 1:
            continue
        if items:
            begins = item["close"] == items[0]["close"]
        else:
            end = item.start("number")
            above = line[max(line.rfind(stop, 0, end) for stop in (". ", "; ")) + 1 : end].strip(" :(")
            begins = bool(_CONCLUSIONS.match(above)) if above else conclusion
        if begins:
            items.append(item)
    if len(items) < 2:
        return line
    starts = [item.start("number") for item in items]
    pieces = [line[start : item.start()].rstrip(" ,;") for start, item in zip(starts, items[1:], strict=False)]
    return line[: starts[0]] + "; ".join([*pieces, line[starts[-1] :]])


def _is_part_only(label: str) -> bool:
    """*Head*, *Left*: parts of the organ named on a line above."""
    return all(word in _PARTS for word in label.lower().split())


_PARTS = words("head neck body tail left right side upper lower pole uncinate process")


def _names_no_organ(label: str) -> bool:
    s = Sentence(label)
    organs = any(h.has("organ", "site") and not is_reference(s, h, "") for h in s.hits)
    return not (organs or set(s.tokens) & _WEAK_SITES)


@lru_cache(maxsize=4096)
def _heading(label: str) -> str | None:
    """What a heading opens: *skipped*, *findings*, *conclusion*, or a *place*; ``None``: it is no heading."""
    text = label.strip()
    if len(text.split()) > 8 or _SIZE.search(text):
        return None
    if _CONCLUSIONS.match(text):
        return "conclusion"
    s = Sentence(text)
    if any(is_lesion_noun(h) for h in s.hits):
        return None
    organs = [h for h in s.hits if h.has("organ", "site") and not is_reference(s, h, "")]
    if organs or set(s.tokens) & _WEAK_SITES or _OTHER_LABEL.search(text):
        return "place"
    if _SKIPPED_SECTIONS.match(text) and " with " not in text:
        return "skipped"
    if _FINDINGS.match(text):
        return "findings"
    return None


_BEHAVIOUR = re.compile(
    r"contrast: ?(?:\w+ly )?(?:avid|strong|intense|marked|bright|brisk|weak|poor|faint|mild|minimal|moderate|lower|"
    r"less|higher|more|rim|ring|peripheral|early|arterial)\b",
    re.IGNORECASE,
)
"""*Contrast: avid* speaks of a lesion; *Contrast: 100 ml* of the examination."""
_SIZE = re.compile(r"\d ?[cm]m\b", re.IGNORECASE)
_WEAK_SITES = words("head neck body tail")
_OTHER_LABEL = re.compile(
    r"\b(?:veins?|arter(?:y|ies)|aorta|ureters?|ducts?|chest|thorax|pelvis|lymph|nodes?|vessels?|vascular|biliary|bile|gallbladder|bowel|"
    r"gi tract|musculoskeletal|"
    r"thyroid|bladder|uterus|ovar(?:y|ies)|prostate|stomach|colon|"
    r"adrenals?|spleen|retroperitoneum|peritoneum|soft tissues?|abdominal wall|mediastinum|lungs?|bones?)\b",
    re.IGNORECASE,
)
