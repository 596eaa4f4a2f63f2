"""Requests: which tumor, described how, is to be put where.

Eq. 3: a random shape, a description from the bank. Eq. 4: a missed lesion's shape and description. Eq. 5: a class's
description, a random shape of its sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_textomorph.bank import draw
from nnunet_textomorph.classes import TumorClass
from nnunet_textomorph.generator.implant import BORDER_MM
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.llm_reports.bank import DescriptionBank
from nnunet_textomorph.missed import MissedShape
from nnunet_textomorph.plan import TextoMorphPlans, pathology_of
from nnunet_textomorph.shapes import equivalent_diameter, random_diameter, random_shape, varied_shape

PLACES = 20  # host voxels tried as a shape's centre
SHRINKS = 3  # times that a random shape without room is drawn anew, smaller
SHRINK = 0.7
LESIONS = 4  # missed lesions tried, until one has room
SIZE_JITTER = 1.15  # the most that a class's size is scaled up or down


@dataclass(frozen=True)
class Request:
    """One tumor to synthesize: ``text``, ``mask`` bool (D, H, W), the ``label`` that its voxels get, and its kind."""

    text: str
    mask: np.ndarray
    label: int
    kind: str = "random"


@dataclass(frozen=True)
class Sources:
    """What requests are drawn from. ``mix``: weights of the kinds; ``missed`` and ``classes`` as the kinds need them.

    ``banks``: of tumor labels whose host is another organ than the ``bank``'s. ``lesions``: values of the segmentation
    that nothing is put on; the plan's tumors if empty.
    """

    bank: DescriptionBank
    mix: Mapping[str, float] = field(default_factory=lambda: {"random": 1.0})
    missed: tuple[MissedShape, ...] = ()
    classes: Mapping[str, TumorClass] = field(default_factory=dict)
    lesions: tuple[int, ...] = ()
    banks: Mapping[str, DescriptionBank] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that may be asked for, the missed lesions' first."""
        missed = (text for shape in self.missed for text in shape.texts)
        others = (text for bank in self.banks.values() for text in bank.texts)
        return tuple(dict.fromkeys((*missed, *self.bank.texts, *others)))


def draw_request(
    segmentation: np.ndarray,
    spacing: Spacing,
    plan: TextoMorphPlans,
    sources: Sources,
    rng: np.random.Generator,
    kept: Sequence[int] | None = None,
    case: str | None = None,
) -> Request | None:
    """A request of a kind drawn by ``sources.mix`` for a segmentation (D, H, W) of ``case``; None without room.

    ``kept``: the size in voxels of the middle part in which tumors are to have their centres; None for all of it.
    """
    kind = _weighted(sources.mix, rng)
    if kind == "targeted":
        return targeted_request(segmentation, spacing, plan, sources.missed, rng, kept, case, sources.lesions)
    if kind == "class_specific":
        return class_request(segmentation, spacing, plan, sources.classes, rng, kept, sources.lesions)
    return random_request(segmentation, spacing, plan, sources.bank, rng, kept, sources.lesions, sources.banks)


def random_request(
    segmentation: np.ndarray,
    spacing: Spacing,
    plan: TextoMorphPlans,
    bank: DescriptionBank,
    rng: np.random.Generator,
    kept: Sequence[int] | None = None,
    lesions: Sequence[int] = (),
    banks: Mapping[str, DescriptionBank] | None = None,
) -> Request | None:
    """Eq. 3: a random tumor in the host tissue of a segmentation (D, H, W); None where there is no room.

    A tumor that does not fit is drawn anew, smaller, a few times: a small host then gets small tumors. ``kept`` as of
    :func:`draw_request`; ``lesions`` and ``banks`` as of :class:`Sources`.
    """
    name = str(rng.choice(list(plan.tumors)))
    diameter = random_diameter(plan.size_mix, rng, smallest_mm=plan.smallest_mm, largest_mm=plan.largest_mm)
    mask = _random_mask(segmentation, spacing, plan, name, diameter, rng, kept, lesions)
    bank = (banks or {}).get(name, bank)
    if mask is None:
        return None
    text = draw(bank, rng, pathology_of(name), equivalent_diameter(mask, spacing))
    return Request(text, mask, plan.tumors[name])


def targeted_request(
    segmentation: np.ndarray,
    spacing: Spacing,
    plan: TextoMorphPlans,
    missed: Sequence[MissedShape],
    rng: np.random.Generator,
    kept: Sequence[int] | None = None,
    case: str | None = None,
    lesions: Sequence[int] = (),
) -> Request | None:
    """Eq. 4: a lesion that was missed in another case, varied a little, in this one's host; None where none has room.

    Never one of ``case`` itself. Its mask is mirrored, turned and scaled a little, its text its description or one of
    that's variants. Other arguments as of :func:`random_request`.
    """
    others = [shape for shape in missed if shape.case != case]
    if not others:
        return None
    for index in rng.permutation(len(others))[:LESIONS]:
        chosen = others[index]
        room = _room(segmentation, plan, plan.hosts_like(chosen.host), kept, lesions)
        if room is None:
            continue
        shape = varied_shape(chosen.mask, chosen.spacing, spacing, rng)
        mask = _placed(shape, room, spacing, plan, rng)
        if mask is not None:
            return Request(str(rng.choice(chosen.texts)), mask, plan.tumors[chosen.tumor], "targeted")
    return None


