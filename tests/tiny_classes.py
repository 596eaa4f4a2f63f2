"""A tiny nnU-Net dataset with tumor classes, preprocessed by nnU-Net: boxes of pancreas, balls of tumor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_nnunet import SHAPE, Ball, TinyNnUNet, label_map, write

from nnunet_textomorph.nnunet_commands import trainer_folder
from nnunet_textomorph.plan import FILE_NAME, TextoMorphPlans, infer_plan, save_plan

LABELS: dict[str, int | list[int]] = {"background": 0, "pancreas": 1, "PDAC": 2, "PNET": 3, "cyst": 4}
LEVELS_HU = {2: 40.0, 3: 160.0, 4: 0.0}
NAME, NUMBER, PLANS = "Dataset984_Classes", "984", "nnUNetPlans"


class TinyClasses:
    """nnU-Net's folders under ``root``. Add cases, then prepare."""

    def __init__(self, root: Path, labels: dict[str, int | list[int]] | None = None) -> None:
        self.root, self.base = root, TinyNnUNet(root, NAME, labels or LABELS)
        self.raw, self.preprocessed, self.dataset_json = self.base.raw, self.base.preprocessed, self.base.dataset_json
        self.environment = {**self.base.environment, **trainer_folder(), "nnUNet_n_proc_DA": "0"}
        self.cases: list[str] = []

    def add(self, case: str, balls: Sequence[Ball], looks: Sequence[int] | None = None) -> None:
        """A case with these tumors; ``looks``: values whose intensities they have, if not their own."""
        write_case(self.raw / "imagesTr", self.raw / "labelsTr", case, balls, looks)
        self.cases.append(case)

    def prepare(self, validation: Sequence[str]) -> None:
        """Preprocess as nnU-Net does; fold 0 validates these cases."""
        plans = PlansManager(self.base.plans)
        configuration = plans.get_configuration("3d_fullres")
        folder = self.preprocessed / configuration.data_identifier
        folder.mkdir(exist_ok=True)
        preprocessor = configuration.preprocessor_class(verbose=False)
        for case in self.cases:
            image, labels = self.raw / "imagesTr" / f"{case}_0000.nii.gz", self.raw / "labelsTr" / f"{case}.nii.gz"
            shutil.copy(labels, self.base.gt)
            files = [str(image)], str(labels)
            preprocessor.run_case_save(str(folder / case), *files, plans, configuration, self.dataset_json)
        (self.preprocessed / "dataset_fingerprint.json").write_text("{}")
        self.split(sorted(set(self.cases) - set(validation)), validation)

    def split(self, training: Sequence[str], validation: Sequence[str]) -> None:
        content = [{"train": list(training), "val": list(validation)}]
        (self.preprocessed / "splits_final.json").write_text(json.dumps(content))

    def plan(self, classification: dict[str, object] | None = None, **changes: object) -> TextoMorphPlans:
        """Write TextoMorphPlans.json: epochs of a few iterations, small tumors."""
        short = {"epochs": 1, "iterations_per_epoch": 4, "validation_iterations_per_epoch": 2, "largest_mm": 12.0}
        made = infer_plan(self.dataset_json)
        content = {**made.model_dump(), **short, "steps": 1, "classification": classification or {}, **changes}
        plan = TextoMorphPlans.model_validate(content)
        save_plan(plan, self.preprocessed / FILE_NAME)
        return plan

    def folder(self, trainer: str) -> Path:
        return self.root / "results" / NAME / f"{trainer}__{PLANS}__3d_fullres"


def write_case(
    images: Path, labels: Path, case: str, balls: Sequence[Ball], looks: Sequence[int] | None = None
) -> None:
    """CT and label map of boxes of pancreas with balls of tumor."""
    segmentation = label_map(balls)
    rng = np.random.default_rng(sum(map(ord, case)))
    ct = np.where(segmentation == 1, 90.0, -80.0) + rng.normal(0, 8, SHAPE)
    for ball, look in zip(balls, looks or [b[2] for b in balls], strict=True):
        mask = label_map([ball]) == ball[2]
        ct[mask] = LEVELS_HU[look] + rng.normal(0, 8, mask.sum())
    write(images / f"{case}_0000.nii.gz", ct.astype(np.int16))
    write(labels / f"{case}.nii.gz", segmentation)


def standard(made: TinyClasses) -> list[str]:
    """Four cases of each class and three without lesions; returns those that fold 0 validates."""
    for name, value in (("pdac", 2), ("pnet", 3), ("cyst", 4)):
        for i in range(4):
            made.add(f"{name}_{i}", [((9, 14 + 6 * i, 14 + 7 * i), 5.0 + i, value)])
    for i in range(3):
        made.add(f"none_{i}", [])
    return ["pdac_0", "pnet_0", "cyst_0", "none_0"]
