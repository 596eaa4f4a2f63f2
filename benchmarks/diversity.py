"""Table II for every way of making tumors: the same masks and texts in the same CT, then ``textomorph radiomics``.

    python benchmarks/diversity.py --out DIR [--organ liver|pancreas|kidney] [--cases 20] [--per-case 2]
    python benchmarks/diversity.py --out DIR --data ../shared/data/Dataset901_SoftTissueSarcoma --diameters 20 60

Texts are drawn from the shipped description bank; sizes evenly from ``--diameters``. Tumors go into the CT of the
dataset (without ``--data``: phantoms), beside its real tumors, which are a row of their own. Prints the table and how
long each part took; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nnunet_textomorph.bank import draw, load_bank
from nnunet_textomorph.generators import registered_names
from nnunet_textomorph.phantom import write_phantom
from nnunet_textomorph.plan import infer_plan

SHIPPED = "textomorph"
ENDING = ".nii.gz"


def requests(dataset: Path, per_case: int, diameters: tuple[float, float], seed: int) -> Iterator[dict[str, object]]:
    """The lines of a batch: ``per_case`` tumors in the host of each case."""
    plan = infer_plan(json.loads((dataset / "dataset.json").read_text(encoding="utf-8")))
    bank, host = load_bank(None, plan.organ), next(iter(plan.hosts.values()))
    for number, labels in enumerate(sorted((dataset / "labelsTr").glob(f"*{ENDING}"))):
        case = labels.name.removesuffix(ENDING)
        for k in range(per_case):
            rng = np.random.default_rng([seed, number, k])
            diameter = round(float(rng.uniform(*diameters)), 1)
            yield {
                "name": f"{case}_{k}",
                "image": str((dataset / "imagesTr" / f"{case}_0000{ENDING}").resolve()),
                "organ_mask": str(labels.resolve()),
                "label": host,
                "organ": plan.organ,
                "text": draw(bank, rng, size_mm=diameter),
                "diameter_mm": diameter,
            }


def run(*command: str) -> None:
    start = time.perf_counter()
    print("$", " ".join(command), flush=True)
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{command[0]} {command[1]} failed.")
    print(f"{time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="an nnU-Net raw dataset; without it a phantom is made")
    parser.add_argument("--organ", choices=("liver", "pancreas", "kidney"), default="liver", help="of the phantom")
    parser.add_argument("--cases", type=int, default=20, help="of the phantom")
    parser.add_argument("--per-case", type=int, default=2, help="synthetic tumors in each")
    parser.add_argument("--diameters", type=float, nargs=2, default=(10.0, 24.0), metavar=("FROM", "TO"), help="mm")
    parser.add_argument("--methods", nargs="+", default=[SHIPPED, *registered_names()])
    parser.add_argument("--workers", type=int, default=2, help="processes that measure")
    parser.add_argument("--seed", type=int, default=52_001)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = args.data or args.out / "phantom"
    if not dataset.is_dir():
        write_phantom(dataset, args.organ, args.cases, seed=args.seed)
    lines = list(requests(dataset, args.per_case, tuple(args.diameters), args.seed))
    batch = args.out / "requests.jsonl"
    temporary = batch.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(temporary, batch)
    for method in args.methods:
        named = [] if method == SHIPPED else ["--generator", method]
        run("textomorph", "synthesize", "--batch", str(batch), *named, "--out", str(args.out / method))
    table = args.out / "radiomics"
    if not table.is_dir():
        folders = [f"{method}={args.out / method}" for method in args.methods]
        measured = ["--real", str(dataset), "--workers", str(args.workers), "--out", str(table)]
        run("textomorph", "radiomics", "--synthetic", *folders, *measured)
    print((table / "radiomics.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
