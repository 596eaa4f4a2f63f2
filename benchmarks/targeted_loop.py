"""The whole loop: baseline folds, mine what they missed, train on it; which lesions are regained, and which are lost.

    python benchmarks/targeted_loop.py --out DIR --data ../shared/data/Dataset901_SoftTissueSarcoma --spacing 4 4 4
        --patch 32
    python benchmarks/targeted_loop.py --out DIR --organ liver --cases 20
    python benchmarks/targeted_loop.py --out DIR --organ pancreas --cases 20 --unseen 40 --trainers ...

nnU-Net plans and preprocesses (at ``--spacing``, where given), the plan is reduced to what two cores can train, and
the project's own commands do the rest: ``textomorph benchmark`` of nnUNetTrainer, ``textomorph mine`` of it, and
``textomorph benchmark`` of ``--trainers`` against it, all on the same folds and with the same schedule. Prints what
``mine`` says and the benchmark's table. The same command goes on after an interruption.

With ``--unseen`` every trainer trains once, on all ``--cases``, and is judged on so many further phantoms; the lesions
to mine are those that the baseline misses in either half of the cases after it trained on the other. Runs with other
``--trainers`` and another ``--table`` may go beside each other once the first has mined. Without a targeted trainer
nothing is mined. ``--generators variants=DIR/variants ...`` adds rows for other generator folders, such as those of
``ablations.py``: each in its own results, as nnUNetTrainerTextoMorph. They change the plan, so run nothing beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nnunet_textomorph.cli_evidence import named_folders
from nnunet_textomorph.nnunet_commands import PREPARE, run_nnunet, trainer_folder
from nnunet_textomorph.phantom import write_phantom
from nnunet_textomorph.plan import TextoMorphPlans, save_plan, write_plan
from nnunet_textomorph.reduced_plan import reduce_plans

BASELINE, RANDOM = "nnUNetTrainer", "nnUNetTrainerTextoMorph"
WHOLE, REDUCED = "nnUNetLoopPlans", "nnUNetLoopReducedPlans"


def run(environment: dict[str, str], *command: str) -> None:
    print("$", " ".join(command), flush=True)
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SystemExit(f"{command[0]} failed.")


def prepare(args: argparse.Namespace, environment: dict[str, str]) -> str:
    """Plan and preprocess once; the dataset's number."""
    name = f"Dataset984_Phantom{args.organ.capitalize()}" if args.data is None else args.data.name
    raw, preprocessed = (Path(environment[f"nnUNet_{part}"]) / name for part in ("raw", "preprocessed"))
    number = str(int(name[7:10]))
    if not (preprocessed / f"{REDUCED}.json").is_file():
        shutil.rmtree(raw, ignore_errors=True)  # of a run that was interrupted here
        if args.data is None:
            write_phantom(raw, args.organ, args.cases + args.unseen, seed=args.seed)
        else:
            shutil.copytree(args.data, raw)
        arguments = ["-d", number, "-c", "3d_fullres", "-np", "2", "-npfp", "2", "-overwrite_plans_name", WHOLE]
        spacing = ["-overwrite_target_spacing", *map(str, args.spacing)] if args.spacing else []
        run_nnunet(PREPARE, [*arguments, *spacing], environment, args.out / "prepare.log")
        if args.unseen:
            write_splits(preprocessed, args.cases)
        reduce_plans(preprocessed, plans=WHOLE, reduced=REDUCED, patch=args.patch)
    return number


