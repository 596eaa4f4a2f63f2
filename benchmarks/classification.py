"""Table IV on the phantom pancreas: a classifier trained on real lesions only, and with class-specific synthetic ones.

    python benchmarks/classification.py --out DIR                    # the whole experiment
    python benchmarks/classification.py --out DIR --small            # everything once, tiny: does it run?
    python benchmarks/classification.py --out DIR --rows real added --repeats 1 --epochs 20 --iterations 50
    python benchmarks/classification.py --out DIR --rows real added --generators syntumor difftumor

Draws phantoms until there are ``--per-class`` training and ``--test-per-class`` test cases with lesions of one class
only, and normals; makes a description bank of the training cases' reports, offline (``reports extract, augment, bank``;
``--package-bank``: the shipped one instead); trains a segmentation (its weights start the rows below), then each row
``--repeats`` times, classifies the test cases (lesions given by their labels), and prints sensitivity and PPV of
malignant and cyst. Rows:

    real           nnUNetTrainerTextoMorphClassifierReal, from the segmentation's weights
    real_scratch   the same, from random weights: curves.png holds the two against each other
    added          nnUNetTrainerTextoMorphClassifier, half of the examples synthetic
    synthetic      synthetic tumors only, from random weights: what they teach of real ones
    added_NAME     as added, with another generator's tumors (--generators): of one that reads no text a class's
                   tumors have its sizes and shapes, and the look of all others

Everything that is done is kept in DIR and not done again; an interrupted training goes on from its latest checkpoint.
Run one at a time in a DIR. The shipped generator saw phantoms without lesions of the seed 7,000,000 and no other.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from nnunet_textomorph.classify import classify
from nnunet_textomorph.cli import main as textomorph
from nnunet_textomorph.generators import registered_names
from nnunet_textomorph.nnunet_commands import PREPARE, run_nnunet, trainer_folder
from nnunet_textomorph.phantom import DEFAULT_SPACING, LABELS, PhantomCase, _write_image, phantom_case
from nnunet_textomorph.plan import FILE_NAME, infer_plan, read_json, save_plan
from nnunet_textomorph.reduced_plan import reduce_plans
from nnunet_textomorph.stats import wilson_interval

NAME, NUMBER = "Dataset983_PhantomClasses", "983"
CLASSES, NORMAL = ("PDAC", "PNET", "cyst"), "normal"
TRAINING_SEED, TEST_SEED = 31_001, 31_002
VALIDATION_PER_CLASS = 3  # of the training seed's, to watch the training by; no checkpoint is chosen by them
REDUCED = "nnUNetReducedPlans"
# the current folder may be this repository's root, where nnunet_textomorph lies without its parts
TRAINING = """
import sys
sys.path[:] = filter(None, sys.path)
import torch
torch.manual_seed(int(sys.argv.pop(1)))
if sys.argv.pop(1) == "weights only":
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    nnUNetTrainer.perform_actual_validation = lambda self, save_probabilities=False: None
from nnunetv2.run.run_training import run_training_entry
run_training_entry()
"""
WORDINGS = 20  # of each description


@dataclass(frozen=True)
class Row:
    """A trainer, its share of synthetic examples, whether it starts from the segmentation's weights, and who makes
    the tumors (None: the shipped generator)."""

    trainer: str
    share: float
    pretrained: bool
    generator: str | None = None


ROWS = {
    "real": Row("nnUNetTrainerTextoMorphClassifierReal", 0.0, True),
    "real_scratch": Row("nnUNetTrainerTextoMorphClassifierReal", 0.0, False),
    "added": Row("nnUNetTrainerTextoMorphClassifier", 0.5, True),
    "synthetic": Row("nnUNetTrainerTextoMorphClassifier", 1.0, False),
}


def draw_cases(
    folder: Path, seed: int, wanted: dict[str, int], images: str, labels: str, spacing: tuple[float, float, float]
) -> dict[str, list[str]]:
    """Phantoms of a seed, in order, until there are as many of each class as wanted; their names by class."""
    for name in (images, labels):
        (folder / name).mkdir(parents=True, exist_ok=True)
    record = folder / f"drawn_{seed}.json"
    drawn: list[str] = json.loads(record.read_text()) if record.is_file() else []  # class of every index so far
    bar = tqdm(total=sum(wanted.values()), desc=f"phantoms of seed {seed}", unit="case")

    def found() -> dict[str, list[str]]:
        names = {c: [f"s{seed}_{i:04d}" for i, kind in enumerate(drawn) if kind == c] for c in wanted}
        return {c: each[: wanted[c]] for c, each in names.items()}

    def write(name: str, case: PhantomCase) -> None:
        _write_image(folder / labels / f"{name}.nii.gz", case.labels, spacing)
        _write_image(folder / images / f"{name}_0000.nii.gz", case.ct_hu.astype(np.int16), spacing)

    while any(len(each) < wanted[c] for c, each in found().items()):
        bar.update(sum(map(len, found().values())) - bar.n)
        case = phantom_case("pancreas", seed, len(drawn), spacing=spacing)
        kinds = {lesion.label_name for lesion in case.lesions} or {NORMAL}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        if Counter(drawn)[kind] < wanted.get(kind, 0):
            write(f"s{seed}_{len(drawn):04d}", case)
        drawn.append(kind)
        temporary = record.with_suffix(".tmp")
        temporary.write_text(json.dumps(drawn))
        os.replace(temporary, record)
    for name in (name for names in found().values() for name in names):
        if not (folder / images / f"{name}_0000.nii.gz").is_file():  # an earlier run wanted fewer
            write(name, phantom_case("pancreas", seed, int(name[-4:]), spacing=spacing))
    bar.close()
    return found()


def describe(out: Path, names: Sequence[str], spacing: tuple[float, float, float]) -> Path:
    """A description bank of the training cases' reports."""
    bank = out / "descriptions.jsonl"
    if bank.is_file():
        return bank
    steps = [out / f"{name}.jsonl" for name in ("reports", "lesions", "variants")]
    for path in steps:
        path.unlink(missing_ok=True)  # of a run that was interrupted here
    with steps[0].open("w") as file:
        for name in tqdm(names, desc="reports", unit="case"):
            case = phantom_case("pancreas", TRAINING_SEED, int(name[-4:]), spacing=spacing)
            file.write(json.dumps({"id": name, "report": case.report}) + "\n")
    reports, lesions, variants = map(str, steps)
    commands = (["extract", reports, lesions], ["augment", lesions, variants, "-n", str(WORDINGS)])
    for arguments in (*commands, ["bank", variants, str(bank)]):
        textomorph(["reports", *arguments], standalone_mode=False)
    return bank


