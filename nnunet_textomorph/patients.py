"""Who the cases are: patients.csv, and the subgroups that its columns make."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from nnunet_textomorph.csv_files import decimal_mark, read_csv
from nnunet_textomorph.errors import UserError

NOT_STATED = "not stated"
MISSING = {"", "na", "<na>", "n/a", "#n/a", "nan", "-nan", "null", "unknown", "?", ".", NOT_STATED}  # in any case
MISSING_NUMBER = {"none", "-", "–"}  # among words these may be an answer: no cirrhosis, a negative test
FEW = 5  # different numbers that are taken as groups of their own; more are put into bands
BANDS = 4  # about


@dataclass(frozen=True)
class Patients:
    """``patient``: of a case, where it is not the case itself. ``groups``: by column, the group of a case, ordered."""

    patient: dict[str, str] = field(default_factory=dict)
    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    order: dict[str, list[str]] = field(default_factory=dict)

    def ids(self, cases: Sequence[str]) -> list[str]:
        """The patient of each case; bootstrap draws these."""
        return [self.patient.get(case, case) for case in cases]


def read_patients(path: Path | None, by: Sequence[str], cases: Collection[str]) -> Patients:
    """Read the CSV: column ``case``, optionally ``patient``, and those that ``by`` names.

    A column of more than five different numbers (age) is put into about four bands of equal, round width. Cases
    without a line or value (empty, NA, nan and the like) are ``not stated``. Raises :class:`UserError` for a case that
    is none of ``cases``, one that has two lines, a missing column, or what is no finite number in a column of numbers.
    """
    if path is None:
        if by:
            raise UserError(f"--by {by[0]} needs to know the patients; give --patients patients.csv.")
        return Patients()
    columns, numbered = read_csv(path)
    for column in ("case", *by):
        if column not in columns:
            raise UserError(f"{path}: has no column {column!r}; it has {', '.join(columns) or 'none'}.")
    seen: set[str] = set()
    for line, row in numbered:
        case = row["case"]
        if case not in cases:
            raise UserError(f"{path}: line {line}: {case!r} is no case of the dataset; correct or remove the line.")
        if case in seen:
            raise UserError(f"{path}: line {line}: {case!r} has a line already; keep one.")
        seen.add(case)
    rows = [row for _, row in numbered]
    named = {row["case"]: row.get("patient", "") for row in rows}
    patient = {case: name for case, name in named.items() if name.lower() not in MISSING | MISSING_NUMBER}
    mark = decimal_mark(path)
    groups, order = {}, {}
    for column in by:
        given = {row["case"]: row[column] for row in rows if row[column].lower() not in MISSING}
        groups[column], order[column] = _grouped(given, mark, f"{path}: column {column!r}")
        if set(cases) - set(groups[column]):
            order[column].append(NOT_STATED)
    return Patients(patient, groups, order)


def _grouped(values: Mapping[str, str], mark: str, where: str) -> tuple[dict[str, str], list[str]]:
    """The group of each case, and the groups in order; ``mark``: of decimals."""
    numbers = {case: n for case, value in values.items() if (n := _number(value, mark)) is not None}
    words = {case: v for case, v in values.items() if case not in numbers and v.lower() not in MISSING_NUMBER}
    like = {n for value in values.values() if (n := _number(value.replace(",", ""), ".")) is not None}
    infinite = {} if words else {case: values[case] for case, n in numbers.items() if math.isinf(n)}
    odd = words if words and len(like) > FEW else infinite  # else each case would silently be a group of its own
    if odd:
        case, value = next(iter(odd.items()))
        raise UserError(
            f"{where}: holds numbers, and {value!r} of {case} is none; write it as 1234.5, or leave it empty where it "
            "is not stated."
        )
    if words or not numbers:
        return dict(values), sorted(set(values.values()))
    if len(set(numbers.values())) > FEW:
        return _bands(numbers)
    spelled: dict[float, str] = {}  # 40 and 40.0 are one group
    for case, n in numbers.items():
        spelled.setdefault(n, values[case])
    return {case: spelled[n] for case, n in numbers.items()}, [spelled[n] for n in sorted(spelled)]


def _number(value: str, mark: str) -> float | None:
    try:
        number = float(value.replace(mark, "."))
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _bands(numbers: Mapping[str, float]) -> tuple[dict[str, str], list[str]]:
    """The band of each case, and the bands in order that hold one."""
    ticks = MaxNLocator(BANDS, steps=[1, 2, 5, 10]).tick_values(min(numbers.values()), max(numbers.values()))
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0])))
    edges = [round(float(tick), decimals) + 0.0 for tick in ticks]  # 0.3, not 0.30000000000000004; + 0.0: no -0
    shown = [np.format_float_positional(edge, trim="-") for edge in edges]
    names = [f"{low} to < {high}" for low, high in pairwise(shown)]
    names[-1] = names[-1].replace("< ", "")
    made = {case: names[min(max(bisect_right(edges, n), 1), len(names)) - 1] for case, n in numbers.items()}
    return made, [name for name in names if name in set(made.values())]
