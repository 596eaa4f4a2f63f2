"""Pictures in three planes through a tumor: of an implant before and after, and of a lesion that was missed."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy import ndimage

PLANES = ("axial", "coronal", "sagittal")  # the planes normal to z, y and x
CONTEXT_MM = 20.0  # how much around the tumor is shown


def save_preview(
    path: str | os.PathLike[str],
    before_hu: np.ndarray,
    after_hu: np.ndarray,
    tumor_mask: np.ndarray,
    spacing: Sequence[float],
    title: str,
    window: tuple[float, float] = (-175, 250),
) -> None:
    """Write a PNG: rows before (with the mask's outline), after, difference; columns axial, coronal, sagittal.

    Arrays (D, H, W) = (z, y, x) on one grid, HU and bool; ``spacing`` in mm in the same order. Drawn in millimetres
    (so never squeezed), zoomed on the tumor and 20 mm around it. With z pointing to the head, y to the back and x to
    the left (LPS, what DICOM has) the planes appear as radiologists look at them. ``window`` in HU.
    Raises ``ValueError`` for an empty mask. Uses no global state of matplotlib, so workers may call it.
    """
    if not tumor_mask.any():
        raise ValueError("the tumor mask is empty, so there is nothing to show")
    centre = mask_centre(tumor_mask)
    half = _half_width_mm(tumor_mask, spacing)
    difference = after_hu.astype(np.float32) - before_hu.astype(np.float32)
    limit = max(50.0, float(np.percentile(np.abs(difference[tumor_mask]), 99)))

    figure = Figure(figsize=(9.6, 9.9), dpi=100, facecolor="white", layout="constrained")
    figure.suptitle(_wrap(title), fontsize=10)
    axes = figure.subplots(3, 3, squeeze=False)
    gray = {"cmap": "gray", "vmin": window[0], "vmax": window[1]}
    rows = (
        ("before, outline: mask", before_hu, gray),
        ("after", after_hu, gray),
        ("difference", difference, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}),
    )
    for row, (name, volume, style) in enumerate(rows):
        for axis, plane in enumerate(PLANES):
            panel = axes[row, axis]
            drawn = _draw(panel, volume, axis, centre, spacing, half, style)
            if row == 0:
                panel.set_title(plane, fontsize=9)
                _outline(panel, tumor_mask, axis, centre, spacing)
            if axis == 0:
                panel.set_ylabel(name, fontsize=9)
        bar = figure.colorbar(drawn, ax=list(axes[row]), fraction=0.03, pad=0.01)
        bar.set_label("HU", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    _save(figure, Path(path))


def save_missed_picture(
    path: str | os.PathLike[str],
    ct_hu: np.ndarray,
    lesion: np.ndarray,
    predicted: np.ndarray,
    spacing: Sequence[float],
    title: str,
    window: tuple[float, float] = (-175, 250),
) -> None:
    """Write a PNG of a missed lesion in the planes of :func:`save_preview`: it in yellow, predicted tumors in blue.

    Arrays (D, H, W) on one grid, HU and bool; the lesion is not empty.
    """
    centre = mask_centre(lesion)
    half = _half_width_mm(lesion, spacing)
    figure = Figure(figsize=(9.6, 3.7), dpi=100, facecolor="white", layout="constrained")
    figure.suptitle(_wrap(title), fontsize=10)
    for axis, (panel, plane) in enumerate(zip(figure.subplots(1, 3), PLANES, strict=True)):
        _draw(panel, ct_hu, axis, centre, spacing, half, {"cmap": "gray", "vmin": window[0], "vmax": window[1]})
        panel.set_title(plane, fontsize=9)
        _outline(panel, lesion, axis, centre, spacing)
        if np.take(predicted, centre[axis], axis=axis).any():
            _outline(panel, predicted, axis, centre, spacing, "#40a0ff")
    _save(figure, Path(path))


def mask_centre(mask: np.ndarray) -> tuple[int, int, int]:
    """The voxel (z, y, x) of a non-empty mask that is nearest to its centre of mass."""
    voxels = np.argwhere(mask)
    nearest = np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))
    z, y, x = (int(v) for v in voxels[nearest])
    return z, y, x


def _half_width_mm(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Half the side of the square that is shown in every plane, in mm: the tumor's longest side and context."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    longest = max((part.stop - part.start) * step for part, step in zip(box, spacing, strict=True))
    return longest / 2 + CONTEXT_MM


def _draw(
    panel: Axes,
    volume: np.ndarray,
    axis: int,
    centre: Sequence[int],
    spacing: Sequence[float],
    half: float,
    style: dict,
) -> AxesImage:
    """Draw the plane normal to ``axis`` through ``centre``; the axes of the panel are millimetres from the origin."""
    image = np.take(volume, centre[axis], axis=axis)
    vertical, horizontal = (i for i in range(3) if i != axis)
    height, width = image.shape[0] * spacing[vertical], image.shape[1] * spacing[horizontal]
    drawn = panel.imshow(image, extent=(0, width, 0, height), origin="lower", interpolation="nearest", **style)
    x, y = ((centre[i] + 0.5) * spacing[i] for i in (horizontal, vertical))
    panel.set_xlim(x - half, x + half)
    # in the axial plane rows run from front to back, in the others from feet to head
    panel.set_ylim((y + half, y - half) if axis == 0 else (y - half, y + half))
    panel.set_aspect("equal")
    panel.set_facecolor("black")
    panel.set_xticks([])
    panel.set_yticks([])
    return drawn


def _outline(
    panel: Axes, mask: np.ndarray, axis: int, centre: Sequence[int], spacing: Sequence[float], color: str = "#ffd000"
) -> None:
    # padded, so that a tumor of one voxel or at the image's edge has a closed outline too
    plane = np.pad(np.take(mask, centre[axis], axis=axis).astype(np.float32), 1)
    vertical, horizontal = (i for i in range(3) if i != axis)
    x = (np.arange(plane.shape[1]) - 0.5) * spacing[horizontal]
    y = (np.arange(plane.shape[0]) - 0.5) * spacing[vertical]
    panel.contour(x, y, plane, levels=[0.5], colors=color, linewidths=0.8)


def _wrap(title: str, width: int = 110, lines: int = 3) -> str:
    return textwrap.fill(title.replace("$", r"\$"), width, max_lines=lines, placeholder=" …")


def _save(figure: Figure, path: Path) -> None:
    """Write the PNG under a temporary name first, so that a killed run leaves no half-written file."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata={"Software": None})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
