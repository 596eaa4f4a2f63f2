"""Who reads reports and proposes wordings: rules on this machine, or a language model whose every word is checked.

A model's answer counts only where the offline reader finds the same in the report's own text. So a model can choose
among what is there, and can put statements to lesions; it cannot add, flip or un-deny anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from . import prompts
from .client import ChatModel, Message, RefusedError
from .descriptors import Descriptors
from .extraction import ReportedLesion, extract_lesions
from .privacy import deidentify
from .prompts import ExtractionAnswer, LesionAnswer, Shape, UnusableError, VariantsAnswer
from .sentences import sentences_of

ATTEMPTS = 3
"""How often a model is asked for an answer that can be used."""
AVOID = 8
"""Wordings that the model is shown as taken."""


class CheckedLesion(NamedTuple):
    """A lesion, and what of it was rejected or left out, and why."""

    lesion: ReportedLesion
    checks: tuple[str, ...] = ()


class Extraction(NamedTuple):
    """The lesions of a report; ``checks``: what concerns none of them."""

    lesions: list[CheckedLesion]
    checks: tuple[str, ...] = ()


class Engine(Protocol):
    """``propose_variants`` gives candidates that nobody has checked yet; ``turn`` tells repeated questions apart."""

    def extract(self, report: str) -> Extraction: ...

    def propose_variants(
        self, description: str, descriptors: Descriptors, n: int, avoid: Sequence[str], turn: int = 0
    ) -> list[str]: ...


def extract_offline(report: str) -> Extraction:
    """By rules, without a network. A possible lesion ("cannot exclude") is no lesion, but mentioned."""
    found = extract_lesions(report)
    checks = tuple(f"only possible, left out: {' '.join(lesion.evidence)}" for lesion in found if lesion.uncertain)
    return Extraction([CheckedLesion(lesion) for lesion in found if not lesion.uncertain], checks)


class OpenAIEngine:
    """A model at an OpenAI-compatible endpoint. ``deidentified``: reports go out without what identifies a person."""

    def __init__(self, model: ChatModel, *, deidentified: bool = True) -> None:
        self._model = model
        self._deidentified = deidentified

    def messages(self, report: str) -> list[Message]:
        """What would be sent for a report."""
        return prompts.extraction_messages(deidentify(report) if self._deidentified else report)

    def extract(self, report: str) -> Extraction:
        """The lesions that the model and the report's own text agree on.

        Raises :class:`~.client.StoppedError` if the endpoint gives no answer at all. An answer that cannot be used
        gives no lesion and says so in ``checks``.
        """
        sent = deidentify(report) if self._deidentified else report
        try:
            answer = ask(self._model, prompts.extraction_messages(sent), ExtractionAnswer)
        except (UnusableError, RefusedError) as error:
            return Extraction([], (f"no usable answer: {error}",))
        return verify(answer.lesions, sent)

    def propose_variants(
        self, description: str, descriptors: Descriptors, n: int, avoid: Sequence[str], turn: int = 0
    ) -> list[str]:
        """Up to ``n`` candidates; none where the model gives no usable answer."""
        messages = prompts.variant_messages(description, n, avoid[-AVOID:], turn)
        try:
            return ask(self._model, messages, VariantsAnswer, turn).variants
        except (UnusableError, RefusedError):
            return []


def ask(model: ChatModel, messages: list[Message], shape: type[Shape], turn: int = 0) -> Shape:
    """The model's answer in the wanted shape, in up to ``ATTEMPTS`` tries; raises :class:`UnusableError` after that."""
    asked, reason = messages, ""
    for attempt in range(turn * ATTEMPTS, (turn + 1) * ATTEMPTS):
        answer = model.complete(asked, shape, attempt)
        try:
            return prompts.read_answer(answer.text, shape)
        except UnusableError as error:
            reason = str(error) if answer.whole else f"cut off, {error}"
        asked = prompts.again(messages, reason)
    raise UnusableError(f"{reason} ({ATTEMPTS} tries)")