def run(command: Sequence[str], environment: dict[str, str], log: Path) -> None:
    """A command whose output goes to a log; ends everything where it fails."""
    print(f"{' '.join(command[3:])} > {log}", flush=True)
    with log.open("a") as file:
        done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"failed:\n{log.read_text()[-2000:]}")


def train(
    out: Path,
    trainer: str,
    plans: str,
    seed: int,
    environment: dict[str, str],
    device: str,
    weights: Path | None,
    validate: bool = True,
) -> Path:
    """Train fold 0 with results in ``out``, or go on; returns the model folder."""
    model = out / NAME / f"{trainer}__{plans}__3d_fullres"
    fold = model / "fold_0"
    if (fold / "checkpoint_final.pth").is_file():
        return model
    out.mkdir(parents=True, exist_ok=True)
    arguments = [NUMBER, "3d_fullres", "0", "-p", plans, "-tr", trainer, "-device", device]
    if any((fold / f"checkpoint_{which}.pth").is_file() for which in ("latest", "best")):
        arguments.append("--c")
    elif weights is not None:
        arguments += ["-pretrained_weights", str(weights)]
    command = [sys.executable, "-c", TRAINING, str(seed), "whole" if validate else "weights only", *arguments]
    run(command, {**environment, "nnUNet_results": str(out)}, out / "log.txt")
    return model


