"""What a benchmark's scores say: summaries with intervals, paired tests, subgroups; tables and figures of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnunet_textomorph.evaluation import OVERALL, CaseScore
from nnunet_textomorph.markdown import markdown_escaped
from nnunet_textomorph.patients import NOT_STATED, Patients
from nnunet_textomorph.schedule import EPOCHS, ITERATIONS
from nnunet_textomorph.shapes import SIZE_CLASSES_MM
from nnunet_textomorph.stats import (
    difference_interval,
    gained_and_lost,
    holm,
    mcnemar,
    patient_draws,
    ratio_interval,
    wilcoxon,
)

SIZE_TITLES = {"small": "d < 20 mm", "medium": "20 ≤ d < 50 mm", "large": "d ≥ 50 mm", "all": "all sizes"}
SENSITIVITIES = tuple(f"sensitivity_{size}" for size in (*SIZE_CLASSES_MM, "all"))
MEASURES = (*SENSITIVITIES, "false_positives", "dsc", "nsd")
SIGNIFICANT = 0.05
DASH = "–"


@dataclass(frozen=True)
class Measure:
    """``value``: mean over cases, or share of lesions; None where there is nothing to measure. ``sd``: over cases.

    ``low``, ``high``: 95 % bootstrap interval over patients, None for fewer than three. ``number``: of cases, or of
    lesions.
    """

    value: float | None
    sd: float | None
    low: float | None
    high: float | None
    number: int


@dataclass(frozen=True)
class Test:
    """A method against the first one. ``difference``: its value minus the first's; interval over patients, paired.

    ``regained``, ``lost``: lesions that the method found and the first did not, and the other way round; None for
    other measures.
    """

    method: str
    measure: str
    test: str
    pairs: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    regained: int | None
    lost: int | None


@dataclass(frozen=True)
class SubgroupRow:
    """A method in a group of patients."""

    column: str
    group: str
    method: str
    patients: int
    measures: dict[str, Measure]

    def flat(self) -> dict[str, Any]:
        """One CSV line."""
        row: dict[str, Any] = {n: getattr(self, n) for n in ("column", "group", "method", "patients")}
        for name, measure in self.measures.items():
            row |= {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}
            row[f"{name}_number"] = measure.number
        return row


@dataclass(frozen=True)
class Results:
    """All that results.json holds. ``methods``: by name, then host (``all`` first), then measure."""

    settings: dict[str, Any]
    methods: dict[str, dict[str, dict[str, Measure]]]
    tests: list[Test]
    subgroups: list[SubgroupRow]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize(scores: Sequence[CaseScore], host: str, patients: Sequence[str]) -> dict[str, Measure]:
    """Every measure of one method in a host or ``all``; ``patients``: of each case."""
    draws = patient_draws(patients)
    return {name: _measure(name, scores, host, patients, draws) for name in MEASURES}


def compare(first: Sequence[CaseScore], others: Mapping[str, Sequence[CaseScore]], people: Patients) -> list[Test]:
    """Every other method against the first, on all hosts: exact McNemar for lesions, Wilcoxon for DSC and NSD.

    Holm's correction is over the methods, measure by measure. Wilcoxon's pairs are patients.
    """
    patients = people.ids([score.case for score in first])
    draws = patient_draws(patients)
    names = list(others)
    tests = []
    for measure in MEASURES:
        made = [_test(measure, first, others[name], patients) for name in names]
        corrected = holm([p for _, _, p, _ in made])
        for name, (test, pairs, p, (regained, lost)), p_holm in zip(names, made, corrected, strict=True):
            a = _sums(measure, first, OVERALL, patients)
            b = _sums(measure, others[name], OVERALL, patients)
            difference = None if not sum(a[1]) else sum(b[0]) / sum(b[1]) - sum(a[0]) / sum(a[1])
            low, high = difference_interval(a, b, draws) or (None, None)
            tests.append(Test(name, measure, test, pairs, difference, low, high, p, p_holm, regained, lost))
    return tests


def subgroup_rows(column: str, scores: Mapping[str, Sequence[CaseScore]], people: Patients) -> list[SubgroupRow]:
    """Every method in every group of a column; groups without a case are left out."""
    rows = []
    for group in people.order[column]:
        for method, of in scores.items():
            here = [s for s in of if people.groups[column].get(s.case, NOT_STATED) == group]
            if here:
                patients = people.ids([s.case for s in here])
                measures = summarize(here, OVERALL, patients)
                rows.append(SubgroupRow(column, group, method, len(set(patients)), measures))
    return rows


def _measure(name: str, scores: Sequence[CaseScore], host: str, patients: Sequence[str], draws: np.ndarray) -> Measure:
    top, bottom = _sums(name, scores, host, patients)
    if not sum(bottom):
        return Measure(None, None, None, None, 0)
    low, high = ratio_interval(top, bottom, draws) or (None, None)
    values = [t / b for t, b in (_ratio(name, score, host) for score in scores) if b]
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Measure(sum(top) / sum(bottom), sd, low, high, int(sum(bottom)))


def _sums(
    name: str, scores: Sequence[CaseScore], host: str, patients: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Each patient's numerator and denominator of a measure, in order of appearance."""
    top, bottom = dict.fromkeys(patients, 0.0), dict.fromkeys(patients, 0.0)
    for score, patient in zip(scores, patients, strict=True):
        t, b = _ratio(name, score, host)
        top[patient] += t
        bottom[patient] += b
    return list(top.values()), list(bottom.values())


