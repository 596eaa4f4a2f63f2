"""What a classifier is trained on: patches centred on lesions, real and synthetic, classes drawn evenly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from threadpoolctl import threadpool_limits
from torch import Tensor

from nnunet_textomorph.classes import TumorClass
from nnunet_textomorph.classifier_cases import CaseContent, ClassNames, Example
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans
from nnunet_textomorph.requests import class_request
from nnunet_textomorph.shapes import random_shape
from nnunet_textomorph.transform import TextoMorphTransform, TrainingStopped, new_rng

JITTER = 1 / 16  # of the patch: how far from its middle a lesion's centre lies in training, at most
MIDDLE = 1 / 4  # of the patch: where a synthetic tumor's centre lies; the patch is then centred on it
ENOUGH_CASES = 5  # with places free of lesions; fewer would be learnt by heart
TRIES = 20  # places tried for one synthetic tumor
FREE_PLACES = 50  # kept of a case

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """A case, and voxels of its host (n, 3). ``alike``: real lesions in the patch are of the wanted class."""

    case: str
    voxels: np.ndarray
    alike: bool = False


@dataclass(frozen=True)
class ExampleSource:
    """What examples are drawn from: ``real`` lesions per class, ``normals``, and where synthetic tumors may go.

    ``shares``: of synthetic examples, per class. ``normal``: place of that class, if there is one.
    """

    real: tuple[tuple[Example, ...], ...]
    normals: tuple[Place, ...]
    normal: int | None
    shares: tuple[float, ...]
    places: tuple[tuple[Place, ...], ...] = ()

    @property
    def drawable(self) -> list[int]:
        """Classes that there are examples of."""
        return [
            c
            for c in range(len(self.real))
            if (self.normals if c == self.normal else self.real[c] or (self.shares[c] > 0 and self.places[c]))
        ]


@dataclass(frozen=True)
class TumorMaker:
    """What synthetic tumors are made with. ``names``: of the classes; ``plan``: its tumors are those classes."""

    transform: TextoMorphTransform
    plan: TextoMorphPlans
    classes: Mapping[str, TumorClass]
    names: tuple[str, ...]
    lesions: tuple[int, ...]


def synthetic_shares(numbers: Sequence[int], share: float, weights: Sequence[float] | None = None) -> list[float]:
    """How many of each class's examples are synthetic, for classes of so many real lesions.

    ``share`` for a class of an average number. The odds of synthetic against real grow as the lesions get fewer: with
    0.5, a class of a third of the average gets 0.75, one of three times the average 0.25, and one without lesions 1.
    ``weights`` stand in the place of one over the numbers.
    """
    if share in (0.0, 1.0):
        return [share] * len(numbers)
    if weights is not None:
        relative = [w / float(np.mean(weights)) for w in weights]
    else:
        relative = [float(np.mean(numbers)) / n if n else np.inf for n in numbers]
    return [1.0 if r == np.inf else share * r / (share * r + 1 - share) for r in relative]


def real_examples(found: Sequence[Example], classes: ClassNames) -> tuple[tuple[Example, ...], ...]:
    """The examples of each class."""
    return tuple(tuple(x for x in found if x.true == place) for place in range(len(classes.names)))


def normal_places(cases: Sequence[str], contents: Mapping[str, CaseContent]) -> tuple[Place, ...]:
    """Host voxels of the cases without lesions."""
    return tuple(Place(case, contents[case].host) for case in cases)


def tumor_places(
    cases: Sequence[str],
    contents: Mapping[str, CaseContent],
    found: Sequence[Example],
    classes: ClassNames,
    patch_size: Sequence[int],
    only_synthetic: bool,
) -> tuple[tuple[Place, ...], ...]:
    """Per class, where a synthetic tumor of it may stand in the middle of a patch without making its class untrue.

    That is where the patch holds no real lesion. Where fewer than ``ENOUGH_CASES`` cases have such places (an organ
    that fits into one patch), cases whose lesions are all of the same class are taken too; with ``only_synthetic`` not
    as long as there is any other.
    """
    free = [Place(case, voxels) for case in cases if len(voxels := _free(contents[case], patch_size))]
    if len(free) >= ENOUGH_CASES or (only_synthetic and free):
        return (tuple(free),) * len(classes.names)
    with_free = {place.case for place in free}
    made = []
    for number in range(len(classes.names)):
        own = {x.case for x in found if x.true == number} - {x.case for x in found if x.true != number} - with_free
        alike = [Place(case, contents[case].host, True) for case in sorted(own) if len(contents[case].host)]
        made.append((*free, *alike))
    return tuple(made)


def _free(content: CaseContent, patch_size: Sequence[int]) -> np.ndarray:
    voxels = content.host
    size = np.array(patch_size)
    for lesion in content.lesions:
        start = voxels - size // 2
        low, high = np.array(lesion.box).T
        voxels = voxels[~((start < high) & (start + size > low)).all(1)]
    return voxels[:: max(1, len(voxels) // FREE_PLACES)]


class ClassifierLoader(nnUNetDataLoader):
    """nnU-Net's loader, of other patches: each centred on what is to be classified.

    Gives ``data`` (B, 1, D, H, W) float, ``target`` (B,) int64 classes, ``synthetic`` (B,) bool, ``keys``, and with
    ``lesion_masks`` also ``lesion`` (B, 1, D, H, W) bool: what features are averaged over. ``tumor_values``: those of
    lesions. ``maker``: None where nothing is synthesized.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        patch_size: Sequence[int],
        final_patch_size: Sequence[int],
        label_manager: Any,
        transforms: Any,
        source: ExampleSource,
        tumor_values: Sequence[int],
        spacing: Sequence[float],
        maker: TumorMaker | None = None,
        lesion_masks: bool = False,
        jitter: bool = True,
    ) -> None:
        super().__init__(data, batch_size, patch_size, final_patch_size, label_manager, transforms=transforms)
        self.source, self.maker, self.lesion_masks = source, maker, lesion_masks
        self.tumor_values = list(tumor_values)
        z, y, x = (float(s) for s in spacing)
        self.spacing = (z, y, x)
        self.jitter = np.array(final_patch_size) * (JITTER if jitter else 0.0)

    def generate_train_batch(self) -> dict[str, Any]:
        rng = new_rng()
        with torch.no_grad(), threadpool_limits(limits=1, user_api=None):
            drawn = [self._draw(rng) for _ in range(self.batch_size)]
            made = [self.transforms(image=x.image, segmentation=x.segmentation) for x in drawn]
        batch = {
            "data": torch.stack([x["image"] for x in made]).float(),
            "target": torch.tensor([x.true for x in drawn]),
            "synthetic": torch.tensor([x.synthetic for x in drawn]),
            "keys": [x.case for x in drawn],
        }
        if self.lesion_masks:
            batch["lesion"] = torch.stack([x["segmentation"][1:2] for x in made]) > 0
        return batch

    def _draw(self, rng: np.random.Generator) -> _Sample:
        if self.maker is not None:
            self.maker.transform.counters.patch()
        true = int(rng.choice(self.source.drawable))
        if true == self.source.normal:
            return self._normal(true, rng)
        if self.maker is not None and rng.random() < self.source.shares[true]:
            made = self._synthetic(true, self.maker, rng)
            if made is not None:
                return made
        if self.maker is not None and (self.source.shares[true] == 1.0 or not self.source.real[true]):
            reason = (
                f"no synthetic tumor of the class {self.maker.names[true]} could be put into {TRIES} places; lower "
                f"smallest_mm or inside_share in {FILE_NAME}"
            )
            self.maker.transform.counters.fail(reason)
            raise TrainingStopped(reason)
        return self._real(self.source.real[true], true, rng)

    def _real(self, among: Sequence[Example], true: int, rng: np.random.Generator) -> _Sample:
        example = among[int(rng.integers(len(among)))]
        shift = np.rint(rng.uniform(-1, 1, 3) * self.jitter).astype(int)
        image, segmentation = self._crop(example.case, np.array(example.lesion.centre) + shift)
        mask = None
        if self.lesion_masks:
            mask = lesion_at(segmentation[0].numpy(), self.tumor_values, np.array(image.shape[1:]) // 2 - shift)
        return self._sample(example.case, true, False, image, segmentation, mask)

    def _normal(self, true: int, rng: np.random.Generator) -> _Sample:
        place, voxel = self._place(self.source.normals, rng)
        image, segmentation = self._crop(place.case, voxel)
        mask = None
        if self.lesion_masks:
            diameters = [x.lesion.diameter_mm for each in self.source.real for x in each]
            mask = mock_lesion(image.shape[1:], diameters, self.spacing, rng)
        return self._sample(place.case, true, False, image, segmentation, mask)

    def _synthetic(self, true: int, maker: TumorMaker, rng: np.random.Generator) -> _Sample | None:
        places = self.source.places[true]
        name = maker.names[true]
        if name not in maker.classes or not places:
            return None
        middle = [max(1, round(n * MIDDLE)) for n in self.final_patch_size]
        for _ in range(TRIES):
            place, voxel = self._place(places, rng)
            _, around = self._crop(place.case, voxel)
            request = class_request(
                around[0].numpy(), self.spacing, maker.plan, {name: maker.classes[name]}, rng, middle, maker.lesions
            )
            if request is None:
                maker.transform.counters.no_room()
                continue
            centre = np.rint(np.argwhere(request.mask).mean(0)).astype(int)
            shift = centre - np.array(request.mask.shape) // 2
            image, segmentation = self._crop(place.case, voxel + shift)
            if not place.alike and np.isin(_middle(segmentation[0], self.final_patch_size), self.tumor_values).any():
                continue
            request = replace(request, mask=moved(request.mask, -shift))
            made = maker.transform.put(image, segmentation, request, rng)
            if made is not None:
                return self._sample(place.case, true, True, *made, request.mask)
        return None

    def _place(self, among: Sequence[Place], rng: np.random.Generator) -> tuple[Place, np.ndarray]:
        place = among[int(rng.integers(len(among)))]
        return place, place.voxels[int(rng.integers(len(place.voxels)))]

    def _crop(self, case: str, centre: np.ndarray) -> tuple[Tensor, Tensor]:
        data, segmentation, _, _ = self._data.load_case(case)
        return crop(data, segmentation, centre, self.patch_size)

    def _sample(
        self, case: str, true: int, synthetic: bool, image: Tensor, segmentation: Tensor, mask: np.ndarray | None
    ) -> _Sample:
        if self.lesion_masks and mask is not None:
            segmentation = torch.cat([segmentation, torch.from_numpy(mask)[None].to(segmentation.dtype)])
        return _Sample(case, true, synthetic, image, segmentation)


@dataclass(frozen=True)
class _Sample:
    case: str
    true: int
    synthetic: bool
    image: Tensor = field(repr=False)
    segmentation: Tensor = field(repr=False)


def crop(
    data: Any, segmentation: Any, centre: Sequence[int] | np.ndarray, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Image (1, D, H, W) float and segmentation int16 of a size about a voxel; 0 and -1 outside of the case."""
    box = [[int(c) - int(n) // 2, int(c) - int(n) // 2 + int(n)] for c, n in zip(centre, size, strict=True)]
    image = torch.from_numpy(crop_and_pad_nd(data, box, 0)).float()
    return image, torch.from_numpy(crop_and_pad_nd(segmentation, box, -1, cast_cropped_to=np.int16)).to(torch.int16)


def lesion_at(segmentation: np.ndarray, tumor_values: Sequence[int], voxel: Sequence[int] | np.ndarray) -> np.ndarray:
    """Bool (D, H, W): the connected lesion of a label map that a voxel lies in."""
    import cc3d

    parts = cc3d.connected_components(np.isin(segmentation, list(tumor_values)), connectivity=26)
    number = parts[tuple(int(v) for v in voxel)]
    return parts == number if number else np.zeros(segmentation.shape, bool)


def moved(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A mask shifted by voxels; what leaves the array is cut off."""
    made = np.zeros_like(mask)
    voxels = np.argwhere(mask) + shift
    voxels = voxels[((voxels >= 0) & (voxels < mask.shape)).all(1)]
    made[tuple(voxels.T)] = True
    return made


def _middle(segmentation: Tensor, size: Sequence[int]) -> np.ndarray:
    starts = [(n - int(k)) // 2 for n, k in zip(segmentation.shape, size, strict=True)]
    return segmentation[tuple(slice(a, a + int(k)) for a, k in zip(starts, size, strict=True))].numpy()


def mock_lesion(
    shape: Sequence[int], diameters_mm: Sequence[float], spacing: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Bool (D, H, W): a random shape of a lesion's size in the middle, for where there is none."""
    z, y, x = (float(s) for s in spacing)
    blob = random_shape(float(rng.choice(diameters_mm)) if len(diameters_mm) else 15.0, (z, y, x), rng)
    mask = np.zeros(shape, bool)
    start = [n // 2 - k // 2 for n, k in zip(shape, blob.shape, strict=True)]
    inside = tuple(slice(max(0, a), min(n, a + k)) for a, k, n in zip(start, blob.shape, shape, strict=True))
    mask[inside] = blob[tuple(slice(i.start - a, i.stop - a) for i, a in zip(inside, start, strict=True))]
    return mask
