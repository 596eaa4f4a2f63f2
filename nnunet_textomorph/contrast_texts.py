"""The texts that contrastive training draws from, read by llm_reports' rules: the generator itself reads no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tqdm import tqdm

from nnunet_textomorph.generator.contrast import ContrastTexts, Described, visible
from nnunet_textomorph.generator.manifest import ManifestLine, read_manifest
from nnunet_textomorph.llm_reports.bank import ANY_ORGAN, load_bank
from nnunet_textomorph.llm_reports.extraction import Reading, read_description


def contrast_texts(
    manifest: Path, bank: Path | None = None, *, skip_bad: bool = False, progress: bool = True
) -> ContrastTexts:
    """What each text of a manifest says, and the texts to contrast it with: a bank's, or the manifest's own.

    A line's descriptors are the lesion's; a text may leave some of them open, and two texts contradict each other only
    in what both say. So every text is read. What it says against its line's descriptors does not count; one that the
    rules cannot read says what its line's descriptors say. ``skip_bad``: lines that cannot be used are left out. Raises
    :class:`GeneratorError` for an unusable manifest and ``ReportError`` for an unusable bank.
    """
    lines = read_manifest(manifest, [] if skip_bad else None)
    others = [] if bank is None else [_of_bank(line.organ, line.descriptors, line.texts) for line in load_bank(bank)]
    number = sum(len(line.texts) for line in lines)
    return ContrastTexts(tqdm(_read(lines), total=number, desc="texts", disable=not progress), others)


def _of_bank(organ: str, descriptors: object, texts: tuple[str, ...]) -> Described:
    return Described(visible(vars(descriptors)), texts, "" if organ == ANY_ORGAN else organ)


def _read(lines: list[ManifestLine]) -> Iterator[Described]:
    read = cache(read_description)  # texts recur from line to line
    for line in lines:
        for text in line.texts:
            says, organ = said_of(line, text, read)
            yield Described(says, (text,), organ)


def said_of(
    line: ManifestLine, text: str, read: Callable[[str], Reading | None] = read_description
) -> tuple[dict[str, str], str]:
    """What a text of a line says of its lesion's looks, and the organ that it names."""
    truth, reading = visible(line.descriptors), read(text)
    if reading is None:
        return truth, line.organ
    says = visible(vars(reading.descriptors))
    return {field: value for field, value in says.items() if truth.get(field, value) == value}, (
        reading.descriptors.organ or ""
    )