def _ratio(name: str, score: CaseScore, host: str) -> tuple[float, int]:
    """A case's value of a measure and 1, or its found lesions and lesions; (0, 0) where it has none."""
    if name.startswith("sensitivity_"):
        size = name.removeprefix("sensitivity_")
        found = [x.found for x in score.lesions if host in (OVERALL, x.host) and size in ("all", x.size)]
        return float(sum(found)), len(found)
    value = getattr(score.host(host), name)
    return (0.0, 0) if value is None else (float(value), 1)


def _test(
    name: str,
    first: Sequence[CaseScore],
    second: Sequence[CaseScore],
    patients: Sequence[str],
) -> tuple[str, int, float | None, tuple[int, int] | tuple[None, None]]:
    """Name of the test, pairs, p, and lesions regained and lost."""
    if name.startswith("sensitivity_"):
        a, b = _found(name, first), _found(name, second)
        return "McNemar", len(a), mcnemar(a, b), gained_and_lost(a, b)
    (a_top, a_bottom), (b_top, b_bottom) = (_sums(name, of, OVERALL, patients) for of in (first, second))
    pairs = [(t / n, u / m) for t, n, u, m in zip(a_top, a_bottom, b_top, b_bottom, strict=True) if n and m]
    return "Wilcoxon", len(pairs), wilcoxon([p for p, _ in pairs], [p for _, p in pairs]), (None, None)


def _found(name: str, scores: Sequence[CaseScore]) -> list[bool]:
    """Of every lesion of the size that a measure is of, in order, whether it was found."""
    size = name.removeprefix("sensitivity_")
    return [x.found for score in scores for x in score.lesions if size in ("all", x.size)]


# ---------------------------------------------------------------------------------------------------------- tables


def write_tables(results: Results, folder: Path) -> None:
    """``table.md`` and ``table.tex``, in the layout of the paper's Table III; tests and subgroups in the first."""
    (folder / "table.md").write_text(_markdown(results), encoding="utf-8")
    (folder / "table.tex").write_text(_latex(results), encoding="utf-8")


def _columns(results: Results) -> list[tuple[str, str]]:
    tolerance = results.settings.get("tolerance_mm", 2.0)
    sizes = [(name, SIZE_TITLES[name.removeprefix("sensitivity_")]) for name in SENSITIVITIES]
    return [*sizes, ("false_positives", "FP per case"), ("dsc", "DSC"), ("nsd", f"NSD, {tolerance:g} mm")]


def _cell(name: str, measure: Measure, spread: str = "±") -> str:
    """Value with its interval; percent but for false positives; a dash where there was nothing to measure."""
    if measure.value is None:
        return DASH
    factor, digits = (1.0, 2) if name == "false_positives" else (100.0, 1)
    shown = f"{factor * measure.value:.{digits}f}"
    if measure.sd is not None and not name.startswith("sensitivity_"):
        shown += f" {spread} {factor * measure.sd:.{digits}f}"
    if measure.low is not None and measure.high is not None:
        shown += f" [{factor * measure.low:.{digits}f}, {factor * measure.high:.{digits}f}]"
    return shown


def _stars(results: Results, method: str, host: str, measure: str) -> bool:
    return host == OVERALL and any(
        t.method == method and t.measure == measure and t.p_holm is not None and t.p_holm < SIGNIFICANT
        for t in results.tests
    )


