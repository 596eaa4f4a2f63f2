"""CSV files that users write: by hand, or by a spreadsheet in any country."""

from __future__ import annotations

import csv
from pathlib import Path

from nnunet_textomorph.errors import UserError

DELIMITERS = (",", ";", "\t")  # a spreadsheet's is the country's


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Names of the columns, and each row's line number and values, without blanks around them.

    The first line tells the delimiter. Raises :class:`UserError` for what is no CSV file in UTF-8, or has two columns
    of one name.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = _delimiter(first)
            columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
            reader = csv.DictReader(file, columns, skipinitialspace=True, delimiter=delimiter)
            rows = [
                (1 + reader.line_num, {k: (v or "").strip() for k, v in row.items() if isinstance(k, str)})
                for row in reader
            ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); save it as CSV in UTF-8.") from None
    repeated = [name for name in columns if name and columns.count(name) > 1]  # unnamed: of delimiters at the end
    if repeated:
        raise UserError(f"{path}: has the column {repeated[0]!r} twice; keep or rename one.")
    return columns, rows


def decimal_mark(path: Path) -> str:
    """What parts a number from its decimals: a comma where semicolons part the columns, as spreadsheets write both."""
    with path.open(encoding="utf-8-sig") as file:
        return "," if _delimiter(file.readline()) == ";" else "."


def _delimiter(first_line: str) -> str:
    return next((d for d in DELIMITERS if d in first_line), ",")
