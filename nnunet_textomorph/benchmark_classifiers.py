"""Table IV: classification trainers against each other, by what their folds' validations say of each patient."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from nnunet_textomorph.benchmark_tables import DASH, SIGNIFICANT, latex_escaped, schedule_text
from nnunet_textomorph.classification_results import RESULTS_FILE, Result, ResultsFile, metrics, save_confusion
from nnunet_textomorph.classifier_model import MODEL_FILE
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.markdown import markdown_escaped
from nnunet_textomorph.nnunet_commands import find_trainer
from nnunet_textomorph.nnunet_files import environment_folder, read_splits
from nnunet_textomorph.stats import (
    auc,
    bootstrap_interval,
    difference_interval,
    gained_and_lost,
    holm,
    mcnemar,
    patient_draws,
)

MEASURES = {"sensitivity": "sensitivity", "ppv": "PPV", "auc": "AUC"}


@dataclass(frozen=True)
class Judged:
    """What a classifier said of the patients that its folds held back, in the order of their names."""

    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    normal: str | None
    patients: list[Result]

    @property
    def metrics(self) -> dict[str, Any]:
        """As in classification.json (docs/formats.md), over all folds together."""
        return metrics(self.patients, self.classes, self.malignant, self.normal)


@dataclass(frozen=True)
class ClassifierTest:
    """A method against the first one. ``difference``: its value minus the first's; interval over patients, paired.

    ``kind``: ``groups`` (``group`` is malignant or benign) or ``classes``. ``regained``, ``lost``: patients of the
    group that the method told rightly and the first did not, and the other way round; these and ``p`` (exact McNemar)
    of the sensitivity only.
    """

    method: str
    kind: str
    group: str
    measure: str
    difference: float | None
    low: float | None
    high: float | None
    regained: int | None
    lost: int | None
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class ClassifierResults:
    """All that results.json holds. ``methods``: by name, metrics as in classification.json."""

    settings: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    tests: list[ClassifierTest]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def is_classifier(trainer: str, model: Path) -> bool:
    """Whether a trainer classifies lesions: by its class, or by what it left in its model folder.

    Raises :class:`UserError` where nnU-Net finds no such trainer, and nothing was trained by one.
    """
    from nnunet_textomorph.classifier_mixin import ClassifierMixin

    found = find_trainer(trainer)
    if found is not None:
        return issubclass(found, ClassifierMixin)
    if not model.is_dir():
        raise UserError(f"nnU-Net finds no trainer {trainer!r}; correct --trainers.")
    return (model / MODEL_FILE).is_file()


def judged_patients(preprocessed: Path, model: str, folds: Sequence[int]) -> Judged:
    """Read the validations of a model's folds (``trainer__plans__configuration``), which share no case.

    Raises :class:`UserError` for one that cannot be read, is of another split, or of other classes than the first.
    """
    splits = read_splits(preprocessed)
    found: dict[str, Result] = {}
    first: Judged | None = None
    for fold in folds:
        folder = environment_folder("nnUNet_results") / preprocessed.name / model / f"fold_{fold}" / "validation"
        made = _read(folder / RESULTS_FILE)
        first = first or made
        for field in ("classes", "malignant", "normal"):
            here, there = getattr(made, field), getattr(first, field)
            if here != there:
                raise UserError(
                    f"{folder / RESULTS_FILE}: {field} is {here}, and {there} in fold {folds[0]}; validate the folds "
                    "again (nnUNetv2_train ... --val)."
                )
        _check_cases(made, splits[fold]["val"], fold, folder, preprocessed)
        found |= {patient.case: patient for patient in made.patients}
    if first is None or not found:
        raise UserError(
            f"{model}: the folds {', '.join(map(str, folds))} judged no patient; choose others with --folds."
        )
    return Judged(first.classes, first.malignant, first.normal, [found[case] for case in sorted(found)])


def _check_cases(made: Judged, wanted: Sequence[str], fold: int, folder: Path, preprocessed: Path) -> None:
    """Where no class is normal, cases without lesions are not judged; else all are."""
    cases = [x.case for x in made.patients]
    odd = set(cases) - set(wanted) or (set(wanted) - set(cases) if made.normal is not None else set())
    if odd:
        raise UserError(
            f"{folder}: holds other cases than fold {fold} validates by {preprocessed / 'splits_final.json'} "
            f"({min(odd)} is in one of them only); the split changed since, train or validate the fold again."
        )
    if len(set(cases)) < len(cases):
        raise UserError(f"{folder / RESULTS_FILE}: holds a case twice; validate the fold again.")
    strange = [x for x in made.patients if x.true not in made.classes]
    if strange:
        raise UserError(
            f"{folder / RESULTS_FILE}: {strange[0].case} truly is {strange[0].true!r}, which is none of the classes; "
            "validate the fold again."
        )


def compare_classifiers(judged: Mapping[str, Judged], settings: dict[str, Any]) -> ClassifierResults:
    """Metrics of every method, and every other one against the first.

    Raises :class:`UserError` where methods are of other classes or patients, or of other truth, than the first.
    """
    (first_name, first), *others = judged.items()
    for name, other in others:
        for field in ("classes", "malignant", "normal"):
            here, there = getattr(other, field), getattr(first, field)
            if here != there:
                raise UserError(
                    f"{name}: {field} is {here}, and {there} of {first_name}; train both with the same plan and "
                    "classes."
                )
        if [(x.case, x.true) for x in other.patients] != [(x.case, x.true) for x in first.patients]:
            raise UserError(
                f"{name} and {first_name} were validated on other patients or other classes of them; the dataset "
                "changed since, validate both again (nnUNetv2_train ... --val)."
            )
    tests = []
    for kind, group, names, measures in _compared(first):
        for measure in measures:
            made = [_test(name, other, first, kind, group, names, measure) for name, other in others]
            corrected = holm([test.p for test in made])
            tests += [replace(test, p_holm=p) for test, p in zip(made, corrected, strict=True)]
    methods = {name: of.metrics for name, of in judged.items()}
    return ClassifierResults(settings | {"patients": len(first.patients)}, methods, tests)


def write_classifiers(results: ClassifierResults, judged: Mapping[str, Judged], folder: Path) -> None:
    """``table.md``, ``table.tex``, ``results.json``, ``patients.csv`` and ``confusion_matrices.png``."""
    (folder / "results.json").write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(_markdown(results), encoding="utf-8")
    (folder / "table.tex").write_text(_latex(results), encoding="utf-8")
    with (folder / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        classes = next(iter(judged.values())).classes
        writer.writerow(["method", "case", "true", "predicted", *(f"p_{name}" for name in classes)])
        for method, of in judged.items():
            for x in of.patients:
                writer.writerow(
                    [method, x.case, x.true, x.predicted(classes), *(x.probabilities or [""] * len(classes))]
                )
    save_confusion(
        folder / "confusion_matrices.png",
        {f"{name}\n{of['number']} patients": of for name, of in results.methods.items()},
    )


def _read(path: Path) -> Judged:
    try:
        content = ResultsFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}; validate the fold (--val).") from None
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(map(str, found["loc"])) or "the file"
        raise UserError(
            f"{path}: {field}: {found['msg']}; it is damaged or of another version: validate the fold again (--val)."
        ) from None
    return Judged(content.classes, content.malignant, content.normal, content.results())


def _benign(of: Judged) -> tuple[str, ...]:
    return tuple(name for name in of.classes if name not in of.malignant and name != of.normal)


def _compared(of: Judged) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    """Kind, name, classes and measures of what is compared: malignant and benign where there are both, every class.

    An AUC is of malignant against benign, where there are both, else of each class against the others.
    """
    grouped = bool(of.malignant and _benign(of))
    groups = [
        ("groups", "malignant", of.malignant, ("sensitivity", "ppv", "auc")),
        ("groups", "benign", _benign(of), ("sensitivity", "ppv")),
    ]
    measures = ("sensitivity", "ppv") if grouped else ("sensitivity", "ppv", "auc")
    return [*(groups if grouped else []), *(("classes", name, (name,), measures) for name in of.classes)]


def _test(
    method: str, second: Judged, first: Judged, kind: str, group: str, names: tuple[str, ...], measure: str
) -> ClassifierTest:
    if measure == "auc":
        low, high, difference = _auc_difference(first, second, kind, names)
        return ClassifierTest(method, kind, group, measure, difference, low, high, None, None, None, None)
    one, other = (_sums(of, names, measure) for of in (first, second))
    values = [sum(top) / sum(bottom) for top, bottom in (one, other) if sum(bottom)]
    difference = values[1] - values[0] if len(values) == 2 else None
    draws = patient_draws([x.case for x in first.patients])
    low, high = difference_interval(one, other, draws) or (None, None)
    if measure == "ppv":
        return ClassifierTest(method, kind, group, measure, difference, low, high, None, None, None, None)
    before, after = (
        [x.predicted(of.classes) in names for x in of.patients if x.true in names] for of in (first, second)
    )
    regained, lost = gained_and_lost(before, after)
    p = mcnemar(before, after)
    return ClassifierTest(method, kind, group, measure, difference, low, high, regained, lost, p, None)


def _sums(of: Judged, names: tuple[str, ...], measure: str) -> tuple[list[float], list[float]]:
    """Each patient's numerator and denominator of a sensitivity or PPV."""
    truly = [x.true in names for x in of.patients]
    said = [x.predicted(of.classes) in names for x in of.patients]
    right = [float(t and s) for t, s in zip(truly, said, strict=True)]
    return right, [float(x) for x in (truly if measure == "sensitivity" else said)]


