"""Sample sheets: what the network makes at this point of its training, as PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .files import replacing


def save_sheet(
    path: Path,
    rows: Sequence[Mapping[str, np.ndarray]],
    window_hu: tuple[float, float],
    titles: Sequence[str] = (),
) -> None:
    """One row per example, one column per named volume: the middle axial slices of (D, H, W) arrays in HU."""
    columns = list(rows[0])
    figure = Figure(figsize=(2.1 * len(columns), 2.25 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, row in enumerate(rows):
        for j, name in enumerate(columns):
            volume = row[name]
            panel = axes[i, j]
            low, high = window_hu if name != "difference" else (-60.0, 60.0)
            panel.imshow(volume[volume.shape[0] // 2], cmap="gray", vmin=low, vmax=high)
            panel.set_axis_off()
            if i == 0 or not titles:
                panel.set_title(name, fontsize=7)
        if titles:
            axes[i, -1].set_title(textwrap.fill(titles[i], 34), fontsize=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
