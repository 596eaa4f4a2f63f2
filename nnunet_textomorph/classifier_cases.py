"""Which lesions a dataset's cases have, and of which classes they are: from label values, or from classes.csv."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from tqdm import tqdm

from nnunet_textomorph.classes import read_cache, write_cache
from nnunet_textomorph.csv_files import read_csv
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.missed import SPECK_MM
from nnunet_textomorph.plan import TextoMorphPlans, pathology_of
from nnunet_textomorph.shapes import equivalent_diameter

CLASSES_FILE = "classes.csv"  # beside dataset.json: case, class
NORMAL = "normal"  # the class of cases without lesions
# by its name a class is benign, else malignant, else what its pathology is
BENIGN_NAME = re.compile(r"benign|\b(non|not)[\s_-]*(malign|cancer|neoplas)|pseudo", re.I)
MALIGNANT = ("PDAC", "PNET", "HCC", "RCC", "metastasis", "sarcoma", "cholangiocarcinoma", "UC", "lymphoma", "SPN")
MALIGNANT_NAME = re.compile(
    r"malign|cancer|carcinoma|sarcoma|metasta|lymphom|melanom|blastom|neuroendocrin|tumou?r|(hcc|rcc|nets?|gist)\b",
    re.I,
)
PURE_SHARE = 0.95  # of a lesion that bears one label; the rest is taken for a slip of the pen
HOST_PLACES = 200  # host voxels kept of each case
NAMED_CASES = 5  # in one sentence


@dataclass(frozen=True)
class FoundLesion:
    """A connected lesion of one case. ``label``: the value that most of it has, ``pure``: its share of the lesion.

    Voxels are of the preprocessed grid: ``centre`` lies in the lesion, nearest to its centroid; ``box``: (start, stop).
    """

    label: int
    pure: float
    centre: tuple[int, int, int]
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    diameter_mm: float


@dataclass(frozen=True)
class CaseContent:
    """Lesions of one case, and some voxels of its host tissue (n, 3)."""

    lesions: tuple[FoundLesion, ...]
    host: np.ndarray


@dataclass(frozen=True)
class ClassNames:
    """The classes, in the order of the network's outputs. ``of_case``: from classes.csv; None: label values tell."""

    names: tuple[str, ...]
    malignant: tuple[str, ...]
    normal: str | None
    of_case: dict[str, str] | None
    source: str

    def values(self, plan: TextoMorphPlans) -> dict[str, int]:
        """The label that a synthetic tumor of each class gets."""
        tumors = [name for name in self.names if name != self.normal]
        if self.of_case is None:
            return {name: plan.tumors[name] for name in tumors}
        return dict.fromkeys(tumors, next(iter(plan.tumors.values())))


@dataclass(frozen=True)
class Example:
    """A lesion to learn from or to judge. ``true``: place of its class among the names."""

    case: str
    true: int
    lesion: FoundLesion


def find_lesions(
    segmentation: np.ndarray, tumor_values: Collection[int], spacing: Sequence[float]
) -> tuple[FoundLesion, ...]:
    """Connected lesions (26 neighbours, whatever their labels) of a label map (D, H, W); specks are left out.

    ``spacing``: mm, in the order of the axes.
    """
    tumor = np.isin(segmentation, list(tumor_values))
    parts = cc3d.connected_components(tumor, connectivity=26)
    found = []
    for part, box in enumerate(cc3d.statistics(parts)["bounding_boxes"]):
        if part == 0:
            continue
        mask = parts[box] == part
        diameter = equivalent_diameter(mask, spacing)
        if diameter < SPECK_MM:
            continue
        values, counts = np.unique(segmentation[box][mask], return_counts=True)
        voxels = np.argwhere(mask)
        middle = voxels[np.argmin((((voxels - voxels.mean(0)) * np.array(spacing)) ** 2).sum(1))]
        z, y, x = (int(v) + b.start for v, b in zip(middle, box, strict=True))
        d, h, w = ((int(b.start), int(b.stop)) for b in box)
        pure = round(float(counts.max() / counts.sum()), 4)
        found.append(FoundLesion(int(values[counts.argmax()]), pure, (z, y, x), (d, h, w), round(diameter, 2)))
    return tuple(found)


def host_places(segmentation: np.ndarray, host_values: Collection[int]) -> np.ndarray:
    """Up to ``HOST_PLACES`` voxels (n, 3) of the host in a label map (D, H, W), always the same ones."""
    voxels = np.argwhere(np.isin(segmentation, list(host_values)))
    if len(voxels) <= HOST_PLACES:
        return voxels
    return voxels[np.sort(np.random.default_rng(0).choice(len(voxels), HOST_PLACES, replace=False))]


