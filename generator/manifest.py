"""The manifest of training data: one JSON line per CT with a tumor mask and texts that describe the tumor."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import GeneratorError


class ManifestLine(BaseModel):
    """One CT. ``image`` and ``mask`` are on one grid; ``texts`` all describe the tumor(s) of ``tumor_label``.

    ``noisy`` is false for CT without noise, which then is not smoothed. ``descriptors``, where given, are the lesion's
    truth as words (``{"texture": "homogeneous", ...}``). They teach the text adapter which words matter; whatever is
    not text is ignored.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    image: Path
    mask: Path
    tumor_label: int = Field(ge=1)
    host_label: int = 0
    organ: str = ""
    texts: list[str] = Field(min_length=1)
    noisy: bool = True
    descriptors: dict[str, str | float | None] = {}

    @field_validator("texts")
    @classmethod
    def _no_empty_text(cls, texts: list[str]) -> list[str]:
        if any(not text.strip() for text in texts):
            raise ValueError("a text is empty")
        return texts


def read_manifest(path: Path, skipped: list[str] | None = None) -> list[ManifestLine]:
    """Read a manifest; paths in it are relative to its folder.

    ``skipped``: gets a sentence for each unusable line, which is left out; None: the first one is an error.

    Raises :class:`GeneratorError` for a missing file, a line that is not as described, an id that occurs twice or an
    image that does not exist.
    """
    if not path.is_file():
        raise GeneratorError(f"{path}: no such file; give --data a manifest (one JSON line per CT).")
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise GeneratorError(f"{path}: is not UTF-8 text; give a manifest of JSON lines.") from None
    lines = [(n, text) for n, text in enumerate(content.split("\n"), 1) if text.strip()]
    if not lines:
        raise GeneratorError(f"{path}: is empty; write one JSON line per CT.")
    entries: list[ManifestLine] = []
    for number, text in lines:
        try:
            entries.append(_read_line(path, number, text))
        except GeneratorError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
    if not entries:
        raise GeneratorError(f"{path}: no line of it can be used; the first: {(skipped or [''])[0]}")
    ids = [entry.id for entry in entries]
    twice = {i for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else set()
    if twice:
        raise GeneratorError(f"{path}: the id {sorted(twice)[0]!r} occurs more than once; ids must differ.")
    return entries


def _read_line(path: Path, number: int, text: str) -> ManifestLine:
    try:
        line = ManifestLine.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise GeneratorError(f"{path}, line {number}: {field}: {first['msg']}.") from None
    entry = line.model_copy(update={"image": path.parent / line.image, "mask": path.parent / line.mask})
    for file in (entry.image, entry.mask):
        if not file.is_file():
            raise GeneratorError(f"{path}, line {number}: {file}: no such file.")
    return entry


def digest(lines: Iterable[ManifestLine]) -> str:
    """A short hash of what lines say, wherever their files lie."""
    content = "\n".join(line.model_dump_json(exclude={"image", "mask"}) for line in lines)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def tell_skipped(skipped: Sequence[str] | None) -> None:
    """List the lines that were left out, on the standard error."""
    for sentence in dict.fromkeys(skipped or ()):
        print(f"skipped: {sentence}", file=sys.stderr)
