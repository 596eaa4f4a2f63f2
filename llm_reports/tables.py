"""Tables in a report, a line with bars for each lesion, written out as sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, zip_longest

from .lexicon import words
from .nouns import segment_number

_RULE = re.compile(r"\s*\|?(?:\s*:?[-=]{2,}:?\s*[|+]?)+\s*")  # "|---|---|", "---+---"
_KNOWN = words(
    "lesion location segment seg organ site side size diameter dimension dimensions attenuation density enhancement "
    "arterial portal venous delayed margin margins texture composition diagnosis finding findings impression"
)
_NUMBERED = words("# no no. nr nr. lesion number id")
_SEGMENT = words("seg seg. segment segments")
_SIZES = words("size diameter dimension dimensions axis current now today largest maximum max")
_PHASES = words("arterial portal venous pv pvp delayed late")
_OF_PHASE = _PHASES | words("phase enhancement rim")
_NOT_NOW = words("prior previous baseline earlier last before distance depth to from")
_PRESENCE = words("present presence result yes/no y/n seen status")
_LEVELS = words("hyper hypo iso")
_UNIT = re.compile(r"\b[cm]m\b")
_OPEN = words("- – n/a na ? unknown")
_NO = words("no none absent negative")
_YES = words("yes present positive +")


def tables_as_sentences(report: str) -> str:
    """A report with each row of a table as a line and a sentence of its own.

    *Segment | Size (mm) | Arterial* above *7 | 21 | none* gives *Lesion in liver segment 7, 21 mm, no arterial
    enhancement.* A table begins with the names of its columns: one of them is known, or a rule follows them. Other
    lines stay as they are.
    """
    found: list[str] = []
    for barred, group in groupby(report.splitlines(), key=_is_barred):
        lines = list(group)
        rows = [_cells(line) for line in lines if not _RULE.fullmatch(line)]
        ruled = len(lines) > 1 and bool(_RULE.fullmatch(lines[1]))
        found += _sentences(rows) if barred and len(rows) > 1 and _are_names(rows[0], ruled) else lines
    return "\n".join(found)


def _is_barred(line: str) -> bool:
    return line.count("|") > 1 or ("-" in line and bool(_RULE.fullmatch(line)))


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]


def _are_names(cells: Sequence[str], ruled: bool) -> bool:
    told = " ".join(cells)
    if ":" in told or ". " in f"{told} ".replace("No. ", "").replace("Seg. ", ""):
        return False
    sized = re.search(r"\d ?[cm]m\b", told) is not None
    return ruled or (
        not sized and any((_KNOWN | _PRESENCE) & set(_words(cell)) for cell in cells if len(cell.split()) < 4)
    )


def _words(name: str) -> list[str]:
    return name.lower().strip("*").replace("(", " ").replace(")", " ").split()


def _sentences(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = [_words(name) for name in rows[0]]
    return [_sentence(columns[: len(row)], row) for row in rows[1:]]


def _sentence(columns: Sequence[Sequence[str]], row: Sequence[str]) -> str:
    absent = any(_PRESENCE & set(c) and cell.lower() in _NO for c, cell in zip(columns, row, strict=False))
    parts = [part for column, cell in zip_longest(columns, row, fillvalue="") if (part := _told(column, cell))]
    parts.sort(key=lambda part: not part.startswith(("lesion", "in liver segment")))  # what it is of comes first
    if parts and parts[0].startswith("in "):
        parts.insert(0, "lesion")
    told = ", ".join(parts).replace(", in liver", " in liver", 1)
    told = f"no {told}" if absent else told
    return f"{told[:1].upper()}{told[1:]}."


def _told(column: Sequence[str], cell: str) -> str:
    """What a cell says, with its column's name where it says nothing without."""
    said, of = cell.lower(), set(column)
    if not cell or said in _OPEN or of & (_NOT_NOW | _PRESENCE):
        return ""
    if of & _SEGMENT:
        return f"in liver segment {cell}" if segment_number(said) else cell
    if of & _NUMBERED and len(cell) == 1:
        return f"lesion {cell}"
    if said.replace(".", "").replace("x", "").replace(" ", "").isdigit():
        unit = _UNIT.search(" ".join(column))
        return f"{cell} {unit.group()}" if unit and of & _SIZES else ""
    if column and of <= _OF_PHASE:
        name = " ".join(column if "enhancement" in of else [*column, "enhancement"])
        if said in _NO:
            return f"no {name}"
        if said in _YES:
            return name
        return f"{' '.join(column)} {cell}{'enhancement' if said in _LEVELS else ''}"
    if said in _NO:
        return f"no {' '.join(column)}"
    return " ".join(column) if said in _YES else cell
