"""nnU-Net's own commands on a real dataset: plain nnU-Net against nnUNetTrainerTextoMorph, on a reduced plan.

    python benchmarks/nnunet_training.py --data ../shared/data/Dataset901_SoftTissueSarcoma --out DIR [--epochs 3]

Plans and preprocesses the dataset into DIR, trains fold 0 with both trainers, continues the second with ``--c`` for one
epoch more, predicts with it, and prints epoch times and what was injected. Nothing is set beyond nnU-Net's own three
variables (in an editable install ``nnUNet_extTrainer`` too, as the README says). Fold 0 validates on the smallest case
alone, and that case is predicted: on a CPU nnU-Net's final validation would otherwise take most of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from nnunet_textomorph.nnunet_commands import trainer_folder
from nnunet_textomorph.plan import save_plan, write_plan
from nnunet_textomorph.reduced_plan import reduce_plans
from nnunet_textomorph.schedule import VALIDATION_SHARE

PLANS = "nnUNetReducedPlans"
OURS = "nnUNetTrainerTextoMorph"


def run(environment: dict[str, str], *command: str) -> None:
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def smallest_case(data: Path) -> str:
    """The case with the smallest file."""
    images = sorted((data / "imagesTr").iterdir(), key=lambda path: path.stat().st_size)
    return images[0].name.removesuffix("_0000.nii.gz")


def log(results: Path, trainer: str) -> list[str]:
    paths = sorted(results.glob(f"*/{trainer}__*/fold_0/training_log_*.txt"))
    return [line for path in paths for line in path.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=50)
    args = parser.parse_args()
    folders = {f"nnUNet_{part}": str((args.out / part).resolve()) for part in ("raw", "preprocessed", "results")}
    os.environ.pop("nnUNet_extTrainer", None)
    os.environ.update(folders)
    environment = {**os.environ, **trainer_folder()}
    plain = f"nnUNetTrainer_{args.epochs}epochs_{args.iterations}iterations"
    raw, results, preprocessed = (Path(folders[f"nnUNet_{part}"]) for part in ("raw", "results", "preprocessed"))
    number = str(int(args.data.name[7:10]))
    if not (preprocessed / args.data.name / f"{PLANS}.json").is_file():
        shutil.copytree(args.data, raw / args.data.name, dirs_exist_ok=True)
        prepare = ["-d", number, "-c", "3d_fullres", "-np", "2", "-npfp", "2", "--verify_dataset_integrity"]
        run(environment, "nnUNetv2_plan_and_preprocess", *prepare)
        reduce_plans(preprocessed / args.data.name, reduced=PLANS)
    smallest = smallest_case(args.data)
    others = [path.name.removesuffix(".nii.gz") for path in sorted((args.data / "labelsTr").iterdir())]
    split = {"train": [name for name in others if name != smallest], "val": [smallest]}
    (preprocessed / args.data.name / "splits_final.json").write_text(json.dumps([split]))
    short = {
        "iterations_per_epoch": args.iterations,
        "validation_iterations_per_epoch": args.iterations // VALIDATION_SHARE,
    }
    plan, path = write_plan(number, plans=PLANS, overwrite=True)
    save_plan(plan.model_copy(update={**short, "epochs": args.epochs}), path)
    shutil.rmtree(results, ignore_errors=True)  # logs of an earlier run would be read too
    train = ["nnUNetv2_train", number, "3d_fullres", "0", "-p", PLANS, "-device", "cpu", "-tr"]
    run(environment, *train, plain)
    run(environment, *train, OURS)
    save_plan(plan.model_copy(update={**short, "epochs": args.epochs + 1}), path)
    run(environment, *train, OURS, "--c")
    some = args.out / "images"
    some.mkdir(exist_ok=True)
    shutil.copy(args.data / "imagesTr" / f"{smallest}_0000.nii.gz", some)
    predict = ["-i", str(some), "-o", str(args.out / "predicted"), "-d", number, "-c", "3d_fullres", "-f", "0"]
    run(environment, "nnUNetv2_predict", *predict, "-p", PLANS, "-tr", OURS, "-device", "cpu", "--disable_tta")
    times = {}
    for trainer in (plain, OURS):
        found = [float(m) for line in log(results, trainer) for m in re.findall(r"Epoch time: ([\d.]+) s", line)]
        times[trainer] = float(np.median(found[1:]))  # the first one starts the workers
        print(f"{trainer:36s} epochs of {', '.join(f'{t:.1f}' for t in found)} s")
    print(f"median without the first: {times[OURS] / times[plain]:.2f} times as long as plain nnU-Net's")
    print("\n".join(line for line in log(results, OURS) if "tumors injected" in line))
    print(f"predicted: {', '.join(sorted(p.name for p in (args.out / 'predicted').glob('*.nii.gz')))}")


if __name__ == "__main__":
    main()
