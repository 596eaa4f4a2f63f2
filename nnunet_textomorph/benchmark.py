"""``textomorph benchmark``: nnU-Net trainers against each other on one dataset, with the statistics of a paper.

Trains what is missing with nnU-Net's own command, scores every validated case once, and writes tables, figures and all
that they were made of.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from tqdm import tqdm

from nnunet_textomorph.benchmark_classifiers import (
    ClassifierResults,
    compare_classifiers,
    is_classifier,
    judged_patients,
    write_classifiers,
)
from nnunet_textomorph.benchmark_tables import Results, compare, subgroup_rows, summarize, write_figures, write_tables
from nnunet_textomorph.classification_results import RESULTS_FILE
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.evaluation import CaseScore, Rules, known_values, score_case
from nnunet_textomorph.missed import file_digest
from nnunet_textomorph.nnunet_commands import TRAIN, default_device, run_nnunet, trainer_folder
from nnunet_textomorph.nnunet_files import Validated, environment_folder, label_reader, read_splits, validated_cases
from nnunet_textomorph.patients import Patients, read_patients
from nnunet_textomorph.plan import FILE_NAME, infer_plan, load_plan, preprocessed_folder, read_json
from nnunet_textomorph.schedule import scheduled_name

FOLDER_NAME, CLASSIFIERS_FOLDER_NAME = (
    "TextoMorphBenchmark",
    "TextoMorphClassifierBenchmark",
)  # in the dataset's results
FOLDS = (0, 1, 2, 3, 4)
RESULT_KEYS = {"settings", "methods", "tests"}  # of every benchmark's results.json
WRITTEN = (  # all that a benchmark's folder may hold, of either kind
    *("results.json", "table.md", "table.tex", "nnunet.log"),
    *("cases.csv", "lesions.csv", "subgroups.csv", "patients.csv"),
    *("sensitivity_by_size.png", "paired_dsc.png", "paired_nsd.png", "confusion_matrices.png"),
    *("by_*_sensitivity_all.png", "by_*_dsc.png"),
)


@dataclass(frozen=True)
class Benchmark:
    """What :func:`benchmark` wrote into ``folder``."""

    folder: Path
    results: Results | ClassifierResults


def benchmark(
    dataset: str,
    configuration: str = "3d_fullres",
    trainers: Sequence[str] = ("nnUNetTrainer", "nnUNetTrainerTextoMorph"),
    folds: Sequence[int] = FOLDS,
    plans: str = "nnUNetPlans",
    *,
    epochs: int | None = None,
    iterations: int | None = None,
    predictions: Sequence[tuple[str, Path]] = (),
    train: bool = True,
    device: str | None = None,
    tolerance_mm: float = 2.0,
    min_overlap: float = 0.0,
    patients: Path | None = None,
    by: Sequence[str] = (),
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
) -> Benchmark:
    """Compare trainers, the first of which is what the others are tested against; all segment, or all classify.

    ``epochs`` and ``iterations`` (per epoch): of every trainer; with neither each has its own schedule.
    ``predictions``: further methods, by name and folder of predictions of the folds' validation cases. ``train``: train
    what is missing.
    ``patients``: CSV with ``case``, optionally ``patient``, and the columns that ``by`` names.
    ``overwrite``: replace ``out``, if all in it is a benchmark's.

    Raises :class:`UserError` for unusable input (before anything is trained, where it can be told: without
    splits_final.json, predictions are only known to lack a case if all five folds are compared) and for a failed
    training. Finished trainings and scored cases are kept for the next run.
    """
    preprocessed = preprocessed_folder(dataset)
    nnunet_plans, dataset_json = read_json(preprocessed / f"{plans}.json"), read_json(preprocessed / "dataset.json")
    if configuration not in nnunet_plans["configurations"]:
        known = ", ".join(nnunet_plans["configurations"])
        raise UserError(f"{preprocessed / f'{plans}.json'}: has no configuration {configuration!r}; it has {known}.")
    names = [*trainers, *(name for name, _ in predictions)]
    _check_names(names)
    models = {
        trainer: f"{scheduled_name(trainer, epochs, iterations)}__{plans}__{configuration}" for trainer in trainers
    }
    trained = environment_folder("nnUNet_results") / preprocessed.name
    classify = _all_classify({trainer: trained / model for trainer, model in models.items()})
    if classify and (predictions or patients or by):
        raise UserError("Trainers that classify lesions are compared without --predictions, --patients and --by.")
    if not 0 <= tolerance_mm < math.inf:  # NaN is neither
        raise UserError(f"A tolerance of {tolerance_mm:g} mm cannot be; give --tolerance 0 or more.")
    plan_file = preprocessed / FILE_NAME
    plan = load_plan(plan_file) if plan_file.is_file() else infer_plan(dataset_json, where=str(preprocessed))
    if (plan.epochs or plan.iterations_per_epoch) and not (epochs or iterations or classify):
        click.echo(
            f"{plan_file}: has a schedule of its own, which nnU-Net's trainers do not follow; give --epochs and "
            "--iterations to train all alike.",
            err=True,
        )
    ending = str(dataset_json["file_ending"])
    cases = {path.name.removesuffix(ending) for path in (preprocessed / "gt_segmentations").glob(f"*{ending}")}
    by, folds = list(dict.fromkeys(by)), sorted(set(folds))
    people = read_patients(patients, by, cases)

    out = benchmark_folder(dataset, out, CLASSIFIERS_FOLDER_NAME if classify else FOLDER_NAME)
    if out.exists() and not overwrite:
        raise UserError(
            f"{out}: exists; replace it with --overwrite (trainings are kept), or give --out another folder."
        )
    if out.exists():
        _check_replaceable(out)
    validated = RESULTS_FILE if classify else "summary.json"
    for model in models.values() if classify else ():  # what is wrong with them is told before others are trained
        if finished := [fold for fold in folds if _finished(preprocessed, model, fold, validated)]:
            _check_folds(preprocessed, folds)
            judged_patients(preprocessed, model, finished)
    missing = next(_untrained(preprocessed, models, folds, validated), None)
    if missing and not train:
        name = scheduled_name(missing[0], epochs, iterations)
        command = f"nnUNetv2_train {preprocessed.name} {configuration} {missing[1]} -p {plans} -tr {name}"
        raise UserError(
            f"Fold {missing[1]} of {name} has no finished validation, and --no-train was given; run {command}."
        )
    partial = out.with_name(f".partial-{out.name}")
    partial.mkdir(parents=True, exist_ok=True)

    reader = label_reader(nnunet_plans)
    rules = Rules(
        plan=plan,
        known_values=known_values(dataset_json["labels"]),
        ignore=dataset_json["labels"].get("ignore"),
        tolerance_mm=tolerance_mm,
        min_overlap=min_overlap,
    )

    def scored(wanted: dict[str, list[Validated]]) -> dict[str, list[CaseScore]]:
        return {name: _scores(of, reader, rules, partial / "scores" / name, workers) for name, of in wanted.items()}

    given: dict[str, list[CaseScore]] = {}
    if (preprocessed / "splits_final.json").is_file():  # what is wrong with predictions is told before the trainings
        given = scored(_given(preprocessed, predictions, folds, ending))
    elif folds == list(FOLDS):  # the first training makes the splits, and these validate every case
        for _, folder in predictions:
            _check_complete(folder, sorted(cases), ending)

    arguments = [preprocessed.name, configuration, "-p", plans, "-device", device or default_device()]
    for trainer, fold in _untrained(preprocessed, models, folds, validated):
        name = scheduled_name(trainer, epochs, iterations)
        _train(preprocessed, models[trainer], name, fold, arguments, partial / "nnunet.log", validated)

    settings: dict[str, Any] = {
        "dataset": preprocessed.name,
        "configuration": configuration,
        "plans": plans,
        "models": models | {name: str(folder.absolute()) for name, folder in predictions},
        "folds": folds,
        "epochs": epochs,
        "iterations": iterations,
    }
    versions = {name: version(name) for name in ("nnunet-textomorph", "nnunetv2", "monai", "torch", "scipy")}
    if classify:
        judged = {trainer: judged_patients(preprocessed, model, folds) for trainer, model in models.items()}
        splits = read_splits(preprocessed)
        number = sum(len(splits[fold]["val"]) for fold in folds)
        compared = compare_classifiers(judged, settings | {"versions": versions, "validated": number})
        write_classifiers(compared, judged, partial)
        return Benchmark(_put_in_place(partial, out), compared)

    scores = scored(_methods(preprocessed, models, folds, ending))
    scores |= given or scored(_given(preprocessed, predictions, folds, ending))
    settings |= {
        "tolerance_mm": tolerance_mm,
        "min_overlap": min_overlap,
        "hosts": list(plan.hosts),
        "tumors": list(plan.tumors),
        "versions": versions,
    }
    results = collect(scores, settings, people, by)
    _write(results, scores, people, partial)
    return Benchmark(_put_in_place(partial, out), results)


def _check_replaceable(out: Path) -> None:
    """Replacing deletes: raise :class:`UserError` for what may be something else than an earlier benchmark."""
    try:
        content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if out.is_symlink() or not isinstance(content, dict) or not set(content) >= RESULT_KEYS:
        raise UserError(f"{out}: is no benchmark's folder, so it is not replaced; give --out another folder.")
    for path in sorted(out.iterdir()):
        if not path.is_file() or not any(fnmatchcase(path.name, name) for name in WRITTEN):
            raise UserError(
                f"{path}: is nothing that a benchmark writes, so its folder is not replaced; move it elsewhere, or "
                "give --out another folder."
            )


def _put_in_place(partial: Path, out: Path) -> Path:
    shutil.rmtree(partial / "scores", ignore_errors=True)
    if out.exists():
        shutil.rmtree(out)
    os.replace(partial, out)
    return out


def benchmark_folder(dataset: str, out: Path | None, name: str = FOLDER_NAME) -> Path:
    """Where :func:`benchmark` writes."""
    if out is not None:
        return out.absolute()
    return environment_folder("nnUNet_results").absolute() / preprocessed_folder(dataset).name / name


def collect(
    scores: dict[str, list[CaseScore]], settings: dict[str, Any], people: Patients, by: Sequence[str]
) -> Results:
    """Summaries, tests and subgroups of every method's scores of the same cases in the same order."""
    hosts = [score.host for score in next(iter(scores.values()))[0].hosts]
    hosts = hosts[:1] if len(hosts) == 2 else hosts  # with one host, it is all
    methods = {
        name: {host: summarize(of, host, people.ids([s.case for s in of])) for host in hosts}
        for name, of in scores.items()
    }
    first, *others = scores
    tests = compare(scores[first], {name: scores[name] for name in others}, people) if others else []
    subgroups = [row for column in by for row in subgroup_rows(column, scores, people)]
    some = next(iter(scores.values()))
    counts = {
        "cases": len(some),
        "patients": len(set(people.ids([s.case for s in some]))),
        "lesions": sum(len(s.lesions) for s in some),
    }
    return Results(settings=settings | counts, methods=methods, tests=tests, subgroups=subgroups)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise UserError("Nothing to compare; name one trainer at least (--trainers).")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name!r} is named twice; give every method one name of its own.")
        if not name or set(name) & set("/\\\0") or name.startswith("."):
            raise UserError(f"{name!r} cannot be a method's name, as files are named by it; use letters and digits.")


