"""Epoch time of nnUNetTrainerTextoMorph against plain nnUNetTrainer: same plan, same machine, one run.

    python benchmarks/epoch_time.py --out DIR [--data ../shared/data/Dataset901_SoftTissueSarcoma] [--full]
        [--epochs 5] [--iterations 50] [--rounds 2] [--workers 2] [--device cuda] [--synthesis service]

Without ``--data`` a liver phantom is made. Plain nnU-Net and TextoMorph with injection probability 0, 0.25, 0.5 and 1
train in turns, ``--rounds`` times each, so that a machine whose speed drifts does not favour one of them; the first
epoch of each training, in which workers start, does not count. nnU-Net's plan is reduced to what two cores can train
unless ``--full``. What is done lies in DIR/epoch_times.json; the same command goes on after an interruption.
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
from tqdm import tqdm

from nnunet_textomorph.phantom import write_phantom
from nnunet_textomorph.plan import save_plan, write_plan
from nnunet_textomorph.reduced_plan import reduce_plans

PHANTOM = "Dataset981_PhantomLiver"
PLAIN, OURS = "nnUNetTrainerTimed", "nnUNetTrainerTextoMorphTimed"
PROBABILITIES = (0.0, 0.25, 0.5, 1.0)
TRAINERS = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunet_textomorph.trainer_mixin import TextoMorphMixin

class nnUNetTrainerTimed(nnUNetTrainer):
    def initialize(self):
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = {epochs}, {iterations}, 2
        super().initialize()

    def perform_actual_validation(self, save_probabilities=False):
        pass

class nnUNetTrainerTextoMorphTimed(TextoMorphMixin, nnUNetTrainerTimed):
    pass
"""


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def prepare(args: argparse.Namespace, environment: dict[str, str]) -> tuple[str, str]:
    """Plan and preprocess once; (number of the dataset, name of the plans)."""
    name = PHANTOM if args.data is None else args.data.name
    number = str(int(name[7:10]))
    raw, preprocessed = (Path(environment[f"nnUNet_{part}"]) / name for part in ("raw", "preprocessed"))
    if not (preprocessed / "splits_final.json").is_file():
        shutil.rmtree(raw, ignore_errors=True)  # of a run that was interrupted here
        if args.data is None:
            write_phantom(raw, "liver", 6, seed=0, spacing=(args.phantom_spacing,) * 3)
        else:
            shutil.copytree(args.data, raw)
        run(environment, "nnUNetv2_plan_and_preprocess", "-d", number, "-c", "3d_fullres", "-np", "2", "-npfp", "2")
        reduce_plans(preprocessed, reduced="nnUNetReducedPlans")
        cases = sorted(path.name.removesuffix(".nii.gz") for path in (raw / "labelsTr").glob("*.nii.gz"))
        split = [{"train": cases[1:], "val": cases[:1]}]
        (preprocessed / "splits_final.json").write_text(json.dumps(split))
    return number, "nnUNetPlans" if args.full else "nnUNetReducedPlans"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--phantom-spacing", type=float, default=2.0, help="mm")
    parser.add_argument("--full", action="store_true", help="nnU-Net's own plan")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--synthesis", choices=("workers", "service"))
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    if args.epochs < 2:
        raise SystemExit("The first epoch does not count: give --epochs 2 or more.")
    folders = {f"nnUNet_{part}": str((args.out / part).resolve()) for part in ("raw", "preprocessed", "results")}
    os.environ.update(folders)
    trainers = args.out.resolve() / "trainers"
    trainers.mkdir(parents=True, exist_ok=True)
    (trainers / f"{PLAIN}.py").write_text(TRAINERS.format(epochs=args.epochs, iterations=args.iterations))
    environment = {**os.environ, "nnUNet_extTrainer": str(trainers), "nnUNet_n_proc_DA": str(args.workers)}
    number, plans = prepare(args, environment)

    settings = {name: str(value) for name, value in vars(args).items() if name not in ("out", "rounds")}
    record = args.out / "epoch_times.json"
    known = json.loads(record.read_text()) if record.is_file() else {"settings": settings, "epochs": {}, "told": {}}
    if known["settings"] != settings:
        raise SystemExit(f"{record}: was made with other settings ({known['settings']}); give --out another folder.")
    plan, path = write_plan(number, plans=plans, generator=args.generator, overwrite=True)
    arms: list[float | None] = [None, *PROBABILITIES]
    for turn, probability in tqdm([(turn, arm) for turn in range(args.rounds) for arm in arms], unit="training"):
        arm = f"round {turn}, " + ("plain nnU-Net" if probability is None else f"TextoMorph {probability:g}")
        if arm in known["epochs"]:
            continue
        if probability is not None:
            changes = {"probability": probability, "synthesis": args.synthesis, "steps": args.steps}
            save_plan(plan.model_copy(update=changes), path)
        shutil.rmtree(folders["nnUNet_results"], ignore_errors=True)
        trainer = PLAIN if probability is None else OURS
        train = ["nnUNetv2_train", number, "3d_fullres", "0", "-p", plans, "-tr", trainer, "-device", args.device]
        told = run(environment, *train)
        known["epochs"][arm] = [float(s) for s in re.findall(r"Epoch time: ([\d.]+) s", told)]
        known["told"][arm] = re.findall(r"TextoMorph: (\d+ tumors injected.*)", told)
        temporary = record.with_name(f".partial-{record.name}")
        temporary.write_text(json.dumps(known, indent=2))
        os.replace(temporary, record)

    def median(ending: str) -> float:
        return float(
            np.median([s for arm, found in known["epochs"].items() if arm.endswith(ending) for s in found[1:]])
        )

    plain = median("plain nnU-Net")
    print(f"{'':16s}{'median epoch':>14s}{'times plain':>14s}")
    print(f"{'plain nnU-Net':16s}{plain:12.1f} s{1.0:14.2f}")
    for probability in PROBABILITIES:
        ours = median(f"TextoMorph {probability:g}")
        print(f"{f'TextoMorph {probability:g}':16s}{ours:12.1f} s{ours / plain:14.2f}")
    for arm, told in known["told"].items():
        if told:
            print(f"{arm}: {told[-1]}")


if __name__ == "__main__":
    main()
