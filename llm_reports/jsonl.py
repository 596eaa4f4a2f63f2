"""JSON-lines files: read with line numbers in every complaint, written under another name until they are whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import ReportError

Line = TypeVar("Line", bound=BaseModel)


def read_lines(path: Path, model: type[Line]) -> Iterator[Line]:
    """The lines of a file, one at a time; blank ones are skipped.

    Raises :class:`ReportError` naming file, line and field for a missing file, a line that is not UTF-8 or not JSON,
    and a field that is missing or wrong.
    """
    for number, content in numbered(path):
        try:
            yield model.model_validate_json(content)
        except ValidationError as error:
            raise ReportError(f"{path}, line {number}: {first_fault(error)}.") from None


def check_lines(path: Path, model: type[Line], key: Callable[[Line], Hashable]) -> Iterator[Line]:
    """As :func:`read_lines`, and no two lines may have the same ``key``, nor may there be none.

    Only hashes of the keys are kept: 34,000 lines take 3 MB.
    """
    seen: dict[int, int] = {}
    number = 0
    for number, line in enumerate(read_lines(path, model), 1):
        first = seen.setdefault(hash(key(line)), number)
        if first != number:
            raise ReportError(f"{path}: lines {first} and {number} have the same {key(line)!r}; give each its own.")
        yield line
    if not number:
        raise ReportError(f"{path}: holds no line.")


def numbered(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of each line that is not blank; raises as :func:`read_lines`."""
    if not path.is_file():
        raise ReportError(f"{path}: no such file.")
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                content = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ReportError(
                    f"{path}, line {number}: byte {error.start} is not UTF-8; convert the file to UTF-8."
                ) from None
            if content.strip():
                yield number, content


def first_fault(error: ValidationError) -> str:
    """What is wrong with a line, in words that follow its number."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "json_invalid":
        return f"is not JSON ({fault['ctx']['error']})"
    if fault["type"] == "missing":
        return f"the field {field!r} is missing"
    if not field:
        return fault["msg"][0].lower() + fault["msg"][1:]
    return f"the field {field!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


@contextmanager
def new_file(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write lines to ``.partial-NAME`` as they come; it gets its own name when all are written.

    What an earlier, unfinished run left under that name is replaced. Raises :class:`ReportError` if ``path`` exists.
    """
    check_new(path)
    partial = partial_path(path)
    with partial.open("w", encoding="utf-8") as file:

        def write(line: dict[str, Any]) -> None:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()

        yield write
    partial.replace(path)


def check_new(path: Path) -> None:
    """Raise :class:`ReportError` if ``path`` exists, or the folder that it is to lie in does not."""
    if path.exists():
        raise ReportError(f"{path}: exists; name a new file.")
    if not path.parent.is_dir():
        raise ReportError(f"{path.parent}: no such folder; make it first.")


def partial_path(path: Path) -> Path:
    """Where the lines of an unfinished ``path`` lie."""
    return path.with_name(f".partial-{path.name}")
