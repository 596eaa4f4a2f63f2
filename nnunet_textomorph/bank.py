"""The description bank: what tumors of an organ may look like, in words."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.llm_reports.descriptors import Descriptors

ANY_ORGAN = "any"


class BankLine(BaseModel):
    """One description and wordings of it. ``organ`` "any" fits every organ."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    organ: str
    descriptors: Descriptors
    description: str
    variants: list[str] = Field(min_length=1)


def load_bank(path: Path | None, organ: str) -> list[BankLine]:
    """The lines of a bank (None: the shipped one) for ``organ``; those of any organ where it has none of its own.

    Raises :class:`UserError` for a missing file, a broken line, or no line that fits.
    """
    if path is None:
        text, name = (files("nnunet_textomorph") / "data" / "descriptions.jsonl").read_text(), "the shipped bank"
    else:
        if not path.is_file():
            raise UserError(f"{path}: no such file; give a description bank (JSON lines).")
        text, name = path.read_text(), str(path)
    lines = []
    for number, content in enumerate(text.splitlines(), 1):
        try:
            lines.append(BankLine.model_validate_json(content))
        except ValidationError as error:
            raise UserError(f"{name}, line {number}: {error.errors()[0]['msg']}.") from None
    chosen = [x for x in lines if x.organ == organ] or [x for x in lines if x.organ == ANY_ORGAN]
    if not chosen:
        raise UserError(f"{name}: holds no description for {organ!r}, nor any with the organ {ANY_ORGAN!r}.")
    return chosen


def draw(bank: list[BankLine], rng: np.random.Generator, pathology: str | None = None) -> str:
    """A random wording of a random description, of a pathology where the bank has it."""
    fitting = [line for line in bank if line.descriptors.pathology == pathology] if pathology else []
    line = (fitting or bank)[int(rng.integers(len(fitting or bank)))]
    return str(rng.choice(line.variants))
