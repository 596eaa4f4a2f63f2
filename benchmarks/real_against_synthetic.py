"""Can a small 3D classifier tell real tumors from implants with the same masks and texts? And by what?

    python benchmarks/real_against_synthetic.py --out DIR [--seeds 1] [--folds 4] [--steps 300] [--bfloat16]

For each of the 24 tumors of Dataset901 the offline describer's text is put, as an implant, into the same CT at the same
mask: what differs is the tumor alone. Windows of 8 x 48 x 48 voxels (26 x 47 x 47 mm) about random voxels of the tumor
are told apart by a residual network of MONAI, trained on other patients' (cross-validated by patient); a tumor's score
is the mean over its windows. 18 of the CT were in the generator's training, so the other six are reported apart as
well. The goal is an AUC of 0.75 or less.

What gives the implants away: the same network's AUC on windows without a part of what it sees (fine detail, the
inside, the border, what is around), the mean gradient by depth, and the AUC of simple measurements, alone and together.
The last column tells in how many pairs the implant scores higher than the real tumor in its place. DIR keeps the
implants (``pairs``) and gets saliency.png and pairs.png; given again, the command makes only what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from default_training_data import HELD_OUT
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from monai.networks.nets import Classifier
from scipy import ndimage
from seams_and_noise import ratios_to_host
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from text_control import measure
from torch.nn import functional as F
from tqdm import tqdm
from unseen import RealTumor, real_tumors

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.implant import implant
from nnunet_textomorph.generator.sheets import save_sheet
from nnunet_textomorph.generator.volumes import Spacing, box_around
from nnunet_textomorph.llm_reports.describer import describe_lesion
from nnunet_textomorph.llm_reports.phrasing import describe
from nnunet_textomorph.stats import auc, bootstrap_interval

WINDOW = (8, 48, 48)
AROUND_MM = 40.0  # kept of the CT about a tumor: what a window can reach
WINDOWS = 24  # of a tumor, for its score
DEPTHS_MM = np.arange(-14.0, 22.0, 2.0)


@dataclass(frozen=True)
class Pair:
    """Crops (D, H, W): the real CT and one per implant in HU; tumor and host, bool; depth into the tumor in mm."""

    name: str
    text: str
    real: np.ndarray
    implants: np.ndarray
    mask: np.ndarray
    host: np.ndarray
    depth: np.ndarray
    spacing: Spacing
    host_hu: float

    @property
    def held_out(self) -> bool:
        return self.name.endswith(HELD_OUT)


def make_pair(tumor: RealTumor, generator: Generator, seeds: int) -> dict[str, np.ndarray]:
    """What :func:`load_pair` reads."""
    d = describe_lesion(tumor.ct_hu, tumor.mask, tumor.host, tumor.spacing, organ="soft tissue")
    text = describe(d)
    box = box_around(tumor.mask, tumor.spacing, AROUND_MM)
    made = [
        implant(
            tumor.ct_hu, tumor.spacing, tumor.mask, text, generator, np.random.default_rng(s), host_mask=tumor.host
        ).ct_hu[box]
        for s in range(seeds)
    ]
    return {
        "real": tumor.ct_hu[box].astype(np.float32),
        "implants": np.stack(made),
        "mask": tumor.mask[box],
        "host": tumor.host[box],
        "spacing": np.array(tumor.spacing),
        "text": np.array(text),
    }


def load_pair(path: Path) -> Pair:
    with np.load(path) as kept:
        z, y, x = (float(s) for s in kept["spacing"])
        mask = kept["mask"]
        depth = ndimage.distance_transform_edt(mask, (z, y, x)) - ndimage.distance_transform_edt(~mask, (z, y, x))
        level = float(np.median(kept["real"][kept["host"] & (depth > -25.0)]))
        arrays = (kept["real"], kept["implants"], mask, kept["host"], depth.astype(np.float32))
        return Pair(path.stem, str(kept["text"]), *arrays, (z, y, x), level)


def pairs(folder: Path, load: Callable[[], Generator], seeds: int) -> list[Pair]:
    """All pairs; those that are missing are made."""
    folder.mkdir(parents=True, exist_ok=True)
    generator, found = None, []
    for tumor in tqdm(real_tumors(trained_on=True), desc="implants", total=24):
        path = folder / f"{tumor.name}.npz"
        if not path.is_file():
            generator = generator or load()
            with open(path.with_suffix(".partial"), "wb") as file:
                np.savez_compressed(file, **make_pair(tumor, generator, seeds))
            path.with_suffix(".partial").rename(path)
        found.append(load_pair(path))
    return found


def windows(pair: Pair, number: int, rng: np.random.Generator, flip: bool) -> list[tuple[slice, slice, slice]]:
    """Boxes about random voxels of the tumor, moved into the crop."""
    voxels = np.argwhere(pair.mask)[rng.integers(0, pair.mask.sum(), number)]
    starts = np.clip(voxels - np.array(WINDOW) // 2, 0, np.array(pair.mask.shape) - WINDOW)
    steps = rng.choice([-1, 1], (number, 3)) if flip else np.ones((number, 3), int)
    return [
        tuple(_slice(s, n, step) for s, n, step in zip(*of, strict=True))
        for of in zip(starts, [WINDOW] * number, steps, strict=True)
    ]


def _slice(start: int, length: int, step: int) -> slice:
    if step > 0:
        return slice(start, start + length)
    return slice(start + length - 1, start - 1 if start else None, -1)


def network_input(ct: np.ndarray, pair: Pair, box: tuple[slice, slice, slice], level_hu: float = 0.0) -> np.ndarray:
    """(2, D, H, W): the CT against the host's median plus ``level_hu``, 1 for 100 HU, and the mask."""
    return np.stack([np.clip((ct[box] - pair.host_hu - level_hu) / 100.0, -2.0, 2.0), pair.mask[box]]).astype(
        np.float32
    )