def _all_classify(models: dict[str, Path]) -> bool:
    """Whether trainers (by name, their model folders) classify; :class:`UserError` where some do and others segment."""
    kinds = {trainer: is_classifier(trainer, model) for trainer, model in models.items()}
    if len(set(kinds.values())) > 1:
        one, other = (next(t for t, classifies in kinds.items() if classifies is kind) for kind in (True, False))
        raise UserError(f"{one} classifies lesions and {other} segments them; compare each with its own kind.")
    return True in kinds.values()


def _finished(preprocessed: Path, model: str, fold: int, validated: str) -> bool:
    """``validated``: the file that nnU-Net, or a classifier, leaves when the validation has ended."""
    folder = environment_folder("nnUNet_results") / preprocessed.name / model / f"fold_{fold}" / "validation"
    return (folder / validated).is_file()


def _untrained(
    preprocessed: Path, models: dict[str, str], folds: Sequence[int], validated: str
) -> Iterator[tuple[str, int]]:
    """Trainer by trainer, so that the baseline's folds are there for those that learn from what it missed."""
    if (preprocessed / "splits_final.json").is_file():  # else nnU-Net makes five when it first trains
        _check_folds(preprocessed, folds)
    elif max(folds) > max(FOLDS):
        raise UserError(f"There is no fold {max(folds)}; nnU-Net makes the folds 0 to {max(FOLDS)}.")
    for trainer, model in models.items():
        for fold in folds:
            if not _finished(preprocessed, model, fold, validated):
                yield trainer, fold