def case_contents(
    dataset: Any, folder: Path, plan: TextoMorphPlans, spacing: Sequence[float], cache: Path
) -> dict[str, CaseContent]:
    """Lesions and host of every case of an nnU-Net dataset of preprocessed cases in ``folder``.

    ``spacing``: mm, in the order of the patches' axes. What was found before is taken from ``cache``, as long as a
    case's file has the same size and time.
    """
    known, found = read_cache(cache), {}
    settings = [sorted(plan.tumors.values()), plan.host_values, [round(float(s), 4) for s in spacing]]
    for case in tqdm(sorted(dataset.identifiers), desc="lesions of the cases", unit="case", disable=None):
        files = [path for ending in ("_seg.b2nd", ".npz") if (path := folder / f"{case}{ending}").is_file()]
        key = [[f.stat().st_size, f.stat().st_mtime_ns] for f in files[:1]] + settings
        entry = known.get(case)
        if entry is None or entry.get("file") != key:
            segmentation = np.asarray(dataset.load_case(case)[1][:])[0]
            lesions = find_lesions(segmentation, plan.tumors.values(), spacing)
            places = host_places(segmentation, plan.host_values).tolist()
            entry = {"file": key, "lesions": [vars(x) for x in lesions], "host": places}
        found[case] = entry
    if any(known.get(case) != entry for case, entry in found.items()):
        write_cache(cache, {**known, **found})
    return {case: _content(entry) for case, entry in found.items()}


def class_names(plan: TextoMorphPlans, classes_file: Path | None, where: str) -> ClassNames:
    """The classes that a plan and a classes.csv (None: there is none) give.

    Raises :class:`UserError` for fewer than two classes, an unusable file, or unknown names in ``malignant``.
    """
    if classes_file is None:
        of_case, tumors, source = None, list(plan.tumors), "label values"
    else:
        of_case = read_classes(classes_file)
        tumors, source = sorted({name for name in of_case.values() if name != NORMAL}), str(classes_file)
    normal = NORMAL if plan.classification.normal else None
    names = (*tumors, *([NORMAL] if normal else []))
    if len(names) < 2:
        raise UserError(
            f"{where}: has {f'the class {tumors[0]!r} only' if tumors else 'no class'}; give every class a label of "
            f"its own, or {CLASSES_FILE} (case, class) beside dataset.json, or set classification.normal in the plan."
        )
    wanted = plan.classification.malignant
    if wanted is None:
        malignant = tuple(name for name in tumors if _is_malignant(name))
    else:
        unknown = [name for name in wanted if name not in tumors]
        if unknown:
            raise UserError(
                f"classification.malignant: {unknown[0]!r} is none of the classes {', '.join(tumors)} ({source})."
            )
        malignant = tuple(name for name in tumors if name in wanted)
    return ClassNames(names, malignant, normal, of_case, source)