def train(of: Sequence[Pair], steps: int, seed: int, batch: int = 16) -> torch.nn.Module:
    """Real windows 0, implants 1; half of each in a batch."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    network = Classifier((2, *WINDOW), 1, channels=(8, 16, 32), strides=((1, 2, 2), 2, 2), norm="BATCH")
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in tqdm(range(steps), desc="classifier", leave=False):
        inputs, truth = [], []
        for i in range(batch):
            pair = of[int(rng.integers(len(of)))]
            ct = pair.implants[int(rng.integers(len(pair.implants)))] if i % 2 else pair.real
            (box,) = windows(pair, 1, rng, flip=True)
            inputs.append(network_input(ct, pair, box, float(rng.uniform(-10, 10))))
            truth.append(float(i % 2))
        loss = F.binary_cross_entropy_with_logits(
            network(torch.from_numpy(np.stack(inputs)))[:, 0], torch.tensor(truth)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


Hide = Callable[[np.ndarray, Pair], np.ndarray]
"""A whole crop (D, H, W) in HU without a part of what can be seen in it."""


def _without_detail(ct: np.ndarray, pair: Pair) -> np.ndarray:
    return ndimage.gaussian_filter(ct, [0.0, *(1.5 / s for s in pair.spacing[1:])])


def _without(low_mm: float, high_mm: float) -> Hide:
    """Of depths between the two, nothing is left but the mean."""

    def hide(ct: np.ndarray, pair: Pair) -> np.ndarray:
        where = (pair.depth > low_mm) & (pair.depth <= high_mm)
        return np.where(where, ct[where].mean() if where.any() else 0.0, ct).astype(np.float32)

    return hide


HIDDEN: dict[str, Hide] = {
    "everything seen": lambda ct, pair: ct,
    "smoothed by 1.5 mm in the slice": _without_detail,
    "without the tumor beyond 4 mm of depth": _without(4.0, np.inf),
    "without the border, 4 mm to both sides": _without(-4.0, 4.0),
    "without what is farther than 4 mm outside": _without(-np.inf, -4.0),
}


@torch.no_grad()
def score(network: torch.nn.Module, pair: Pair, ct: np.ndarray) -> float:
    """Mean logit over the same windows for every CT of a pair."""
    boxes = windows(pair, WINDOWS, np.random.default_rng(5), flip=False)
    given = np.stack([network_input(ct, pair, box) for box in boxes])
    return float(network(torch.from_numpy(given)).mean())


def saliency(network: torch.nn.Module, pair: Pair, ct: np.ndarray) -> np.ndarray:
    """Mean absolute gradient of the logit by HU, in windows, over bins of ``DEPTHS_MM``, (bins,); NaN in empty ones."""
    boxes = windows(pair, WINDOWS, np.random.default_rng(5), flip=False)
    given = torch.from_numpy(np.stack([network_input(ct, pair, box) for box in boxes])).requires_grad_()
    network(given).sum().backward()
    assert given.grad is not None
    strength = given.grad[:, 0].abs().numpy().ravel()
    depth = np.stack([pair.depth[box] for box in boxes]).ravel()
    bins = np.digitize(depth, DEPTHS_MM)
    return np.array([strength[bins == k].mean() if (bins == k).any() else np.nan for k in range(1, len(DEPTHS_MM))])


def measurements(pair: Pair, ct: np.ndarray) -> dict[str, float]:
    """Simple things that could tell, of a crop."""
    found = measure(ct, ct, pair.mask, pair.host, pair.spacing)
    masked, neighbours, _ = ratios_to_host(ct, pair.mask, pair.host, pair.spacing)
    core = ct[pair.depth > 4.0] if (pair.depth > 4.0).any() else ct[pair.mask]
    smooth = [5.0 / s for s in pair.spacing]
    coarse = ndimage.gaussian_filter(ct, smooth)[pair.depth > min(6.0, 0.6 * pair.depth.max())]
    profile = [float(np.median(ct[(pair.depth > a) & (pair.depth <= a + 4.0)])) for a in (-8.0, -4.0, 0.0, 4.0)]
    return {
        "contrast, HU": found.contrast_hu,
        "texture (1.5 mm), HU": found.texture_hu,
        "unevenness over 5 mm, HU": float(coarse.std()),
        "margin's step, share": found.margin_share,
        "profile: 4-8 mm outside minus inside, HU": profile[0] - profile[3],
        "fine noise against the host's (Immerkaer)": float(masked),
        "fine noise against the host's (neighbours)": float(neighbours),
        "skewness of the core": float(((core - core.mean()) ** 3).mean() / max(core.std(), 1.0) ** 3),
        "5th percentile of the core, HU": float(np.percentile(core, 5)),
        "95th percentile of the core, HU": float(np.percentile(core, 95)),
    }


def with_interval(scores: Sequence[float], synthetic: Sequence[bool], patients: Sequence[str]) -> str:
    """AUC and its interval over patients."""
    s, y = np.asarray(scores), np.asarray(synthetic)

    def of(rows: np.ndarray) -> float:
        found = auc(s[rows], y[rows])
        return float("nan") if found is None else found

    interval = bootstrap_interval(patients, of)
    return f"{of(np.arange(len(s))):.2f}" + ("" if interval is None else f" ({interval[0]:.2f}-{interval[1]:.2f})")


@dataclass
class Scored:
    """One CT of a pair. ``together``: the logit of all simple measurements."""

    pair: Pair
    synthetic: bool
    logits: dict[str, float]
    simple: dict[str, float]
    gradient: np.ndarray
    together: float = 0.0


def scored(found: Sequence[Pair], folds: int, steps: int) -> list[Scored]:
    """Every tumor by a network and a logistic regression that were trained on other patients."""
    order = np.random.default_rng(3).permutation(len(found))
    tested = [{found[i].name for i in order[fold::folds]} for fold in range(folds)]
    rows: list[Scored] = []
    for fold, names in enumerate(tqdm(tested, desc="folds")):
        network = train([pair for pair in found if pair.name not in names], steps, fold)
        for pair in found:
            if pair.name not in names:
                continue
            for ct in (pair.real, *pair.implants):
                logits = {name: score(network, pair, hide(ct, pair)) for name, hide in HIDDEN.items()}
                simple = measurements(pair, ct)
                rows.append(Scored(pair, ct is not pair.real, logits, simple, saliency(network, pair, ct)))
    for names in tested:
        learned = [row for row in rows if row.pair.name not in names]
        machine = make_pipeline(StandardScaler(), LogisticRegression(C=0.3))
        machine.fit([list(row.simple.values()) for row in learned], [row.synthetic for row in learned])
        for row in rows:
            if row.pair.name in names:
                row.together = float(machine.decision_function([list(row.simple.values())])[0])
    return rows


def recognized(rows: Sequence[Scored], value: Callable[[Scored], float]) -> str:
    """In how many pairs the implant's value is the higher one."""
    real = {row.pair.name: value(row) for row in rows if not row.synthetic}
    higher = [value(row) > real[row.pair.name] for row in rows if row.synthetic]
    return f"{sum(higher)} of {len(higher)}"


