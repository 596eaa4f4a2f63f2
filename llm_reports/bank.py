"""The description bank: which looks tumors may have, and many ways to say each (DESIGN.md section 3).

One JSONL file, one line per organ and descriptors: ``{"organ", "descriptors", "description", "variants"}``. Requests
draw texts from it; the contrastive loss (paper Eq. 2) draws, for a text, one that says the same and one that says
otherwise. All draws take the same time however large the bank is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .descriptors import Descriptors
from .encoders import Encoder, cache_path, embed_cached
from .errors import ReportError
from .extraction import read_description
from .phrasing import whole_mm
from .variants import distinct_key

ANY_ORGAN = "any"
SIZE_RATIO, SIZE_TRIES = 1.6, 20  # of a stated size to the wanted one; draws until it is within
VISIBLE = ("attenuation", "enhancement", "texture", "composition", "margin")
"""What a text changes in the image. Host and mask give organ and size; a pathology shows through these."""


class BankLine(BaseModel):
    """One description and other wordings of it. ``organ`` "any": fits every organ, and the descriptors name none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    organ: str = Field(min_length=1)
    descriptors: Descriptors
    description: str = Field(min_length=1)
    variants: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> BankLine:
        if self.organ != (self.descriptors.organ or ANY_ORGAN):
            raise ValueError(f"organ {self.organ!r} is not the descriptors' {self.descriptors.organ!r}")
        keys = [distinct_key(text) for text in (self.description, *self.variants)]
        if "" in keys:
            raise ValueError("a text is empty")
        if len(set(keys)) < len(keys):
            repeated = next(text for i, text in enumerate(self.variants, 1) if keys[i] in keys[:i])
            raise ValueError(f"the variant {repeated!r} repeats another text")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The description and its variants."""
        return (self.description, *self.variants)


class DescriptionBank:
    """Draws from the lines of a bank. Iterates over its lines; lines of equal descriptors are merged.

    ``similar`` and ``different`` take any text: the bank's own are known, others are read.
    """

    def __init__(self, lines: Iterable[BankLine]) -> None:
        self.lines = _merged(lines)
        self._index: dict[tuple[str | None, str | None], list[int]] = {}
        self._looks: dict[str | None, dict[tuple[str | None, ...], list[int]]] = {}
        self._line_of: dict[Descriptors, int] = {}
        for i, line in enumerate(self.lines):
            self._line_of[line.descriptors] = i
            for organ in (line.organ, None):
                self._looks.setdefault(organ, {}).setdefault(_look(line.descriptors), []).append(i)
                for pathology in {line.descriptors.pathology, None}:
                    self._index.setdefault((organ, pathology), []).append(i)
        self._others: dict[tuple[str | None, tuple[str | None, ...]], tuple[list[list[int]], np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[BankLine]:
        return iter(self.lines)

    @property
    def organs(self) -> frozenset[str]:
        return frozenset(organ for organ, _ in self._index if organ)

    @property
    def pathologies(self) -> frozenset[str]:
        return frozenset(pathology for _, pathology in self._index if pathology)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every text once, in the order of the lines."""
        return tuple(dict.fromkeys(text for line in self.lines for text in line.texts))

    def of(self, organ: str) -> DescriptionBank:
        """The lines of one organ; those of any organ where it has none of its own. Maybe empty."""
        own = self._index.get((organ, None)) or self._index.get((ANY_ORGAN, None), [])
        return DescriptionBank(self.lines[i] for i in own)

    def draw(
        self,
        rng: np.random.Generator,
        *,
        organ: str | None = None,
        pathology: str | None = None,
        size_mm: float | None = None,
    ) -> str:
        """A random variant of a random line, of an organ and a pathology if given.

        ``size_mm``: of the lesion that is to be described; a line that states quite another one is drawn only where a
        few draws give no other. Raises :class:`ReportError` where there is no line of the organ and the pathology.
        """
        fitting = self._index.get((organ, pathology))
        if not fitting:
            raise ReportError(f"The description bank holds no line of organ {organ!r} and pathology {pathology!r}.")
        for _ in range(1 if size_mm is None else SIZE_TRIES):
            line = self.lines[_one(fitting, rng)]
            stated = line.descriptors.size_mm
            if size_mm is None or stated is None or 1 / SIZE_RATIO <= stated / size_mm <= SIZE_RATIO:
                break
        return str(_one(line.variants, rng))

    def similar(self, text: str, rng: np.random.Generator) -> str | None:
        """Another wording of the same descriptors; None where the bank has none."""
        if text in self._known:
            i, own = self._known[text]
            texts = self.lines[i].texts
            return texts[(own + 1 + int(rng.integers(len(texts) - 1))) % len(texts)]
        line = self._line_of.get(self._descriptors(text))
        return None if line is None else str(_one(self.lines[line].texts, rng))

    def different(self, text: str, rng: np.random.Generator) -> str | None:
        """A text that contradicts this one in at least one visible descriptor, of the same organ where there is one.

        That one text says what the other leaves open does not count: both may be of the same tumor. None where the bank
        holds no contradiction.
        """
        d = self._descriptors(text)
        for organ in (d.organ or ANY_ORGAN, None):
            groups, ends = self._contradicting(organ, _look(d))
            if groups:
                group = groups[int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))]
                return str(_one(self.lines[_one(group, rng)].texts, rng))
        return None

    def embeddings(self, encoder: Encoder, path: Path) -> np.ndarray:
        """Vectors (N, width) float32 of ``texts``, kept beside ``path``, the bank's file."""
        return embed_cached(self.texts, encoder, cache_path(path, encoder))

    @cached_property
    def _known(self) -> dict[str, tuple[int, int]]:
        """Line and place in it of every text."""
        return {text: (i, k) for i, line in enumerate(self.lines) for k, text in enumerate(line.texts)}

    def _descriptors(self, text: str) -> Descriptors:
        if text in self._known:
            return self.lines[self._known[text][0]].descriptors
        reading = read_description(text)
        if reading is None:
            raise ReportError(f"The text {text!r} describes no lesion, or more than one; give a description of one.")
        return _rounded(reading.descriptors)

    def _contradicting(self, organ: str | None, look: tuple[str | None, ...]) -> tuple[list[list[int]], np.ndarray]:
        """The lines of each look that contradicts one, and the running count of them; found once per look."""
        if (organ, look) not in self._others:
            groups = [lines for other, lines in self._looks.get(organ, {}).items() if _contradict(look, other)]
            self._others[organ, look] = groups, np.cumsum([len(lines) for lines in groups])
        return self._others[organ, look]