def _markdown(results: Results) -> str:
    s = results.settings
    first = next(iter(results.methods))
    columns = _columns(results)
    lines = [
        f"# {s['dataset']}, {s['configuration']}",
        "",
        f"{s['cases']} cases of {s['patients']} patients with {s['lesions']} lesions; folds "
        f"{', '.join(map(str, s['folds']))} (each case predicted by the network that did not train on it); plans "
        f"{s['plans']}; {schedule_text(s)}.",
        "",
        "Sensitivity (%) by the diameter of a ball of the lesion's volume, false positives per case, DSC and NSD (%) "
        "of cases with tumors, mean ± SD over cases, with 95 % bootstrap intervals over patients (three or more). "
        f"*: differs from {first}, p < {SIGNIFICANT} after Holm's correction.",
        "",
    ]
    for host in next(iter(results.methods.values())):
        number = [results.methods[first][host][name].number for name in SENSITIVITIES]
        titles = [
            f"{title} (n = {n})" if n is not None else title
            for (_, title), n in zip(columns, [*number, None, None, None], strict=True)
        ]
        lines += [f"## {'Overall' if host == OVERALL else host}", ""]
        lines += [f"| method | {' | '.join(titles)} |", "|" + "---|" * (len(columns) + 1)]
        for method, hosts in results.methods.items():
            cells = [
                _cell(name, hosts[host][name]) + ("*" if _stars(results, method, host, name) else "")
                for name, _ in columns
            ]
            lines.append(f"| {markdown_escaped(method)} | {' | '.join(cells)} |")
        lines.append("")
    if results.tests:
        lines += [f"## Against {first}", ""]
        lines += [
            "| method | measure | difference [95 %] | regained / lost lesions | test | pairs | p | p (Holm) |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for t in results.tests:
            title = dict(columns)[t.measure]
            factor, digits = (1.0, 2) if t.measure == "false_positives" else (100.0, 1)
            difference = DASH
            if t.difference is not None:
                difference = f"{factor * t.difference:+.{digits}f}"
                if t.low is not None and t.high is not None:
                    difference += f" [{factor * t.low:+.{digits}f}, {factor * t.high:+.{digits}f}]"
            p, p_holm = (DASH if x is None else f"{x:.3g}" for x in (t.p, t.p_holm))
            lesions = DASH if t.regained is None else f"{t.regained} / {t.lost}"
            cells = [title, difference, lesions, t.test, str(t.pairs), p, p_holm]
            lines.append(f"| {markdown_escaped(t.method)} | {' | '.join(cells)} |")
        lines.append("")
    for column in dict.fromkeys(row.column for row in results.subgroups):
        lines += [
            f"## By {column}",
            "",
            "| group | patients | method | sensitivity | DSC | NSD |",
            "|---|---|---|---|---|---|",
        ]
        for row in results.subgroups:
            if row.column == column:
                cells = [_cell(name, row.measures[name]) for name in ("sensitivity_all", "dsc", "nsd")]
                group, method = markdown_escaped(row.group), markdown_escaped(row.method)
                lines.append(f"| {group} | {row.patients} | {method} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _latex(results: Results) -> str:
    """A booktabs table: methods down, sensitivity by size, false positives, DSC and NSD across, a block per host."""
    s = results.settings
    first = next(iter(results.methods))
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{latex_escaped(s['dataset'])}: {s['cases']} cases, {s['lesions']} lesions. "
        r"Sensitivity (\%) by diameter $d$, "
        rf"false positives per case, DSC (\%) and NSD (\%, {s['tolerance_mm']:g}\,mm), with 95\,\% intervals by "
        rf"bootstrap over patients. $^*$: $p<{SIGNIFICANT}$ against {latex_escaped(first)}, Holm-corrected.}}",
        r"\begin{tabular}{lccccccc}",
        r"\toprule",
        r" & \multicolumn{4}{c}{Sensitivity} & & & \\",
        r"\cmidrule(lr){2-5}",
        r"Method & $d<20$\,mm & $20\le d<50$\,mm & $d\ge50$\,mm & all & FP/case & DSC & NSD \\",
    ]
    for host in next(iter(results.methods.values())):
        lines.append(r"\midrule")
        if len(next(iter(results.methods.values()))) > 1:
            title = "Overall" if host == OVERALL else latex_escaped(host)
            lines.append(rf"\multicolumn{{8}}{{l}}{{\textit{{{title}}}}} \\")
        for method, hosts in results.methods.items():
            cells = [
                _cell(name, hosts[host][name], r"$\pm$").replace(DASH, "--")
                + ("$^*$" if _stars(results, method, host, name) else "")
                for name in MEASURES
            ]
            lines.append(f"{latex_escaped(method)} & {' & '.join(cells)} \\\\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    return "\n".join(lines)


def schedule_text(settings: Mapping[str, Any]) -> str:
    """How long every trainer was trained, by results.json's settings."""
    if settings.get("epochs") or settings.get("iterations"):
        return f"{settings.get('epochs') or EPOCHS} epochs of {settings.get('iterations') or ITERATIONS} iterations"
    return "each trainer's own schedule"


def latex_escaped(text: str) -> str:
    """Text with what LaTeX takes for commands escaped."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "_%&#${}" else c) for c in text)


# --------------------------------------------------------------------------------------------------------- figures


def write_figures(results: Results, scores: Mapping[str, Sequence[CaseScore]], folder: Path) -> None:
    """Sensitivity by size (Figure 5), every pair of DSC and NSD, and the subgroups (Figure 6), as PNG."""
    sizes = list(SIZE_CLASSES_MM)
    first = next(iter(results.methods))
    titles = [
        f"{SIZE_TITLES[size]}\n(n = {results.methods[first][OVERALL][f'sensitivity_{size}'].number})" for size in sizes
    ]
    series = {
        method: [hosts[OVERALL][f"sensitivity_{size}"] for size in sizes] for method, hosts in results.methods.items()
    }
    _bars(folder / "sensitivity_by_size.png", titles, series, "sensitivity (%)")
    for measure in ("dsc", "nsd"):
        _scatter(folder / f"paired_{measure}.png", scores, measure)
    for column in dict.fromkeys(row.column for row in results.subgroups):
        rows = [row for row in results.subgroups if row.column == column]
        groups = {row.group: row.patients for row in rows}
        for measure, title in (("sensitivity_all", "sensitivity (%)"), ("dsc", "DSC (%)")):
            by_group = {
                method: [next(r.measures[measure] for r in rows if r.method == method and r.group == g) for g in groups]
                for method in results.methods
            }
            labels = [f"{group}\n({number} patients)" for group, number in groups.items()]
            _bars(folder / f"by_{_file_name(column)}_{measure}.png", labels, by_group, title)


def _bars(path: Path, titles: Sequence[str], series: Mapping[str, Sequence[Measure]], axis: str) -> None:
    figure = Figure(figsize=(max(5.0, 1.6 + 1.9 * len(titles)), 3.8), dpi=120, layout="constrained")
    panel = figure.subplots()
    width = 0.8 / len(series)
    for number, (method, measures) in enumerate(series.items()):
        places = np.arange(len(titles)) - 0.4 + width * (number + 0.5)
        kept = [i for i, m in enumerate(measures) if m.value is not None]
        heights = [100 * float(measures[i].value or 0) for i in kept]
        bounds = np.array([[measures[i].low for i in kept], [measures[i].high for i in kept]], float)  # None is NaN
        errors = np.clip([heights - 100 * bounds[0], 100 * bounds[1] - heights], 0, None)  # NaN draws no bar
        panel.bar(places[kept], heights, 0.92 * width, yerr=errors, capsize=2, label=method, error_kw={"lw": 0.8})
        for i in set(range(len(titles))) - set(kept):
            panel.text(places[i], 1, DASH, ha="center", color="gray")
    panel.set_xticks(range(len(titles)), titles)
    panel.set_ylabel(axis)
    panel.set_xlim(-0.5, len(titles) - 0.5)
    panel.set_ylim(0, 100)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _save(figure, path)


def _scatter(path: Path, scores: Mapping[str, Sequence[CaseScore]], measure: str) -> None:
    first, *others = scores
    if not others:
        return
    figure = Figure(figsize=(3.6 * min(len(others), 3), 3.6 * -(-len(others) // 3)), dpi=120, layout="constrained")
    panels = figure.subplots(-(-len(others) // 3), min(len(others), 3), squeeze=False).ravel()
    for panel, method in zip(panels, others, strict=False):
        pairs = [
            (a, b)
            for a, b in (
                (getattr(x.host(OVERALL), measure), getattr(y.host(OVERALL), measure))
                for x, y in zip(scores[first], scores[method], strict=True)
            )
            if a is not None and b is not None
        ]
        panel.plot([0, 100], [0, 100], color="gray", lw=0.8)
        panel.scatter([100 * a for a, _ in pairs], [100 * b for _, b in pairs], s=14, alpha=0.7)
        panel.set_xlim(-3, 103)
        panel.set_ylim(-3, 103)
        panel.set_aspect("equal")
        panel.set_xlabel(f"{measure.upper()} (%), {first}", fontsize=7)
        panel.set_ylabel(f"{measure.upper()} (%), {method}", fontsize=7)
    for panel in panels[len(others) :]:
        panel.set_visible(False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})


def _file_name(column: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in column)
