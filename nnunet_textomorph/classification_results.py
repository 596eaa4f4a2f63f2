"""What a classifier said of lesions and patients, and how right it was: sensitivity, PPV, AUC, and their files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, FiniteFloat, model_validator

from nnunet_textomorph.stats import auc, wilson_interval

RESULTS_FILE = "classification.json"
PATIENT_RULE = (
    "A patient's probabilities are those of the lesion with the highest malignant probability (of the largest lesion "
    "where no class is malignant); without a lesion, the mean over places in the host."
)


class PatientEntry(BaseModel):
    """A patient in classification.json."""

    case: str
    true: str | None
    probabilities: dict[str, FiniteFloat] | None


class ResultsFile(BaseModel):
    """What other commands read of classification.json."""

    format: Literal[1]
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    normal: str | None
    patients: list[PatientEntry]

    @model_validator(mode="after")
    def _consistent(self) -> ResultsFile:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is named twice")
        known = set(self.classes)
        for name in (*self.malignant, *([self.normal] if self.normal else [])):
            if name not in known:
                raise ValueError(f"{name!r} is none of the classes")
        for patient in self.patients:
            if patient.probabilities is not None and set(patient.probabilities) != known:
                raise ValueError(f"{patient.case!r} has probabilities of other classes")
        return self

    def results(self) -> list[Result]:
        """The patients, probabilities in the order of the classes."""
        return [
            Result(
                x.case,
                None,
                None if x.probabilities is None else tuple(x.probabilities[name] for name in self.classes),
                x.true,
            )
            for x in self.patients
        ]


@dataclass(frozen=True)
class Result:
    """One lesion (``lesion`` is its number) or one patient (``lesion`` is None).

    ``probabilities``: of each class; None where nothing was judged (no lesion, and no host to look at). ``true``: the
    class, if known. ``centre``: voxels (z, y, x) of the image file; ``diameter_mm``: equivalent.
    """

    case: str
    lesion: int | None
    probabilities: tuple[float, ...] | None
    true: str | None = None
    centre: tuple[float, float, float] | None = None
    diameter_mm: float | None = None

    def predicted(self, classes: Sequence[str]) -> str | None:
        """The most probable class."""
        return None if self.probabilities is None else classes[int(np.argmax(self.probabilities))]


def patient_result(
    case: str,
    lesions: Sequence[Result],
    classes: Sequence[str],
    malignant: Sequence[str],
    *,
    without_lesion: Sequence[float] | None = None,
    true: str | None = None,
) -> Result:
    """The patient's result by ``PATIENT_RULE``. ``without_lesion``: probabilities to take where there is no lesion.

    ``true``: the patient's class where it is known otherwise than by the lesions: the largest malignant lesion's, else
    the largest lesion's.
    """
    if not lesions:
        return Result(case, None, None if without_lesion is None else tuple(map(float, without_lesion)), true)
    chosen = [classes.index(name) for name in malignant]
    by_size = sorted(lesions, key=lambda x: -(x.diameter_mm or 0.0))
    worst = max(by_size, key=lambda x: sum(x.probabilities[c] for c in chosen) if x.probabilities else -1.0)
    if true is None:
        known = [x.true for x in by_size if x.true is not None]
        true = next((name for name in known if name in malignant), next(iter(known), None))
    return Result(case, None, worst.probabilities, true)


def metrics(
    results: Sequence[Result], classes: Sequence[str], malignant: Sequence[str], normal: str | None = None
) -> dict[str, Any]:
    """Confusion matrix and, per class and for malignant and benign, sensitivity, PPV and AUC.

    Only results whose true class is known count; cases may be normal though no class is. One that nothing was predicted
    for is missed by every class. "benign" are the classes that are neither malignant nor normal. An AUC of a class is
    against all others, that of malignant against benign alone, by the sum of the malignant classes' probabilities.
    Intervals are Wilson's, 95 %.
    """
    judged = [x for x in results if x.true is not None]
    columns = [*classes, None]
    rows = [*classes, *sorted({str(x.true) for x in judged} - set(classes))]
    matrix = np.zeros((len(rows), len(columns)), int)
    for x in judged:
        matrix[rows.index(str(x.true)), columns.index(x.predicted(classes))] += 1
    values = {name: _rates(judged, classes, (name,)) for name in classes}
    for name in classes:
        scored = [x for x in judged if x.probabilities is not None]
        own = classes.index(name)
        values[name]["auc"] = auc(
            [x.probabilities[own] for x in scored if x.probabilities], [x.true == name for x in scored]
        )
    benign = [name for name in classes if name not in malignant and name != normal]
    groups: dict[str, Any] = {}
    if malignant and benign:
        groups = {"malignant": _rates(judged, classes, malignant), "benign": _rates(judged, classes, benign)}
        tumors = [x for x in judged if x.probabilities is not None and x.true in (*malignant, *benign)]
        bad = [classes.index(name) for name in malignant]
        groups["malignant"]["auc"] = auc(
            [sum(x.probabilities[c] for c in bad) for x in tumors if x.probabilities],
            [x.true in malignant for x in tumors],
        )
        groups["malignant"]["classes"], groups["benign"]["classes"] = list(malignant), benign
    found = [v["sensitivity"] for v in values.values() if v["sensitivity"] is not None]
    return {
        "number": len(judged),
        "confusion_matrix": {"true": rows, "predicted": [*classes, "none"], "counts": matrix.tolist()},
        "classes": values,
        "groups": groups,
        "macro_sensitivity": float(np.mean(found)) if found else None,
    }


def _rates(judged: Sequence[Result], classes: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    truly = [x.true in names for x in judged]
    said = [x.predicted(classes) in names for x in judged]
    right, positive, predicted = sum(map(all, zip(truly, said, strict=True))), sum(truly), sum(said)
    return {
        "number": positive,
        "predicted": predicted,
        "right": right,
        "sensitivity": right / positive if positive else None,
        "sensitivity_interval": wilson_interval(right, positive),
        "ppv": right / predicted if predicted else None,
        "ppv_interval": wilson_interval(right, predicted),
    }


def write_results(
    folder: Path,
    lesions: Sequence[Result],
    patients: Sequence[Result],
    classes: Sequence[str],
    malignant: Sequence[str],
    normal: str | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Write classification.json, classification.csv and, where true classes are known, confusion_matrix.png.

    ``facts``: what else is to stand in the JSON file (model, folds ...). Returns its content.
    """
    content: dict[str, Any] = {
        "format": 1,
        **facts,
        "classes": list(classes),
        "malignant": list(malignant),
        "normal": normal,
        "patient_rule": PATIENT_RULE,
        "patients": [_entry(x, classes) for x in patients],
        "lesions": [_entry(x, classes) for x in lesions],
    }
    known = any(x.true is not None for x in patients)
    if known:
        content["patient_metrics"] = metrics(patients, classes, malignant, normal)
        content["lesion_metrics"] = metrics(lesions, classes, malignant, normal)
        temporary = folder / ".partial-confusion_matrix.png"
        levels = {"patients": content["patient_metrics"], "lesions": content["lesion_metrics"]}
        save_confusion(temporary, {f"{measured['number']} {level}": measured for level, measured in levels.items()})
        os.replace(temporary, folder / "confusion_matrix.png")
    else:
        (folder / "confusion_matrix.png").unlink(missing_ok=True)  # of an earlier run that knew true classes
    _write_csv(folder / "classification.csv", lesions, patients, classes)
    temporary = folder / f".partial-{RESULTS_FILE}"
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / RESULTS_FILE)
    return content