def verify(answers: Sequence[LesionAnswer], report: str) -> Extraction:
    """Hold a model's lesions against the report: what of them its own text supports, and why the rest was rejected."""
    read = extract_offline(report)
    found = [checked.lesion for checked in read.lesions]
    pairs = _matched(answers, found)
    lesions, checks = [], list(read.checks)
    for i, answer in enumerate(answers):
        if i in pairs:
            own = found[pairs[i]]
            others = [lesion for lesion in found if lesion is not own]
            lesions.append(_supported(answer, own, others, report))
        else:
            said = {k: v for k, v in answer.model_dump(exclude_none=True).items() if k != "quotes"}
            checks.append(f"rejected lesion, not found in the report: {_listed(said)}")
    for j in sorted(set(range(len(found))) - set(pairs.values())):
        left = found[j].descriptors.model_dump(exclude_none=True)
        checks.append(f"left out by the model, but in the report: {_listed(left)}")
    return Extraction(lesions, tuple(checks))


def _matched(answers: Sequence[LesionAnswer], found: Sequence[ReportedLesion]) -> dict[int, int]:
    """Which of the report's lesions each answer speaks of: the pairing that agrees best, within organs."""
    if not answers or not found:
        return {}
    scores = np.array([[_agreement(a, f) for f in found] for a in answers])
    rows, columns = linear_sum_assignment(-scores)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if scores[i, j] > _OTHER_ORGAN}


_OTHER_ORGAN = -100.0


def _agreement(answer: LesionAnswer, lesion: ReportedLesion) -> float:
    if lesion.descriptors.organ not in (None, answer.organ):
        return _OTHER_ORGAN
    pairs = [(_plain(q), _plain(e)) for q in answer.quotes for e in lesion.evidence]
    score = 4.0 * any(q in e or e in q for q, e in pairs)
    for name in Descriptors.model_fields:
        said, read = getattr(answer, name), getattr(lesion.descriptors, name)
        if said is not None and read is not None:
            weight = 3.0 if name == "size_mm" else 1.0
            score += weight if _same(said, read) else -weight
    return score


def _supported(
    answer: LesionAnswer, own: ReportedLesion, others: Sequence[ReportedLesion], report: str
) -> CheckedLesion:
    quoted = _read_quotes(answer.quotes, others, report)
    kept: dict[str, Any] = {}
    checks = []
    for name in Descriptors.model_fields:
        said, read = getattr(answer, name), getattr(own.descriptors, name)
        if said is None:
            if read is not None:
                checks.append(f"{name}: left out by the model, the report says {read}")
        elif (name, said) in own.denied:
            checks.append(f"{name}: {said} rejected, the report denies it")
        elif _same(said, read) or (read is None and _same(said, getattr(quoted, name))):
            kept[name] = said if read is None else read
        elif read is not None:
            checks.append(f"{name}: {said} rejected, the report says {read}")
        else:
            checks.append(f"{name}: {said} rejected, not found in the report")
    lesion = own.model_copy(update={"descriptors": Descriptors(**kept)})
    return CheckedLesion(lesion, tuple(checks))


def _read_quotes(quotes: Sequence[str], others: Sequence[ReportedLesion], report: str) -> Descriptors:
    """What the whole sentences say that a model quotes of, read afresh: a quote may not cut off a negation.

    Sentences about another lesion do not count, nor do those that together state none or several.
    """
    taken = {_plain(e) for lesion in others for e in lesion.evidence}
    sentences = [
        s
        for s in sentences_of(report)
        if _plain(s) not in taken and any(len(_plain(q)) > 3 and _plain(q) in _plain(s) for q in quotes)
    ]
    found = extract_offline(" ".join(sentences)).lesions
    return found[0].lesion.descriptors if len(found) == 1 else Descriptors()


def _same(said: object, read: object) -> bool:
    if isinstance(said, float | int) and isinstance(read, float | int):
        return abs(said - read) <= 0.5  # descriptions state whole millimetres
    return said == read


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