def report(rows: Sequence[Scored]) -> str:
    """Markdown: AUC of the network, of the network with parts hidden, of simple measurements."""
    synthetic, patients = [r.synthetic for r in rows], [r.pair.name for r in rows]
    lines = [
        "| what tells | AUC, all 24 CT | AUC, the six that the generator never saw | higher than its own real tumor |",
        "|---|---|---|---|",
    ]
    unseen = [i for i, r in enumerate(rows) if r.pair.held_out]

    def add(name: str, value: Callable[[Scored], float]) -> None:
        values = [value(row) for row in rows]
        apart = [[of[i] for i in unseen] for of in (values, synthetic, patients)]
        cells = (with_interval(values, synthetic, patients), with_interval(*apart), recognized(rows, value))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for name in rows[0].logits:
        add(f"network, {name}", lambda row, name=name: row.logits[name])  # type: ignore[misc]
    add("all simple measurements, logistic regression", lambda row: row.together)
    for name in rows[0].simple:
        add(f"{name} alone", lambda row, name=name: row.simple[name])  # type: ignore[misc]
    lines += ["", "| measured | real, median | implants, median |", "|---|---|---|"]
    for name in rows[0].simple:
        medians = (np.median([r.simple[name] for r in rows if r.synthetic == s]) for s in (False, True))
        lines.append(f"| {name} | " + " | ".join(f"{m:.2f}" for m in medians) + " |")
    return "\n".join(lines) + "\n"