def _check_folds(preprocessed: Path, folds: Sequence[int]) -> None:
    """:class:`UserError` for a fold that the splits lack, and for folds that validate a case twice."""
    path, splits = preprocessed / "splits_final.json", read_splits(preprocessed)
    odd = [fold for fold in folds if not 0 <= fold < len(splits)]
    if odd:
        raise UserError(
            f"{path}: has no fold {odd[0]}; its folds are {', '.join(map(str, range(len(splits))))}: choose with "
            "--folds."
        )
    fold_of: dict[str, int] = {}
    for fold in folds:
        for case in splits[fold]["val"]:
            if case in fold_of:
                raise UserError(
                    f"{path}: {case} is in val of fold {fold_of[case]} and again of fold {fold}, and each case is to "
                    "be counted once; choose --folds that share no case."
                )
            fold_of[case] = fold


def _train(
    preprocessed: Path, model: str, name: str, fold: int, arguments: Sequence[str], log: Path, validated: str
) -> None:
    """Train, continue or only validate a fold, whatever is left to do."""
    folder = environment_folder("nnUNet_results") / preprocessed.name / model / f"fold_{fold}"
    dataset, configuration, *rest = arguments
    command = [dataset, configuration, str(fold), "-tr", name, *rest]
    if (folder / "checkpoint_final.pth").is_file():
        command.append("--val")
    elif any((folder / f"checkpoint_{kind}.pth").is_file() for kind in ("latest", "best")):
        command.append("--c")
    click.echo(f"nnUNetv2_train {' '.join(command)}")
    run_nnunet(TRAIN, command, {**os.environ, **trainer_folder()}, log)
    if not _finished(preprocessed, model, fold, validated):
        raise UserError(f"{folder}: nnU-Net ended without a validation/{validated}; its output is in {log}.")


