"""``textomorph demo``: everything once, small, on a phantom and on whatever machine there is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click
import numpy as np

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.volumes import read_volume
from nnunet_textomorph.nnunet_commands import PREDICT, PREPARE, TRAIN, default_device, run_nnunet, trainer_folder
from nnunet_textomorph.phantom import write_phantom
from nnunet_textomorph.plan import save_plan, write_plan
from nnunet_textomorph.reduced_plan import reduce_plans
from nnunet_textomorph.synthesize import SynthesisRequest, synthesize

DATASET, NAME = 987, "Dataset987_PhantomLiver"
CASES, TEST_CASES = 6, 2
ITERATIONS, VALIDATION_ITERATIONS = 20, 2
PLANS = "nnUNetReducedPlans"
TRAINER = "nnUNetTrainerTextoMorph"
TEXT = "A hypoattenuating, heterogeneous mass with ill-defined margins in the liver."


def run_demo(out: Path, epochs: int) -> None:
    """Write phantom, synthetic tumor, plans, a trained network and its predictions into the new folder ``out``.

    A network of four small stages sees a few dozen patches: enough to show that everything runs, far too little to
    segment. Raises :class:`UserError` when ``out`` is not empty or a command of nnU-Net fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; give --out a new one.")
    started = time.monotonic()
    folders = {f"nnUNet_{part}": str((out / f"nnUNet_{part}").resolve()) for part in ("raw", "preprocessed", "results")}
    for folder in folders.values():
        Path(folder).mkdir(parents=True)
    environment = {**os.environ, **folders, **trainer_folder()}
    os.environ.update(folders)
    raw = Path(folders["nnUNet_raw"]) / NAME
    log = out / "nnunet.log"

    click.echo(f"1. A phantom of {CASES} patients with liver tumors, and {TEST_CASES} to test on")
    write_phantom(raw, "liver", CASES, seed=0)
    test = write_phantom(out / "test", "liver", TEST_CASES, seed=1)

    click.echo(f'2. A tumor by text: "{TEXT}"')
    case = _first_case(raw)
    request = SynthesisRequest(
        image=str(raw / "imagesTr" / f"{case}_0000.nii.gz"),
        organ_mask=str(raw / "labelsTr" / f"{case}.nii.gz"),
        label=1,
        organ="liver",
        text=TEXT,
    )
    synthetic = synthesize(request, out / "synthesized")
    click.echo(f"   look at {synthetic / 'preview.png'}")

    click.echo("3. nnU-Net plans and preprocesses; its plans are reduced for this machine")
    arguments = ["-d", str(DATASET), "-c", "3d_fullres", "-np", "2", "-npfp", "2", "--verify_dataset_integrity"]
    run_nnunet(PREPARE, arguments, environment, log)
    preprocessed = Path(folders["nnUNet_preprocessed"]) / NAME
    reduce_plans(preprocessed, reduced=PLANS)
    plan, path = write_plan(str(DATASET), plans=PLANS)
    short = {
        "epochs": epochs,
        "iterations_per_epoch": ITERATIONS,
        "validation_iterations_per_epoch": VALIDATION_ITERATIONS,
        "largest_mm": 40.0,
    }
    save_plan(plan.model_copy(update=short), path)

    device = default_device()
    click.echo(f"4. {TRAINER} trains for {epochs} epochs of {ITERATIONS} iterations on the {device}")
    arguments = [str(DATASET), "3d_fullres", "0", "-p", PLANS, "-tr", TRAINER, "-device", device]
    training = time.monotonic()
    run_nnunet(TRAIN, arguments, {**environment, "nnUNet_n_proc_DA": "1"}, log)
    training = time.monotonic() - training
    for line in _injections(Path(folders["nnUNet_results"])):
        click.echo(f"   {line}")

    click.echo("5. nnUNetv2_predict segments the test patients")
    arguments = ["-i", str(test / "imagesTr"), "-o", str(out / "predicted"), "-d", str(DATASET), "-c", "3d_fullres"]
    arguments += ["-p", PLANS, "-tr", TRAINER, "-f", "0", "-device", device, "--disable_tta", "-npp", "1", "-nps", "1"]
    run_nnunet(PREDICT, arguments, environment, log)

    click.echo(f"\n{'test patient':16s}{'Dice liver':>12s}{'Dice tumor':>12s}")
    for case, liver, tumor in _dice(test, out / "predicted"):
        click.echo(f"{case:16s}{liver:12.2f}{tumor:12.2f}")
    click.echo(
        f"\nAll of it took {(time.monotonic() - started) / 60:.1f} min, training {training / 60:.1f} min. Dice after "
        f"{epochs * ITERATIONS} iterations says nothing but that it runs. Everything is in {out}."
    )


def _first_case(raw: Path) -> str:
    return sorted((raw / "labelsTr").glob("*.nii.gz"))[0].name.removesuffix(".nii.gz")


def _injections(results: Path) -> list[str]:
    logs = sorted(results.rglob("training_log_*.txt"))
    lines = logs[-1].read_text().splitlines() if logs else []
    return [line.split("TextoMorph: ")[1] for line in lines if "tumors injected" in line]


def _dice(truth: Path, predicted: Path) -> list[tuple[str, float, float]]:
    tumor = json.loads((truth / "dataset.json").read_text())["labels"]["tumor"]
    rows = []
    for path in sorted(predicted.glob("*.nii.gz")):
        a = read_volume(truth / "labelsTr" / path.name, integer=True).array
        b = read_volume(path, integer=True).array
        rows.append((path.name.removesuffix(".nii.gz"), _overlap(a > 0, b > 0), _overlap(a == tumor, b == tumor)))
    return rows


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    whole = int(a.sum() + b.sum())
    return 2.0 * float((a & b).sum()) / whole if whole else float("nan")