def plot_saliency(rows: Sequence[Scored], path: Path) -> None:
    figure = Figure(figsize=(5.0, 3.0), layout="constrained")
    axis = figure.subplots()
    for synthetic, name in ((False, "real"), (True, "implants")):
        gradients = np.stack([r.gradient for r in rows if r.synthetic == synthetic])
        axis.plot((DEPTHS_MM[1:] + DEPTHS_MM[:-1]) / 2, np.nanmean(gradients, 0), label=name)
    axis.axvline(0.0, color="0.6", lw=0.8)
    axis.set_xlabel("depth into the tumor, mm (below 0: outside)")
    axis.set_ylabel("mean |gradient|")
    axis.legend(frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))


def picture(pair: Pair) -> dict[str, np.ndarray]:
    """The tumor's middle slice, real and as an implant."""
    z = int(np.argwhere(pair.mask)[:, 0].mean())
    return {"real": pair.real[z : z + 1], "implant": pair.implants[0][z : z + 1]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="implants of each tumor")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=300, help="of a classifier's training, 16 windows each")
    parser.add_argument("--bfloat16", action="store_true", help="sample in it, whatever the CPU")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)

    def load() -> Generator:
        generator = Generator.load(args.generator)
        generator.bfloat16 |= args.bfloat16
        return generator

    found = pairs(args.out / "pairs", load, args.seeds)
    rows = scored(found, args.folds, args.steps)
    (args.out / "real_against_synthetic.md").write_text(report(rows))
    print(report(rows))
    plot_saliency(rows, args.out / "saliency.png")
    save_sheet(args.out / "pairs.png", [picture(p) for p in found], (-100, 200), [f"{p.name}: {p.text}" for p in found])


if __name__ == "__main__":
    main()