def class_request(
    segmentation: np.ndarray,
    spacing: Spacing,
    plan: TextoMorphPlans,
    classes: Mapping[str, TumorClass],
    rng: np.random.Generator,
    kept: Sequence[int] | None = None,
    lesions: Sequence[int] = (),
) -> Request | None:
    """Eq. 5: a random shape of a wanted class: its description, its label, the size of one of its lesions or near it.

    The class is drawn by its weight. One without lesions in the fold gets sizes by the plan's ``size_mix``. Other
    arguments as of :func:`random_request`.
    """
    name = _weighted({name: each.weight for name, each in classes.items()}, rng)
    chosen = classes[name]
    if chosen.diameters_mm:
        jitter = float(np.exp(rng.uniform(-1, 1) * np.log(SIZE_JITTER)))
        diameter = float(np.clip(rng.choice(chosen.diameters_mm) * jitter, plan.smallest_mm, plan.largest_mm))
    else:
        diameter = random_diameter(plan.size_mix, rng, smallest_mm=plan.smallest_mm, largest_mm=plan.largest_mm)
    mask = _random_mask(segmentation, spacing, plan, name, diameter, rng, kept, lesions)
    if mask is None:
        return None
    text = chosen.bank.draw(rng, size_mm=equivalent_diameter(mask, spacing))
    return Request(text, mask, plan.tumors[name], "class_specific")


def _random_mask(
    segmentation: np.ndarray,
    spacing: Spacing,
    plan: TextoMorphPlans,
    name: str,
    diameter: float,
    rng: np.random.Generator,
    kept: Sequence[int] | None,
    lesions: Sequence[int],
) -> np.ndarray | None:
    """A random shape in the hosts of a tumor label; smaller ones where there is no room for the first."""
    room = _room(segmentation, plan, plan.hosts_of(name), kept, lesions)
    if room is None:
        return None
    for _ in range(1 + SHRINKS):
        shape = random_shape(diameter, spacing, rng)
        mask = _placed(shape, room, spacing, plan, rng)
        if mask is not None:
            return mask
        diameter = max(plan.smallest_mm, SHRINK * diameter)
    return None


@dataclass(frozen=True)
class _Room:
    """Bool arrays (D, H, W): host tissue, where tumors may have their centres, and what is taken by lesions."""

    host: np.ndarray
    centres: np.ndarray
    taken: np.ndarray


def _placed(
    shape: np.ndarray, room: _Room, spacing: Spacing, plan: TextoMorphPlans, rng: np.random.Generator
) -> np.ndarray | None:
    """As :func:`place`, so far from the lesions that are there that the blended border reaches none of them."""
    gap = [int(np.ceil(BORDER_MM[1] / s)) for s in spacing]
    return place(
        shape, room.host, rng, inside_share=plan.inside_share, forbidden=room.taken, gap=gap, centres=room.centres
    )


def _room(
    segmentation: np.ndarray,
    plan: TextoMorphPlans,
    hosts: Sequence[str],
    kept: Sequence[int] | None,
    lesions: Sequence[int],
) -> _Room | None:
    host = np.isin(segmentation, plan.values_of(hosts))
    centres = host if kept is None else host & _middle(host.shape, kept)
    if not centres.any():
        return None
    return _Room(host, centres, np.isin(segmentation, list(lesions or plan.tumors.values())))


def _weighted(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    names = list(weights)
    share = np.array([weights[name] for name in names], dtype=float)
    return names[int(rng.choice(len(names), p=share / share.sum()))]


def place(
    shape: np.ndarray,
    host_mask: np.ndarray,
    rng: np.random.Generator,
    *,
    inside_share: float = 0.8,
    forbidden: np.ndarray | None = None,
    gap: Sequence[int] = (0, 0, 0),
    centres: np.ndarray | None = None,
) -> np.ndarray | None:
    """Put a shape (bool, its bounding box) about a random voxel of ``centres`` (the host's, by default).

    Returns bool (D, H, W), or None without room. At least ``inside_share`` of the shape lies in ``host_mask`` (bool,
    (D, H, W)), all of it in the array, and nothing of ``forbidden`` in its box or within ``gap`` voxels of it.
    """
    candidates = np.flatnonzero(host_mask if centres is None else centres)
    size = np.array(shape.shape)
    if not candidates.size or (size > host_mask.shape).any():
        return None
    for index in rng.choice(candidates, PLACES):
        start = np.array(np.unravel_index(index, host_mask.shape)) - size // 2
        if (start < 0).any() or (start + size > host_mask.shape).any():
            continue
        box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        if host_mask[box][shape].mean() < inside_share:
            continue
        if forbidden is not None:
            wide = tuple(slice(max(0, b.start - n), b.stop + n) for b, n in zip(box, gap, strict=True))
            if forbidden[wide].any():
                continue
        mask = np.zeros(host_mask.shape, bool)
        mask[box] = shape
        return mask
    return None


def _middle(shape: Sequence[int], kept: Sequence[int]) -> np.ndarray:
    """Bool array of ``shape`` that is true in a box of the size ``kept`` in its middle."""
    middle = np.zeros(shape, bool)
    middle[tuple(slice((n - min(n, k)) // 2, (n + min(n, k)) // 2) for n, k in zip(shape, kept, strict=True))] = True
    return middle