def write_splits(preprocessed: Path, cases: int) -> None:
    """Fold 0 trains on the first ``cases`` and validates all others; folds 1 and 2 swap those cases' halves."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in (preprocessed / "gt_segmentations").glob("*.nii.gz"))
    known, halves = names[:cases], (names[: cases // 2], names[cases // 2 : cases])
    splits = [{"train": known, "val": names[cases:]}]
    splits += [{"train": halves[1 - i], "val": halves[i]} for i in range(2)]
    (preprocessed / "splits_final.json").write_text(json.dumps(splits, indent=4))


def train_with(
    generators: Sequence[tuple[str, Path]],
    plan: TextoMorphPlans,
    path: Path,
    out: Path,
    environment: dict[str, str],
    *command: str,
) -> list[str]:
    """Train ``RANDOM`` by the benchmark's ``command`` with each generator; ``NAME=FOLDER`` of its predictions."""
    found = []
    for name, folder in generators:
        save_plan(plan.model_copy(update={"generator": str(folder.resolve())}), path)
        results = out.resolve() / f"results_{name}"
        run({**environment, "nnUNet_results": str(results)}, *command, RANDOM, "--out", str(out / f"table_{name}"))
        (predicted,) = results.glob(f"*/{RANDOM}_*__{REDUCED}__3d_fullres/fold_0/validation")
        found.append(f"{name}={predicted}")
    save_plan(plan, path)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="an nnU-Net raw dataset; without it a phantom is made")
    parser.add_argument("--organ", choices=("liver", "pancreas", "kidney"), default="liver", help="of the phantom")
    parser.add_argument("--cases", type=int, default=20, help="of the phantom")
    parser.add_argument("--unseen", type=int, default=0, help="further phantoms, to judge on; without it five folds")
    parser.add_argument("--seed", type=int, default=41_001, help="of the phantom")
    parser.add_argument("--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="to train at, mm")
    parser.add_argument("--patch", type=int, default=48, help="voxels along the finest axes")
    parser.add_argument("--trainers", nargs="+", default=["nnUNetTrainerTextoMorphTargeted"])
    parser.add_argument("--generators", nargs="+", default=[], metavar="NAME=FOLDER", help="rows of their own")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--probability", type=float, help="of a tumor in a patch; the plan's own by default")
    parser.add_argument("--min-overlap", type=float, default=0.0, help="share of a lesion below which it is missed")
    parser.add_argument("--table", default="table", help="name of the folder in --out that the comparison goes to")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.data is not None and args.unseen:
        parser.error("--unseen is for phantoms; leave --data out.")
    if args.generators and not args.unseen:
        parser.error("--generators takes --unseen, which makes one folder of predictions of each.")
    generators = named_folders(args.generators)
    folders = {f"nnUNet_{part}": str((args.out / part).resolve()) for part in ("raw", "preprocessed", "results")}
    os.environ.update(folders)
    environment = {**os.environ, **trainer_folder()}
    number = prepare(args, environment)
    plan, path = write_plan(number, plans=REDUCED, overwrite=True)
    if args.probability is not None:
        plan = plan.model_copy(update={"probability": args.probability})
        save_plan(plan, path)

    schedule = ["--epochs", str(args.epochs), "--iterations", str(args.iterations), "--device", args.device]
    rule = ["--min-overlap", str(args.min_overlap)]
    common = ["textomorph", "benchmark", number, "-p", REDUCED, *schedule, *rule, "--overwrite", "--trainers"]
    mined, judged = (["--folds", "1", "2"], ["--folds", "0"]) if args.unseen else ([], [])
    trained = f"{BASELINE}_{args.epochs}epochs_{args.iterations}iterations"
    targeted = any("Targeted" in trainer for trainer in args.trainers)
    if targeted and not (path.parent / "TextoMorphMissed").is_dir():
        run(environment, *common, BASELINE, *mined, "--out", str(args.out / "baseline"))
        run(environment, "textomorph", "mine", number, "-p", REDUCED, "--trainer", trained, *rule)
    predicted = train_with(generators, plan, path, args.out, environment, *common[:-1], *judged, common[-1])
    more = [part for pair in predicted for part in ("--predictions", pair)]
    run(environment, *common, BASELINE, *args.trainers, *judged, *more, "--out", str(args.out / args.table))
    print((args.out / args.table / "table.md").read_text())


if __name__ == "__main__":
    main()
