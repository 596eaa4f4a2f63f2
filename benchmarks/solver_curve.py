"""Which solver, in how many steps, with or without guidance: text control, and distance to the answer of all steps.

    python benchmarks/solver_curve.py --out DIR [--implants 60] [--solvers unipc ddim ...] [--steps 4 6 ...]
                                      [--generator DIR] [--prompts fresh] [--diameters 20 45] [--seed 0] [--threads 1]

Everything is paired: each implant has one context, mask, text and seed of the noise (of the latents and of the CT's),
and goes through every setting before the next implant begins, so that a run broken off can be read. Text control is
that of ``text_control.py``: its prompts and rulers, in the contexts of ``unseen.py``.

Distance: the mean absolute difference in HU, within the tumor, to UniPC in all steps of the schedule at the same
guidance. A deterministic solver carries the noise along one and the same path of the probability flow, the closer the
smaller its steps: ddim, dpmsolver++ and unipc share the answer of ever smaller steps, and where that is known in closed
form UniPC in all 200 has it (tests/test_solvers.py: to 0.002, of data of SD 0.6). ``ddpm`` has no such answer: it draws
noise on the way, so that its distance stays that of two tumors of the same text; it is a reference for text control
alone. Hence the runs of all steps: UniPC always, ddpm where it is among the solvers, others where --steps says so.

DIR gets ``rows.jsonl``, a line per implant and setting, to which a run adds what is missing; ``reference/``, the
tumors that distances are to; and ``curve.png``. To see a part of it, ask for the number of implants that are done.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from text_control import DIAMETERS_MM, FIELDS, PROMPTS, Measured, asked_for, measure
from tqdm import tqdm
from unseen import Context, contexts, place

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.config import SOLVERS, Solver
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.latents import weights_hash
from nnunet_textomorph.llm_reports.descriptors import Descriptors

REFERENCE: Solver = "unipc"
STEPS = (4, 6, 8, 10, 15, 25)
COLOURS = {"ddpm": "#CC79A7", "ddim": "#E69F00", "dpmsolver++": "#009E73", "unipc": "#0072B2"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    solver: Solver
    steps: int
    guidance: float


@dataclass(frozen=True)
class Case:
    """One implant: what does not depend on the setting."""

    context: Context
    asked: Descriptors
    mask: np.ndarray
    text: str
    noise_seed: int


def draw_case(
    index: int, places: Sequence[Context], prompts: str, seed: int, diameters_mm: Sequence[float] = DIAMETERS_MM
) -> Case:
    """The ``index``-th implant, whatever their number: every combination of descriptors in turn, contexts shuffled.

    ``diameters_mm``: smallest and largest.
    """
    block, within = divmod(index, len(places))
    context = places[np.random.default_rng([seed, 0, block]).permutation(len(places))[within]]
    rng = np.random.default_rng([seed, 1, index])
    asked = asked_for(index + 1, [context.organ] * (index + 1), rng)[index]
    mask = None
    while mask is None:
        mask = place(context, float(rng.uniform(*diameters_mm)), rng)
    return Case(context, asked, mask, str(rng.choice(PROMPTS[prompts](asked))), int(rng.integers(2**31)))


def settings(solvers: Sequence[Solver], steps: Sequence[int], guidances: Sequence[float], most: int) -> list[Setting]:
    """The reference of each guidance first: distances are to it."""
    found = [Setting(REFERENCE, most, g) for g in guidances]
    found += [Setting(s, n, g) for n in sorted(steps) for s in solvers for g in guidances]
    if "ddpm" in solvers:
        found += [Setting("ddpm", most, g) for g in guidances]
    return list(dict.fromkeys(found))


def made(case: Case, generator: Generator, setting: Setting) -> np.ndarray:
    """The CT (D, H, W) with the implant, in HU."""
    return implant(
        case.context.ct_hu,
        case.context.spacing,
        case.mask,
        case.text,
        generator,
        np.random.default_rng(case.noise_seed),
        host_mask=case.context.host,
        **asdict(setting),
    ).ct_hu


def read_rows(path: Path) -> list[Row]:
    """The rows written so far; a last line that was cut off is taken away."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return [json.loads(line) for line in content[:whole].splitlines()]