def read_classes(path: Path) -> dict[str, str]:
    """Class by case of a CSV file with the columns case and class; :class:`UserError` names line and mistake.

    "normal", in any case of its letters, is the class of cases without lesions.
    Semicolons or tabs may stand for commas.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a CSV file with the columns case and class.")
    columns, rows = read_csv(path)
    names = {name.lower(): name for name in columns}
    if not {"case", "class"} <= set(names):
        raise UserError(
            f"{path}: its first line names the columns {', '.join(map(repr, columns)) or 'of nothing'}; it must name "
            "case and class, with a comma between them."
        )
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for line, row in rows:
        case, name = row[names["case"]], row[names["class"]]
        if not case or not name:
            raise UserError(f"{path}: line {line} has no {'class' if case else 'case'}.")
        name = NORMAL if name.lower() == NORMAL else name
        if spelled.setdefault(name.lower(), name) != name:
            raise UserError(f"{path}: line {line} spells {spelled[name.lower()]!r} as {name!r}; spell it one way.")
        if found.setdefault(case, name) != name:
            raise UserError(f"{path}: line {line} says {name!r} of {case}, an earlier one {found[case]!r}; keep one.")
    if not found:
        raise UserError(f"{path}: has no line but the first; give each case and its class.")
    return found


def find_classes_file(folders: Iterable[Path]) -> Path | None:
    """The classes.csv in these folders, if any; :class:`UserError` where two of them differ."""
    files = [path for folder in folders if (path := folder / CLASSES_FILE).is_file()]
    if len({path.read_bytes() for path in files}) > 1:
        raise UserError(f"{files[0]} and {files[1]} differ; keep the right one.")
    return files[0] if files else None


def examples(
    cases: Collection[str], contents: Mapping[str, CaseContent], classes: ClassNames, plan: TextoMorphPlans
) -> list[Example]:
    """All lesions of these cases with their classes.

    Raises :class:`UserError`, naming cases, where a lesion has two classes, or classes.csv lacks a case or says another
    thing than the segmentation.
    """
    if classes.of_case is None:
        return _by_label(cases, contents, classes, plan)
    of_case = classes.of_case
    _refuse([c for c in cases if c not in of_case], f"{classes.source}: has no line for {{}}; give each its class.")
    _refuse(
        [c for c in cases if of_case[c] == NORMAL and contents[c].lesions],
        f"{classes.source}: says {NORMAL!r} of {{}}, but the segmentation has lesions; correct one of them.",
    )
    _refuse(
        [c for c in cases if of_case[c] != NORMAL and not contents[c].lesions],
        f"{classes.source}: names a class for {{}}, but the preprocessed segmentation has no lesion of {SPECK_MM:g} mm "
        f"or more; correct one of them (the class of a case without lesions is {NORMAL!r}).",
    )
    places = {name: place for place, name in enumerate(classes.names)}
    return [Example(c, places[of_case[c]], x) for c in sorted(cases) for x in contents[c].lesions]


def normal_cases(cases: Collection[str], contents: Mapping[str, CaseContent]) -> list[str]:
    """Those without lesions, but with host tissue."""
    return [case for case in sorted(cases) if not contents[case].lesions and len(contents[case].host)]


def check_examples(
    training: Sequence[Example],
    validation: Sequence[Example],
    training_normals: Sequence[str],
    classes: ClassNames,
    fold: Any,
    synthetic: bool,
) -> list[str]:
    """Warnings about classes of few lesions; :class:`UserError` where a class cannot be learnt or nothing validated."""
    warnings = []
    cases = {name: {x.case for x in training if classes.names[x.true] == name} for name in classes.names}
    held = {name: {x.case for x in validation if classes.names[x.true] == name} for name in classes.names}
    for name in classes.names:
        if name == classes.normal:
            if not training_normals:
                raise UserError(
                    f"classification.normal is set, but fold {fold} has no training case with host and without lesions."
                )
            continue
        if not cases[name] and not synthetic:
            what = f"{_listed(sorted(held[name]))} of the validation cases are" if held[name] else "no case is"
            raise UserError(
                f"Fold {fold} has no training case of the class {name!r} ({what}); change splits_final.json, or take "
                f"the class out of {'TextoMorphPlans.json' if classes.of_case is None else classes.source}."
            )
        if not cases[name]:
            warnings.append(
                f"class {name!r} has no real lesion in fold {fold}: it is learnt from synthetic tumors alone"
            )
        elif not held[name]:
            warnings.append(
                f"class {name!r} has {len(cases[name])} training case{'s' * (len(cases[name]) > 1)} and no validation "
                f"case in fold {fold}: its sensitivity stays unknown"
            )
        elif len(cases[name]) == 1:
            warnings.append(f"class {name!r} has a single training case in fold {fold}")
    if not validation:
        raise UserError(f"Fold {fold} has no validation case with a lesion; change splits_final.json.")
    return warnings


def _by_label(
    cases: Collection[str], contents: Mapping[str, CaseContent], classes: ClassNames, plan: TextoMorphPlans
) -> list[Example]:
    mixed = [case for case in sorted(cases) if any(x.pure < PURE_SHARE for x in contents[case].lesions)]
    _refuse(
        mixed,
        "A connected lesion bears two classes in {}; separate them in the segmentation, or give each case one class in "
        f"{CLASSES_FILE} beside dataset.json.",
    )
    place = {plan.tumors[name]: number for number, name in enumerate(classes.names) if name in plan.tumors}
    return [Example(case, place[x.label], x) for case in sorted(cases) for x in contents[case].lesions]


def _refuse(cases: Sequence[str], sentence: str) -> None:
    if cases:
        raise UserError(sentence.format(_listed(sorted(cases))))


def _listed(cases: Sequence[str]) -> str:
    more = len(cases) - NAMED_CASES
    return ", ".join(cases[:NAMED_CASES]) + (f" and {more} more" if more > 0 else "")


def _is_malignant(name: str) -> bool:
    if BENIGN_NAME.search(name):
        return False
    return bool(MALIGNANT_NAME.search(name)) or pathology_of(name) in MALIGNANT


def _content(entry: dict[str, Any]) -> CaseContent:
    lesions = []
    for x in entry["lesions"]:
        box = tuple((int(a), int(b)) for a, b in x["box"])
        z, y, x_ = x["centre"]
        lesions.append(FoundLesion(x["label"], x["pure"], (z, y, x_), (box[0], box[1], box[2]), x["diameter_mm"]))
    return CaseContent(tuple(lesions), np.array(entry["host"], int).reshape(-1, 3))


def counted(found: Sequence[Example], classes: ClassNames) -> str:
    """How many lesions and cases each class has, in words."""
    numbers = Counter(x.true for x in found)
    cases = {place: len({x.case for x in found if x.true == place}) for place in numbers}
    return "; ".join(
        f"{name} {numbers[place]} in {cases.get(place, 0)} cases"
        for place, name in enumerate(classes.names)
        if name != classes.normal
    )
