"""``textomorph turing``: a blinded reader study of real and synthetic tumors (the paper's Table I), and its scores.

The page holds nothing that tells them apart: neither names nor methods, one form of data for all, in random order.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import secrets
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import combinations
from pathlib import Path

import click
import numpy as np
from scipy import ndimage
from tqdm import tqdm

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.markdown import markdown_escaped
from nnunet_textomorph.orientation import axial_axes, to_lps
from nnunet_textomorph.shapes import SIZE_CLASSES_MM
from nnunet_textomorph.stats import wilson_interval
from nnunet_textomorph.tumors import REAL, Scan, Tumor, all_scans, tumors_of

CONTEXT_MM = 25.0  # shown around a tumor
SMALLEST_MM = 80.0  # side of what is shown, at least
FINEST_MM = 1.0  # finer voxels are averaged, so that the page stays small
MOST_VOXELS = 112  # along a side, likewise
AIR_HU, DENSEST_HU = -1024, 2000
ANSWERS = (REAL, "synthetic")


@dataclass(frozen=True)
class Item:
    """One tumor of the key. ``method``: ``real``, or whose synthetic tumor it is."""

    study: str
    item: str
    method: str
    name: str
    patient: str
    organ: str
    size: str
    diameter_mm: float


@dataclass(frozen=True)
class Rate:
    """How often a reader (or ``all``) was right. ``group``: what the tumors have in common; Wilson's interval."""

    reader: str
    group: str
    value: str
    answers: int
    right: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Agreement:
    """Cohen's kappa of two readers over the items that both answered."""

    first: str
    second: str
    items: int
    same: float | None
    kappa: float | None


