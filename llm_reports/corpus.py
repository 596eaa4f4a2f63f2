"""Whole files: extract lesions from reports, augment descriptions with variants, validate pairs.

Lines are read, worked on and written one after the other, so memory does not grow with the corpus. The input is checked
to its end before anything is begun. A run that ends early leaves ``.partial-OUT`` for a look; started again it works
through the input anew, where whatever a language model has answered already comes from the disk.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from .client import ordered, tokens_in
from .descriptors import Descriptors
from .encoders import Encoder
from .engines import CheckedLesion, Engine, Extraction, OpenAIEngine, extract_offline
from .jsonl import check_lines, check_new, new_file, read_lines
from .phrasing import describe
from .prompts import variant_messages
from .validation import Pair, count_kinds, validate_text, validate_texts
from .variants import distinct_key, vary_offline

LONGEST = 100_000
"""Characters of a report: some 40 pages. More is no report, but a file that lost its line ends."""
CHUNK = 64
"""Reports per task of a worker process."""
BATCH = 20
"""Wordings that a language model is asked for at once."""
USELESS = 3
"""Requests in a row that give no new valid wording, after which a model has no more."""

_encoding = threading.Lock()  # an encoder serves one thread at a time


class ReportLine(BaseModel):
    """A line of ``extract``'s input; further fields are left alone."""

    model_config = ConfigDict(extra="ignore")

    id: str | int
    report: str = Field(max_length=LONGEST)


class LesionLine(BaseModel):
    """A line of ``augment``'s input, as ``extract`` writes it; further fields are passed on."""

    model_config = ConfigDict(extra="allow")

    id: str | int
    lesion: int | None = None
    descriptors: Descriptors | None
    description: str | None = None


class PairLine(BaseModel):
    """A line of ``validate``'s input."""

    model_config = ConfigDict(extra="ignore")

    id: str | int
    source: str = Field(max_length=LONGEST)
    text: str = Field(max_length=LONGEST)


def count_reports(path: Path) -> tuple[int, int]:
    """Reports of a checked file, and their characters; errors as :func:`~.jsonl.check_lines` raises them."""
    count = characters = 0
    for line in check_lines(path, ReportLine, lambda line: line.id):
        count, characters = count + 1, characters + len(line.report)
    return count, characters


def extract(path: Path, out: Path, engine: Engine | None = None, *, concurrency: int = 4) -> Counter[str]:
    """One line per lesion of every report (DESIGN section 4); the offline engine unless another is given.

    Returns how many reports, lesions, reports without one, and rejections there were.
    """
    check_new(out)
    total, _ = count_reports(path)
    counts: Counter[str] = Counter()
    lines = read_lines(path, ReportLine)
    found = _extract_offline(lines, total) if engine is None else _extract_by(engine, lines, concurrency)
    with new_file(out) as write:
        for line, extraction in tqdm(found, total=total, unit="report", disable=None):
            counts["reports"] += 1
            for content in _lesion_lines(line, extraction):
                write(content)
                kinds = [_kind(check) for check in content["checks"]]
                if content["descriptors"] is not None:
                    counts["lesions"] += 1
                elif {"left out by the model", "no usable answer"} & set(kinds):
                    counts["reports with nothing accepted"] += 1
                else:
                    counts["reports without a lesion"] += 1
                counts.update(kinds)
    return counts


def _extract_offline(lines: Iterable[ReportLine], total: int) -> Iterator[tuple[ReportLine, Extraction]]:
    if total < 4 * CHUNK:
        yield from ((line, extract_offline(line.report)) for line in lines)
        return
    # fresh processes: this one has threads, which a fork would not survive
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for chunk in ordered(pool, _extract_chunk, _chunks(lines), ahead=2 * (os.cpu_count() or 1)):
            yield from chunk


def _extract_chunk(lines: list[ReportLine]) -> list[tuple[ReportLine, Extraction]]:
    return [(line, extract_offline(line.report)) for line in lines]