def _auc_difference(
    first: Judged, second: Judged, kind: str, names: tuple[str, ...]
) -> tuple[float | None, float | None, float | None]:
    """Low, high and difference of the AUC: malignant against benign, or a class against all others.

    Of the patients whom both methods judged; ``metrics`` takes all that one of them judged.
    """
    known = (*names, *_benign(first)) if kind == "groups" else first.classes
    chosen = [first.classes.index(name) for name in names]
    rows = [
        (x.case, x.true in names, *(sum(said[i] for i in chosen) for said in (x.probabilities, y.probabilities)))
        for x, y in zip(first.patients, second.patients, strict=True)
        if x.true in known and x.probabilities is not None and y.probabilities is not None
    ]
    if not rows:
        return None, None, None
    positive, *scores = (np.array([row[i] for row in rows]) for i in (1, 2, 3))

    def difference(drawn: np.ndarray) -> float:
        areas = [auc(score[drawn], positive[drawn]) for score in scores]
        return float("nan") if areas[0] is None or areas[1] is None else areas[1] - areas[0]

    found = difference(np.arange(len(rows)))
    low, high = bootstrap_interval([row[0] for row in rows], difference) or (None, None)
    return low, high, None if np.isnan(found) else found


# ---------------------------------------------------------------------------------------------------------- tables