def _methods(
    preprocessed: Path, models: dict[str, str], folds: Sequence[int], ending: str
) -> dict[str, list[Validated]]:
    _check_folds(preprocessed, folds)
    made = {}
    for trainer, model in models.items():
        validated, _ = validated_cases(preprocessed, model, ending)
        made[trainer] = sorted((case for case in validated if case.fold in folds), key=lambda c: c.name)
    return made


def _given(
    preprocessed: Path, predictions: Sequence[tuple[str, Path]], folds: Sequence[int], ending: str
) -> dict[str, list[Validated]]:
    """Predictions in folders, of the same cases as the folds validate."""
    splits = read_splits(preprocessed)
    expected = sorted((case, fold) for fold in folds for case in splits[fold]["val"])
    made = {}
    for name, folder in predictions:
        _check_complete(folder, [case for case, _ in expected], ending)
        labels = preprocessed / "gt_segmentations"
        made[name] = [
            Validated(case, fold, labels / f"{case}{ending}", folder / f"{case}{ending}", {}) for case, fold in expected
        ]
    return made


def _check_complete(folder: Path, cases: Sequence[str], ending: str) -> None:
    lacking = [case for case in cases if not (folder / f"{case}{ending}").is_file()]
    if lacking:
        raise UserError(
            f"{folder}: lacks predictions of {len(lacking)} of {len(cases)} cases, the first {lacking[0]}; all methods "
            "are compared on the same cases: predict them, or choose fewer --folds."
        )