def metrics_table(measured: dict[str, Any]) -> str:
    """Metrics as text, a line per class and group."""
    lines = [f"{'':16s}{'n':>5s}   {'sensitivity':24s}{'PPV':24s}{'AUC':>5s}"]
    for name, row in [*measured["classes"].items(), *measured["groups"].items()]:
        rates = "".join(f"{_percent(row[key], row[f'{key}_interval']):24s}" for key in ("sensitivity", "ppv"))
        area = row.get("auc")
        lines.append(f"{name:16s}{row['number']:5d}   {rates}{'' if area is None else f'{area:5.2f}'}".rstrip())
    return "\n".join(lines)


def save_confusion(path: Path, measured: Mapping[str, dict[str, Any]]) -> None:
    """Draw the confusion matrices of metrics side by side, by title: counts, shaded by the share of the row."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nnU-Net's progress.png leaves giant fonts and a grid behind
        _draw_confusion(path, measured)


def _draw_confusion(path: Path, measured: Mapping[str, dict[str, Any]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(measured), 4.6), dpi=100, facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(measured), squeeze=False)[0]
    for axes, (title, each) in zip(panels, measured.items(), strict=True):
        matrix = each["confusion_matrix"]
        names, counts = matrix["predicted"], np.array(matrix["counts"])
        if not counts[:, -1].any():
            names, counts = names[:-1], counts[:, :-1]
        shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_yticks(range(len(counts)), matrix["true"])
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title, fontsize=10)
    FigureCanvasAgg(figure).print_png(str(path))


def _entry(x: Result, classes: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"case": x.case}
    if x.lesion is not None:
        made |= {"lesion": x.lesion, "centre": x.centre, "diameter_mm": x.diameter_mm}
    shares = None if x.probabilities is None else dict(zip(classes, x.probabilities, strict=True))
    return {**made, "true": x.true, "predicted": x.predicted(classes), "probabilities": shares}


def _write_csv(path: Path, lesions: Sequence[Result], patients: Sequence[Result], classes: Sequence[str]) -> None:
    temporary = path.with_name(f".partial-{path.name}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["level", "case", "lesion", "diameter_mm", "true", "predicted", *(f"p_{c}" for c in classes)])
        for level, results in (("patient", patients), ("lesion", lesions)):
            for x in results:
                shares = [""] * len(classes) if x.probabilities is None else [f"{p:.4f}" for p in x.probabilities]
                row = (level, x.case, x.lesion, x.diameter_mm, x.true, x.predicted(classes))
                writer.writerow(["" if value is None else value for value in row] + shares)
    os.replace(temporary, path)


def _percent(rate: float | None, interval: Sequence[float] | None) -> str:
    if rate is None or interval is None:
        return "-"
    return f"{100 * rate:.1f} % ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"
