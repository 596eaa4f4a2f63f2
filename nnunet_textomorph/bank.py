"""The description bank of an organ, as requests draw from it: ``llm_reports.bank`` holds everything else."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.llm_reports import bank as banks
from nnunet_textomorph.llm_reports.bank import ANY_ORGAN, DescriptionBank
from nnunet_textomorph.llm_reports.errors import ReportError


def load_bank(path: Path | None, organ: str) -> DescriptionBank:
    """The lines of a bank (None: the shipped one) for ``organ``; those of any organ where it has none of its own.

    Raises :class:`UserError` for a missing file, a broken line, or no line that fits.
    """
    try:
        with as_file(files("nnunet_textomorph") / "data" / "descriptions.jsonl") as shipped:
            bank = banks.load_bank(path or shipped).of(organ)
    except ReportError as error:
        raise UserError(str(error)) from None
    if not len(bank):
        raise UserError(
            f"{path or 'The shipped bank'}: holds no description for {organ!r}, nor any with the organ {ANY_ORGAN!r}."
        )
    return bank


def draw(
    bank: DescriptionBank, rng: np.random.Generator, pathology: str | None = None, size_mm: float | None = None
) -> str:
    """A random wording of a random description, of a pathology where the bank has it, and near a size."""
    return bank.draw(rng, pathology=pathology if pathology in bank.pathologies else None, size_mm=size_mm)
