"""A vision model describes tumors in pictures (paper section III-C), held against what was measured.

Attenuation and size are always the measured ones; of texture, composition and margin the model's word counts, where the
lesion is large enough to show them. Every disagreement is said.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .client import ChatModel, Message, RefusedError
from .describer import LesionDescription, describe_lesions, lesion_masks
from .descriptors import Descriptors
from .engines import ask
from .phrasing import describe
from .prompts import UnusableError, ViewsAnswer, view_messages

WINDOW_HU = (-150.0, 250.0)  # soft tissue
AROUND_MM = 40.0
BAR_MM = 20.0
PIXELS = 512
SIZE_SLACK = 0.3  # of the measured size, and at least 5 mm, by which the model's may differ
_AXES = ("axial", "coronal", "sagittal")


class ViewedLesion(NamedTuple):
    """A lesion as measured, what counts of both descriptions, and where they disagree."""

    measured: LesionDescription
    descriptors: Descriptors
    description: str
    checks: tuple[str, ...]


def describe_views(
    ct_hu: np.ndarray,
    segmentation: np.ndarray,
    spacing: Sequence[float],
    host_labels: Sequence[int],
    tumor_labels: Sequence[int],
    organ: str | None,
    model: ChatModel,
) -> Iterator[ViewedLesion]:
    """Every lesion of a segmentation; arguments and errors as of :func:`~.describer.describe_lesions`.

    Raises :class:`~.client.StoppedError` if the endpoint gives no answer at all.
    """
    measured = describe_lesions(ct_hu, segmentation, spacing, host_labels, tumor_labels, organ)
    for lesion, messages in zip(
        measured, lesion_messages(ct_hu, segmentation, spacing, tumor_labels, organ), strict=True
    ):
        try:
            answer = ask(model, messages, ViewsAnswer)
            descriptors, checks = compare(lesion, answer)
        except (UnusableError, RefusedError) as error:
            descriptors, checks = lesion.descriptors, (f"no usable answer: {error}",)
        yield ViewedLesion(lesion, descriptors, describe(descriptors), checks)


def lesion_messages(
    ct_hu: np.ndarray,
    segmentation: np.ndarray,
    spacing: Sequence[float],
    tumor_labels: Sequence[int],
    organ: str | None,
) -> Iterator[list[Message]]:
    """The prompt for every lesion. Nothing of the file's name or header is in it."""
    for _, mask in lesion_masks(segmentation, tumor_labels):
        urls = [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in draw_views(ct_hu, mask, spacing)]
        yield view_messages(organ, urls)


def compare(lesion: LesionDescription, answer: ViewsAnswer) -> tuple[Descriptors, tuple[str, ...]]:
    """What counts of a model's description of a measured lesion, and what the two disagree on."""
    values: dict[str, Any] = lesion.descriptors.model_dump()
    checks = []
    for name, said in answer.model_dump(exclude_none=True).items():
        measured = values[name]
        if name in ("texture", "composition", "margin"):
            if lesion.too_small:
                checks.append(f"{name}: {said} rejected, the lesion is under 10 mm")
                continue
            values[name] = said
        if not _agree(name, said, measured):
            shown = f"{measured:.0f}" if isinstance(measured, float) else measured
            checks.append(f"{name}: the model says {said}, measured {shown}")
    return Descriptors(**values), tuple(checks)


def _agree(name: str, said: Any, measured: Any) -> bool:
    if measured is None:
        return name != "attenuation"
    if name == "size_mm":
        return bool(abs(said - measured) <= max(5.0, SIZE_SLACK * measured))
    return bool(said == measured)


def draw_views(ct_hu: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> list[bytes]:
    """PNG of three orthogonal planes through the widest place of a lesion: outlined, with a bar of 20 mm.

    ``ct_hu`` (D, H, W) in HU, ``mask`` bool (D, H, W), ``spacing`` mm (z, y, x).
    """
    box = [(int(i.min()), int(i.max())) for i in np.nonzero(mask)]
    images = []
    for axis, name in enumerate(_AXES):
        others = [a for a in range(3) if a != axis]
        index = int(mask.sum(axis=tuple(others)).argmax())
        window = [
            slice(max(0, box[a][0] - int(AROUND_MM / spacing[a])), box[a][1] + int(AROUND_MM / spacing[a]) + 1)
            for a in others
        ]
        plane = ct_hu.take(index, axis=axis)[tuple(window)]
        outline = mask.take(index, axis=axis)[tuple(window)]
        images.append(_draw(plane, outline, [spacing[a] for a in others], name))
    return images


def _draw(plane: np.ndarray, outline: np.ndarray, spacing: Sequence[float], name: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = plane.shape[0] * spacing[0], plane.shape[1] * spacing[1]
    figure = Figure(figsize=(4, 4), dpi=PIXELS / 4, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    up = name != "axial"  # z grows towards the head
    extent = (0.0, width, 0.0, height) if up else (0.0, width, height, 0.0)
    origin: Any = "lower" if up else "upper"
    axes.imshow(plane, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=extent, origin=origin)
    y = (np.arange(plane.shape[0]) + 0.5) * spacing[0]
    x = (np.arange(plane.shape[1]) + 0.5) * spacing[1]
    axes.contour(x, y, outline.astype(float), levels=[0.5], colors="yellow", linewidths=0.8)
    low, high = (0.06, 0.03) if up else (0.94, 0.97)
    axes.plot([0.05 * width, 0.05 * width + BAR_MM], [low * height] * 2, color="cyan", linewidth=2)
    axes.text(0.05 * width + BAR_MM + 2, high * height, f"{BAR_MM:.0f} mm  {name}", color="cyan", fontsize=9)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()