def setting_of(row: Row) -> Setting:
    return Setting(row["solver"], row["steps"], row["guidance"])


def run(
    todo: dict[int, list[Setting]], generator: Generator, out: Path, facts: Row, prompts: str, seed: int
) -> Iterator[Row]:
    """Measure what is missing, implant by implant, and append it to ``rows.jsonl``."""
    places = contexts()
    (out / "reference").mkdir(exist_ok=True)
    most = generator.config.diffusion.steps
    with (
        open(out / "rows.jsonl", "a", encoding="utf-8") as file,
        tqdm(total=sum(map(len, todo.values())), unit="run") as bar,
    ):
        for index, missing in todo.items():
            case = draw_case(index, places, prompts, seed, facts["diameters_mm"])
            context = case.context
            for setting in missing:
                bar.set_postfix_str(f"implant {index}: {setting.solver} {setting.steps} x {setting.guidance:g}")
                start = time.process_time()
                ct = made(case, generator, setting)
                seconds = time.process_time() - start
                tumor = ct[case.mask].astype(np.float32)
                kept = out / "reference" / f"{index:04d}-{setting.guidance:g}.npy"
                if setting == Setting(REFERENCE, most, setting.guidance):
                    _save(kept, tumor)
                elif not kept.is_file():
                    _save(kept, made(case, generator, Setting(REFERENCE, most, setting.guidance))[case.mask])
                row = {
                    "implant": index,
                    **asdict(setting),
                    **{field: getattr(case.asked, field) for field in FIELDS},
                    **asdict(measure(context.ct_hu, ct, case.mask, context.host, context.spacing)),
                    "distance_hu": float(np.abs(tumor - np.load(kept)).mean()),
                    "cpu_s": seconds,
                    "context": context.name,
                    "text": case.text,
                    **facts,
                }
                file.write(json.dumps(row) + "\n")
                file.flush()
                bar.update()
                yield row


def _save(path: Path, tumor: np.ndarray) -> None:
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    np.save(temporary, tumor.astype(np.float32))
    os.replace(temporary, path)


def right(row: Row, field: str) -> bool | None:
    """Whether the implant obeys; None where that is not judged: isoattenuating tumors have no visible margin."""
    if field == "margin" and row["attenuation"] == "iso":
        return None
    measured = Measured(row["contrast_hu"], row["texture_hu"], row["margin_share"])
    return measured.says(field) == row[field]


def summary(rows: list[Row], reference: list[Row]) -> Row:
    """Means over the implants of one setting; ``won`` and ``lost``: those right here alone, and in ``reference`` alone.

    Both lists hold the same implants in the same order.
    """
    found: Row = {"distance": _mean(row["distance_hu"] for row in rows), "cpu_s": _mean(row["cpu_s"] for row in rows)}
    for field in FIELDS:
        both = [(right(row, field), right(other, field)) for row, other in zip(rows, reference, strict=True)]
        judged = [pair for pair in both if pair[0] is not None]
        found[field] = 100 * _mean(float(bool(here)) for here, _ in judged)
        found[f"{field} won"] = sum(here and not there for here, there in judged)
        found[f"{field} lost"] = sum(there and not here for here, there in judged)
    for value in ("hypo", "hyper"):
        found[value] = _mean(row["contrast_hu"] for row in rows if row["attenuation"] == value)
    found["uneven"] = _mean(row["texture_hu"] for row in rows if row["texture"] == "heterogeneous")
    return found


def _mean(values: Iterator[float]) -> float:
    given = list(values)
    return float(np.mean(given)) if given else float("nan")


