"""Who the cases are: patients.csv, and the subgroups that its columns make."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from nnunet_textomorph.csv_files import read_csv
from nnunet_textomorph.errors import UserError

NOT_STATED = "not stated"
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
    without a line or value are ``not stated``. Raises :class:`UserError` for a case that is none of ``cases``, one
    that has two lines, or a missing column.
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
    patient = {row["case"]: row["patient"] for row in rows if row.get("patient")}
    groups, order = {}, {}
    for column in by:
        given = {row["case"]: row[column] for row in rows if row[column]}
        groups[column], order[column] = _grouped(given)
        if set(cases) - set(given):
            order[column].append(NOT_STATED)
    return Patients(patient, groups, order)


def _grouped(values: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The group of each case, and the groups in order."""
    try:
        numbers = {case: float(value) for case, value in values.items()}
    except ValueError:
        return values, sorted(set(values.values()))
    if len(set(numbers.values())) <= FEW:
        return values, sorted(set(values.values()), key=float)
    edges = MaxNLocator(BANDS, steps=[1, 2, 5, 10]).tick_values(min(numbers.values()), max(numbers.values()))
    bands = list(pairwise(map(float, edges)))
    last = bands[-1]
    names = {band: f"{band[0]:g} to < {band[1]:g}" for band in bands}
    names[last] = f"{last[0]:g} to {last[1]:g}"
    made = {
        case: next(names[b] for b in bands if b[0] <= number < b[1] or (b == last and number == b[1]))
        for case, number in numbers.items()
    }
    return made, [names[b] for b in bands if names[b] in set(made.values())]