def _chunks(lines: Iterable[ReportLine]) -> Iterator[list[ReportLine]]:
    remaining = iter(lines)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        yield chunk


def _extract_by(
    engine: Engine, lines: Iterable[ReportLine], concurrency: int
) -> Iterator[tuple[ReportLine, Extraction]]:
    def work(line: ReportLine) -> tuple[ReportLine, Extraction]:
        return line, engine.extract(line.report)

    with ThreadPoolExecutor(concurrency) as pool:
        yield from ordered(pool, work, lines, ahead=4 * concurrency)


def _lesion_lines(line: ReportLine, extraction: Extraction) -> Iterator[dict[str, Any]]:
    checks = list(extraction.checks)
    if not extraction.lesions:
        yield _line(line, None, None, None, checks)
    for index, checked in enumerate(extraction.lesions):
        description, faults = _described(checked)
        values = checked.lesion.descriptors.model_dump(exclude_none=True)
        yield _line(line, index, values, description, [*checked.checks, *faults, *(checks if index == 0 else [])])


def _line(
    line: ReportLine, lesion: int | None, descriptors: dict[str, Any] | None, description: str | None, checks: list[str]
) -> dict[str, Any]:
    return {
        "id": line.id,
        "lesion": lesion,
        "report": line.report,
        "descriptors": descriptors,
        "description": description,
        "checks": checks,
    }


def _described(checked: CheckedLesion) -> tuple[str | None, list[str]]:
    """The description of a lesion, read afresh: what it says must be what was extracted."""
    d = checked.lesion.descriptors
    text = describe(d)
    verdict = validate_text(text, text, None, d)
    return (text, []) if verdict.kept else (None, [f"description rejected, {reason}" for reason in verdict.reasons])


def _kind(check: str) -> str:
    """What kind of thing a check says, to count it."""
    for kind in (
        "rejected lesion",
        "left out by the model",
        "only possible",
        "no usable answer",
        "description rejected",
    ):
        if check.startswith(kind):
            return kind
    name, _, said = check.partition(":")
    return f"{name} left out by the model" if "left out" in said else f"{name} rejected"


def augment(
    path: Path,
    out: Path,
    n: int,
    engine: Engine | None = None,
    *,
    encoder: Encoder | None,
    seed: int = 0,
    concurrency: int = 4,
    max_requests: int | None = None,
) -> Counter[str]:
    """Add ``variants`` to the lines of ``extract``: up to ``n`` distinct wordings each, all validated.

    ``max_requests``: to a language model, per description. Lines without descriptors get no variants; a shortfall is
    counted and said in the line's ``checks``.
    """
    check_new(out)
    total = sum(1 for _ in check_lines(path, LesionLine, lambda line: (line.id, line.lesion)))
    vary = partial(_offline_variants, encoder=encoder, seed=seed)
    if engine is not None:
        vary = partial(_engine_variants, engine=engine, encoder=encoder, max_requests=max_requests)

    def work(line: LesionLine) -> tuple[dict[str, Any], int]:
        return _augmented(line, n, vary)

    counts: Counter[str] = Counter()
    with new_file(out) as write, ThreadPoolExecutor(1 if engine is None else concurrency) as pool:
        lines = read_lines(path, LesionLine)
        for content, missing in tqdm(ordered(pool, work, lines, 4 * concurrency), total=total, disable=None):
            write(content)
            counts["variants"] += len(content["variants"])
            counts["descriptions" if content["variants"] or missing else "lines without a lesion"] += 1
            counts["descriptions short of variants"] += missing > 0
    return counts


Vary = Callable[[str, Descriptors, int], list[str]]


def _augmented(line: LesionLine, n: int, vary: Vary) -> tuple[dict[str, Any], int]:
    content = line.model_dump(exclude_unset=True)
    content["variants"] = []
    if line.descriptors is None:
        return content, 0
    source = line.description or describe(line.descriptors)
    verdict = validate_text(source, source, None, line.descriptors)
    checks = [f"description rejected, {reason}" for reason in verdict.reasons]
    if verdict.kept:
        content["variants"] = vary(source, line.descriptors, n)
    missing = n - len(content["variants"])
    if missing:
        checks.append(f"{len(content['variants'])} of {n} variants")
    if checks:
        content["checks"] = [*content.get("checks", []), *checks]
    return content, missing


