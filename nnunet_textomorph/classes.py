"""What the tumor classes of a training fold are like: how many lesions, how large, described how (paper Eq. 5)."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.llm_reports.bank import BankLine, DescriptionBank
from nnunet_textomorph.matching import lesions_of
from nnunet_textomorph.missed import SPECK_MM
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, pathology_of
from nnunet_textomorph.shapes import equivalent_diameter

CENSUS_NAME = "TextoMorphLesions.json"  # beside nnU-Net's plans; may be deleted, is made anew


@dataclass(frozen=True)
class TumorClass:
    """One tumor label: its weight among the classes, its lesions' diameters in mm, and descriptions of it."""

    weight: float
    diameters_mm: tuple[float, ...]
    bank: DescriptionBank


def tumor_classes(
    plan: TextoMorphPlans,
    bank: DescriptionBank,
    diameters: Mapping[str, tuple[float, ...]],
    banks: Mapping[str, DescriptionBank] | None = None,
) -> dict[str, TumorClass]:
    """The classes that are drawn, by label name: weights as the plan says, else inverse to the number of lesions.

    ``diameters``: of the training fold's lesions, per label. A class without any counts as if it had one.
    ``banks``: of labels that take others than ``bank``.
    Raises :class:`UserError` for weights of other names, and for a class that its bank has no description of.
    """
    unknown = sorted(set(plan.class_weights or ()) - set(plan.tumors))
    if unknown:
        raise UserError(f"class_weights: {unknown[0]!r} is none of {', '.join(plan.tumors)}; correct {FILE_NAME}.")
    weights = plan.class_weights or {name: 1.0 / max(1, len(diameters[name])) for name in plan.tumors}
    return {
        name: TumorClass(weight, tuple(diameters[name]), _bank_of(name, plan, (banks or {}).get(name, bank)))
        for name, weight in weights.items()
        if weight > 0
    }


def lesion_diameters(
    plan: TextoMorphPlans, cases: Collection[str], label_files: Mapping[str, Path], reader: Any, cache: Path
) -> dict[str, tuple[float, ...]]:
    """Equivalent diameters in mm of the lesions of ``cases``, per tumor label of the plan; specks are left out.

    Reads the label files with nnU-Net's ``reader``. What was read before is taken from ``cache``, as long as a file has
    the same size and time. A cache that cannot be written is done without.
    """
    known = read_cache(cache)
    found: dict[str, dict[str, Any]] = {}
    for case in tqdm(sorted(cases), desc="sizes of tumors", unit="case", disable=None):
        status = label_files[case].stat()
        key = [status.st_size, status.st_mtime_ns, sorted(plan.tumors.values())]
        entry = known.get(case)
        if entry is None or entry.get("file") != key:
            entry = {"file": key, "lesions": _lesions(plan, label_files[case], reader)}
        found[case] = entry
    if any(known.get(case) != entry for case, entry in found.items()):
        write_cache(cache, {**known, **found})
    lesions = [(label, mm) for entry in found.values() for label, mm in entry["lesions"] if mm >= SPECK_MM]
    return {name: tuple(mm for label, mm in lesions if label == value) for name, value in plan.tumors.items()}


def _bank_of(name: str, plan: TextoMorphPlans, bank: DescriptionBank) -> DescriptionBank:
    """The lines that describe a class; for one whose name says nothing, those that no other class claims."""
    wanted = pathology_of(name)
    if wanted is not None:
        lines = [line for line in bank if _is_of(line, wanted)]
    else:
        others = [p for other in plan.tumors if (p := pathology_of(other)) is not None]
        lines = [line for line in bank if not any(_is_of(line, other) for other in others)]
    if not lines:
        organ = plan.organ_for(name)
        raise UserError(
            f"The description bank holds no description of {wanted or name!r} in {organ!r}, so that the class "
            f"{name!r} cannot be made; give a bank that has some, or set its weight in class_weights to 0."
        )
    return DescriptionBank(lines)


def _is_of(line: BankLine, pathology: str) -> bool:
    d = line.descriptors
    return d.pathology == pathology or (d.pathology is None and pathology == "cyst" and d.composition == "cystic")


def _lesions(plan: TextoMorphPlans, path: Path, reader: Any) -> list[tuple[int, float]]:
    array, properties = reader.read_seg(str(path))
    labels = np.rint(array[0]).astype(np.int16)
    spacing = [float(s) for s in properties["spacing"]]
    values = list(plan.tumors.values())
    return [(x.label, round(equivalent_diameter(x.mask, spacing), 2)) for x in lesions_of(labels, values)]


def read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """What was measured before, by case; nothing where the file is absent or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_cache(path: Path, content: dict[str, dict[str, Any]]) -> None:
    """Write under a temporary name, then rename; a folder that cannot be written to is left alone."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