def _blocks(results: ClassifierResults) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """By kind (groups, where there are both, and classes) and group, metrics by method."""
    some = next(iter(results.methods.values()))
    return {
        kind: {name: {method: of[kind][name] for method, of in results.methods.items()} for name in some[kind]}
        for kind in ("groups", "classes")
        if some[kind]
    }


def _cell(row: Mapping[str, Any], measure: str, star: str = "") -> str:
    value = row.get(measure)
    if value is None:
        return DASH
    if measure == "auc":
        return f"{value:.3f}"
    low, high = row[f"{measure}_interval"]
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]{star}"


def _star(results: ClassifierResults, method: str, kind: str, group: str, measure: str, star: str) -> str:
    significant = any(
        (t.method, t.kind, t.group, t.measure) == (method, kind, group, measure)
        and t.p_holm is not None
        and t.p_holm < SIGNIFICANT
        for t in results.tests
    )
    return star if significant else ""


def _title(group: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The group, which classes are in it where that is not plain, and how many patients."""
    row = next(iter(rows.values()))
    of = row.get("classes", [group])
    name = group if of == [group] else f"{group}: {', '.join(of)}"
    return f"{name} (n = {row['number']})"


def _markdown(results: ClassifierResults) -> str:
    s = results.settings
    first = next(iter(results.methods))
    lines = [
        f"# {s['dataset']}, {s['configuration']}: tumor types",
        "",
        f"{s['patients']} of the {s['validated']} cases of the folds {', '.join(map(str, s['folds']))}, each judged by "
        "the network that did not train on it (a case is taken for a patient; without a class of normal ones those "
        f"without lesions are not judged); plans {s['plans']}; {schedule_text(s)}.",
        "",
        "Sensitivity and PPV in %, with Wilson's 95 % intervals. "
        f"*: differs from {first}, p < {SIGNIFICANT} by McNemar's test, Holm-corrected over the trainers.",
        "",
    ]
    for kind, block in _blocks(results).items():
        columns = [(group, measure) for group, rows in block.items() for measure in _shown(rows)]
        titles = [markdown_escaped(f"{_title(group, block[group])}: {MEASURES[measure]}") for group, measure in columns]
        lines += [f"| method | {' | '.join(titles)} |", "|" + "---|" * (len(columns) + 1)]
        for method in results.methods:
            cells = [_cell(block[g][method], m, _star(results, method, kind, g, m, "*")) for g, m in columns]
            lines.append(f"| {markdown_escaped(method)} | {' | '.join(cells)} |")
        lines.append("")
    if results.tests:
        lines += [f"## Against {first}", ""]
        lines += [
            "| method | of | measure | difference [95 %] | regained / lost patients | p | p (Holm) |",
            "|---|---|---|---|---|---|---|",
        ]
        for t in results.tests:
            patients = DASH if t.regained is None else f"{t.regained} / {t.lost}"
            p, p_holm = (DASH if x is None else f"{x:.3g}" for x in (t.p, t.p_holm))
            named = [markdown_escaped(t.method), markdown_escaped(t.group)]
            cells = [*named, MEASURES[t.measure], _difference(t), patients, p, p_holm]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _shown(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The measures that a group has; the AUC of malignant is that of benign too."""
    return [measure for measure in MEASURES if measure in next(iter(rows.values()))]


def _difference(test: ClassifierTest) -> str:
    if test.difference is None:
        return DASH
    factor, digits = (1.0, 3) if test.measure == "auc" else (100.0, 1)
    shown = f"{factor * test.difference:+.{digits}f}"
    if test.low is not None and test.high is not None:
        shown += f" [{factor * test.low:+.{digits}f}, {factor * test.high:+.{digits}f}]"
    return shown


def _latex(results: ClassifierResults) -> str:
    """A booktabs table in the layout of Table IV: methods down, sensitivity and PPV of each group across."""
    s = results.settings
    kind, block = next(iter(_blocks(results).items()))
    first = next(iter(results.methods))
    spans = [rf"\multicolumn{{2}}{{c}}{{{latex_escaped(_title(group, rows))}}}" for group, rows in block.items()]
    rules = [rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(len(block))]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escaped(s['dataset'])}: {s['patients']} patients. Sensitivity and PPV (\%) with Wilson's "
        rf"95\,\% intervals. $^*$: $p<{SIGNIFICANT}$ against {latex_escaped(first)} (McNemar, Holm-corrected).}}",
        rf"\begin{{tabular}}{{l{'cc' * len(block)}}}",
        r"\toprule",
        f" & {' & '.join(spans)} \\\\",
        " ".join(rules),
        f"Method & {' & '.join(['Sensitivity & PPV'] * len(block))} \\\\",
        r"\midrule",
    ]
    for method in results.methods:
        cells = [
            _cell(rows[method], measure, _star(results, method, kind, group, measure, "$^*$")).replace(DASH, "--")
            for group, rows in block.items()
            for measure in ("sensitivity", "ppv")
        ]
        lines.append(f"{latex_escaped(method)} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])
