"""Draw the lesion matching rules of docs/benchmark.md; every verdict in the picture is the code's own."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nnunet_textomorph.matching import match_lesions

SIDE = 14
Discs = list[tuple[float, float, float, int]]  # row, column, radius, label

CASES: list[tuple[str, Discs, Discs, float]] = [
    ("any overlap is enough", [(6, 5, 3.2, 2)], [(6, 10, 2.3, 2)], 0.0),
    ("missed, and a false positive", [(4, 4, 2.6, 2)], [(10, 10, 2.2, 2)], 0.0),
    ("one predicted, two real", [(7, 3, 2.2, 2), (7, 10, 2.2, 2)], [(7, 6.5, 4.2, 2)], 0.0),
    ("two predicted, one real", [(7, 6.5, 4.2, 2)], [(7, 3, 1.8, 2), (7, 10, 1.8, 2)], 0.0),
    ("corners touch: one lesion", [(4, 4, 2.3, 2), (8, 8, 2.3, 2)], [(9, 9, 1.8, 2)], 0.0),
    ("another tumor label counts too", [(7, 6, 3.0, 2)], [(7, 7, 2.6, 3)], 0.0),
    ("--min-overlap 0.5: too little", [(7, 5, 3.2, 2)], [(7, 9, 2.6, 2)], 0.5),
    ("touching labels: two lesions", [(7, 4, 2.4, 2), (7, 9, 2.4, 3)], [(7, 3, 1.6, 2)], 0.0),
]


def label_map(discs: Discs) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    made = np.zeros((1, SIDE, SIDE), np.uint8)
    for row, column, radius, label in discs:
        made[0][(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = label
    return made


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/lesion_matching.png"))
def main(out: Path) -> None:
    figure = Figure(figsize=(10, 6.1), dpi=110, layout="constrained", facecolor="white")
    for panel, (title, real, predicted, least) in zip(figure.subplots(2, 4).ravel(), CASES, strict=True):
        truth, made = label_map(real), label_map(predicted)
        matches = match_lesions(truth, made, [2, 3], min_overlap=least)
        picture = np.zeros((SIDE, SIDE), int)
        for color, lesions in ((1, matches.found), (2, matches.missed)):
            for lesion in lesions:
                picture[lesion.box[1:]][lesion.mask[0]] = color
        panel.imshow(picture, cmap=ListedColormap(["#f2f2f2", "#7fc08a", "#e2918a"]), vmin=0, vmax=2)
        false = np.zeros((SIDE, SIDE), bool)
        for lesion in matches.false_positives:
            false[lesion.box[1:]][lesion.mask[0]] = True
        for label, style in ((2, "-"), (3, "--")):
            for mask, color in ((made[0] == label, "#1f4fa3"), (truth[0] == label, "#333333")):
                _outline(panel, mask & ~false, color, style)
        _outline(panel, false, "#e07b00", "-")
        verdict = f"{len(matches.found)} found, {len(matches.missed)} missed, {len(matches.false_positives)} false pos."
        panel.set_title(f"{title}\n{verdict}", fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.supxlabel(
        "filled: real lesions, green found, red missed; blue outline: predicted; orange: false positive; "
        "dashed: another tumor label",
        fontsize=9,
    )
    FigureCanvasAgg(figure).print_png(str(out), metadata={"Software": None})
    click.echo(f"wrote {out}")


def _outline(panel, mask: np.ndarray, color: str, style: str) -> None:
    """The voxels' own borders."""
    padded = np.pad(mask, 1)
    for axis in (0, 1):
        for row, column in np.argwhere(np.diff(padded.astype(int), axis=axis) != 0):
            r, c = row - 0.5, column - 0.5
            ends = ([c - 1, c], [r, r]) if axis == 0 else ([c, c], [r - 1, r])
            panel.plot(*ends, color=color, ls=style, lw=1.8, solid_capstyle="round")


if __name__ == "__main__":
    main()
