"""One case's prediction against its labels: lesions found and missed, false positives, DSC and NSD, per host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.matching import Lesion, match_lesions
from nnunet_textomorph.metrics import dice, normalized_surface_dice
from nnunet_textomorph.missed import file_digest
from nnunet_textomorph.nnunet_files import Validated, check_grid, check_unchanged, read_label_map
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.shapes import equivalent_diameter, size_class

OVERALL = "all"  # hosts


class LesionScore(BaseModel):
    """One real lesion. ``overlap``: share of it that was predicted; ``centroid`` in voxels (z, y, x)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tumor: str
    host: str
    size: str
    diameter_mm: float
    centroid: tuple[float, float, float]
    overlap: float
    found: bool


class HostScore(BaseModel):
    """Tumors in one host, or in ``all``. ``dsc`` and ``nsd``: null where no real tumor is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str
    dsc: float | None
    nsd: float | None
    false_positives: int


class CaseScore(BaseModel):
    """What one case gave. ``lesions`` are in the same order for every method, as they follow from the labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    fold: int | None
    labels_sha256: str
    predicted_sha256: str
    lesions: tuple[LesionScore, ...]
    hosts: tuple[HostScore, ...]

    def host(self, name: str) -> HostScore:
        return next(score for score in self.hosts if score.host == name)


class Rules(BaseModel):
    """What is the same for all cases. ``labels``: of dataset.json, as values; ``tolerance_mm``: of the NSD."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: TextoMorphPlans
    known_values: tuple[int, ...]
    ignore: int | None
    tolerance_mm: float
    min_overlap: float


def score_case(case: Validated, reader: Any, rules: Rules) -> CaseScore:
    """Read, check and score one case.

    Raises :class:`UserError` naming the file for another grid (shape, spacing, and of given predictions orientation
    and origin), labels that the dataset does not have, and labels that changed since the validation.
    """
    for path in (case.labels, case.predicted):
        if not path.is_file():
            raise UserError(f"{path}: no such file; it is needed for {case.name}. Predict or validate the case again.")
    truth, predicted = read_label_map(reader, case.labels), read_label_map(reader, case.predicted)
    check_grid(case, truth, predicted)
    _check_values(case, truth.array, predicted.array, rules.known_values)
    check_unchanged(case, truth.array, rules.ignore)
    lesions, hosts = score_arrays(truth.array, predicted.array, truth.spacing, rules)
    return CaseScore(
        case=case.name,
        fold=case.fold,
        labels_sha256=file_digest(case.labels),
        predicted_sha256=file_digest(case.predicted),
        lesions=lesions,
        hosts=hosts,
    )


def score_arrays(
    truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float], rules: Rules
) -> tuple[tuple[LesionScore, ...], tuple[HostScore, ...]]:
    """Lesions and hosts of two label maps (D, H, W) on one grid of ``spacing`` mm.

    With several hosts every voxel belongs to the nearest of them (by the labels), so that tumors that bulge out of
    their host still count as its own; tumors of all labels count as one mask for DSC and NSD.
    """
    plan = rules.plan
    names = {value: name for name, value in plan.tumors.items()}
    if rules.ignore is not None:
        predicted = np.where(truth == rules.ignore, 0, predicted)
    matches = match_lesions(truth, predicted, list(names), min_overlap=rules.min_overlap)
    real, made = np.isin(truth, list(names)), np.isin(predicted, list(names))
    owner, hosts = _owners(truth, spacing, plan)

    found = {_place(lesion) for lesion in matches.found}
    lesions = []
    for lesion in sorted([*matches.found, *matches.missed], key=_place):
        diameter = equivalent_diameter(lesion.mask, spacing)
        lesions.append(
            LesionScore(
                tumor=names[lesion.label],
                host=_owner_of(lesion, owner, hosts),
                size=size_class(diameter),
                diameter_mm=round(diameter, 3),
                centroid=_centroid(lesion),
                overlap=lesion.overlap,
                found=_place(lesion) in found,
            )
        )
    owners = [_owner_of(lesion, owner, hosts) for lesion in matches.false_positives]
    scores = [_host_score(OVERALL, real, made, spacing, rules, len(owners))]
    if len(hosts) > 1:
        for index, host in enumerate(hosts):
            here = owner == index
            scores.append(_host_score(host, real & here, made & here, spacing, rules, owners.count(host)))
    else:
        scores.append(scores[0].model_copy(update={"host": hosts[0]}))
    return tuple(lesions), tuple(scores)


def _host_score(
    host: str, real: np.ndarray, made: np.ndarray, spacing: Sequence[float], rules: Rules, false_positives: int
) -> HostScore:
    if not real.any():
        return HostScore(host=host, dsc=None, nsd=None, false_positives=false_positives)
    nsd = normalized_surface_dice(real, made, spacing, rules.tolerance_mm)
    return HostScore(host=host, dsc=dice(real, made), nsd=nsd, false_positives=false_positives)


def _owners(truth: np.ndarray, spacing: Sequence[float], plan: TextoMorphPlans) -> tuple[np.ndarray | None, list[str]]:
    """The index of the nearest host of each voxel, and the hosts; no array where all belong to one."""
    hosts = list(plan.hosts)
    if len(hosts) == 1:
        return None, hosts
    own = np.full(truth.shape, -1, np.int16)
    for index, name in enumerate(hosts):
        own[np.isin(truth, plan.values_of([name]))] = index
    if (own < 0).all():
        return np.zeros(truth.shape, np.int16), hosts
    nearest = ndimage.distance_transform_edt(own < 0, spacing, return_distances=False, return_indices=True)
    return own[tuple(nearest)], hosts


def _owner_of(lesion: Lesion, owner: np.ndarray | None, hosts: Sequence[str]) -> str:
    if owner is None:
        return hosts[0]
    return hosts[int(np.bincount(owner[lesion.box][lesion.mask], minlength=len(hosts)).argmax())]


def _place(lesion: Lesion) -> tuple[int, tuple[int, ...], tuple[int, ...], int]:
    """What tells a lesion of a label map from any other, and orders them."""
    starts, stops = tuple(b.start for b in lesion.box), tuple(b.stop for b in lesion.box)
    return lesion.label, starts, stops, int(np.flatnonzero(lesion.mask)[0])


def _centroid(lesion: Lesion) -> tuple[float, float, float]:
    middle = np.argwhere(lesion.mask).mean(axis=0)
    z, y, x = (round(float(v) + b.start, 1) for v, b in zip(middle, lesion.box, strict=True))
    return z, y, x


def _check_values(case: Validated, truth: np.ndarray, predicted: np.ndarray, known: Sequence[int]) -> None:
    for path, array in ((case.predicted, predicted), (case.labels, truth)):
        odd = sorted(set(np.unique(array).tolist()) - set(known))
        if odd:
            raise UserError(
                f"{path}: holds the label {odd[0]}, which dataset.json does not have ({', '.join(map(str, known))}); "
                "it is of another dataset or label set."
            )


def known_values(labels: Mapping[str, int | list[int]]) -> tuple[int, ...]:
    """All values that a label map of the dataset may hold."""
    values: set[int] = {0}
    for value in labels.values():
        values |= set(value) if isinstance(value, list) else {value}
    return tuple(sorted(values))