def write_study(
    synthetic: Sequence[tuple[str, Path]], real: Sequence[Path], out: Path, per_cell: int = 60, seed: int = 0
) -> list[Item]:
    """Write ``for_readers/study.html`` and ``key.csv`` into the new folder ``out``.

    ``synthetic``: methods by name, with folders that ``textomorph synthesize`` wrote; ``real``: folders of nnU-Net raw
    datasets. A cell is a method (or real), an organ and a size class; of each, ``per_cell`` tumors are drawn by
    ``seed``, or all where there are fewer. An organ whose tumors are all real, or all synthetic, is left out: its name
    would tell. Names and order in the page are of no seed, or whoever knows this program could work out which are real.

    Raises :class:`UserError` for unusable input, an existing ``out``, and a study of one kind.
    """
    if out.exists():
        raise UserError(f"{out}: exists; give --out a new folder.")
    scans = all_scans(synthetic, real)
    rng = np.random.default_rng(seed)
    chosen = _drawn(_of_both_kinds(_censused(scans)), per_cell, rng)
    kinds = {method == REAL for method, _, _, _ in chosen}
    if kinds != {True, False}:
        raise UserError("A reader study needs real and synthetic tumors of 3 mm or more of an organ; there are none.")
    study = _token(12)
    packed = _packed(scans, {(method, name) for method, _, _, name in chosen}, study)
    secrets.SystemRandom().shuffle(packed)
    entries, key, volumes = [], [], []
    for item, entry, data in packed:
        entries.append(entry)
        key.append(item)
        volumes.append(f'<script type="text/plain" id="v{item.item}">{data}</script>')
    page = (
        resources.files("nnunet_textomorph").joinpath("data").joinpath("reader_study.html").read_text(encoding="utf-8")
    )
    content = json.dumps({"id": study, "items": entries}, ensure_ascii=True).replace("<", "\\u003c")
    page = page.replace("__STUDY__", content).replace("__VOLUMES__", "\n".join(volumes))

    partial = out.absolute().with_name(f".partial-{os.getpid()}-{out.name}")
    (partial / "for_readers").mkdir(parents=True)
    (partial / "for_readers" / "study.html").write_text(page, encoding="utf-8")
    with (partial / "key.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(key[0])))
        writer.writeheader()
        writer.writerows(asdict(item) for item in sorted(key, key=lambda i: i.item))
    os.replace(partial, out)
    return key


def score_study(key: Path, answers: Sequence[Path], out: Path) -> tuple[list[Rate], list[Agreement]]:
    """Write ``rates.csv``, ``agreement.csv`` and ``turing.md`` into the new folder ``out``.

    Raises :class:`UserError` for answers of another study, unknown items or answers, one item twice, a reader called
    "all", and two files of one reader. Items that a reader left out count for nothing.
    """
    if out.exists():
        raise UserError(f"{out}: exists; give --out a new folder.")
    items = {row["item"]: row for row in _read(key, ("study", "item", "method", "organ", "size"))}
    if not items:
        raise UserError(f"{key}: holds no item; give the key.csv that textomorph turing wrote.")
    readers: dict[str, dict[str, str]] = {}
    for path in answers:
        name, given = _answers(path, items)
        if name == "all":
            raise UserError(f"{path}: the reader's name is 'all', which means all readers; rename the reader.")
        if name in readers:
            raise UserError(f"{path}: {name!r} has another file already; give one per reader, or rename the reader.")
        readers[name] = given
        if len(given) < len(items):
            click.echo(f"{path}: {name} answered {len(given)} of {len(items)} items", err=True)
    rates = _rates(items, readers)
    agreement = [_agreement(a, b, readers) for a, b in combinations(readers, 2)]
    partial = out.absolute().with_name(f".partial-{os.getpid()}-{out.name}")
    partial.mkdir(parents=True)
    for file_name, rows in (("rates.csv", rates), ("agreement.csv", agreement)):
        if rows:
            with (partial / file_name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(asdict(rows[0])))
                writer.writeheader()
                writer.writerows(asdict(row) for row in rows)
    (partial / "turing.md").write_text(_markdown(rates, agreement, list(readers)), encoding="utf-8")
    os.replace(partial, out)
    return rates, agreement


Cell = tuple[str, str, str]  # method, organ, size


def _censused(scans: Sequence[Scan]) -> dict[Cell, list[str]]:
    cells: dict[Cell, list[str]] = defaultdict(list)
    for scan in tqdm(scans, desc="tumors", unit="CT", disable=None):
        for tumor in tumors_of(scan):
            cells[tumor.method, tumor.organ, tumor.size].append(tumor.name)
    return cells


def _of_both_kinds(cells: dict[Cell, list[str]]) -> dict[Cell, list[str]]:
    organs = [{organ for method, organ, _ in cells if (method == REAL) is kind} for kind in (True, False)]
    for organ in sorted(organs[0] ^ organs[1]):
        kind = "real" if organ in organs[0] else "synthetic"
        click.echo(f"{organ}: all tumors are {kind}, which its name would tell; left out", err=True)
    return {cell: names for cell, names in cells.items() if cell[1] in organs[0] & organs[1]}


def _drawn(cells: dict[Cell, list[str]], per_cell: int, rng: np.random.Generator) -> list[tuple[str, str, str, str]]:
    chosen = []
    for cell in sorted(cells):
        names = sorted(cells[cell])
        kept = [names[i] for i in rng.permutation(len(names))[:per_cell]]
        chosen += [(*cell, name) for name in kept]
        if len(names) < per_cell:
            method, organ, size = cell
            click.echo(f"{method}, {organ}, {size}: {len(names)} tumors, fewer than {per_cell}", err=True)
    return chosen


def _packed(
    scans: Sequence[Scan], wanted: set[tuple[str, str]], study: str
) -> list[tuple[Item, dict[str, object], str]]:
    """The key's line, the page's entry and the voxels of every chosen tumor."""
    made: list[tuple[Item, dict[str, object], str]] = []
    used: set[str] = set()
    for scan in tqdm(scans, desc="page", unit="CT", disable=None):
        if not any(m == scan.method and (n == scan.name or n.startswith(f"{scan.name}_")) for m, n in wanted):
            continue
        for tumor in tumors_of(scan):
            if (tumor.method, tumor.name) not in wanted:
                continue
            token = _token(8)
            while token in used:
                token = _token(8)
            used.add(token)
            array, spacing = shown_region(tumor)
            low = (array.view(np.uint16) & 0xFF).astype(np.uint8).tobytes()
            high = (array.view(np.uint16) >> 8).astype(np.uint8).tobytes()
            data = base64.b64encode(zlib.compress(low + high, 9)).decode()
            entry: dict[str, object] = {
                "id": token,
                "organ": tumor.organ,
                "shape": array.shape,
                "spacing": [round(s, 4) for s in spacing],
            }
            item = Item(
                study,
                token,
                tumor.method,
                tumor.name,
                tumor.patient,
                tumor.organ,
                tumor.size,
                round(tumor.diameter_mm, 1),
            )
            made.append((item, entry, data))
    return made


def shown_region(tumor: Tumor) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A cube about a tumor: int16 HU (D, H, W), axes to the head, back and left, and its spacing in mm.

    Its side follows from the tumor's size only. Beyond the CT there is air; voxels finer than
    1 mm, or than a 112th of the side, are averaged.
    """
    spacing = np.asarray(tumor.ct.spacing)
    extent = max((b.stop - b.start) * s for b, s in zip(tumor.box, spacing, strict=True))
    half = max(SMALLEST_MM, extent + 2 * CONTEXT_MM) / 2
    region = tumor.ct.array
    box, pads = [], []
    for part, step, length in zip(tumor.box, spacing, region.shape, strict=True):
        reach = round(half / step)
        middle = (part.start + part.stop - 1) // 2
        box.append(slice(max(0, middle - reach), min(length, middle + reach + 1)))
        pads.append((max(0, reach - middle), max(0, middle + reach + 1 - length)))
    cut = np.pad(region[tuple(box)].astype(np.float32), pads, constant_values=AIR_HU)
    cut = np.clip(cut, AIR_HU, DENSEST_HU)
    axes = axial_axes(tumor.ct.direction)
    cut, spacing = cut.transpose(axes)[to_lps(tumor.ct.direction, axes)], spacing[list(axes)]
    wanted = np.maximum(spacing, max(FINEST_MM, 2 * half / MOST_VOXELS))
    if (wanted > spacing * 1.05).any():
        shape = np.maximum(np.round(np.array(cut.shape) * spacing / wanted), 1).astype(int)
        ratio = np.array(cut.shape) / shape
        smooth = ndimage.gaussian_filter(cut, np.sqrt(np.maximum(ratio**2 - 1, 0) / 12))
        cut = ndimage.zoom(smooth, shape / np.array(cut.shape), order=1, grid_mode=True, mode="nearest")
        spacing = spacing * ratio
    z, y, x = (float(s) for s in spacing)
    return np.ascontiguousarray(np.rint(cut)).astype(np.int16), (z, y, x)


def _token(length: int) -> str:
    return "".join(secrets.choice("bcdfghjkmnpqrstvwxz23456789") for _ in range(length))


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file)
            rows = list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as CSV ({error}).") from None
        lacking = [column for column in columns if column not in (reader.fieldnames or [])]
    if lacking:
        raise UserError(f"{path}: has no column {lacking[0]!r}; give the file as it was written.")
    return rows


def _answers(path: Path, items: dict[str, dict[str, str]]) -> tuple[str, dict[str, str]]:
    """The reader of a file and his answers by item."""
    rows = _read(path, ("study", "reader", "item", "answer"))
    if not rows:
        raise UserError(f"{path}: holds no answer.")
    study = next(iter(items.values()))["study"]
    given: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        where = f"{path}: line {line}"
        if row["study"] != study:
            raise UserError(
                f"{where}: is of the study {row['study']!r}, the key of {study!r}; give the key that belongs."
            )
        if row["item"] not in items:
            raise UserError(f"{where}: the item {row['item']!r} is not in the key.")
        if row["answer"] not in ANSWERS:
            raise UserError(f"{where}: the answer {row['answer']!r} is neither {' nor '.join(ANSWERS)}.")
        if row["item"] in given:
            raise UserError(f"{where}: the item {row['item']!r} is answered twice; keep one answer.")
        if row["reader"] != rows[0]["reader"]:
            raise UserError(f"{where}: is of another reader than the first line; give one file per reader.")
        given[row["item"]] = row["answer"]
    return rows[0]["reader"], given


def _rates(items: dict[str, dict[str, str]], readers: dict[str, dict[str, str]]) -> list[Rate]:
    """By reader and for all of them: overall, and by what kind, organ and size the tumors are."""

    def rate(reader: str, group: str, value: str) -> Rate:
        outcomes = [
            answer == (REAL if items[item]["method"] == REAL else "synthetic")
            for name, given in readers.items()
            for item, answer in given.items()
            if reader in (name, "all") and (group == "all" or items[item][group] == value)
        ]
        low, high = wilson_interval(sum(outcomes), len(outcomes)) or (None, None)
        share = sum(outcomes) / len(outcomes) if outcomes else None
        return Rate(reader, group, value, len(outcomes), sum(outcomes), share, low, high)

    values: list[tuple[str, str]] = [("all", "all")]
    values += [("method", method) for method in _known(items, "method")]
    values += [("organ", organ) for organ in _known(items, "organ")]
    values += [("size", size) for size in SIZE_CLASSES_MM]
    names = [*readers, "all"] if len(readers) > 1 else list(readers)
    return [rate(reader, group, value) for group, value in values for reader in names]


def _known(items: dict[str, dict[str, str]], column: str) -> list[str]:
    return sorted({row[column] for row in items.values()}, key=lambda name: (name != REAL, name))


def _agreement(first: str, second: str, readers: dict[str, dict[str, str]]) -> Agreement:
    """Cohen's kappa; None where chance alone would agree wholly, or without common items."""
    both = sorted(set(readers[first]) & set(readers[second]))
    if not both:
        return Agreement(first, second, 0, None, None)
    a, b = ([readers[name][item] for item in both] for name in (first, second))
    same = sum(x == y for x, y in zip(a, b, strict=True)) / len(both)
    chance = sum(Counter(a)[k] * Counter(b)[k] for k in ANSWERS) / len(both) ** 2
    return Agreement(first, second, len(both), same, None if chance == 1 else (same - chance) / (1 - chance))


def _markdown(rates: Sequence[Rate], agreement: Sequence[Agreement], readers: Sequence[str]) -> str:
    names = [*readers, "all"] if len(readers) > 1 else list(readers)
    lines = [
        "# Reader study",
        "",
        "Discrimination rate: share of tumors that were told rightly, in per cent (50: chance), with 95 % intervals by "
        "Wilson and the number of answers. By method: of the real tumors, and of each method's synthetic ones.",
        "",
        f"| tumors | {' | '.join('all readers' if n == 'all' else markdown_escaped(n) for n in names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for group, value in dict.fromkeys((r.group, r.value) for r in rates):
        cells = [_rate_cell(r) for r in rates if (r.group, r.value) == (group, value)]
        lines.append(f"| {'all' if group == 'all' else f'{group}: {markdown_escaped(value)}'} | {' | '.join(cells)} |")
    if agreement:
        lines += ["", "| readers | items | same answer | Cohen's kappa |", "|---" * 4 + "|"]
        for a in agreement:
            same = "–" if a.same is None else f"{100 * a.same:.1f} %"
            kappa = "–" if a.kappa is None else f"{a.kappa:.2f}"
            pair = markdown_escaped(f"{a.first}, {a.second}")
            lines.append(f"| {pair} | {a.items} | {same} | {kappa} |")
    return "\n".join([*lines, ""])


def _rate_cell(rate: Rate) -> str:
    if rate.rate is None or rate.low is None or rate.high is None:
        return "–"
    return f"{100 * rate.rate:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}] ({rate.answers})"