def load_bank(path: Path) -> DescriptionBank:
    """Read a bank. Raises :class:`ReportError` that names file and line for anything that is not one."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportError(f"{path}: no such file; give a description bank (JSON lines).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: cannot be read ({error}); give a description bank (JSON lines).") from None
    lines = []
    for number, row in enumerate(content.split("\n"), 1):
        if not row.strip():
            continue
        try:
            lines.append(BankLine.model_validate_json(row))
        except ValidationError as error:
            raise ReportError(f"{path}, line {number}: {_first(error)}.") from None
    if not lines:
        raise ReportError(f"{path}: holds no line; give a description bank (JSON lines).")
    return DescriptionBank(lines)


def build_bank(lines: Iterable[Mapping[str, Any]]) -> DescriptionBank:
    """A bank of what ``textomorph reports augment`` wrote, from any number of files one after the other.

    Takes lines with ``descriptors``, ``description`` and ``variants``; those without a lesion or without variants are
    left out, lines of equal descriptors (sizes in whole mm) become one. Raises :class:`ReportError` with the line's id.
    """
    return DescriptionBank(_bank_lines(lines))


def write_bank(bank: DescriptionBank, path: Path) -> None:
    """Write a bank's lines by organ, pathology and descriptors. :class:`ReportError`: the file exists."""
    if path.exists():
        raise ReportError(f"{path}: exists already; remove it or give another name.")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        for line in bank:
            file.write(json.dumps(line.model_dump(mode="json", exclude_none=True), ensure_ascii=False) + "\n")
    unfinished.replace(path)


def _bank_lines(lines: Iterable[Mapping[str, Any]]) -> Iterator[BankLine]:
    for number, line in enumerate(lines, 1):
        if line.get("descriptors") is None or not line.get("variants"):
            continue
        try:
            d = Descriptors.model_validate(line["descriptors"])
            texts: dict[str, str] = {}
            for text in (line.get("description"), *line["variants"]):
                texts.setdefault(distinct_key(text), text)
            description, *variants = texts.values()
            yield BankLine(organ=d.organ or ANY_ORGAN, descriptors=d, description=description, variants=tuple(variants))
        except ValidationError as error:
            raise ReportError(f"Line {number} (id {line.get('id')!r}): {_first(error)}.") from None
        except (TypeError, AttributeError):
            raise ReportError(f"Line {number} (id {line.get('id')!r}): its texts are not all strings.") from None


def _merged(lines: Iterable[BankLine]) -> tuple[BankLine, ...]:
    """One line per descriptors, ordered by organ, pathology and descriptors."""
    found: dict[Descriptors, dict[str, str]] = {}
    for line in lines:
        texts = found.setdefault(_rounded(line.descriptors), {})
        for text in line.texts:
            texts.setdefault(distinct_key(text), text)
    order = sorted(found, key=lambda d: (d.organ or ANY_ORGAN, d.pathology or "", *map(str, d.model_dump().values())))
    return tuple(
        BankLine.model_construct(
            organ=d.organ or ANY_ORGAN, descriptors=d, description=texts[0], variants=tuple(texts[1:])
        )
        for d in order
        for texts in [list(found[d].values())]
    )


def _rounded(d: Descriptors) -> Descriptors:
    return d if d.size_mm is None else d.model_copy(update={"size_mm": float(whole_mm(d.size_mm))})


def _look(d: Descriptors) -> tuple[str | None, ...]:
    return tuple(getattr(d, field) for field in VISIBLE)


def _contradict(first: tuple[str | None, ...], second: tuple[str | None, ...]) -> bool:
    return any(a and b and a != b for a, b in zip(first, second, strict=True))


def _one(items: Sequence[Any], rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]


def _first(error: ValidationError) -> str:
    """Field and complaint of a pydantic error's first entry."""
    entry = error.errors()[0]
    where = ".".join(str(part) for part in entry["loc"])
    return f"{where}: {entry['msg']}" if where else entry["msg"]