def curve(model: Path) -> list[float]:
    """Macro sensitivity on the validation cases, epoch by epoch."""
    stored = torch.load(model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    return [float(value) for value in stored["logging"]["mean_fg_dice"]]


def draw_curves(path: Path, curves: dict[str, list[list[float]]]) -> None:
    """Mean curve of each row, smoothed as nnU-Net smooths its pseudo Dice, with the single ones faint behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for place, (row, each) in enumerate(curves.items()):
        smooth = np.array([_smoothed(values) for values in each])
        axes.plot(smooth.T, color=f"C{place}", alpha=0.25, linewidth=0.8)
        axes.plot(smooth.mean(0), color=f"C{place}", label=row)
    axes.set_xlabel("epoch")
    axes.set_ylabel("macro sensitivity, validation patches")
    axes.set_ylim(0, 1)
    axes.legend()
    FigureCanvasAgg(figure).print_png(str(path))


def _smoothed(values: Sequence[float]) -> list[float]:
    made: list[float] = []
    for value in values:
        made.append(value if not made else 0.9 * made[-1] + 0.1 * value)
    return made


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Means over the repeats, their range, and Wilson's interval of one repeat's number of patients at the mean."""
    lines = ["| row | repeats | group | n | sensitivity | PPV | AUC |", "|---|---|---|---|---|---|---|"]
    for row, repeats in measured.items():
        for group in ("malignant", "benign"):
            each = [m["patient_metrics"]["groups"][group] for m in repeats]
            cells = [_cell(each, "sensitivity", "number"), _cell(each, "ppv", "predicted")]
            areas = [e["auc"] for e in each if e.get("auc") is not None]
            area = f"{np.mean(areas):.3f}" if areas else ""
            name = "cyst" if group == "benign" else group
            lines.append(f"| {row} | {len(each)} | {name} | {each[0]['number']} | {' | '.join(cells)} | {area} |")
    return "\n".join(lines)


def _cell(each: Sequence[dict[str, Any]], key: str, of: str) -> str:
    rates = [e[key] for e in each if e[key] is not None]
    if not rates:
        return "-"
    mean, number = float(np.mean(rates)), round(float(np.mean([e[of] for e in each])))
    low, high = wilson_interval(round(mean * number), number) or (0.0, 1.0)
    spread = f"{100 * min(rates):.1f} to {100 * max(rates):.1f}; " if len(rates) > 1 else ""
    return f"{100 * mean:.1f} % ({spread}95 %: {100 * low:.1f}-{100 * high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--generators", nargs="+", choices=registered_names(), default=[], help="further rows")
    parser.add_argument("--repeats", type=int, default=3, help="of each row, with other random numbers")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--test-per-class", type=int, default=40)
    parser.add_argument("--normals", type=int, default=20, help="in training and in the test")
    parser.add_argument("--normal-class", action="store_true", help="cases without lesions are a class, and tested")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=50, help="per epoch")
    parser.add_argument("--pooling", choices=["lesion", "patch"], default="lesion")
    parser.add_argument("--package-bank", action="store_true", help="the shipped descriptions, not the reports'")
    parser.add_argument("--full-plans", action="store_true", help="nnU-Net's own plans instead of small ones")
    parser.add_argument("--spacing", type=float, nargs=3, default=DEFAULT_SPACING, help="of the phantoms, mm")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="2 cases per class, one epoch of 2 iterations, coarse")
    args = parser.parse_args()
    if args.small:
        args.per_class = args.test_per_class = args.normals = 2
        args.epochs, args.iterations, args.repeats, args.spacing = 1, 2, 1, (5.0, 5.0, 5.0)
    z, y, x = args.spacing
    args.out.mkdir(parents=True, exist_ok=True)
    rows = {name: ROWS[name] for name in args.rows}
    rows |= {f"added_{name}": replace(ROWS["added"], generator=name) for name in args.generators}
    kept_apart = ("out", "rows", "generators", "repeats", "device")
    asked = {name: value for name, value in vars(args).items() if name not in kept_apart}
    record, written = args.out / "settings.json", json.dumps(asked, indent=1)
    if record.is_file() and record.read_text() != written:
        raise SystemExit(f"{record}: what is there was made with other settings; give --out another folder.")
    record.write_text(written)
    folders = {f"nnUNet_{part}": str((args.out / part).resolve()) for part in ("raw", "preprocessed")}
    folders["nnUNet_results"] = str((args.out / "results").resolve())
    os.environ.update(folders)
    environment = {**os.environ, **trainer_folder()}
    raw, preprocessed = Path(folders["nnUNet_raw"]) / NAME, Path(folders["nnUNet_preprocessed"]) / NAME
    plans = "nnUNetPlans" if args.full_plans else REDUCED

    held_back = min(VALIDATION_PER_CLASS, args.per_class)
    wanted = dict.fromkeys(CLASSES, args.per_class + held_back) | {NORMAL: args.normals + held_back}
    training = draw_cases(raw, TRAINING_SEED, wanted, "imagesTr", "labelsTr", (z, y, x))
    test = dict.fromkeys(CLASSES, args.test_per_class) | ({NORMAL: args.normals} if args.normal_class else {})
    tested = draw_cases(args.out / "test", TEST_SEED, test, "images", "labels", (z, y, x))
    truth = args.out / "test" / "classes.csv"
    with truth.open("w", newline="") as file:
        csv.writer(file).writerows([("case", "class"), *((n, c) for c, names in tested.items() for n in names)])

    if not (preprocessed / f"{plans}.json").is_file():
        number = sum(map(len, training.values()))
        content = {"channel_names": {"0": "CT"}, "labels": LABELS["pancreas"], "file_ending": ".nii.gz"}
        (raw / "dataset.json").write_text(json.dumps({**content, "numTraining": number}))
        prepare = ["-d", NUMBER, "-c", "3d_fullres", "-np", "2", "-npfp", "2", "--verify_dataset_integrity"]
        run_nnunet(PREPARE, prepare, environment, args.out / "prepare.log")
        if not args.full_plans:
            reduce_plans(preprocessed, reduced=REDUCED)
    split = {
        "train": [n for names in training.values() for n in names[held_back:]],
        "val": [n for names in training.values() for n in names[:held_back]],
    }
    (preprocessed / "splits_final.json").write_text(json.dumps([split]))

    names = [n for c in CLASSES for n in training[c][held_back:]]
    bank = None if args.package_bank else str(describe(args.out, names, (z, y, x)).resolve())
    plan = infer_plan(read_json(preprocessed / "dataset.json")).model_copy(
        update={
            "bank": bank,
            "epochs": args.epochs,
            "iterations_per_epoch": args.iterations,
            "validation_iterations_per_epoch": min(10, args.iterations),
            "inside_share": 0.4,  # tumors of the pancreas bulge out of it
        }
    )
    weights = None
    if any(row.pretrained for row in rows.values()):
        save_plan(plan.model_copy(update={"probability": 0.0}), preprocessed / FILE_NAME)
        folder = args.out.resolve() / "results" / "segmentation"
        model = train(folder, "nnUNetTrainerTextoMorph", plans, 0, environment, args.device, None, validate=False)
        weights = model / "fold_0" / "checkpoint_final.pth"
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
    curves: dict[str, list[list[float]]] = {name: [] for name in rows}
    for repeat in range(args.repeats):
        for name, row in rows.items():
            settings = {"normal": args.normal_class, "pooling": args.pooling, "synthetic_share": row.share}
            chosen = plan.classification.model_copy(update=settings)
            update = {"classification": chosen, "generator": row.generator}
            save_plan(plan.model_copy(update=update), preprocessed / FILE_NAME)
            out = args.out.resolve() / "results" / f"{name}_{repeat}"
            start = weights if row.pretrained else None
            model = train(out, row.trainer, plans, repeat, environment, args.device, start)
            result = out / "test" / "classification.json"
            if not result.is_file():
                images, labels = (args.out / "test" / which for which in ("images", "labels"))
                classify(images, model, out / "test", lesions=labels, true_classes=truth, device=args.device)
            measured[name].append(json.loads(result.read_text()))
            curves[name].append(curve(model))
    draw_curves(args.out / "curves.png", curves)
    (args.out / "curves.json").write_text(json.dumps(curves))
    text = table(measured)
    (args.out / "table.md").write_text(text + "\n")
    print(f"\nPhantom pancreas, {args.per_class} training cases per class, by patient:\n\n{text}")


if __name__ == "__main__":
    main()