def table(found: dict[Setting, Row], implants: int) -> None:
    print(f"\n{implants} implants; (+won -lost): right here alone, right in the reference of that guidance alone")
    print(
        f"{'solver':12s}{'steps':>6s}{'guidance':>9s}"
        + "".join(f"{field:>20s}" for field in FIELDS)
        + f"{'distance':>10s}{'hypo':>7s}{'hyper':>7s}{'uneven':>8s}{'CPU':>8s}"
    )
    for s, f in sorted(found.items(), key=lambda item: (item[0].guidance, item[0].solver, item[0].steps)):
        control = "".join(
            f"{f[field]:8.1f} % {'(+{} -{})'.format(f[f'{field} won'], f[f'{field} lost']):>9s}" for field in FIELDS
        )
        print(
            f"{s.solver:12s}{s.steps:6d}{s.guidance:9g}{control}{f['distance']:7.2f} HU"
            f"{f['hypo']:7.0f}{f['hyper']:7.0f}{f['uneven']:8.1f}{f['cpu_s']:6.1f} s"
        )
    print("hypo, hyper: mean contrast in HU; uneven: mean texture ruler of heterogeneous tumors in HU")


def plot(found: dict[Setting, Row], path: Path, implants: int) -> None:
    """Text control and distance over the number of steps, a line per solver and guidance."""
    figure = Figure(figsize=(9.0, 6.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True).flat
    steps = sorted({s.steps for s in found})
    guidances = sorted({s.guidance for s in found})
    styles = dict(zip(guidances, ("--", "-") if len(guidances) > 1 else ("-",), strict=True))
    for axis, what in zip(axes, (*FIELDS, "distance"), strict=True):
        for solver in dict.fromkeys(s.solver for s in found):
            for guidance, style in styles.items():
                line = sorted(
                    (s.steps, f[what]) for s, f in found.items() if (s.solver, s.guidance) == (solver, guidance)
                )
                axis.plot(*zip(*line, strict=True), style, color=COLOURS[solver], marker="o", markersize=3.5, lw=1.3)
        axis.set_xscale("log")
        axis.set_xticks(steps, [str(n) for n in steps])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        axis.set_title(what if what != "distance" else f"distance to {REFERENCE} in {max(steps)} steps", fontsize=10)
        axis.set_ylabel("HU" if what == "distance" else "right, %")
    for axis in figure.axes[2:]:
        axis.set_xlabel("steps")
    figure.axes[3].set_ylim(bottom=0)
    handles = [Line2D([], [], color=COLOURS[s], label=s) for s in dict.fromkeys(s.solver for s in found)]
    for guidance, style in styles.items():
        handles.append(Line2D([], [], color="0.3", ls=style, label=f"guidance {guidance:g}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    figure.suptitle(f"{implants} implants, the same for every point", fontsize=10)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    FigureCanvasAgg(figure).print_png(str(temporary))
    os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--implants", type=int, default=60)
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--steps", nargs="+", type=int, default=list(STEPS))
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--prompts", choices=list(PROMPTS), default="held-out")
    parser.add_argument("--diameters", nargs=2, type=float, default=list(DIAMETERS_MM), help="mm, smallest and largest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    generator = Generator.load(args.generator)
    most = generator.config.diffusion.steps
    if args.implants < 1 or not all(1 <= n <= most for n in args.steps):
        parser.error(f"give --implants of 1 or more, and --steps from 1 to {most}.")
    wanted = settings(args.solvers, args.steps, sorted({1.0, generator.config.sampling.guidance}), most)
    facts = {"generator": weights_hash(generator.networks), "prompts": args.prompts, "seed": args.seed}
    facts |= {"diameters_mm": args.diameters}

    args.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(args.out / "rows.jsonl")
    if any(row[name] != value for row in rows for name, value in facts.items()):
        parser.error(f"{args.out / 'rows.jsonl'}: is of another generator, prompts, sizes or seed; give another --out.")
    done = {(row["implant"], setting_of(row)) for row in rows}
    todo = {i: [s for s in wanted if (i, s) not in done] for i in range(args.implants)}
    todo = {i: missing for i, missing in todo.items() if missing}
    if todo:
        rows += run(todo, generator, args.out, facts, args.prompts, args.seed)

    measured = {
        s: sorted((r for r in rows if setting_of(r) == s and r["implant"] < args.implants), key=lambda r: r["implant"])
        for s in wanted
    }
    found = {s: summary(of, measured[Setting(REFERENCE, most, s.guidance)]) for s, of in measured.items()}
    table(found, args.implants)
    plot(found, args.out / "curve.png", args.implants)
    print(f"wrote {args.out / 'curve.png'}")


if __name__ == "__main__":
    main()