def _offline_variants(
    source: str, descriptors: Descriptors, n: int, *, encoder: Encoder | None, seed: int
) -> list[str]:
    digest = hashlib.sha256(f"{seed} {source}".encode()).digest()
    return vary_offline(descriptors, n, seed=int.from_bytes(digest[:8], "big"), encoder=encoder)


def _engine_variants(
    source: str,
    descriptors: Descriptors,
    n: int,
    *,
    engine: Engine,
    encoder: Encoder | None,
    max_requests: int | None,
) -> list[str]:
    """Batches of candidates, each checked, until there are ``n``, the requests are used up, or nothing new comes."""
    kept: list[str] = []
    seen = {distinct_key(source)}
    useless = 0
    for turn in range(default_requests(n) if max_requests is None else max_requests):
        if len(kept) >= n or useless >= USELESS:
            break
        candidates = engine.propose_variants(source, descriptors, min(BATCH, n - len(kept)), kept, turn)
        fresh = []
        for text in candidates:
            if distinct_key(text) not in seen:
                seen.add(distinct_key(text))
                fresh.append(text.strip())
        with _encoding:
            verdicts = list(validate_texts([Pair(source, text, descriptors) for text in fresh], encoder))
        valid = [text for text, verdict in zip(fresh, verdicts, strict=True) if verdict.kept]
        kept += valid
        useless = 0 if valid else useless + 1
    return kept[:n]


def default_requests(n: int) -> int:
    """Requests per description: twice as many as would do if every wording were valid."""
    return 2 * math.ceil(n / BATCH)


def validate(path: Path, out: Path, encoder: Encoder | None) -> Counter[str]:
    """Add ``kept``, ``reasons`` and ``cosine`` to pairs of texts; returns how many were kept, and rejected for what."""
    check_new(out)
    total = sum(1 for _ in check_lines(path, PairLine, lambda line: (line.id, line.source, line.text)))
    lines, again = itertools.tee(read_lines(path, PairLine))
    verdicts = validate_texts(((line.source, line.text) for line in lines), encoder)
    counts: Counter[str] = Counter()
    with new_file(out) as write:
        for line, verdict in tqdm(zip(again, verdicts, strict=True), total=total, unit="pair", disable=None):
            cosine = None if verdict.cosine is None else round(verdict.cosine, 4)
            write({**line.model_dump(), "kept": verdict.kept, "reasons": list(verdict.reasons), "cosine": cosine})
            counts.update(count_kinds([verdict]))
    return counts


def preview_extraction(path: Path, engine: OpenAIEngine, shown: int) -> tuple[list[list[dict[str, Any]]], int, int]:
    """The prompts of the first ``shown`` reports; how many requests all reports need, and about how many tokens."""
    count, characters = count_reports(path)
    first = [engine.messages(line.report) for line in itertools.islice(read_lines(path, ReportLine), shown)]
    return first, count, count * tokens_in(engine.messages("")) + math.ceil(characters / 3)


def preview_augmentation(path: Path, n: int, shown: int) -> tuple[list[list[dict[str, Any]]], int, int]:
    """As :func:`preview_extraction`, if every wording that comes back is valid."""
    batches = math.ceil(n / BATCH)
    first: list[list[dict[str, Any]]] = []
    requests = tokens = 0
    for line in check_lines(path, LesionLine, lambda line: (line.id, line.lesion)):
        if line.descriptors is None:
            continue
        messages = variant_messages(line.description or describe(line.descriptors), min(BATCH, n))
        first += [messages] if len(first) < shown else []
        requests, tokens = requests + batches, tokens + batches * tokens_in(messages)
    return first, requests, tokens
