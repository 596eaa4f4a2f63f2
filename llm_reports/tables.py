"""Tables in a report, a line with bars for each lesion, written out as sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, zip_longest

from .lexicon import words

_RULE = re.compile(r"[\s|:+=-]*")  # "|---|---|"
_NUMBERED = words("# no no. nr nr. lesion number id")
_SEGMENT = words("seg seg. segment segments")
_ENHANCING = words("arterial portal venous pv pvp delayed late rim")
_LEVELS = words("hyper hypo iso")
_UNIT = re.compile(r"\b[cm]m\b")
_OPEN = words("- – n/a na ? unknown")
_NO = words("no none absent negative")
_YES = words("yes present positive +")


def without_tables(report: str) -> str:
    """A report with each row of a table as a sentence of its own.

    *Segment | Size (mm) | Arterial* above *7 | 21 | none* gives *segment 7, 21 mm, no arterial enhancement.* A table
    has two rows or more; its first one names the columns where it holds no figure.
    """
    found: list[str] = []
    for is_table, lines in groupby(report.splitlines(), key=lambda line: line.count("|") > 1):
        rows = [line for line in lines if not (is_table and _RULE.fullmatch(line))]
        found += _sentences([_cells(row) for row in rows]) if is_table and len(rows) > 1 else rows
    return "\n".join(found)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _sentences(rows: Sequence[Sequence[str]]) -> list[str]:
    named = not any(character.isdigit() for cell in rows[0] for character in cell)
    columns = [name.lower() for name in rows[0]] if named else []
    told = ([_told(column, cell) for column, cell in zip_longest(columns, row, fillvalue="")] for row in rows[named:])
    return [f"{', '.join(part for part in parts if part)}." for parts in told]


def _told(column: str, cell: str) -> str:
    """What a cell says, with its column's name where it says nothing without."""
    said = cell.lower()
    unit = _UNIT.search(column)
    if not cell or said in _OPEN or (column in _NUMBERED and len(cell) < 3):
        return ""
    if column in _SEGMENT:
        return cell if "seg" in said or said[0] == "s" else f"segment {cell}"
    if unit and said[-1].isdigit():
        return f"{cell} {unit.group()}"
    enhancing = bool(_ENHANCING & set(column.split()))
    what = f"{column} enhancement" if enhancing and "enhancement" not in column else column
    if column and said in _NO:
        return f"no {what}"
    if column and said in _YES:
        return what
    if enhancing and said in _LEVELS:
        return f"{column} {cell}enhancement"
    return f"{column} {cell}" if enhancing else cell
