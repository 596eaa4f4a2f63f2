"""The transform that puts tumors into nnU-Net's training patches, first in its pipeline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

from nnunet_textomorph.bank import load_bank
from nnunet_textomorph.counters import InjectionCounters
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.implant import Implant, TumorGenerator, implant
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.plan import TextoMorphPlans
from nnunet_textomorph.preview import save_preview
from nnunet_textomorph.processes import exit_with_parent
from nnunet_textomorph.requests import Request, Sources, draw_request
from nnunet_textomorph.synthesis import SynthesisError


class TrainingStopped(KeyboardInterrupt):
    """Training cannot go on; the counters say why. nnU-Net's workers end on this kind without printing a traceback."""


class CurrentCase:
    """The case that a loader read last, in its own process: whose patch the transform gets."""

    name: str | None = None


class NamedCases:
    """A dataset of nnU-Net's that notes in ``current`` which case it loads; everything else is the dataset's own.

    It also sees to it that the worker that reads it ends with the trainer, however that one ends.
    """

    def __init__(self, dataset: Any, current: CurrentCase) -> None:
        self.dataset, self.current = dataset, current

    def load_case(self, identifier: str) -> Any:
        exit_with_parent()
        self.current.name = identifier
        return self.dataset.load_case(identifier)

    def __getitem__(self, identifier: str) -> Any:
        return self.load_case(identifier)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet while a worker unpickles it
            raise AttributeError(name)
        return getattr(self.dataset, name)


class TextoMorphTransform(BasicTransform):
    """Put a tumor into a patch with the plan's probability.

    ``image``: (1, D, H, W) float32, CT as nnU-Net's CTNormalization leaves it; ``segmentation``: (1, D, H, W) int16,
    -1 outside. The normalization is undone with ``intensities`` (``mean``, ``std``, ``percentile_00_5`` and
    ``percentile_99_5`` of the plans' foreground), the tumor implanted and clipped as the patch was, and only the voxels
    that the implant changed are written back; the tumor's voxels get its label where the segmentation is not -1.

    Random numbers come from numpy's global state, the only one that nnU-Net seeds differently in each worker. Nothing
    is kept from one patch to the next. ``spacing``: mm, in the patch's axis order. ``patch_size``: voxels of what the
    network gets. nnU-Net loads more, turns and scales it and keeps the middle, so tumors are centred there: elsewhere
    most of them would be cut off. ``sources``: what tumors are drawn from; random ones from the plan's bank if None.
    ``case``: tells whose patch it is, so that no lesion is put into the case that it comes from. ``generator``: makes
    the tumors.

    A tumor with voxels that are not finite is not put in, and counted; where these are too many, or none can be made
    any more, the counters get the reason and :class:`TrainingStopped` ends the worker.
    """

    def __init__(
        self,
        plan: TextoMorphPlans,
        spacing: Spacing,
        intensities: Mapping[str, float],
        counters: InjectionCounters,
        generator: TumorGenerator,
        patch_size: Sequence[int] | None = None,
        preview_folder: Path | None = None,
        sources: Sources | None = None,
        case: CurrentCase | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.spacing = spacing
        self.mean = float(intensities["mean"])
        self.sd = max(float(intensities["std"]), 1e-8)
        self.hu_range = (float(intensities["percentile_00_5"]), float(intensities["percentile_99_5"]))
        self.sources = sources or Sources(load_bank(Path(plan.bank) if plan.bank else None, plan.organ))
        self.case = case or CurrentCase()
        self.counters = counters
        self.generator = generator
        self.patch_size = None if patch_size is None else [int(n) for n in patch_size]
        self.preview_folder = preview_folder

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw a request and synthesize its tumor: ``values`` and ``changed`` of the image, ``mask`` and ``label``."""
        self.counters.patch()
        if np.random.uniform() >= self.plan.probability:
            return {"request": None}
        rng = new_rng()
        start = time.perf_counter()
        segmentation = data_dict["segmentation"][0].numpy()
        request = draw_request(
            segmentation, self.spacing, self.plan, self.sources, rng, self.patch_size, self.case.name
        )
        if request is None:
            self.counters.no_room()
            return {"request": None}
        made = self._synthesize(data_dict["image"][0].numpy(), segmentation, request, rng, start)
        return {"request": None} if made is None else made

    def put(
        self, image: Tensor, segmentation: Tensor, request: Request, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor] | None:
        """Image and segmentation, (1, D, H, W), with the tumor of a request in them; None where it was rejected."""
        params = self._synthesize(image[0].numpy(), segmentation[0].numpy(), request, rng, time.perf_counter())
        if params is None:
            return None
        return self._apply_to_image(image, **params), self._apply_to_segmentation(segmentation, **params)

    def _synthesize(
        self, image: np.ndarray, segmentation: np.ndarray, request: Request, rng: np.random.Generator, start: float
    ) -> dict[str, Any] | None:
        hu = image * self.sd + self.mean
        made = self._implant(hu, segmentation, request, rng) if np.isfinite(hu).all() else None
        if made is None or not np.isfinite(made.ct_hu).all():
            self._reject()
            return None
        name = next(name for name, value in self.plan.tumors.items() if value == request.label)
        self.counters.injected(request.kind, name, time.perf_counter() - start)
        self._preview(hu, made.ct_hu, request)
        values = (made.ct_hu[made.changed] - self.mean) / self.sd
        return {"request": request, "changed": torch.from_numpy(made.changed), "values": torch.from_numpy(values)}

    def _implant(self, hu: np.ndarray, segmentation: np.ndarray, request: Request, rng: np.random.Generator) -> Implant:
        try:
            return implant(
                hu,
                self.spacing,
                request.mask,
                request.text,
                self.generator,
                rng,
                steps=self.plan.steps,
                guidance=self.plan.guidance,
                hu_range=self.hu_range,
                host_mask=np.isin(segmentation, self.plan.host_values),
            )
        except (SynthesisError, GeneratorError) as error:
            self.counters.fail(str(error))
            raise TrainingStopped(str(error)) from None

    def _reject(self) -> None:
        if self.counters.rejected():
            reason = (
                "more than 5 % of the synthetic tumors had voxels that are not finite; check the generator "
                f"{self.plan.generator or '(the shipped one)'} with textomorph synthesize, and the data for NaN"
            )
            self.counters.fail(reason)
            raise TrainingStopped(reason)

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        if params["request"] is None:
            return img
        img = img.clone()
        img[0][params["changed"]] = params["values"].to(img.dtype)
        return img

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        request: Request | None = params["request"]
        if request is None:
            return segmentation
        segmentation = segmentation.clone()
        inside = torch.from_numpy(request.mask) & (segmentation[0] >= 0)
        segmentation[0][inside] = request.label
        return segmentation

    def _preview(self, before: np.ndarray, after: np.ndarray, request: Request) -> None:
        number = self.counters.next_preview() if self.preview_folder is not None else None
        if number is not None and self.preview_folder is not None:
            self.preview_folder.mkdir(parents=True, exist_ok=True)
            path = self.preview_folder / f"injected_{number}.png"
            save_preview(path, before, after, request.mask, self.spacing, request.text, self.hu_range)


def new_rng() -> np.random.Generator:
    """Seeded from numpy's global state, the only one that nnU-Net seeds differently in each worker."""
    return np.random.default_rng(np.random.randint(0, 2**32, 4, dtype=np.uint32))