def _scores(cases: Sequence[Validated], reader: Any, rules: Rules, folder: Path, workers: int) -> list[CaseScore]:
    """The score of every case, in order; those of an earlier run are taken if files and rules are the same."""
    folder.mkdir(parents=True, exist_ok=True)
    rules_file = folder / "rules.json"
    if not rules_file.is_file() or rules_file.read_text(encoding="utf-8") != rules.model_dump_json():
        for old in folder.iterdir():
            old.unlink()
        rules_file.write_text(rules.model_dump_json(), encoding="utf-8")
    made = {case.name: score for case in cases if (score := _earlier(folder, case)) is not None}
    rest = [case for case in cases if case.name not in made]
    with tqdm(total=len(cases), initial=len(made), desc=folder.name, unit="case", disable=None) as bar:
        for score in _worked(rest, reader, rules, workers):
            path = _score_file(folder, score.case)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(score.model_dump_json(), encoding="utf-8")
            os.replace(temporary, path)
            made[score.case] = score
            bar.update()
    return [made[case.name] for case in cases]


def _worked(cases: Sequence[Validated], reader: Any, rules: Rules, workers: int) -> Iterator[CaseScore]:
    if workers < 2 or len(cases) < 2:
        yield from (score_case(case, reader, rules) for case in cases)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        pending = [pool.submit(score_case, case, reader, rules) for case in cases]
        try:
            for done in as_completed(pending):
                yield done.result()
        finally:  # after an error or Ctrl-C, what has not begun is not begun
            pool.shutdown(wait=True, cancel_futures=True)


def _score_file(folder: Path, case: str) -> Path:
    return folder / f"case-{case}.json"


def _earlier(folder: Path, case: Validated) -> CaseScore | None:
    try:
        score = CaseScore.model_validate_json(_score_file(folder, case.name).read_bytes())
        same = (score.labels_sha256, score.predicted_sha256) == (file_digest(case.labels), file_digest(case.predicted))
    except (FileNotFoundError, ValidationError):
        return None
    return score if same else None


def _write(results: Results, scores: dict[str, list[CaseScore]], people: Patients, folder: Path) -> None:
    (folder / "results.json").write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")
    _csv(folder / "cases.csv", _case_rows(scores, people))
    _csv(folder / "lesions.csv", _lesion_rows(scores, people))
    if results.subgroups:
        _csv(folder / "subgroups.csv", [row.flat() for row in results.subgroups])
    write_tables(results, folder)
    write_figures(results, scores, folder)


def _case_rows(scores: dict[str, list[CaseScore]], people: Patients) -> list[dict[str, Any]]:
    rows = []
    for method, of in scores.items():
        for score in of:
            for host in score.hosts:
                in_host = [x for x in score.lesions if host.host in ("all", x.host)]
                rows.append(
                    {
                        "method": method,
                        "case": score.case,
                        "patient": people.ids([score.case])[0],
                        "fold": score.fold,
                        "host": host.host,
                        "lesions": len(in_host),
                        "found": sum(x.found for x in in_host),
                        "false_positives": host.false_positives,
                        "dsc": host.dsc,
                        "nsd": host.nsd,
                    }
                )
    return rows


def _lesion_rows(scores: dict[str, list[CaseScore]], people: Patients) -> list[dict[str, Any]]:
    return [
        {
            "method": method,
            "case": score.case,
            "patient": people.ids([score.case])[0],
            "fold": score.fold,
            "lesion": number,
            **lesion.model_dump(),
        }
        for method, of in scores.items()
        for score in of
        for number, lesion in enumerate(score.lesions)
    ]


def _csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
